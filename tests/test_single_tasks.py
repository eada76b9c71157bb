"""What single tasks promise beyond the contract."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Source, record
from lastmile.tasks import get_task
from lastmile.tasks.annotator import NoticeByChance, make_annotator
from lastmile.tasks.cell_lineage.interface import RING, CellLineageInterface, State
from lastmile.tasks.channel_alignment.registration import GRID, fit_map
from lastmile.tasks.limb_tracking.interface import Point
from lastmile.tasks.limb_tracking.world import CLEAR, EDGE, HIDDEN, LimbTrackingWorld
from lastmile.tasks.task import RIGHT


@pytest.mark.parametrize("bend", [0, 4, 10])
def test_landmarks_nearly_in_a_line_only_shift_the_overlay(bend: int) -> None:
    """A spline through them would squeeze the channel beside the line, where they say nothing."""
    pairs = tuple(
        (u, v, u + 9, v - 6 + jitter)
        for u, v, jitter in ((40, 60, 1), (120, 60 + bend, -2), (200, 60, 1))
    )
    moved = fit_map(pairs) - GRID
    assert np.ptp(moved.reshape(-1, 2), axis=0).max() < 1e-9
    assert np.allclose(moved[0, 0], (9, -6))


def test_landmarks_apart_give_a_spline() -> None:
    pairs = ((40, 60, 40, 60), (200, 60, 216, 60), (120, 200, 128, 200))
    assert np.ptp((fit_map(pairs) - GRID)[..., 0]) > 8


def test_a_paw_whose_edge_shows_may_be_marked_or_called_hidden() -> None:
    task = get_task("limb_tracking")
    found = {HIDDEN: 0, EDGE: 0, CLEAR: 0}
    for seed in range(20):
        world: LimbTrackingWorld = task.world(seed, "full")
        for frame, part in np.argwhere(world.seen >= 0).tolist():
            seen = int(world.seen[frame, part])
            if seen in found:
                found[seen] += 1
                marked = task.judge(world, (), Point(frame, part, *world.point(frame, part)))
                assert (marked == RIGHT) == (seen != HIDDEN)
                assert (task.judge(world, (), Point(frame, part)) == RIGHT) == (seen != CLEAR)
    assert min(found.values()) > 5


def test_marks_of_cell_lineage_leave_the_nuclei_visible() -> None:
    """Nothing but a small cross is drawn within a nucleus, 7 px, of a point of this frame."""
    source = Source("cell_lineage", "test", 5)
    task, world = get_task("cell_lineage"), source.world(0)
    interface = CellLineageInterface(world)
    state = record(source, 0).state
    assert isinstance(state, State)
    seen = 0
    for t in range(world.frames):
        marks = interface.marks(interface.show(state, t, 0))
        rings = [mark for mark in marks if mark.kind == "ring"]
        seen += len(rings)
        assert all(mark.size >= 10 for mark in rings)
        for line in (mark for mark in marks if mark.kind == "line"):
            ends = [math.dist(line.points[1], ring.points[0]) for ring in rings]
            assert min(abs(end - RING) for end in ends) < 0.01
        assert all(mark.size <= 3 for mark in marks if mark.kind in ("dot", "cross"))
    assert task.score(world, state).success and seen >= 7


def test_a_slip_is_noticed_the_sooner_the_farther_it_is_off() -> None:
    task = get_task("colored_dots")
    world = task.world((3, 0), "short")
    session = Session(task, world)
    session.click(session.screen().canvas.x + 3, session.screen().canvas.y + 3)
    assert [one.kind for one in session.mistakes] == ["slip"]
    noticed = []
    for off in (6.5, 9.0, 12.0, 18.0):
        annotator = make_annotator(
            task, world, task.interface(world), "typical", np.random.default_rng(0)
        )
        annotator.offsets = frozenset({(annotator.key(session.state, session.mistakes[0]), off)})
        strategy = NoticeByChance(0.75, 0.5, 0.95)
        seen = [strategy(annotator, session.state, session.mistakes) for _ in range(1000)]
        noticed.append(np.mean([bool(one) for one in seen]))
    assert noticed[0] < noticed[1] < noticed[2] and noticed[2:] == pytest.approx(
        [0.5, 0.5], abs=0.05
    )
