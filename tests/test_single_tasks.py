"""What single tasks promise beyond the contract."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from lastmile.screen import shrink
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Source, record
from lastmile.tasks import get_task
from lastmile.tasks.annotator import FARTHEST, NoticeByChance, click, make_annotator
from lastmile.tasks.cell_lineage.interface import RING, CellLineageInterface, State
from lastmile.tasks.channel_alignment.registration import GRID, fit_map
from lastmile.tasks.limb_tracking.interface import Point
from lastmile.tasks.limb_tracking.world import CLEAR, EDGE, HIDDEN, LimbTrackingWorld
from lastmile.tasks.shape_matching.interface import NOTHING, Match, ShapeMatchingInterface
from lastmile.tasks.shape_matching.interface import State as MatchingState
from lastmile.tasks.shape_matching.picture import HALF
from lastmile.tasks.shape_matching.world import LOST, ShapeMatchingWorld, difference
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


# Shape matching


def views(world: ShapeMatchingWorld, left: bool) -> list[np.ndarray]:
    """The surroundings of each specimen as a policy sees them, (24, 24) of gray."""
    interface = ShapeMatchingInterface(world)
    slide = world.before if left else world.after
    shown = []
    for field, (u, v) in zip(slide.field.tolist(), slide.centers.round().astype(int).tolist()):
        state = MatchingState(before=field) if left else MatchingState(after=field)
        half = (
            interface.image(state)[:, : HALF - 2] if left else interface.image(state)[:, HALF + 2 :]
        )
        padded = np.pad(half, ((32, 32), (32, 32), (0, 0)))
        x = u if left else u - HALF - 2
        shown.append(shrink(padded[v : v + 64, x : x + 64]).mean(2).astype(np.float32))
    return shown


def test_specimens_can_be_told_apart_on_the_screen_of_a_policy() -> None:
    """Most are nearest to their match, compared pixel by pixel in steps of 15 degrees."""
    right = total = 0
    for seed in range(4):
        world: ShapeMatchingWorld = get_task("shape_matching").world(seed, "full")
        before, after = views(world, True), views(world, False)
        for source, partner in enumerate(world.partner.tolist()):
            turns = [cv2.getRotationMatrix2D((11.5, 11.5), turn, 1) for turn in range(0, 360, 15)]
            turned = np.stack(
                [cv2.warpAffine(before[source], turn, (24, 24), borderValue=24) for turn in turns]
            )
            apart = [np.abs(turned - other).mean((1, 2)).min() for other in after]
            right += partner != LOST and int(np.argmin(apart)) == partner
            total += partner != LOST
    assert total > 25 and right > 0.7 * total, (right, total)


@pytest.mark.parametrize("difficulty", ("short", "full"))
def test_specimens_have_one_match_and_look_alikes(difficulty: str) -> None:
    lost, new, doubtful = set(), set(), []
    for seed in range(40):
        world: ShapeMatchingWorld = get_task("shape_matching").world(seed, difficulty)
        matched = [one for one in world.partner.tolist() if one != LOST]
        assert len(set(matched)) == len(matched)
        for source, partner in enumerate(world.partner.tolist()):
            if partner != LOST:
                same = difference(world.before.kinds[source], world.after.kinds)
                assert np.flatnonzero(same == 0).tolist() == [partner]
        lost.add(len(world.partner) - len(matched))
        new.add(len(world.after.field) - len(matched))
        doubtful.append(sum(bool(world.alike(source)) for source in range(len(world.partner))))

        for slide in (world.before, world.after):
            for specimen, (u, v) in enumerate(slide.centers.tolist()):
                assert slide.at(int(slide.field[specimen]), u, v) == specimen
                assert slide.radii[specimen].min() > FARTHEST
            assert set(slide.field.tolist()) == set(range(slide.fields))
    assert lost == ({0, 1} if difficulty == "short" else {0, 1, 2})
    assert new == ({1, 2} if difficulty == "short" else {1, 2, 3})
    assert np.mean(doubtful) >= (1 if difficulty == "short" else 3)


def test_matches_are_replaced_by_later_decisions_and_undone_where_they_are() -> None:
    task = get_task("shape_matching")
    world: ShapeMatchingWorld = task.world(1, "full")
    interface = ShapeMatchingInterface(world)
    source = next(one for one in range(len(world.partner)) if world.partner[one] != LOST)
    partner = int(world.partner[source])
    right = Match(source, int(world.after.field[partner]), *world.after.center(partner))
    other = (partner + 1) % len(world.after.field)
    wrong = Match(source, int(world.after.field[other]), *world.after.center(other))

    assert task.judge(world, (), right) == RIGHT
    assert task.judge(world, (), Match(source)) == "lapse"
    assert task.judge(world, (), wrong) == "confusion"
    assert task.judge(world, (right,), wrong) == "lapse"
    assert task.judge(world, (), Match(source, right.field, 130.0, 2.0)) == "slip"
    assert [one.edit for one in task.mistakes(world, MatchingState((right, wrong)))] == [1]
    assert task.mistakes(world, MatchingState((wrong, right))) == ()

    away = MatchingState((wrong, right), before=1 - int(world.before.field[source]), after=0)
    back = interface.press(away, "undo")
    assert back.edits == (wrong,) and back.selected == source
    assert (back.before, back.after) == (int(world.before.field[source]), right.field)


def test_nothing_can_be_matched_before_a_specimen_is_selected() -> None:
    world: ShapeMatchingWorld = get_task("shape_matching").world(1, "short")
    interface = ShapeMatchingInterface(world)
    start = interface.start()
    left = interface.screen(start).canvas
    assert interface.hit(start, left.x + HALF + 9, left.y + 40).kind == "invalid"
    assert interface.touch(start, HALF + 9, 40) == start
    selected = interface.touch(start, *world.before.center(0))
    assert selected.selected == 0 and interface.press(selected, "+before").selected == NOTHING
    turned = interface.press(selected, "turn-left")
    assert not np.array_equal(interface.image(turned), interface.image(selected))
    assert interface.touch(turned, HALF + 9, 40).edits == (Match(0, 0, HALF + 9, 40),)


def test_all_matches_can_be_wrong_and_are_decided_again() -> None:
    task = get_task("shape_matching")
    for seed in range(10):
        world: ShapeMatchingWorld = task.world(seed, "full")
        edits = (*(Match(one) for one in range(len(world.partner))), Match(0, 0, 130.0, 2.0))
        session = Session(task, world, state=MatchingState(edits))
        rng = np.random.default_rng(seed)
        annotator = make_annotator(task, world, session.interface, "oracle", rng)
        while not session.done and len(session.steps) < 200:
            session.click(*click(annotator.next(session.state), session.screen(), rng))
        assert session.score.success
