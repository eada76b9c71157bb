"""Cross-task probes: test the mistake probes of each task on every other task.

Also measure the angles between their directions, and the effect of moving activations along them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import write_probes
from lastmile.studies.labels import RECOVERY_STEPS

LABELS = ("run", "seed", "task")
FEATURES = 5e4  # bytes in memory of the features of a pair, at most
MOVE = 0.1  # seconds for an episode, to move its activations and to probe them
PLAYED = 3 * 48 * 4 / 3  # rollouts of a task: three arms of right annotations, and padding


class Spec(OnTask):
    """Which tasks, and how to play; see `evaluation` in the settings."""

    tasks: tuple[str, ...]
    temperature: float = Field(gt=0)


class Inputs(NamedTuple):
    """The policy and held-out episodes of all tasks."""

    config: Path
    policy: Path
    trajectories: tuple[Path, ...]
    episodes: tuple[Path, ...]


class Outputs(NamedTuple):
    """Accuracies by test episode, cosines, and the chance of Undo after a shift."""

    cross_task_probes: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json",
        folder / "policy.safetensors",
        tuple(paths.trajectories(results, task, "test") for task in spec.tasks),
        tuple(paths.episodes(results, task, "test") for task in spec.tasks),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    table = "cross_task_probes"
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, table))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.policy.policy import Policy
    from lastmile.probing.generalization import measure
    from lastmile.simulation.trajectory import read

    table = measure(
        Policy.load(inputs.policy.parent),
        [read(path) for path in inputs.trajectories],
        RECOVERY_STEPS,
        spec.temperature,
        spec.seed,
    )
    write_probes(outputs.cross_task_probes, table, spec, "enough pairs of two tasks")


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(*spec.tasks)


def wanted(request: Request) -> list[Spec]:
    temperature = request.settings.evaluation.temperature
    return [
        Spec(
            run=one.name,
            seed=seed,
            task=task,
            **request.origin(*one.tasks),
            tasks=one.tasks,
            temperature=temperature,
        )
        for one, seed, task in request.measured("cross_task_probes")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    episodes = estimates.request.settings.episodes.test
    # Two kinds of forks in an episode, two branches of each, for two networks.
    frames = 8 * episodes * estimates.request.settings.policy.window
    predict = len(spec.tasks) * frames / estimates.policy_rate(spec.run, "predict")
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3)
    memory += FEATURES * 8 * episodes * len(spec.tasks)
    steps = PLAYED * RECOVERY_STEPS * len(spec.tasks)
    play = steps / estimates.policy_rate(spec.run, "rollout")
    return Cost(predict + play + MOVE * episodes * len(spec.tasks), memory=memory)
