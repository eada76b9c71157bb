"""Closed loop: the policy annotates new worlds with its own clicks.

Screens of many rollouts are encoded together; each rollout remembers the tokens of its last
screens. Random numbers are seeded per rollout, so the result of a rollout does not depend on the
batch size or on its neighbors.

Rounding must not couple them either: a matrix product adds up in another order when its shape
changes, and a probability that differs in the last digit can flip a sample. So the policy always
acts on groups of the same number of screens, padded with empty ones. Within one shape and on one
thread, a row's result does not depend on its position (a test holds this bit by bit).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lastmile.errors import LastmileError
from lastmile.policy.policy import NO_CLICK, Memory, Policy
from lastmile.simulation.pool import Pool, Rollout, describe
from lastmile.simulation.session import Step
from lastmile.simulation.trajectory import Trajectories

ROWS = 32
"""Rollouts played at a time."""
GROUP = 8
"""Screens in a group that the policy acts on."""
SAME = 5
"""Distance, logical px, within which two placements are the same; the judges of the tasks allow as
much."""


def play_rollouts(
    policy: Policy,
    rollouts: Iterable[Rollout],
    temperature: float,
    seed: int = 0,
    rows: int = ROWS,
    history: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Rollout]:
    """Let a policy play rollouts to their ends.

    Args:
        policy: The policy.
        rollouts: The rollouts; no number occurs twice.
        temperature: Temperature of the sampled clicks, above 0.
        seed: Seeds the random numbers of a rollout, together with its number.
        rows: Rollouts played at a time.
        history: For rollouts that start in the middle of an episode, by their numbers: the screens
            (n, 126, 168, 3) uint8 and clicks (n, 2) that the policy remembers.
        progress: Called with the number of clicks after each round.

    Returns:
        The rollouts, in the order of their numbers.

    Raises:
        LastmileError: The temperature is not above 0.
    """
    if temperature <= 0:
        raise LastmileError(f"temperature: expected more than 0, got {temperature}")
    pool = Pool(rollouts, rows)
    memory = policy.begin(rows + GROUP - 1)  # the last rows are for the empty screens
    generators: dict[int, np.random.Generator] = {}  # by row
    previous = np.full((rows, 2), NO_CLICK, np.int64)  # the last click of each row
    finished: list[Rollout] = []

    while True:
        for row in pool.refill():
            rollout = pool[row]
            generators[row] = np.random.default_rng(np.random.SeedSequence([seed, rollout.number]))
            memory.reset([row])
            previous[row] = NO_CLICK
            if history and rollout.number in history:
                screens_before, clicks_before = history[rollout.number]
                _remember(policy, memory, row, screens_before, clicks_before)
                previous[row] = clicks_before[-1]

        active = pool.active()
        if not active:
            return sorted(finished, key=lambda rollout: rollout.number)

        screens = np.stack([pool[row].observe() for row in active])  # (B, 126, 168, 3)
        uniforms = np.stack([generators[row].random(2) for row in active]).astype(np.float32)
        clicks = _act(
            policy,
            memory,
            rows,
            active,
            torch.from_numpy(screens),
            torch.from_numpy(previous[active]),
            temperature,
            torch.from_numpy(uniforms),
        )
        for row, (x, y) in zip(active, clicks.tolist()):
            pool[row].click(x, y)
            previous[row] = x, y

        finished += pool.collect()
        if progress:
            progress(len(active))


def _remember(
    policy: Policy, memory: Memory, row: int, screens: np.ndarray, clicks: np.ndarray
) -> None:
    """Put the last screens of a history, with the click before each, into a row of the memory."""
    window = policy.settings.window
    before = np.concatenate([[NO_CLICK], clicks[:-1]])
    policy.remember(
        memory, row, torch.from_numpy(screens[-window:]), torch.from_numpy(before[-window:])
    )


def _act(
    policy: Policy,
    memory: Memory,
    spare: int,
    rows: list[int],
    screens: Tensor,
    previous: Tensor,
    temperature: float,
    uniforms: Tensor,
) -> np.ndarray:
    """Make one step of B rollouts in groups of one size; further arguments as in `Policy.act`.

    Args:
        spare: First of the GROUP - 1 rows of the memory that belong to no rollout.

    Returns:
        The clicks, (B, 2) int64.
    """
    missing = -len(rows) % GROUP
    index = torch.tensor([*rows, *range(spare, spare + missing)])  # (B + missing,)
    screens, previous, uniforms = (
        torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) for x in (screens, previous, uniforms)
    )
    groups = zip(*(x.split(GROUP) for x in (index, screens, previous, uniforms)))
    clicks = [policy.act(memory, i, s, p, temperature, u) for i, s, p, u in groups]
    return torch.cat(clicks)[: len(rows)].cpu().numpy()


def make_rollouts(trajectories: Trajectories, max_factor: int) -> list[Rollout]:
    """Make a rollout on the world of each recorded episode, the same for all policies.

    Args:
        trajectories: The recording.
        max_factor: Rollouts are truncated after this many times the annotator's median length.
    """
    limit = int(max_factor * np.median(trajectories.episodes["steps"]))
    rollouts = []
    for number in range(len(trajectories.episodes)):
        replay = trajectories.open(number)
        task = trajectories.source.task
        rollouts.append(Rollout(number, task, replay.world, replay.look, limit))
    return rollouts


def annotator_table(trajectories: Trajectories) -> pd.DataFrame:
    """Return the annotator's recorded episodes in the columns of `closed_loop`, one row each."""
    rows = []
    for number in range(len(trajectories.episodes)):
        replay = trajectories.open(number)
        rollout = Rollout(number, replay.task.name, replay.world, replay.look, len(replay.clicks))
        for _ in rollout.play(replay.clicks.tolist()):
            pass
        rows.append(_row(rollout))
    return pd.DataFrame(rows)


def _row(rollout: Rollout) -> dict[str, float]:
    return {**describe(rollout), "loop": longest_loop(rollout.steps)}


def longest_loop(steps: Iterable[Step]) -> int:
    """Return how many times in a row the same annotation was made and taken back, at most.

    Annotations are the same if their clicks hit the same widget, within `SAME` px. Steps between
    them that change no annotation do not count.
    """
    longest = loop = 0
    made: Step | None = None  # the newest change of the annotation, if it added one
    undone: Step | None = None  # what was taken back before that
    for step in steps:
        change = len(step.after.edits) - len(step.before.edits)
        if change > 0:
            if made is not None:  # the one before was not taken back
                undone = None
            made = step
        elif change < 0:
            if made is None:  # what is taken back is older
                loop, undone = 0, None
                continue
            again = (
                undone is not None
                and made.hit.widget == undone.hit.widget
                and math.dist(made.click, undone.click) <= SAME
            )
            loop = loop + 1 if again else 1
            longest = max(longest, loop)
            made, undone = None, made
    return longest


def closed_loop(
    policy: Policy,
    trajectories: Trajectories,
    temperature: float,
    max_factor: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Play a policy on the worlds of recorded episodes.

    Args:
        policy: The policy.
        trajectories: The recording.
        temperature: Temperature of the sampled clicks.
        max_factor: Rollouts are truncated after this many times the annotator's median length.
        seed: Seed of the sampled clicks.
        progress: Called with the number of clicks after each round.

    Returns:
        One row per episode, with the columns of `describe`, and `loop` (see `longest_loop`).
    """
    rollouts = make_rollouts(trajectories, max_factor)
    played = play_rollouts(policy, rollouts, temperature, seed, progress=progress)
    return pd.DataFrame([_row(rollout) for rollout in played])
