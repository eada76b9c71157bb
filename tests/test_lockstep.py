"""Lockstep: the rollouts of `play_rollouts`, in many processes; errors are told, and all end."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lastmile.errors import LastmileError
from lastmile.evaluation.closed_loop import closed_loop
from lastmile.evaluation.lockstep import lockstep
from lastmile.policy.memory import Memory
from lastmile.policy.policy import Policy
from lastmile.simulation.shared_rows import EMPTY, FRESH, GOING, SharedRows, World, worlds_of
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import Trajectories, record

pytestmark = pytest.mark.xdist_group("workers")

DOTS = Source("colored_dots", "test", 3)
SHAPES = Source("shape_matching", "test", 3)


def test_it_is_the_closed_loop(policy: Policy, recorded: Trajectories) -> None:
    """Sides of 8 rows give products of the same shape as the groups of `play_rollouts`."""
    worlds = [world._replace(limit=6) for world in worlds_of(SHAPES, 15, 1)]
    worlds += worlds_of(recorded.source, 4, 1)
    clicks: list[int] = []
    table = lockstep(policy, worlds, 0.4, 7, workers=2, rows=16, progress=clicks.append)
    assert list(table["task"]) == 15 * ["shape_matching"] + 4 * ["colored_dots"]
    assert list(table["episode"]) == [*range(15), *range(4)]
    assert (table["steps"][:15] <= 6).all() and sum(clicks) == table["steps"].sum()
    expected = closed_loop(policy, recorded, 0.4, 1, 7).drop(columns="loop")
    ours = table[15:].drop(columns="task").reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, expected, check_exact=True)


def test_half_precision_plays_too(policy: Policy) -> None:
    worlds = [World(i, DOTS, i, 3) for i in range(3)]
    table = lockstep(policy, worlds, 0.4, 7, workers=1, rows=4, half=True)
    assert (table["steps"] <= 3).all() and len(table) == 3


def test_worlds_have_the_limit_of_the_annotator() -> None:
    lengths = [len(record(DOTS, i).columns["x"]) for i in range(3)]
    assert worlds_of(DOTS, 3, 2) == [
        World(i, DOTS, i, int(2 * np.median(lengths))) for i in (0, 1, 2)
    ]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"temperature": 0.0}, "temperature: expected more than 0"),
        ({"rows": 3}, "rows: expected an even number"),
        ({"workers": 0}, "workers: expected at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(policy: Policy, change: dict[str, Any], words: str) -> None:
    arguments = {"temperature": 1.0, "seed": 0, "workers": 1, **change}
    with pytest.raises(LastmileError, match=words):
        lockstep(policy, [], **arguments)


def test_rows_are_refilled_and_their_random_numbers_are_their_own() -> None:
    worlds = [World(10 + i, DOTS, i, 2) for i in range(5)]
    seen: dict[int, list[np.ndarray]] = {0: [], 1: []}
    with SharedRows(worlds, 4, rows=2, workers=3) as shared:
        while shared.ended < len(worlds):
            side = shared.wait()
            if shared.arrays.states[side, 0] == FRESH:
                seen[side].append(shared.arrays.uniforms[side, 0].copy())
            assert shared.arrays.states[side, 0] in (EMPTY, GOING, FRESH)
            shared.arrays.clicks[side] = 0
            shared.step()
        shared.finish()
    assert [shared.described[i]["episode"] for i in range(5)] == [10, 11, 12, 13, 14]
    expected = [
        np.random.default_rng(np.random.SeedSequence([4, 10 + i])).random(2) for i in range(5)
    ]
    # The sides take turns, and so do the worlds.
    assert np.allclose(np.stack(seen[0] + seen[1]), np.stack(expected[::2] + expected[1::2]))
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_an_error() -> None:
    with pytest.raises(LastmileError, match="a worker process died"):
        with SharedRows([World(0, DOTS, 0, 9)], 0, rows=4, workers=2) as shared:
            multiprocessing.active_children()[0].kill()
            for _ in range(9):
                shared.wait()
                shared.step()
    assert not multiprocessing.active_children()


def test_an_error_in_a_worker_is_shown() -> None:
    world = World(0, Source("no_task", "test", 0), 0, 9)
    with pytest.raises(RuntimeError, match="(?s)worker process:.*no_task"):
        with SharedRows([world], 0, rows=2, workers=1) as shared:
            shared.wait()


def test_a_memory_drops_its_oldest_frames() -> None:
    memory = Memory(torch.zeros(3, 2, 1, 1), torch.zeros(3, dtype=torch.long))
    frames = torch.arange(1.0, 9.0).view(4, 2, 1, 1)  # two rows at a time
    rows = torch.tensor([2, 0])
    for frame, expected in zip(frames, ([1, 0], [1, 3], [3, 5], [5, 7])):
        windows, lengths = memory.append(rows, frame)
        assert windows[0].flatten().tolist() == expected
        assert (windows == memory.tokens[rows]).all() and (lengths == memory.lengths[rows]).all()
    assert memory.lengths.tolist() == [2, 0, 2]
