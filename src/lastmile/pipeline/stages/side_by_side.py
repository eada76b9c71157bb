"""Side by side: let annotators and a policy do the worlds of people, and compare click by click."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import write_table

LABELS = ("run", "seed", "task")
PLAYERS = 5
"""Episodes for each one of a person: his or her own, three styles, and the policy's."""
CLICK = 1.5e-3  # seconds to describe a click
BYTES = 30  # of a click on disk


class Spec(OnTask):
    """Which recordings count, and how the others work beside them.

    Attributes:
        logs: Files of recordings of the task; see `recordings` in the settings.
        difficulty: Difficulty of the study; recordings of another one do not count.
        style: Style of the annotator who makes the data of the policy.
        layouts: Layouts of the study, as for the difficulty.
        themes: Themes of the study, as for the difficulty.
        temperature: See `evaluation` in the settings.
        max_steps: See there.
    """

    logs: tuple[str, ...]
    difficulty: str
    style: str
    layouts: tuple[str, ...]
    themes: tuple[str, ...]
    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)


class Inputs(NamedTuple):
    """The policy, and the recordings of people."""

    config: Path
    policy: Path
    logs: tuple[Path, ...]


class Outputs(NamedTuple):
    """One row for each click of everybody, and one for each episode."""

    side_by_side: Path
    attempts: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json", folder / "policy.safetensors", tuple(map(Path, spec.logs))
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(
        paths.evaluation(results, spec.run, spec.task, spec.seed, "side_by_side"),
        paths.evaluation(results, spec.run, spec.task, spec.seed, "attempts"),
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.evaluation import exclusions, side_by_side
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress

    recordings = exclusions.examine(
        inputs.logs, spec.task, spec.difficulty, spec.layouts, spec.themes, spec.source
    )
    for recording in recordings:
        if recording.rule:
            print(f"left out ({recording.rule}): {recording.reason}")
    counted = sum(not recording.rule for recording in recordings)
    print(f"{spec.task}: {counted} of {len(recordings)} recordings count")

    policy = Policy.load(inputs.policy.parent)
    with Progress(f"side by side {spec.task}", None, "clicks") as progress:
        clicks, episodes = side_by_side.measure(
            policy,
            recordings,
            spec.style,
            spec.temperature,
            spec.max_steps,
            spec.seed,
            progress,
        )
    write_table(outputs.side_by_side, clicks, spec)
    write_table(outputs.attempts, episodes, spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    settings = request.settings
    measured = request.measured("side_by_side")
    if not measured:
        return []

    from lastmile.evaluation.exclusions import logs_by_task

    logs = logs_by_task(settings.recordings or (), request.tasks)
    return [
        Spec(
            run=one.name,
            seed=seed,
            task=task,
            **request.origin(task),
            logs=logs[task],
            difficulty=settings.worlds.difficulty,
            style=settings.worlds.style,
            layouts=settings.worlds.layouts,
            themes=settings.worlds.themes,
            temperature=settings.evaluation.temperature,
            max_steps=settings.evaluation.max_steps,
        )
        for one, seed, task in measured
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    clicks = len(spec.logs) * estimates.steps(spec.task)
    described = PLAYERS * clicks
    # The policy plays the worlds, and predicts the clicks of people and of one style.
    seconds = clicks / estimates.policy_rate(spec.run, "played")
    seconds += 2 * clicks / estimates.policy_rate(spec.run, "predict")
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + 2e3 * described
    return Cost(seconds + CLICK * described, BYTES * described, memory)
