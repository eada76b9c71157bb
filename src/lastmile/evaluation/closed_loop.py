"""Closed loop: the policy works on new worlds with its own clicks.

Screens of many episodes are encoded together; each keeps the tokens of its last screens. The random numbers of an episode come from its own
seed, so that its result depends on neither the size of the batch nor its neighbors. Nor does rounding: matrix products add up in another order
when their shapes change, and a probability that differs in the last digit can turn a sample. So the policy always works on groups of the same number
of screens, filled up with empty ones; within one shape and on one thread, what becomes of a row does not depend on where it stands (a test holds this bit by bit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lastmile.errors import LastmileError
from lastmile.policy.policy import NOWHERE, Memory, Policy
from lastmile.screen.widgets import KINDS
from lastmile.simulation.pool import Pool, Rollout
from lastmile.simulation.trajectory import Source, Trajectories
from lastmile.tasks.task import RIGHT

ROWS = 32
"""Episodes played at a time."""
GROUP = 8
"""Screens that the policy works on together."""


def roll_out(
    policy: Policy,
    rollouts: Iterable[Rollout],
    temperature: float,
    seed: int = 0,
    rows: int = ROWS,
    history: dict[int, tuple[np.ndarray, np.ndarray]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Rollout]:
    """Play all jobs to their ends and return them in the order of their numbers.

    seed: with a job's number the seed of its random numbers. history: by job number, the screens (n, 126, 168, 3) and clicks (n, 2) that the
    policy remembers from before the job's first state. progress: called with the number of clicks after each round.
    Raises ValueError for a temperature that is not above 0.
    """
    if temperature <= 0:
        raise LastmileError(f"temperature: expected more than 0, got {temperature}")
    pool, memory = (
        Pool(rollouts, rows),
        policy.begin(rows + GROUP - 1),
    )  # the last ones are for the empty screens
    generators: dict[int, np.random.Generator] = {}
    last = np.full((rows, 2), NOWHERE, np.int64)
    finished: list[Rollout] = []
    while True:
        for row in pool.refill():
            rollout = pool.rows[row]
            generators[row] = np.random.default_rng(np.random.SeedSequence([seed, rollout.number]))
            memory.reset([row])
            last[row] = NOWHERE
            if history and rollout.number in history:
                seen, clicks = history[rollout.number]
                before = np.concatenate([[NOWHERE], clicks[:-1]])
                window = policy.settings.window
                policy.remember(
                    memory,
                    row,
                    torch.from_numpy(seen[-window:]),
                    torch.from_numpy(before[-window:]),
                )
                last[row] = clicks[-1]
        active = pool.active()
        if not active:
            return sorted(finished, key=lambda rollout: rollout.number)
        screens = torch.from_numpy(np.stack([pool.rows[row].observe() for row in active]))
        uniforms = torch.from_numpy(
            np.stack([generators[row].random(2) for row in active]).astype(np.float32)
        )
        clicks = act(
            policy,
            memory,
            rows,
            active,
            screens,
            torch.from_numpy(last[active]),
            temperature,
            uniforms,
        )
        for row, (x, y) in zip(active, clicks.tolist()):
            pool.rows[row].click(x, y)
            last[row] = x, y
        finished += pool.collect()
        if progress:
            progress(len(active))


def act(
    policy: Policy,
    memory: Memory,
    spare: int,
    rows: list[int],
    screens: Tensor,
    previous: Tensor,
    temperature: float,
    uniforms: Tensor,
) -> np.ndarray:
    """One step of some rollouts, (B, 2) clicks, in groups of one size. What is not named is as in `Policy.act`.

    spare: the first of GROUP - 1 rows of the memory that belong to no rollout.
    """
    missing = -len(rows) % GROUP
    index = torch.tensor([*rows, *range(spare, spare + missing)])
    screens, previous, uniforms = (
        torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) for x in (screens, previous, uniforms)
    )
    parts = zip(*(x.split(GROUP) for x in (index, screens, previous, uniforms)))
    clicks = [policy.act(memory, i, s, p, temperature, u) for i, s, p, u in parts]
    return torch.cat(clicks)[: len(rows)].cpu().numpy()


def rollouts(source: Source, trajectories: Trajectories, max_factor: int) -> list[Rollout]:
    """One job for each recorded episode: the same worlds for all policies. Cut off after `max_factor` times the annotator's median length."""
    limit = int(max_factor * np.median(trajectories.episodes["steps"]))
    made = []
    for number in range(len(trajectories.episodes)):
        replay = trajectories.open(number)
        made.append(Rollout(number, source.task, replay.world, replay.look, limit))
    return made


def describe(rollout: Rollout) -> dict[str, float]:
    """An episode in numbers: score, success, finished, steps, coverage, clicks by kind, placements, those that are mistakes, mistakes left."""
    score = rollout.score
    counts = Counter(step.hit.kind for step in rollout.steps)
    verdicts = [v for v in map(rollout.verdict, rollout.steps) if v]
    return {
        "episode": rollout.number,
        "score": score.score,
        "success": score.success,
        "finished": rollout.done,
        "steps": len(rollout.steps),
        "coverage": score.details.get("coverage", score.score),
        **{kind: counts[kind] for kind in KINDS},
        "placements": len(verdicts),
        "mistakes": sum(v != RIGHT for v in verdicts),
        "left": len(rollout.mistakes),
    }


def annotator_table(trajectories: Trajectories) -> pd.DataFrame:
    """The recorded episodes of the annotator in the columns of `describe`."""
    rows = []
    for number in range(len(trajectories.episodes)):
        replay = trajectories.open(number)
        rollout = Rollout(number, replay.task.name, replay.world, replay.look, len(replay.clicks))
        for _ in rollout.play(replay.clicks.tolist()):
            pass
        rows.append(describe(rollout))
    return pd.DataFrame(rows)


def closed_loop(
    policy: Policy,
    trajectories: Trajectories,
    temperature: float,
    max_factor: int,
    seed: int,
    progress=None,
) -> pd.DataFrame:
    """The policy on the worlds of recorded episodes, one row an episode (columns of `describe`)."""
    made = rollouts(trajectories.source, trajectories, max_factor)
    return pd.DataFrame(
        [
            describe(rollout)
            for rollout in roll_out(policy, made, temperature, seed, progress=progress)
        ]
    )
