"""Tokenize: draw the screens of recorded episodes into a file that a policy reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Request
from lastmile.pipeline.stage import Spec as BaseSpec

LABELS = ("task", "split")
MEMORY = 500e6  # what packages and the caches of a task take
ROW = 150  # bytes of a step in memory: its labels; the screens are not kept


class Spec(BaseSpec):
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
        paths.trajectories(results, spec.task, spec.split),
        paths.episodes(results, spec.task, spec.split),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.tokens(results, spec.task, spec.split))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.progress import Progress
    from lastmile.simulation import tokens, trajectory

    recording = trajectory.read(inputs.steps)
    with Progress(f"tokenize {spec.task} {spec.split}", len(recording.steps), "frames") as progress:
        tokens.write(outputs.tokens, recording, progress)


def parts(spec: Spec) -> tuple[str, ...]:
    return (f"tasks.{spec.task}",)


def wanted(request: Request) -> list[Spec]:
    splits = ("train", "validation", "test")
    return [Spec(task=task, split=split) for task in request.recorded for split in splits]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    episodes = estimates.request.settings.episodes.model_dump()[spec.split]
    steps = episodes * estimates.steps(spec.task)
    seconds = steps * estimates.task_rate(spec.task, "tokenize")
    disk = steps * estimates.task_rate(spec.task, "bytes")
    return Cost(seconds, disk, MEMORY + ROW * steps)
