"""Other looks: test a policy on held-out worlds whose interface looks different.

Teacher-forced and in closed loop, the same worlds and states in each look.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, ROLLOUT, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import PolicyAndWorlds, policy_and_worlds, write_table

LABELS = ("run", "seed", "task")


class Spec(OnTask):
    """How to test: see `evaluation` in the settings.

    Attributes:
        worlds: The first ones of the test split.
        looks: Layout and theme of each look. The policy has learned the first layout: widgets that
            are elsewhere now are looked for where it has them.
    """

    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    worlds: int = Field(ge=1)
    looks: tuple[tuple[str, str], ...] = Field(min_length=1)


Inputs = PolicyAndWorlds


class Outputs(NamedTuple):
    """What clicks come to, by episode and what is due; and one row per episode in closed loop."""

    other_looks: Path
    other_looks_played: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return policy_and_worlds(spec, results)


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
            spec.looks[0][0],
            spec.temperature,
            spec.max_steps,
            spec.seed,
            progress,
        )
    write_table(outputs.other_looks, judged, spec)
    write_table(outputs.other_looks_played, played, spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


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
            **request.origin(task),
            temperature=evaluation.temperature,
            max_steps=evaluation.max_steps,
            worlds=min(episodes.shared_test, episodes.test),
            looks=tuple((look.layout, look.theme) for look in asked[one.name, task]),
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
