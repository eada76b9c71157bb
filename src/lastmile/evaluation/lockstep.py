"""Closed loop in lockstep: many worlds on a GPU and all cores.

The same rollouts as in `closed_loop`, for large numbers of them. Worker processes step the worlds
and draw the screens; the policy acts on half of the rows at a time while they work on the other
half. It always acts on the same number of rows, so that no row's result depends on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from lastmile.errors import LastmileError
from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.simulation.shared_rows import EMPTY, FRESH, SIDES, SharedRows, World

ROWS = 512
"""Rollouts played at a time."""


def lockstep(
    policy: Policy,
    worlds: Sequence[World],
    temperature: float,
    seed: int,
    workers: int,
    rows: int = ROWS,
    half: bool = False,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Play a policy on worlds, of several tasks if wanted.

    Args:
        policy: The policy, on the device on which it is to act.
        worlds: The worlds, as `worlds_of` lists them.
        temperature: Temperature of the sampled clicks, above 0.
        seed: Seeds the random numbers of a rollout, together with its number.
        workers: Processes that step the worlds.
        rows: Rollouts played at a time, an even number; half of them are acted on at once.
        half: Whether the policy computes in bfloat16 where that is precise enough.
        progress: Called with the number of clicks after each round.

    Returns:
        One row per world, in their order: its `task`, and the columns of `describe`.

    Raises:
        LastmileError: The temperature is not above 0, there are no rows or workers, or a worker
            process died.
    """
    if temperature <= 0:
        raise LastmileError(f"temperature: expected more than 0, got {temperature}")
    with (
        SharedRows(worlds, seed, rows, workers) as shared,
        torch.autocast(policy.device.type, torch.bfloat16, enabled=half),
    ):
        arrays = shared.arrays
        memory = policy.begin(rows)
        index = torch.arange(rows, device=policy.device).view(SIDES, -1)
        previous = np.full((SIDES, arrays.rows, 2), NO_CLICK, np.int32)
        while shared.ended < len(worlds):
            side = shared.wait()
            states = arrays.states[side]
            count = int((states != EMPTY).sum())
            if count:
                fresh = np.flatnonzero(states == FRESH)
                if len(fresh):
                    memory.reset(index[side, torch.from_numpy(fresh)])
                    previous[side, fresh] = NO_CLICK
                # Empty rows are acted on too: what they hold does not matter.
                clicks = policy.act(
                    memory,
                    index[side],
                    torch.from_numpy(arrays.screens[side]),
                    torch.from_numpy(previous[side]),
                    temperature,
                    torch.from_numpy(arrays.uniforms[side]),
                )
                previous[side] = arrays.clicks[side] = clicks.cpu().numpy()
            shared.step()
            if progress:
                progress(count)
        shared.finish()

    described = [shared.described[number] for number in range(len(worlds))]
    return pd.DataFrame(
        [{"task": world.source.task, **row} for world, row in zip(worlds, described)]
    )
