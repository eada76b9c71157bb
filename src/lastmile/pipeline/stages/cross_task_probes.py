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

LABELS = ("run", "seed", "task")
FEATURES = 5e4  # bytes in memory of the features of a frame, at most


class Spec(OnTask):
    """Which tasks, and how many frames of each."""

    tasks: tuple[str, ...]
    frames: int = Field(ge=1)


class Inputs(NamedTuple):
    """The policy, held-out episodes of all tasks and their tokens."""

    config: Path
    policy: Path
    trajectories: tuple[Path, ...]
    episodes: tuple[Path, ...]
    tokens: tuple[Path, ...]


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
        tuple(paths.tokens(results, task, "test") for task in spec.tasks),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    table = "cross_task_probes"
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, table))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.policy.policy import Policy
    from lastmile.probing.generalization import measure
    from lastmile.simulation.tokens import TokenStore
    from lastmile.simulation.trajectory import read

    table = measure(
        Policy.load(inputs.policy.parent),
        [TokenStore(path) for path in inputs.tokens],
        [read(path) for path in inputs.trajectories],
        spec.frames,
        spec.seed,
    )
    write_probes(outputs.cross_task_probes, table, spec, "enough mistakes of two tasks")


def parts(spec: Spec) -> tuple[str, ...]:
    return tuple(f"tasks.{task}" for task in spec.tasks)


def wanted(request: Request) -> list[Spec]:
    frames = request.settings.probes.frames
    return [
        Spec(run=one.name, seed=seed, task=task, tasks=one.tasks, frames=frames)
        for one, seed, task in request.measured("cross_task_probes")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    episodes = estimates.request.settings.episodes.test
    seconds = 0.0
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3)
    for task in spec.tasks:
        frames = min(spec.frames, episodes * estimates.steps(task))
        seconds += frames / estimates.policy_rate(spec.run, "predict") + 1.0
        memory += FEATURES * frames
    return Cost(seconds, memory=memory)
