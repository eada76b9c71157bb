"""Tokenize: draw the screens of recorded episodes into a file that a policy reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, OfRecording, Request

LABELS = ("recording", "split")
MEMORY = 500e6  # what packages and the caches of a task take
ROW = 150  # bytes of a step in memory: its labels; the screens are not kept


class Spec(OfRecording):
    """Which episodes to tokenize."""

    task: str
    split: str


class Inputs(NamedTuple):
    """The recorded episodes."""

    steps: Path
    episodes: Path


class Outputs(NamedTuple):
    """The token file."""

    tokens: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return Inputs(
        paths.trajectories(results, spec.recording, spec.split),
        paths.episodes(results, spec.recording, spec.split),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.tokens(results, spec.recording, spec.split))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.progress import Progress
    from lastmile.simulation import tokens, trajectory

    recording = trajectory.read(inputs.steps)
    name = f"tokenize {spec.recording} {spec.split}"
    with Progress(name, len(recording.steps), "frames") as progress:
        tokens.write(outputs.tokens, recording, progress)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    return [
        Spec(
            recording=name,
            task=recording.task,
            **request.origin(recording.task),
            split=split,
        )
        for (name, split), recording in request.recordings.items()
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    episodes = estimates.request.recordings[spec.recording, spec.split].episodes
    steps = episodes * estimates.steps(spec.task)
    seconds = steps * estimates.task_rate(spec.task, "tokenize")
    disk = steps * estimates.task_rate(spec.task, "bytes")
    return Cost(seconds, disk, MEMORY + ROW * steps)
