"""The contract of a task, checked for every task that is registered: worlds, screens, annotators, judgments and labels."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lastmile.config import SPLITS
from lastmile.evaluation.annotators import check, random_click
from lastmile.screen import CANVAS, HEIGHT, WIDTH, Look, draw, draw_small, draw_small_series
from lastmile.screen.layout import LAYOUTS
from lastmile.screen.theme import THEMES
from lastmile.screen.widgets import KINDS, NOTHING
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Replay, Source, record
from lastmile.tasks import get_task, task_names
from lastmile.tasks.annotator import PHASES, make_annotator
from lastmile.tasks.task import MISTAKES, RIGHT, digest

pytestmark = pytest.mark.parametrize("name", task_names())

PURPOSES = ("annotator", "again", "look")
SECTIONS = (
    "What it is",
    "What is seen",
    "What can be done",
    "When it ends",
    "How it is scored",
    "Mistakes",
    "Sources",
)


def source(name: str, **other) -> Source:
    return Source(name, "test", 5, **other)


@cache
def world(name: str):
    """The world of the recorded episode."""
    return source(name).world(0)


@cache
def episode(name: str):
    return record(source(name), 0)


def replay(name: str) -> Replay:
    task, one = get_task(name), episode(name)
    clicks = np.array([one.columns["x"], one.columns["y"]]).T
    return Replay(task, world(name), one.look, clicks)


def worked(name: str) -> list:
    """States along the recorded episode, the first and the finished one among them."""
    states = [step.before for step in replay(name).replay()]
    return [*states[:: max(1, len(states) // 8)], episode(name).state]


def wandered(name: str, steps: int = 60) -> list:
    """States along random valid clicks, `Done` left out."""
    session, rng = Session(get_task(name), world(name)), np.random.default_rng(3)
    for _ in range(steps):
        session.click(*random_click(session, rng))
    return session.states


# Worlds


def test_a_seed_gives_one_world_and_another_seed_another(name):
    task = get_task(name)
    one, same, other = (task.world((5, seed), "short") for seed in (1, 1, 2))
    assert digest(one) == digest(same) != digest(other)
    first, second = task.interface(one), task.interface(same)
    state = first.start()
    np.testing.assert_array_equal(first.image(state), second.image(state))
    assert not np.array_equal(first.image(state), task.interface(other).image(state))
    assert digest(task.world((5, 1), "full")) != digest(one)


def test_no_two_tasks_share_a_random_stream(name, monkeypatch):
    first = {}
    for task in task_names():
        monkeypatch.setattr(
            type(get_task(task)),
            "make_world",
            staticmethod(lambda rng, difficulty: tuple(rng.integers(2**63, size=4).tolist())),
        )
        first[task] = {get_task(task).world((5, 1), difficulty) for difficulty in ("short", "full")}
        first[task] |= {
            tuple(Source(task, split, 5).generator(1, what).integers(2**63, size=4).tolist())
            for split in SPLITS
            for what in PURPOSES
        }
    others = set().union(*(streams for task, streams in first.items() if task != name))
    assert len(first[name]) == 1 + len(SPLITS) * len(PURPOSES) and not first[name] & others


def test_images_do_not_depend_on_when_they_are_drawn(name):
    """Nor do they change the world: recordings are made without drawing."""
    task, one = get_task(name), source(name).world(0)
    before = digest(one)
    early = task.interface(one).image(task.interface(one).start()).copy()
    assert digest(one) == before
    late = pickle.loads(pickle.dumps(source(name).world(0)))
    for state in worked(name):
        task.interface(late).image(state)
    np.testing.assert_array_equal(task.interface(late).image(task.interface(late).start()), early)


def test_images_of_equal_worlds_are_equal_in_every_view(name):
    first, second = (
        get_task(name).interface(world(name)),
        get_task(name).interface(source(name).world(0)),
    )
    for state in worked(name):
        image = first.image(state)
        assert image.shape == (CANVAS, CANVAS, 3) and image.dtype == np.uint8
        np.testing.assert_array_equal(image, second.image(state))


def test_worlds_and_states_survive_pickling(name):
    task, state = get_task(name), worked(name)[-2]
    copy = pickle.loads(pickle.dumps(world(name)))
    assert digest(copy) == digest(world(name))
    again = pickle.loads(pickle.dumps(state))
    assert again == state and hash(again) == hash(state)
    assert task.score(copy, again) == task.score(world(name), state)
    assert task.mistakes(copy, again) == task.mistakes(world(name), state)
    np.testing.assert_array_equal(
        task.interface(copy).image(again), task.interface(world(name)).image(state)
    )


def test_unknown_difficulties_and_negative_seeds_are_refused_by_name(name):
    task = get_task(name)
    assert {"short", "full"} <= set(task.difficulties)
    with pytest.raises(
        ValueError, match=rf"unknown difficulty 'huge' of task '{name}': expected one of .*short"
    ):
        task.world(1, "huge")
    with pytest.raises(ValueError, match="seed -1 is out of range"):
        task.world(-1, "short")
    with pytest.raises(ValueError, match=rf"unknown task '{name}x'; did you mean '{name}'"):
        get_task(name + "x")


def test_the_page_of_the_task_has_all_sections(name):
    page = type(get_task(name)).__doc__
    assert [section for section in SECTIONS if f"**{section}.**" not in page] == []


# Screens


@pytest.mark.parametrize("layout", LAYOUTS)
def test_widgets_lie_on_the_screen_side_by_side_and_hit_themselves(name, layout):
    interface, look = get_task(name).interface(world(name)), Look(layout)
    first = interface.screen(interface.start(), look)
    rects = [widget.rect for widget in first.widgets]
    owner = np.zeros((HEIGHT, WIDTH), int)
    for rect in (*rects, first.canvas):
        assert (
            rect.x >= 0
            and rect.y >= 0
            and rect.x + rect.width <= WIDTH
            and rect.y + rect.height <= HEIGHT
        )
        owner[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
    assert owner.max() == 1
    assert len({widget.button.id for widget in first.widgets}) == len(rects)
    for state in (*worked(name), *wandered(name)[::10]):
        screen = interface.screen(state, look)
        assert [widget.rect for widget in screen.widgets] == rects, "widgets must not move"
        for button, rect in screen.widgets:
            assert button.kind in KINDS
            hit = interface.hit(state, rect.x + rect.width // 2, rect.y + rect.height // 2, look)
            assert hit == ((button.id, button.kind, -1.0, -1.0) if button.enabled else NOTHING)
        hit = interface.hit(state, screen.canvas.x + 128, screen.canvas.y + 64, look)
        assert (
            hit[2:] == (128, 64) and hit.kind in KINDS and hit.widget == "canvas"
            if screen.canvas_live
            else hit == NOTHING
        )


def test_invalid_clicks_change_nothing(name):
    interface, look = get_task(name).interface(world(name)), Look()
    disabled = 0
    for state in (*worked(name), *wandered(name)[::10]):
        screen = interface.screen(state, look)
        corner = interface.hit(state, WIDTH - 1, HEIGHT - 1, look)
        assert corner == NOTHING and interface.apply(state, corner) == state
        for button, rect in screen.widgets:
            if not button.enabled:
                disabled += 1
                assert (
                    interface.apply(state, interface.hit(state, rect.x + 2, rect.y + 2, look))
                    == state
                )
                assert interface.press(state, button.id) == state
        if not screen.canvas_live:
            assert (
                interface.apply(
                    state, interface.hit(state, screen.canvas.x + 9, screen.canvas.y + 9, look)
                )
                == state
            )
            assert interface.touch(state, 9, 9) == state
        assert interface.touch(state, -1, 300) == state
    assert disabled
    with pytest.raises(KeyError, match="no button 'nothing'"):
        interface.press(interface.start(), "nothing")
    with pytest.raises(ValueError, match="outside the screen"):
        interface.hit(interface.start(), WIDTH, 0, look)


def test_nothing_can_be_done_in_a_finished_state(name):
    interface, done = get_task(name).interface(world(name)), episode(name).state
    screen = interface.screen(done)
    assert (
        done.done
        and not screen.canvas_live
        and not any(widget.button.enabled for widget in screen.widgets)
    )


def test_undo_takes_back_the_last_annotation(name):
    interface = get_task(name).interface(world(name))
    state = worked(name)[-2]
    while state.edits:
        edits = state.edits
        state = interface.press(state, "undo")
        assert state.edits == edits[:-1]
    assert interface.press(state, "undo") == state


def test_screens_draw_in_every_look_and_leave_the_world_alone(name):
    interface, states = get_task(name).interface(world(name)), worked(name)
    for number, layout in enumerate(LAYOUTS):
        for theme in THEMES:
            screen = interface.screen(states[(2 * number + 1) % len(states)], Look(layout, theme))
            picture = draw(screen)
            assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, draw(screen))
    assert all(0 <= interface.position(state) <= 1 for state in (*states, *wandered(name)[::10]))


def test_a_series_of_small_screens_is_made_of_small_screens(name):
    """At most one unit of rounding apart: the order of sums may differ."""
    interface, look = get_task(name).interface(world(name)), Look("split", "light")
    screens = [interface.screen(before, look) for before, _, _, _ in replay(name).replay()]
    series = draw_small_series(screens)
    for screen, small in zip(screens, series, strict=True):
        assert np.abs(draw_small(screen).astype(int) - small.astype(int)).max() <= 1


# Annotators


@pytest.mark.parametrize("start", ("start", "random"))
def test_the_oracle_always_succeeds(name, start):
    result = check(name, worlds=4, style="oracle", start=start, difficulty="short")
    assert result["success"] == 1.0
    if start == "start":
        assert result["mistakes_per_placement"] == 0.0


@pytest.mark.parametrize("start", ("start", "random"))
def test_the_typical_annotator_errs_repairs_and_succeeds(name, start):
    result = check(name, worlds=8, style="typical", start=start, difficulty="short")
    assert result["success"] >= 7 / 8
    assert result["repaired"] >= 0.9
    if (
        start == "start"
    ):  # from elsewhere, what is judged wrong may be the fault of what was there before
        assert 0.02 <= result["mistakes_per_placement"] <= 0.4
    assert set(result["verdicts"]) <= {RIGHT, *MISTAKES}
    assert set(result["phases"]) <= set(PHASES)


@pytest.mark.parametrize("style", ("random", "blind"))
def test_the_task_cannot_be_done_without_looking(name, style):
    chance = get_task(name).chance
    result = check(name, worlds=8, style=style, difficulty="short")
    if chance:
        assert result["success"] <= chance + 0.4  # 8 worlds: more than two standard deviations
        return
    assert result["success"] == 0.0
    if style == "random":
        assert result["score"] < 0.1


def test_asking_a_fork_does_not_change_the_annotator(name):
    """A recording with and without second answers is the same, and two forks with equal random numbers give equal answers."""
    plain, asked = episode(name).columns, record(source(name), 0, again=True).columns
    assert {key: plain[key] for key in plain if not key.startswith("again")} == {
        k: asked[k] for k in asked if not k.startswith("again")
    }
    assert all(x >= 0 for x in asked["again_x"])
    task = get_task(name)
    interface = task.interface(world(name))
    for state in (*worked(name)[:-1], *wandered(name)[::15]):
        annotator = make_annotator(
            task, world(name), interface, "typical", np.random.default_rng(0)
        )
        one, same = (annotator.fork(np.random.default_rng(1)).next(state) for _ in range(2))
        assert one == same
        assert (
            annotator.noticed == frozenset() and annotator.phase == "" and annotator.edits is None
        )


def test_a_finished_state_is_not_worked_on(name):
    task = get_task(name)
    annotator = make_annotator(
        task, world(name), task.interface(world(name)), "typical", np.random.default_rng(0)
    )
    with pytest.raises(ValueError, match="finished state"):
        annotator.next(episode(name).state)


# Trajectories, judgments and scores


def test_a_replay_goes_through_the_same_states(name):
    one = episode(name)
    steps = list(replay(name).replay())
    assert steps[-1].after == one.state and one.state.done
    assert [step.hit.widget for step in steps] == one.columns["widget"]
    assert [step.hit.kind for step in steps] == one.columns["kind"]
    assert get_task(name).score(world(name), steps[-1].after) == one.score
    assert digest(world(name)) == one.world


@pytest.mark.parametrize("number", (0, 1))
def test_the_labels_of_a_recording_are_valid(name, number):
    one = record(source(name, layouts=tuple(LAYOUTS), themes=tuple(THEMES)), number)
    columns = one.columns
    steps = len(columns["x"])
    assert {len(values) for values in columns.values()} == {steps}
    assert set(columns["kind"]) <= set(KINDS) - {"invalid"}
    assert set(columns["phase"]) <= set(PHASES) and columns["phase"][-1] == "finish"
    assert set(columns["mistake"]) <= {"", *MISTAKES}
    assert set(columns["verdict"]) <= {"", RIGHT, *MISTAKES}
    assert all(0 <= position <= 1 for position in columns["position"])
    assert (
        columns["kind"].count("done") == 1
        and columns["kind"][-1] == "done"
        and columns["critical"][-1]
    )
    assert all(
        critical for kind, critical in zip(columns["kind"], columns["critical"]) if kind == "undo"
    )
    targets = [(x, y) for x, y in zip(columns["target_x"], columns["target_y"]) if x >= 0]
    assert all(0 <= x < WIDTH and 0 <= y < HEIGHT for x, y in targets)
    assert all(0 <= x < WIDTH and 0 <= y < HEIGHT for x, y in zip(columns["x"], columns["y"]))


def test_judgments_and_scores_are_bounded_in_any_state(name):
    task = get_task(name)
    for state in (*worked(name), *wandered(name)):
        score = task.score(world(name), state)
        assert 0 <= score.score <= 1 and isinstance(score.success, bool)
        assert (
            all(np.isfinite(value) for value in score.details.values())
            and 0 <= score.details["coverage"] <= 1
        )
        assert not score.success or state.done
        for mistake in task.mistakes(world(name), state):
            assert mistake.kind in MISTAKES
            assert (mistake.edit is None) != (mistake.omitted is None)
            assert mistake.edit is None or 0 <= mistake.edit < len(state.edits)
        if state.edits:
            assert task.judge(world(name), state.edits[:-1], state.edits[-1]) in (RIGHT, *MISTAKES)


def test_an_empty_state_scores_nothing(name):
    task = get_task(name)
    start = task.interface(world(name)).start()
    for state in (start, replace(start, done=True)):
        score = task.score(world(name), state)
        assert score.score < 0.1 or score.score <= task.chance
        assert not score.success
    assert task.mistakes(world(name), start) == ()
