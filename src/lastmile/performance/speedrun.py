"""Speedrun: how much training reaches a fixed bar.

The bar asks for both halves of annotation: to place as the annotator does (placement within 5 px of
at least `PLACEMENT` of its ceiling) and to notice mistakes (first undos of at least `UNDO` of
theirs), teacher-forced on validation worlds. A run has a fixed number of frames, as its learning
rate falls to its end; the record of a task is the smallest number with which every seed passes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from lastmile.config import PolicySettings, Training
from lastmile.evaluation import skills
from lastmile.policy.policy import Policy
from lastmile.policy.sizes import TRAINING_PASSES, flops_per_frame
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Source, Trajectories

PLACEMENT = 0.9
"""Share of the ceiling of placement within 5 px that is to be reached."""
UNDO = 0.5
"""Share of the ceiling of first undos that is to be reached."""
EPISODES = 2500
"""Distinct episodes to learn from."""
VALIDATION = 100
"""Episodes, in worlds of the validation split, on which the bar is measured."""


class Result(NamedTuple):
    """One run to the bar.

    Attributes:
        seed: Seed of the training run.
        frames: Frames seen in training.
        core_seconds: Processor time of training; recording and measuring are not counted.
        operations: Floating-point operations of training.
        placement: Placement within 5 px, as a share of its ceiling.
        undo: First undos, as a share of their ceiling.
    """

    seed: int
    frames: int
    core_seconds: float
    operations: float
    placement: float
    undo: float

    @property
    def passed(self) -> bool:
        """Whether the run reached the bar."""
        return self.placement >= PLACEMENT and self.undo >= UNDO


def measure(policy: Policy, recording: Trajectories, store: TokenStore) -> tuple[float, float]:
    """Return placement within 5 px and first undos, as shares of their ceilings."""
    clicks = {
        "policy": skills.predictions(policy, store)[0],
        "ceiling": skills.ceiling(recording),
    }
    hits = skills.measure(recording, clicks).groupby(["predictor", "skill"])["hits"].sum()
    placement, undo = (
        hits["policy", skill] / max(hits["ceiling", skill], 1) for skill in ("placement@5", "undo")
    )
    return float(placement), float(undo)


def record(folder: Path, task: str, split: str, episodes: int) -> tuple[Path, Path]:
    """Record and tokenize episodes of short worlds; return the trajectories and the tokens."""
    steps = folder / f"{split}.parquet"
    frames = folder / f"{split}.tokens"
    trajectory.write(steps, Source(task, split, 0), episodes)
    tokens.write(frames, trajectory.read(steps))
    return steps, frames


def speedrun(
    task: str,
    frames: int,
    seeds: Sequence[int],
    policy: PolicySettings,
    training: Training,
    say: Callable[[str], None],
    episodes: int = EPISODES,
    validation: int = VALIDATION,
) -> list[Result]:
    """Train policies for one task, and measure how close each comes to the bar.

    Args:
        task: Name of the task.
        frames: Frames that each run sees.
        seeds: One run for each.
        policy: Shape of the policies.
        training: How they are trained; its frames and seeds are not used.
        say: Called with a line before each part and after each run.
        episodes: Distinct episodes to learn from.
        validation: Episodes on which the bar is measured.

    Returns:
        One result per seed.
    """
    from lastmile.training.loop import train

    training = training.model_copy(update={"frames": frames, "snapshots": 1})
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"recording {episodes:,} episodes of {task}, and {validation} in validation worlds")
        _, train_tokens = record(folder, task, "train", episodes)
        steps, validation_tokens = record(folder, task, "validation", validation)
        recording = trajectory.read(steps)
        for seed in seeds:
            out = folder / f"seed{seed}"
            torch.set_num_threads(training.threads)
            start = time.process_time()
            train(
                folder / f"run{seed}",
                policy,
                training,
                seed,
                [TokenStore(train_tokens)],
                [],
                {"speedrun": task, "seed": seed},
                out,
            )
            seconds = time.process_time() - start
            placement, undo = measure(Policy.load(out), recording, TokenStore(validation_tokens))
            operations = TRAINING_PASSES * flops_per_frame(policy) * frames
            results.append(Result(seed, frames, seconds, operations, placement, undo))
            say(row(task, results[-1:]))
    return results


def row(task: str, results: Sequence[Result]) -> str:
    """Return one line of the table for runs of one task: medians, and whether all passed."""
    verdict = "passed" if all(result.passed for result in results) else "missed"

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    return (
        f"| {task} | {len(results)} | {results[0].frames:,} "
        f"| {median([r.core_seconds for r in results]):,.0f} "
        f"| {median([r.operations for r in results]):.2e} "
        f"| {median([r.placement for r in results]):.2f} "
        f"| {median([r.undo for r in results]):.2f} | {verdict} |"
    )
