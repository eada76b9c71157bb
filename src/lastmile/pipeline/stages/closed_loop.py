"""Closed loop: let a trained policy and the annotator work on the same held-out worlds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, ROLLOUT, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import PolicyAndWorlds, policy_and_worlds, write_table

LABELS = ("run", "seed", "task")


class Spec(OnTask):
    """How to play: see `evaluation` in the settings."""

    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)


Inputs = PolicyAndWorlds


class Outputs(NamedTuple):
    """One row for each episode of the policy and of the annotator."""

    closed_loop: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return policy_and_worlds(spec, results)


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, "closed_loop"))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import pandas as pd

    from lastmile.evaluation import closed_loop
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    recording = read(inputs.trajectories)
    policy = Policy.load(inputs.policy.parent)
    with Progress(f"closed loop {spec.task}", None, "clicks") as progress:
        played = closed_loop.closed_loop(
            policy, recording, spec.temperature, spec.max_steps, spec.seed, progress
        )
    annotator = closed_loop.annotator_table(recording)
    table = pd.concat(
        [played.assign(who="policy"), annotator.assign(who="annotator")], ignore_index=True
    )
    write_table(outputs.closed_loop, table, spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    evaluation = request.settings.evaluation
    return [
        Spec(
            run=one.name,
            seed=seed,
            task=task,
            **request.origin(task),
            temperature=evaluation.temperature,
            max_steps=evaluation.max_steps,
        )
        for one, seed, task in request.measured("closed_loop")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    steps = estimates.request.settings.episodes.test * estimates.steps(spec.task)
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + ROLLOUT * steps
    return Cost(steps / estimates.policy_rate(spec.run, "played"), memory=memory)
