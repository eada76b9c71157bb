"""Closed-loop curve: measure a policy in closed loop along its training."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, ROLLOUT, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import least_frames, policies_along, write_table

LABELS = ("run", "seed", "task")
EVERY = 2
"""Every other snapshot is measured."""


class Spec(OnTask):
    """How to play, and how often along the training.

    Attributes:
        episodes: The first ones of the test split.
        every: Every n-th snapshot, counted back from the last one.
        least: Frames below which a snapshot is left out.
        start: The run that the policy started from.
    """

    temperature: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    episodes: int = Field(ge=1)
    every: int = Field(ge=1)
    least: int = Field(ge=0)
    start: str | None = None


class Inputs(NamedTuple):
    """The policy and its snapshots, recorded episodes, and the policy that it started from."""

    config: Path
    policy: Path
    snapshots: Path
    trajectories: Path
    episodes: Path
    start: Path | None


class Outputs(NamedTuple):
    """One row for each episode at each point of the training."""

    closed_loop_curve: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json",
        folder / "policy.safetensors",
        folder / "snapshots.safetensors",
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
        paths.model(results, spec.start, spec.seed) / "policy.safetensors" if spec.start else None,
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, "closed_loop_curve"))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import pandas as pd

    from lastmile.evaluation import closed_loop
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    recording = read(inputs.trajectories).first(spec.episodes)
    policies = policies_along(
        inputs.snapshots, inputs.config, inputs.start, spec.seed, spec.every, spec.least
    )
    tables = []
    with Progress(f"closed-loop curve {spec.task}", None, "clicks") as progress:
        for frames, policy in policies:
            played = closed_loop.closed_loop(
                policy, recording, spec.temperature, spec.max_steps, spec.seed, progress
            )
            tables.append(played.assign(frames=frames))
    write_table(outputs.closed_loop_curve, pd.concat(tables, ignore_index=True), spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    evaluation = request.settings.evaluation
    episodes = request.settings.episodes
    points = request.points()
    return [
        Spec(
            run=one.name,
            seed=seed,
            task=task,
            **request.origin(task),
            temperature=evaluation.temperature,
            max_steps=evaluation.max_steps,
            episodes=min(episodes.shared_test, episodes.test),
            every=EVERY,
            least=least_frames(one, points[one.name, task]),
            start=one.start.name if one.start else None,
        )
        for one, seed, task in request.measured("closed_loop_curve")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    points = 1 + -(-estimates.request.settings.training.snapshots // spec.every)
    points = 2 if spec.least == estimates.request.runs[spec.run].frames else points
    steps = points * spec.episodes * estimates.steps(spec.task)
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + ROLLOUT * steps / points
    return Cost(steps / estimates.policy_rate(spec.run, "played"), memory=memory)
