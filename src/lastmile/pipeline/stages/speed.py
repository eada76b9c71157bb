"""Speed: measure how many frames per second a policy of this shape trains on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import write_table

LABELS = ("run", "seed", "task")
UPDATES = 8
"""Number of timed updates, after a few for warm-up."""


class Spec(OnTask):
    """How many updates to time."""

    updates: int = Field(ge=1)


class Inputs(NamedTuple):
    """The settings of the policy, and tokens to train on."""

    config: Path
    tokens: Path


class Outputs(NamedTuple):
    """One row: frames per second, share of waiting time, parameters, operations per frame."""

    speed: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(folder / "config.json", paths.tokens(results, spec.task, "train"))


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, "speed"))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import pandas as pd

    from lastmile.performance.speed import training_rate
    from lastmile.policy.policy import parameter_count, read_settings
    from lastmile.policy.sizes import flops_per_frame
    from lastmile.simulation.tokens import TokenStore

    settings = read_settings(inputs.config.parent)
    rate = training_rate(TokenStore(inputs.tokens), settings, steps=spec.updates)
    row = {
        **rate._asdict(),
        "parameters": parameter_count(settings),
        "flops_per_frame": flops_per_frame(settings),
    }
    write_table(outputs.speed, pd.DataFrame([row]), spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return (f"tasks.{spec.task}",)


def wanted(request: Request) -> list[Spec]:
    return [
        Spec(run=one.name, seed=seed, task=task, updates=UPDATES)
        for one, seed, task in request.measured("speed")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    settings = estimates.request.settings
    frames = 1.5 * spec.updates * settings.training.batch * settings.policy.window
    at_once = settings.training.batch * settings.policy.window
    memory = 2 * TORCH + estimates.network_memory(spec.run, at_once, 4)
    return Cost(frames / estimates.policy_rate(spec.run, "train"), memory=memory)
