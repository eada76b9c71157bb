"""The contract of a task, checked for every task: worlds, screens, annotators, judgments, labels.

The tests marked `slow` hold the annotators to the same bar in 100 worlds of full difficulty:

    python -m pytest -m slow tests/test_tasks.py -k NAME
"""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from lastmile.config import SPLITS
from lastmile.evaluation.annotators import check, random_click
from lastmile.screen import CANVAS, HEIGHT, WIDTH, Look, draw, draw_small, draw_small_series, text
from lastmile.screen.layout import LAYOUTS
from lastmile.screen.theme import THEMES
from lastmile.screen.widgets import KINDS, NOTHING
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import LONGEST, Episode, Replay, Source, record
from lastmile.tasks import get_task, task_names
from lastmile.tasks.annotator import (
    FARTHEST,
    PHASES,
    NoticeByChance,
    click,
    get_style,
    make_annotator,
)
from lastmile.tasks.task import MISTAKES, RIGHT, State, digest

pytestmark = pytest.mark.parametrize("name", task_names())

PURPOSES = ("annotator", "again", "look")
"""Purposes of the random generators of a recording."""
SECTIONS = (
    "What it is",
    "What is seen",
    "What can be done",
    "When it ends",
    "How it is scored",
    "Mistakes",
    "Sources",
)
"""Sections of the page of a task."""


def source(
    name: str, layouts: tuple[str, ...] = ("right",), themes: tuple[str, ...] = ("dark",)
) -> Source:
    return Source(name, "test", 5, layouts=layouts, themes=themes)


@cache
def recorded_world(name: str) -> Any:
    return source(name).world(0)


@cache
def recorded_episode(name: str) -> Episode:
    return record(source(name), 0)


def replay(name: str) -> Replay:
    episode = recorded_episode(name)
    clicks = np.array([episode.columns["x"], episode.columns["y"]]).T
    return Replay(get_task(name), recorded_world(name), episode.look, clicks)


def recorded_states(name: str) -> list[State]:
    """States along the recorded episode, with the first and the finished one."""
    states = [step.before for step in replay(name).replay()]
    return [*states[:: max(1, len(states) // 8)], recorded_episode(name).state]


def random_states(name: str, steps: int = 60) -> list[State]:
    """States along random valid clicks that never press `Done`."""
    session = Session(get_task(name), recorded_world(name))
    rng = np.random.default_rng(3)
    for _ in range(steps):
        session.click(*random_click(session, rng))
    return session.states


# Worlds


def test_a_seed_gives_one_world_and_another_seed_another(name: str) -> None:
    task = get_task(name)
    world, same, other = (task.world((5, seed), "short") for seed in (1, 1, 2))
    assert digest(world) == digest(same) != digest(other)

    interface = task.interface(world)
    state = interface.start()
    np.testing.assert_array_equal(interface.image(state), task.interface(same).image(state))
    assert not np.array_equal(interface.image(state), task.interface(other).image(state))
    assert digest(task.world((5, 1), "full")) != digest(world)


def test_no_two_tasks_share_a_random_stream(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: dict[str, set[tuple[int, ...]]] = {}  # the first numbers of each stream, by task
    for task in task_names():
        monkeypatch.setattr(
            type(get_task(task)),
            "make_world",
            staticmethod(lambda rng, difficulty: tuple(rng.integers(2**63, size=4).tolist())),
        )
        # Both difficulties use the same stream.
        streams[task] = {
            get_task(task).world((5, 1), difficulty) for difficulty in ("short", "full")
        }
        streams[task] |= {
            tuple(Source(task, split, 5).generator(1, what).integers(2**63, size=4).tolist())
            for split in SPLITS
            for what in PURPOSES
        }

    others = set().union(*(numbers for task, numbers in streams.items() if task != name))
    assert len(streams[name]) == 1 + len(SPLITS) * len(PURPOSES)
    assert not streams[name] & others


def test_images_do_not_depend_on_when_they_are_drawn(name: str) -> None:
    """Nor do they change the world: recordings are made without drawing."""
    task = get_task(name)
    world = source(name).world(0)
    before = digest(world)
    early = task.interface(world).image(task.interface(world).start()).copy()
    assert digest(world) == before

    late = pickle.loads(pickle.dumps(source(name).world(0)))
    for state in recorded_states(name):
        task.interface(late).image(state)
    np.testing.assert_array_equal(task.interface(late).image(task.interface(late).start()), early)


def test_images_of_equal_worlds_are_equal_in_every_view(name: str) -> None:
    first = get_task(name).interface(recorded_world(name))
    second = get_task(name).interface(source(name).world(0))
    for state in recorded_states(name):
        image = first.image(state)
        assert image.shape == (CANVAS, CANVAS, 3) and image.dtype == np.uint8
        np.testing.assert_array_equal(image, second.image(state))


def test_worlds_and_states_survive_pickling(name: str) -> None:
    task = get_task(name)
    world = recorded_world(name)
    state = recorded_states(name)[-2]

    world_copy = pickle.loads(pickle.dumps(world))
    assert digest(world_copy) == digest(world)
    state_copy = pickle.loads(pickle.dumps(state))
    assert state_copy == state and hash(state_copy) == hash(state)

    assert task.score(world_copy, state_copy) == task.score(world, state)
    assert task.mistakes(world_copy, state_copy) == task.mistakes(world, state)
    np.testing.assert_array_equal(
        task.interface(world_copy).image(state_copy), task.interface(world).image(state)
    )


def test_unknown_difficulties_and_negative_seeds_are_refused_by_name(name: str) -> None:
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


def test_the_page_of_the_task_has_all_sections(name: str) -> None:
    page = type(get_task(name)).__doc__ or ""
    assert [section for section in SECTIONS if f"**{section}.**" not in page] == []


# Screens


def test_the_status_says_which_views_take_no_clicks_and_counts_in_english(name: str) -> None:
    interface = get_task(name).interface(recorded_world(name))
    states = recorded_states(name) + random_states(name)
    takes_clicks = any(interface.live(state) for state in states)
    for state in states:
        texts = interface.status(state)
        assert not [words for words in texts if re.search(r"\b1 \w+s\b", words)]
        buttons = [button for group in interface.groups(state) for button in group.buttons]
        if takes_clicks and any(button.kind == "look" and button.active for button in buttons):
            assert interface.live(state) or any("no clicks" in words.lower() for words in texts)


@pytest.mark.parametrize("difficulty", ("short", "full"))
def test_the_status_fits_into_its_bar_in_every_layout(name: str, difficulty: str) -> None:
    long_source = Source(name, "test", 5, difficulty=difficulty)
    episode = record(long_source, 0)
    session = Session(get_task(name), long_source.world(0))
    clicks = zip(episode.columns["x"], episode.columns["y"])
    statuses = {session.interface.status(step.after) for step in session.play(clicks)}
    for bar in {layout.status_bar for layout in LAYOUTS.values()}:
        for texts in statuses:
            if bar.width == WIDTH:
                assert 12 + sum(text.mask(words, 11).shape[1] + 18 for words in texts) <= WIDTH
            else:
                lines = [line for words in texts for line in text.wrap(words, bar.width - 8, 10)]
                assert 15 * len(lines) <= bar.height, lines


@pytest.mark.parametrize("layout", LAYOUTS)
def test_widgets_are_on_the_screen_side_by_side_and_hit_themselves(name: str, layout: str) -> None:
    interface = get_task(name).interface(recorded_world(name))
    look = Look(layout)
    first = interface.screen(interface.start(), look)
    rects = [widget.rect for widget in first.widgets]

    # Nothing leaves the screen, and no pixel belongs to two widgets.
    owners = np.zeros((HEIGHT, WIDTH), int)
    for rect in (*rects, first.canvas):
        assert rect.x >= 0
        assert rect.y >= 0
        assert rect.x + rect.width <= WIDTH
        assert rect.y + rect.height <= HEIGHT
        owners[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
    assert owners.max() == 1
    assert len({widget.button.id for widget in first.widgets}) == len(rects)

    for state in (*recorded_states(name), *random_states(name)[::10]):
        screen = interface.screen(state, look)
        assert [widget.rect for widget in screen.widgets] == rects, "widgets must not move"
        for button, rect in screen.widgets:
            assert button.kind in KINDS
            hit = interface.hit(state, rect.x + rect.width // 2, rect.y + rect.height // 2, look)
            assert hit == ((button.id, button.kind, -1.0, -1.0) if button.enabled else NOTHING)

        hit = interface.hit(state, screen.canvas.x + 128, screen.canvas.y + 64, look)
        if screen.canvas_live:
            assert hit[2:] == (128, 64) and hit.kind in KINDS and hit.widget == "canvas"
        else:
            assert hit == NOTHING


def test_invalid_clicks_change_nothing(name: str) -> None:
    interface = get_task(name).interface(recorded_world(name))
    look = Look()
    disabled = 0
    for state in (*recorded_states(name), *random_states(name)[::10]):
        screen = interface.screen(state, look)
        corner = interface.hit(state, WIDTH - 1, HEIGHT - 1, look)
        assert corner == NOTHING and interface.apply(state, corner) == state

        for button, rect in screen.widgets:
            if not button.enabled:
                disabled += 1
                hit = interface.hit(state, rect.x + 2, rect.y + 2, look)
                assert interface.apply(state, hit) == state
                assert interface.press(state, button.id) == state

        if not screen.canvas_live:
            hit = interface.hit(state, screen.canvas.x + 9, screen.canvas.y + 9, look)
            assert interface.apply(state, hit) == state
            assert interface.touch(state, 9, 9) == state
        assert interface.touch(state, -1, 300) == state

    assert disabled
    with pytest.raises(KeyError, match="no button 'nothing'"):
        interface.press(interface.start(), "nothing")
    with pytest.raises(ValueError, match="outside the screen"):
        interface.hit(interface.start(), WIDTH, 0, look)


def test_nothing_can_be_done_in_a_finished_state(name: str) -> None:
    interface = get_task(name).interface(recorded_world(name))
    finished = recorded_episode(name).state
    screen = interface.screen(finished)
    assert finished.done
    assert not screen.canvas_live
    assert not any(widget.button.enabled for widget in screen.widgets)


def test_undo_takes_back_the_last_annotation(name: str) -> None:
    interface = get_task(name).interface(recorded_world(name))
    state = recorded_states(name)[-2]
    while state.edits:
        edits = state.edits
        state = interface.press(state, "undo")
        assert state.edits == edits[:-1]
    assert interface.press(state, "undo") == state


def test_screens_draw_in_every_look_and_leave_the_world_alone(name: str) -> None:
    interface = get_task(name).interface(recorded_world(name))
    states = recorded_states(name)
    for number, layout in enumerate(LAYOUTS):
        for theme in THEMES:
            screen = interface.screen(states[(2 * number + 1) % len(states)], Look(layout, theme))
            picture = draw(screen)
            assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, draw(screen))
    assert all(
        0 <= interface.position(state) <= 1 for state in (*states, *random_states(name)[::10])
    )


def test_a_series_of_small_screens_is_made_of_small_screens(name: str) -> None:
    """At most one unit of rounding apart: the order of sums may differ."""
    interface = get_task(name).interface(recorded_world(name))
    look = Look("split", "light")
    screens = [interface.screen(step.before, look) for step in replay(name).replay()]
    series = draw_small_series(screens)
    for screen, small in zip(screens, series, strict=True):
        assert np.abs(draw_small(screen).astype(int) - small.astype(int)).max() <= 1


# Annotators


def explain(result: dict[str, Any]) -> str:
    """Say in which worlds an annotator failed, and how to look at it."""
    name = result["task"]
    style = result["style"]
    start = result["start"]
    difficulty = result["difficulty"]
    seed = result["seed"]
    failed = result["failed"]
    return (
        f"\nThe {style} annotator of '{name}' (from {start}, difficulty {difficulty}, seed {seed}): "
        f"success {result['success']:.2f}, repaired {result['repaired']:.2f}, "
        f"mistakes per placement {result['mistakes_per_placement']:.2f}."
        f"\nWorlds that it fails in, of {result['worlds']}: {failed}"
        f"\nWorld i:  get_task('{name}').world(({seed}, 7, i), '{difficulty}')"
        f"\nThe same numbers:  lastmile check {name} --style {style} --from {start} "
        f"--difficulty {difficulty} --seed {seed} --worlds {result['worlds']}"
        f"\nSee it at work in a similar world:  lastmile watch {name} --style {style} "
        f"--difficulty {difficulty} --seed {seed} --out {name}.gif"
    )


def hold_oracle(name: str, start: str, worlds: int, difficulty: str) -> None:
    """Require that the oracle always succeeds, without mistakes of its own."""
    result = check(name, worlds=worlds, style="oracle", start=start, difficulty=difficulty)
    assert result["success"] == 1.0, explain(result)
    if start == "start":
        assert result["mistakes_per_placement"] == 0.0, explain(result)


def hold_typical(
    name: str, start: str, worlds: int, difficulty: str, success: float, repaired: float
) -> None:
    """Require that the typical annotator makes mistakes, repairs them and succeeds."""
    result = check(name, worlds=worlds, style="typical", start=start, difficulty=difficulty)
    assert result["success"] >= success, explain(result)
    assert result["repaired"] >= repaired, explain(result)
    # After random clicks, a correct annotation can be judged wrong because of those before it.
    if start == "start":
        assert 0.02 <= result["mistakes_per_placement"] <= 0.4, explain(result)
    assert set(result["verdicts"]) <= {RIGHT, *MISTAKES}
    assert set(result["phases"]) <= set(PHASES)


@pytest.mark.parametrize("start", ("start", "random"))
def test_the_oracle_always_succeeds(name: str, start: str) -> None:
    hold_oracle(name, start, worlds=4, difficulty="short")


@pytest.mark.parametrize("start", ("start", "random"))
def test_the_typical_annotator_errs_repairs_and_succeeds(name: str, start: str) -> None:
    hold_typical(name, start, worlds=16, difficulty="short", success=13 / 16, repaired=0.8)


@pytest.mark.slow
@pytest.mark.parametrize("start", ("start", "random"))
def test_the_oracle_always_succeeds_in_a_hundred_full_worlds(name: str, start: str) -> None:
    hold_oracle(name, start, worlds=100, difficulty="full")


@pytest.mark.slow
@pytest.mark.parametrize("start", ("start", "random"))
def test_the_typical_annotator_succeeds_in_a_hundred_full_worlds(name: str, start: str) -> None:
    hold_typical(name, start, worlds=100, difficulty="full", success=0.88, repaired=0.9)


@pytest.mark.slow
def test_the_careful_annotator_leaves_fewer_mistakes_than_the_hasty_one(name: str) -> None:
    left = [
        check(name, worlds=100, style=style, difficulty="full")["mistakes"]["left"]
        for style in ("careful", "typical", "hasty")
    ]
    assert left[0] <= left[1] <= left[2] and left[0] < left[2], left


def test_who_takes_all_mistakes_for_right_leaves_some_and_comes_to_an_end(name: str) -> None:
    task = get_task(name)
    blind = NoticeByChance(0.6, 0.35, 0.9, overlooked=1 / task.overlooked)
    left = 0
    for number in range(10):
        world = task.world((3, number), "short")
        rng = np.random.default_rng(number)
        session = Session(task, world)
        style = replace(get_style("hasty"), noticing=blind)
        annotator = make_annotator(task, world, task.interface(world), style, rng)
        while not session.done and len(session.steps) < LONGEST:
            session.click(*click(annotator.next(session.state), session.screen(), rng))
        assert session.done, number
        left += len(session.mistakes)
    assert left


def test_placements_have_a_tail_within_the_judges_radius(name: str) -> None:
    task, world = get_task(name), recorded_world(name)
    annotator = make_annotator(
        task, world, task.interface(world), "typical", np.random.default_rng(0)
    )
    put = [annotator.put((CANVAS / 2, CANVAS / 2)) for _ in range(2000)]
    off = np.hypot([one.u - CANVAS / 2 for one in put], [one.v - CANVAS / 2 for one in put])
    assert off.max() <= FARTHEST < 5 - 0.5**0.5 / 2
    assert 0.1 < (off > 2).mean() < 0.3 and 0.03 < (off > 3).mean() < 0.15


@pytest.mark.parametrize("style", ("random", "blind"))
def test_the_task_cannot_be_done_without_looking(name: str, style: str) -> None:
    chance = get_task(name).chance
    result = check(name, worlds=8, style=style, difficulty="short")
    if chance:
        assert result["success"] <= chance + 0.4  # 8 worlds: more than two standard deviations
        return
    assert result["success"] == 0.0
    if style == "random":
        assert result["score"] < 0.1


def test_asking_a_fork_does_not_change_the_annotator(name: str) -> None:
    """A recording is the same with and without second answers.

    Two forks with equal random numbers give equal answers.
    """
    plain = recorded_episode(name).columns
    asked = record(source(name), 0, again=True).columns
    assert {key: plain[key] for key in plain if not key.startswith("again")} == {
        key: asked[key] for key in asked if not key.startswith("again")
    }
    assert all(x >= 0 for x in asked["again_x"])

    task = get_task(name)
    interface = task.interface(recorded_world(name))
    for state in (*recorded_states(name)[:-1], *random_states(name)[::15]):
        annotator = make_annotator(
            task, recorded_world(name), interface, "typical", np.random.default_rng(0)
        )
        first, second = (annotator.fork(np.random.default_rng(1)).next(state) for _ in range(2))
        assert first == second
        assert annotator.noticed == frozenset()
        assert annotator.phase == ""
        assert annotator.edits is None


def test_a_finished_state_is_not_worked_on(name: str) -> None:
    task = get_task(name)
    world = recorded_world(name)
    annotator = make_annotator(
        task, world, task.interface(world), "typical", np.random.default_rng(0)
    )
    with pytest.raises(ValueError, match="finished state"):
        annotator.next(recorded_episode(name).state)


# Recordings, judgments and scores


def test_a_replay_goes_through_the_same_states(name: str) -> None:
    episode = recorded_episode(name)
    steps = list(replay(name).replay())
    assert steps[-1].after == episode.state and episode.state.done
    assert [step.hit.widget for step in steps] == episode.columns["widget"]
    assert [step.hit.kind for step in steps] == episode.columns["kind"]
    assert get_task(name).score(recorded_world(name), steps[-1].after) == episode.score
    assert digest(recorded_world(name)) == episode.world


@pytest.mark.parametrize("number", (0, 1))
def test_the_labels_of_a_recording_are_valid(name: str, number: int) -> None:
    episode = record(source(name, layouts=tuple(LAYOUTS), themes=tuple(THEMES)), number)
    columns = episode.columns
    steps = len(columns["x"])
    assert {len(values) for values in columns.values()} == {steps}

    assert set(columns["kind"]) <= set(KINDS) - {"invalid"}
    assert set(columns["phase"]) <= set(PHASES) and columns["phase"][-1] == "finish"
    assert set(columns["mistake"]) <= {"", *MISTAKES}
    assert set(columns["verdict"]) <= {"", RIGHT, *MISTAKES}
    assert all(0 <= position <= 1 for position in columns["position"])

    assert columns["kind"].count("done") == 1
    assert columns["kind"][-1] == "done"
    assert columns["critical"][-1]
    assert all(
        critical for kind, critical in zip(columns["kind"], columns["critical"]) if kind == "undo"
    )

    targets = [(x, y) for x, y in zip(columns["target_x"], columns["target_y"]) if x >= 0]
    assert all(0 <= x < WIDTH and 0 <= y < HEIGHT for x, y in targets)
    assert all(0 <= x < WIDTH and 0 <= y < HEIGHT for x, y in zip(columns["x"], columns["y"]))


def test_judgments_and_scores_are_bounded_in_any_state(name: str) -> None:
    task = get_task(name)
    world = recorded_world(name)
    for state in (*recorded_states(name), *random_states(name)):
        score = task.score(world, state)
        assert 0 <= score.score <= 1 and isinstance(score.success, bool)
        assert all(np.isfinite(value) for value in score.details.values())
        assert 0 <= score.details["coverage"] <= 1
        assert not score.success or state.done

        for mistake in task.mistakes(world, state):
            assert mistake.kind in MISTAKES
            assert (mistake.edit is None) != (mistake.omitted is None)
            assert mistake.edit is None or 0 <= mistake.edit < len(state.edits)
        if state.edits:
            assert task.judge(world, state.edits[:-1], state.edits[-1]) in (RIGHT, *MISTAKES)


def test_an_empty_state_scores_nothing(name: str) -> None:
    task = get_task(name)
    world = recorded_world(name)
    start = task.interface(world).start()
    for state in (start, replace(start, done=True)):
        score = task.score(world, state)
        assert score.score < 0.1 or score.score <= task.chance
        assert not score.success
    assert task.mistakes(world, start) == ()
