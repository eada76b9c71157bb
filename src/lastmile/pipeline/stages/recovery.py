"""Recovery: measure what a policy does after injected mistakes, and in controls without one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import PolicyAndWorlds, policy_and_worlds, write_table
from lastmile.studies.labels import RECOVERY_STEPS

LABELS = ("run", "seed", "task")
SCREEN = 126 * 168 * 3  # bytes of a screen


class Spec(OnTask):
    """How many mistakes to inject; see `evaluation` in the settings."""

    temperature: float = Field(gt=0)
    recovery_states: int = Field(ge=1)


Inputs = PolicyAndWorlds


class Outputs(NamedTuple):
    """One row for each injected mistake and each control."""

    recovery: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return policy_and_worlds(spec, results)


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, "recovery"))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.evaluation import recovery
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    recording = read(inputs.trajectories)
    policy = Policy.load(inputs.policy.parent)
    with Progress(f"recovery {spec.task}", None, "clicks") as progress:
        table = recovery.measure(
            policy,
            recording,
            spec.recovery_states,
            RECOVERY_STEPS,
            spec.temperature,
            spec.seed,
            progress,
        )
    write_table(outputs.recovery, table, spec)


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
            recovery_states=evaluation.recovery_states,
        )
        for one, seed, task in request.measured("recovery")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    # Every state has a control. Before the first step the policy reads the screens that it
    # remembers: half a window on average.
    steps = RECOVERY_STEPS + estimates.request.settings.policy.window / 2
    states = 2 * spec.recovery_states
    remembered = 2 * states * estimates.request.settings.policy.window * SCREEN
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + remembered
    return Cost(states * steps / estimates.policy_rate(spec.run, "rollout"), memory=memory)
