"""Other looks: test a policy on held-out worlds whose interface looks different.

Teacher-forced and in closed loop, the same worlds and states in each look.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import write_table

LABELS = ("run", "seed", "task")
ROLLOUT = 1e5  # bytes in memory for each step that the policies play


class Spec(OnTask):
    """How to test: see `evaluation` in the settings.

    Attributes:
        worlds: The first ones of the test split.
        looks: Layout and theme of each look.
        first: A layout that the policy has learned, in which widgets are looked for that are
            elsewhere now.
    """

    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    worlds: int = Field(ge=1)
    looks: tuple[tuple[str, str], ...] = Field(min_length=1)
    first: str


class Inputs(NamedTuple):
    """The policy and the recorded episodes of its worlds."""

    config: Path
    policy: Path
    trajectories: Path
    episodes: Path


class Outputs(NamedTuple):
    """What clicks come to, by episode and what is due; and one row per episode in closed loop."""

    other_looks: Path
    other_looks_played: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json",
        folder / "policy.safetensors",
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(
        paths.evaluation(results, spec.run, spec.task, spec.seed, "other_looks"),
        paths.evaluation(results, spec.run, spec.task, spec.seed, "other_looks_played"),
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.evaluation import other_looks
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.screen import Look
    from lastmile.simulation.trajectory import read

    with Progress(f"other looks {spec.task}", None, "clicks") as progress:
        judged, played = other_looks.measure(
            Policy.load(inputs.policy.parent),
            read(inputs.trajectories).first(spec.worlds),
            [Look(layout, theme) for layout, theme in spec.looks],
            spec.first,
            spec.temperature,
            spec.max_steps,
            spec.seed,
            progress,
        )
    write_table(outputs.other_looks, judged, spec)
    write_table(outputs.other_looks_played, played, spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return (f"tasks.{spec.task}",)


def wanted(request: Request) -> list[Spec]:
    evaluation, episodes = request.settings.evaluation, request.settings.episodes
    asked = {
        (need.run.name, need.task): need.looks
        for needs in request.needs.values()
        for need in needs
        if need.looks
    }
    return [
        Spec(
            run=one.name,
            seed=seed,
            task=task,
            temperature=evaluation.temperature,
            max_steps=evaluation.max_steps,
            worlds=min(episodes.shared_test, episodes.test),
            looks=tuple((look.layout, look.theme) for look in asked[one.name, task]),
            first=asked[one.name, task][0].layout,
        )
        for one, seed, task in request.measured("other_looks")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    steps = len(spec.looks) * spec.worlds * estimates.steps(spec.task)
    drawn = sum(estimates.task_rate(spec.task, name) for name in ("record", "tokenize"))
    played = 1 / estimates.policy_rate(spec.run, "played")
    predicted = 1 / estimates.policy_rate(spec.run, "predict")
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + ROLLOUT * steps
    return Cost(steps * (drawn + played + predicted), memory=memory)
