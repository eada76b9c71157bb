"""Deferral: let an annotator take over where a policy is least certain.

The same pass over the held-out worlds tells whether confidence knows mistakes. Others vary the
temperature.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, ROLLOUT, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import write_table

LABELS = ("run", "seed", "task")
PASSES = 18
"""How often the worlds are played: see `lastmile.evaluation.deferral.measure`."""
CONFIDENT = 1.25
"""Time of a step whose confidence is computed, as a multiple of that of another."""


class Spec(OnTask):
    """How to play: see `evaluation` in the settings.

    Attributes:
        worlds: The first ones of the test split, and of the validation split for the thresholds.
    """

    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    worlds: int = Field(ge=1)


class Inputs(NamedTuple):
    """The policy, and the recorded episodes of the worlds: for thresholds, and for the rest."""

    config: Path
    policy: Path
    validation: Path
    validation_episodes: Path
    trajectories: Path
    episodes: Path


class Outputs(NamedTuple):
    """One row for each episode in each way of working, and for each annotation made alone."""

    deferral: Path
    confidences: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json",
        folder / "policy.safetensors",
        paths.trajectories(results, spec.task, "validation"),
        paths.episodes(results, spec.task, "validation"),
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(
        paths.evaluation(results, spec.run, spec.task, spec.seed, "deferral"),
        paths.evaluation(results, spec.run, spec.task, spec.seed, "confidences"),
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.evaluation import deferral
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    with Progress(f"deferral {spec.task}", None, "clicks") as progress:
        episodes, annotations = deferral.measure(
            Policy.load(inputs.policy.parent),
            read(inputs.validation).first(spec.worlds),
            read(inputs.trajectories).first(spec.worlds),
            spec.temperature,
            spec.max_steps,
            spec.seed,
            progress=progress,
        )
    write_table(outputs.deferral, episodes, spec)
    write_table(outputs.confidences, annotations, spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    evaluation, episodes = request.settings.evaluation, request.settings.episodes
    measured = dict.fromkeys([*request.measured("deferral"), *request.measured("confidences")])
    return [
        Spec(
            run=one.name,
            seed=seed,
            task=task,
            **request.origin(task),
            temperature=evaluation.temperature,
            max_steps=evaluation.max_steps,
            worlds=min(episodes.shared_test, episodes.test),
        )
        for one, seed, task in measured
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    steps = PASSES * spec.worlds * estimates.steps(spec.task)
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + ROLLOUT * steps
    return Cost(CONFIDENT * steps / estimates.policy_rate(spec.run, "played"), memory=memory)
