"""Reference players: luck, habit, a script and an oracle on the worlds of the policies."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import Cost, Estimates, OnWorlds, Request
from lastmile.pipeline.task_paths import task_table

LABELS = ("task",)
STEP = 0.001
"""Seconds to draw a screen and act on it."""
PLAYED = 8.0
"""Steps of all players together, per step of the annotator: some never finish."""
SCRIPT = 0.1
"""Seconds of image analysis that a script takes for a world."""


class Spec(OnWorlds):
    """Which task, and how long players may play: see `evaluation` in the settings."""

    task: str
    max_steps: int = Field(ge=1)
    seed: int


class Inputs(NamedTuple):
    """The recorded episodes of the worlds, and those that the trigram is fitted to."""

    trajectories: Path
    episodes: Path
    training: Path
    training_episodes: Path


class Outputs(NamedTuple):
    """One row for each episode of each player."""

    reference_players: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return Inputs(
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
        paths.trajectories(results, spec.task, "train"),
        paths.episodes(results, spec.task, "train"),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(task_table(results, spec.task, "reference_players"))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.evaluation.references import reference_table
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read
    from lastmile.storage import files, parquet

    test, training = read(inputs.trajectories), read(inputs.training)
    with Progress(f"reference players {spec.task}", None, "clicks") as progress:
        table = reference_table(test, training, spec.max_steps, spec.seed, progress)
    table.insert(0, "task", spec.task)
    table.insert(1, "seed", spec.seed)
    with files.writing(outputs.reference_players) as temporary:
        parquet.write(table, temporary)


def parts(spec: Spec) -> tuple[str, ...]:
    from lastmile.tasks.script import has_script

    parts = spec.task_parts(spec.task)
    return (*parts, f"tasks.{spec.task}.script") if has_script(spec.task) else parts


def wanted(request: Request) -> list[Spec]:
    from lastmile.studies import task_tables

    settings = request.settings
    if "reference_players" not in task_tables(tuple(request.needs)):
        return []
    return [
        Spec(
            task=task,
            **request.origin(task),
            max_steps=settings.evaluation.max_steps,
            seed=settings.seed,
        )
        for task in request.tasks
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    worlds = estimates.request.settings.episodes.test
    steps = worlds * estimates.steps(spec.task)
    record = steps * estimates.task_rate(spec.task, "record")
    return Cost(PLAYED * STEP * steps + SCRIPT * worlds + record)
