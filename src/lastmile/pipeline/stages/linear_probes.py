"""Linear probes: fit probes on the activations of a policy, with baselines and controls."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import write_probes

LABELS = ("run", "seed", "task")
PROBES = 30  # about how many probes a task has: features x targets x kinds of labels
FEATURES = 1e5  # bytes in memory of the features of a frame, at most
FIT = 0.6  # seconds to fit and test one probe on 2,500 frames


class Spec(OnTask):
    """How many frames to probe for phase and position; mistakes are probed in all episodes."""

    frames: int = Field(ge=1)


class Inputs(NamedTuple):
    """The policy, held-out episodes and their tokens."""

    config: Path
    policy: Path
    trajectories: Path
    episodes: Path
    tokens: Path


class Outputs(NamedTuple):
    """One row for each test episode, target, feature and kind of labels."""

    linear_probes: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json",
        folder / "policy.safetensors",
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
        paths.tokens(results, spec.task, "test"),
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(paths.evaluation(results, spec.run, spec.task, spec.seed, "linear_probes"))


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    from lastmile.policy.policy import Policy
    from lastmile.probing import activations, pairs
    from lastmile.probing.probes import fit_probes
    from lastmile.simulation.tokens import TokenStore
    from lastmile.simulation.trajectory import read

    policy = Policy.load(inputs.policy.parent)
    recording = read(inputs.trajectories)
    store = TokenStore(inputs.tokens)
    table = fit_probes(
        activations.sample(policy, store, recording, spec.frames, spec.seed),
        pairs.sample(policy, recording, spec.seed),
        spec.seed,
    )
    write_probes(outputs.linear_probes, table, spec, "enough steps to fit and test a probe")


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    frames = request.settings.probes.frames
    return [
        Spec(run=one.name, seed=seed, task=task, frames=frames, **request.origin(task))
        for one, seed, task in request.measured("linear_probes")
    ]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    recorded = estimates.request.settings.episodes.test * estimates.steps(spec.task)
    frames = min(spec.frames, recorded)
    # Two kinds of forks in an episode, two branches of each.
    frames_of_pairs = 4 * estimates.request.settings.episodes.test
    frames_of_pairs *= estimates.request.settings.policy.window
    predict = 2 * (frames + frames_of_pairs) / estimates.policy_rate(spec.run, "predict")
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3) + FEATURES * frames
    return Cost(predict + PROBES * FIT * frames / 2500, memory=memory)
