"""Record: let the virtual annotator work, and store its clicks with their latent labels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, Facts, OfRecording, Request

LABELS = ("recording", "split")
STEP_BYTES = 12  # bytes per step in the file
MEMORY = 400e6  # what packages and the caches of a task take
ROW, ROWS = 350, 1 << 19  # bytes of a step in memory, and the steps that are in it at most


class Spec(OfRecording):
    """Which episodes to record.

    All fields but `recording` (its name) and `episodes` (their number) are those of
    `lastmile.simulation.trajectory.Source`.
    """

    task: str
    split: str
    seed: int
    difficulty: str
    style: str
    layouts: tuple[str, ...]
    themes: tuple[str, ...]
    episodes: int = Field(ge=1)


class Inputs(NamedTuple):
    """A recording reads no files."""


class Outputs(NamedTuple):
    """The steps, and the table of episodes."""

    steps: Path
    episodes: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return Inputs()


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(
        paths.trajectories(results, spec.recording, spec.split),
        paths.episodes(results, spec.recording, spec.split),
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> Facts | None:
    import time

    from lastmile.progress import Progress
    from lastmile.simulation import trajectory

    started = time.monotonic()
    source = trajectory.Source(**spec.model_dump(exclude={"recording", "episodes"}))
    with Progress(f"record {spec.recording} {spec.split}", None, "steps") as progress:
        trajectory.write(outputs.steps, source, spec.episodes, progress)
    if spec.worlds == "synthetic":
        return None

    from lastmile.datasets.archives import joint_digest
    from lastmile.tasks.real import archives_of

    archives = archives_of(spec.task)
    data = {
        "package": " ".join(archive.name for archive in archives),
        "digest": joint_digest(archives),
        "licence": " ".join(dict.fromkeys(archive.licence for archive in archives)),
    }
    return Facts(
        spec={**spec.model_dump(mode="json"), "data": data},
        inputs=[],
        device="cpu",
        threads=1,
        seconds=round(time.monotonic() - started, 1),
    )


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    worlds = request.settings.worlds
    return [
        Spec(
            recording=name,
            task=recording.task,
            split=split,
            seed=request.settings.seed,
            difficulty=worlds.difficulty,
            style=recording.style,
            layouts=recording.layouts,
            themes=recording.themes,
            episodes=recording.episodes,
            worlds=worlds.source,
        )
        for (name, split), recording in request.recordings.items()
        if recording.learner is None
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    steps = spec.episodes * estimates.steps(spec.task)
    again = "record" if spec.split == "train" else "record_again"
    seconds = steps * estimates.task_rate(spec.task, again)
    return Cost(seconds, STEP_BYTES * steps, MEMORY + ROW * min(steps, ROWS))
