"""Skills: measure teacher-forced accuracies and losses of a policy along its training.

The accuracies come with their ceiling and floors.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from lastmile.pipeline import paths
from lastmile.pipeline.stage import AT_ONCE, TORCH, Cost, Estimates, OnTask, Request
from lastmile.pipeline.stages._shared import least_frames, policies_along, write_table

LABELS = ("run", "seed", "task")
EARLY = 4
"""Snapshots after the first updates, see `lastmile.training.checkpoints.EARLY`."""
SPARSE = 3
"""Measure only every third snapshot of a policy with patch context: it is slow, since it reads its
whole window again for every frame."""


class Spec(OnTask):
    """What to measure.

    Attributes:
        episodes: The first ones of the test split.
        every: Every n-th snapshot, counted back from the last one.
        least: Frames below which a snapshot is left out.
        start: The run that the policy started from.
    """

    episodes: int = Field(ge=1)
    every: int = Field(ge=1)
    least: int = Field(ge=0)
    start: str | None = None


class Inputs(NamedTuple):
    """The policy and its snapshots, held-out episodes, tokens, and the policy it started from."""

    config: Path
    policy: Path
    snapshots: Path
    trajectories: Path
    episodes: Path
    tokens: Path
    start: Path | None


class Outputs(NamedTuple):
    """Counts of correct clicks, and losses (in nats) by episode."""

    skills: Path
    losses: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    folder = paths.model(results, spec.run, spec.seed)
    return Inputs(
        folder / "config.json",
        folder / "policy.safetensors",
        folder / "snapshots.safetensors",
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
        paths.tokens(results, spec.task, "test"),
        paths.model(results, spec.start, spec.seed) / "policy.safetensors" if spec.start else None,
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(
        paths.evaluation(results, spec.run, spec.task, spec.seed, "skills"),
        paths.evaluation(results, spec.run, spec.task, spec.seed, "losses"),
    )


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import pandas as pd

    from lastmile.evaluation import skills
    from lastmile.progress import Progress
    from lastmile.simulation.tokens import FirstEpisodes, TokenStore
    from lastmile.simulation.trajectory import read

    recording = read(inputs.trajectories).first(spec.episodes)
    store = FirstEpisodes(TokenStore(inputs.tokens), len(recording.episodes))
    clicks = {
        "ceiling": skills.ceiling(recording),
        "floor": skills.floor(recording),
        skills.TRIGRAM: skills.trigram(recording),
    }
    nats = {}
    policies = policies_along(
        inputs.snapshots, inputs.config, inputs.start, spec.seed, spec.every, spec.least
    )
    with Progress(f"skills {spec.task}", None, "frames") as progress:
        for frames, policy in policies:
            clicks[f"policy@{frames}"], nats[frames] = skills.predictions(policy, store)
            progress(len(recording.steps))

    table = skills.measure(recording, clicks)
    predictor = table["predictor"].str.partition("@")
    table["predictor"] = predictor[0]
    table["frames"] = [int(frames) if frames else 0 for frames in predictor[2]]
    write_table(outputs.skills, table, spec)

    starts = recording.starts
    losses = [
        {
            "frames": frames,
            "episode": episode,
            "nats": float(values[a:b].sum()),
            "steps": int(b - a),
        }
        for frames, values in nats.items()
        for episode, (a, b) in enumerate(zip(starts[:-1], starts[1:]))
    ]
    write_table(outputs.losses, pd.DataFrame(losses), spec)


def parts(spec: Spec) -> tuple[str, ...]:
    return spec.task_parts(spec.task)


def wanted(request: Request) -> list[Spec]:
    measured = dict.fromkeys([*request.measured("skills"), *request.measured("losses")])
    points = request.points()
    specs = []
    for one, seed, task in measured:
        slow = one.policy.context == "patch"
        fewer = slow or len(one.tasks) > 1
        episodes = request.settings.episodes
        specs.append(
            Spec(
                run=one.name,
                seed=seed,
                task=task,
                **request.origin(task),
                episodes=min(episodes.shared_test if fewer else episodes.test, episodes.test),
                every=SPARSE if slow else 1,
                least=least_frames(one, points[one.name, task]),
                start=one.start.name if one.start else None,
            )
        )
    return specs


def cost(spec: Spec, estimates: Estimates) -> Cost:
    run = estimates.request.runs[spec.run]
    points = 1 + -(-estimates.request.settings.training.snapshots // spec.every)
    points = 2 if spec.least == run.frames else points + (0 if spec.least else EARLY)
    frames = points * spec.episodes * estimates.steps(spec.task)
    memory = TORCH + estimates.network_memory(spec.run, AT_ONCE, 3)
    return Cost(frames / estimates.policy_rate(spec.run, "predict"), memory=memory)
