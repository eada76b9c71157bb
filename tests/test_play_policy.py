"""`lastmile play --policy`: a policy at work, taken over by a person, and handed back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect

from lastmile.config import PolicySettings
from lastmile.evaluation import results_file
from lastmile.evaluation.players import RandomPlayer
from lastmile.policy.policy import Policy, initial
from lastmile.released import policy_folder
from lastmile.screen import Look
from lastmile.simulation import people, people_trajectories, tokens, trajectory
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record
from lastmile.storage import parquet
from lastmile.tasks import get_task, task_names
from lastmile.tasks.colored_dots import world as dots
from lastmile.viewer.page import UNIT, sparse
from lastmile.viewer.predictions import predict, seen_by
from lastmile.web import live, window
from lastmile.web.live import Helpers
from lastmile.web.review import review
from people_at_work import Page, Thinker, app_at, page

TASK = "channel_alignment"
THINKER = "people_at_work:make_thinker"


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "PER_SECOND", 1e9)


@pytest.fixture(scope="module")
def joint() -> Iterator[Helpers]:
    with closing(Helpers("joint")) as helpers:
        yield helpers


@pytest.fixture
def thinker() -> Iterator[Helpers]:
    Thinker.asked.clear()
    Thinker.allowed.clear()
    with closing(Helpers(THINKER)) as helpers:
        yield helpers
        Thinker.allowed.set()


def only_log(folder: Path) -> people.Log:
    (path,) = people.logs(folder)
    return people.read(path)


def places(log: people.Log) -> list[tuple[int, int]]:
    return [(click.x, click.y) for click in log.clicks]


def begin(one: Page, task: str = TASK, person: str = "") -> str:
    """Join and open a world; returns the secret."""
    secret: str = one.hello("" if person else "token-of-the-test", person)["person"]
    assert one.start(task)["type"] == "screen"
    return secret


# A policy alone


@pytest.mark.parametrize(
    "kind, worlds, steps",
    [({}, 2, 10), ({"head": "bins", "context": "patch"}, 1, 7), (None, 1, 24)],
    ids=["untrained", "untrained, as published", "joint"],
)
def test_alone_it_makes_the_clicks_of_an_evaluation(
    kind: dict[str, Any] | None,
    worlds: int,
    steps: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the worlds of `lastmile evaluate`, with its seed, for longer than it remembers."""
    source = "joint"
    if kind is not None:
        source = str(tmp_path / "policy")
        settings = {"size": "xs", "window": 4, **kind}
        initial(PolicySettings.model_validate(settings), 0).save(source)
    monkeypatch.setattr(people, "SPLIT", "test")
    monkeypatch.setattr(results_file, "step_limit", lambda source, worlds: steps)
    conditions = results_file.Conditions(worlds=worlds, seed=1)
    (expected,) = results_file.evaluate(source, [TASK], conditions, package="0").tasks

    folder = tmp_path / "in"
    with (
        closing(Helpers(source, seed=1)) as helpers,
        page(app_at(folder, TASK, helpers=helpers, seed=1)) as one,
    ):
        one.hello()
        for number, episode in enumerate(expected.episodes):
            assert one.start(TASK)["world"] == number and len(episode.clicks) == steps
            for step, (x, y) in enumerate(episode.clicks, 1):
                assert one.ask()["step"] == step and one.screen["clicked"] == [x, y, "policy"]
            one.send(type="give up")
            assert one.receive()["score"] == episode.score
    for path, episode in zip(people.logs(folder), expected.episodes, strict=True):
        log = people.read(path)
        people.check(log)
        assert places(log) == [*episode.clicks]
        assert {click.via for click in log.clicks} == {"policy"} and log.helper is not None
        assert log.helper.weights == helpers.helper.weights


def test_what_it_does_follows_from_the_clicks_so_far(tmp_path: Path, joint: Helpers) -> None:
    """A restart of the server, a pause or a question asked twice make no difference."""
    columns = record(Source(TASK, "people", 0), 0).columns
    todo = list(zip(columns["x"], columns["y"]))

    def begun(folder: Path) -> str:
        with page(app_at(folder, TASK, helpers=joint)) as one:
            secret = begin(one)
            for x, y in todo[:25]:  # more than it remembers
                one.click(x, y)
            for _ in range(3):
                one.ask()
        return secret

    def finished(folder: Path, secret: str, helpers: Helpers) -> list[tuple[int, int]]:
        with page(app_at(folder, TASK, helpers=helpers)) as one:
            begin(one, person=secret)
            assert one.ask("outlook")["type"] == "outlook"
            one.ask()
            one.click(*todo[25])
            one.ask()
        return places(only_log(folder))

    at_once = finished(tmp_path / "a", begun(tmp_path / "a"), joint)
    secret = begun(tmp_path / "b")
    with closing(Helpers("joint")) as restarted:
        assert finished(tmp_path / "b", secret, restarted) == at_once


def test_others_play_through_the_same_door(tmp_path: Path) -> None:
    player = RandomPlayer(TASK, 0)
    with closing(Helpers("random")) as helpers, page(app_at(tmp_path, helpers=helpers)) as one:
        begin(one)
        assert one.screen["policy"] == {"name": "random", "foresees": False, "worked": False}
        for _ in range(3):
            one.ask()
            assert one.screen["clicked"] == [*player(np.zeros(0), {}), "policy"]
        assert one.screen["policy"]["worked"]
        with pytest.raises(WebSocketDisconnect) as closed:
            one.ask("outlook")  # it has none
    assert closed.value.code == window.MALFORMED
    log = only_log(tmp_path)
    assert log.helper == people.Helper(policy="random", weights="", temperature=None)


def test_a_process_ends_with_its_world(tmp_path: Path) -> None:
    code = (
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    step = json.loads(line)['step']\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "    print(json.dumps({'x': step, 'y': 0}), flush=True)\n"
    )
    script = tmp_path / "player.py"
    script.write_text(code)
    with closing(Helpers(f"pipe:{sys.executable} {script}")) as helpers:
        with page(app_at(tmp_path / "in", helpers=helpers)) as one:
            begin(one)
            assert [one.ask()["clicked"] for _ in range(2)] == [[0, 0, "policy"], [1, 0, "policy"]]
            process = Path("/proc") / (tmp_path / "pid").read_text()
            assert process.exists()
            one.send(type="give up")
            one.receive()
        deadline = time.monotonic() + 20
        while process.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not process.exists()


# Taking over and handing back


def test_a_person_takes_over_and_hands_back(tmp_path: Path, joint: Helpers) -> None:
    with page(app_at(tmp_path / "in", TASK, helpers=joint)) as one:
        begin(one)
        one.click(30, 30)  # before the policy has the episode
        for _ in range(3):
            one.ask()
        one.click(40, 40)
        one.click(399, 68, via="key")
        one.ask()
        one.click(50, 50)
    log = only_log(tmp_path / "in")
    people.check(log)
    vias = ["pointer", *3 * ["policy"], "pointer", "key", "policy", "pointer"]
    assert [click.via for click in log.clicks] == vias
    assert people.working_ms(log) == 4 * 500 + 500  # two clicks in a row: 1,000 ms apart

    path = tmp_path / "out.parquet"
    people_trajectories.export(path, [log])
    parquet.read(path, people_trajectories.STEPS)
    read = trajectory.read(path)
    assert [*read.steps["via"]] == vias
    assert [*read.steps["intervention"]] == [False] * 4 + [True, True, False, True]
    of_policy = read.steps["via"] == "policy"
    assert (read.steps.loc[of_policy, ["shown_ms", "down_ms", "up_ms"]] == -1).all(axis=None)
    assert (read.steps["received_ms"] > 0).all()
    (row,) = read.episodes.to_dict("records")
    assert row["policy"] == "joint" and row["weights"] == joint.helper.weights
    assert row["temperature"] == pytest.approx(0.4)
    tokens.write(tmp_path / "out.tokens", read)
    assert np.array_equal(tokens.TokenStore(tmp_path / "out.tokens").clicks, places(log))


def test_the_episode_is_the_policys_from_its_first_click_on() -> None:
    times = {"shown_ms": 1.0, "down_ms": 1.0, "up_ms": 1.0}
    place = {"screen": "0" * 16, "x": 0, "y": 0, "received_ms": 1.0}
    vias = ["key", "pointer", "policy", "pointer", "key", "policy", "policy", "pointer"]
    clicks = [
        people.Click.model_validate(
            {"step": step, "via": via, **place, **({} if via == "policy" else times)}
        )
        for step, via in enumerate(vias)
    ]
    assert people.interventions(clicks) == [0, 0, 0, 1, 1, 0, 0, 1]
    assert people.interventions(clicks[:2]) == [0, 0]


def test_a_click_takes_the_question_back(tmp_path: Path, thinker: Helpers) -> None:
    with page(app_at(tmp_path, helpers=thinker)) as one:
        begin(one)
        one.send(type="policy", step=0, screen=one.screen["digest"])
        assert Thinker.asked.wait(30)
        assert not one.click(30, 30)["refused"]  # while the policy thinks
        Thinker.allowed.set()
        assert one.ask()["step"] == 2 and one.screen["clicked"] == [9, 9, "policy"]
    assert [click.via for click in only_log(tmp_path).clicks] == ["pointer", "policy"]


def test_a_pause_takes_the_question_back(tmp_path: Path, thinker: Helpers) -> None:
    with page(app_at(tmp_path, helpers=thinker)) as one:
        begin(one)
        one.send(type="policy", step=0, screen=one.screen["digest"])
        assert Thinker.asked.wait(30)
        one.send(type="pause")
        one.send(type="hint")
        assert one.receive()["type"] == "notice"  # no hints here: the pause was heard
        Thinker.allowed.set()
        assert one.click(30, 30)["step"] == 1
    assert [click.via for click in only_log(tmp_path).clicks] == ["pointer"]


def test_nobody_waits_for_the_policy_of_another(tmp_path: Path, thinker: Helpers) -> None:
    app = app_at(tmp_path, helpers=thinker)
    with page(app) as one, page(app) as other:
        begin(one)
        begin(other)
        one.send(type="policy", step=0, screen=one.screen["digest"])
        assert Thinker.asked.wait(30)
        for step in range(1, 6):
            assert other.click(30, 30)["step"] == step
        Thinker.allowed.set()
        assert one.receive()["step"] == 1


def test_the_queue_is_bounded(
    tmp_path: Path, thinker: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_WAITING", 1)
    with closing(Helpers(THINKER)) as helpers:
        app = app_at(tmp_path, helpers=helpers)
        with page(app) as one, page(app) as other:
            begin(one)
            begin(other)
            one.send(type="policy", step=0, screen=one.screen["digest"])
            assert Thinker.asked.wait(30)
            refused = other.ask()
            assert refused["paused"] and "busy" in refused["text"]
            Thinker.allowed.set()
            assert one.receive()["step"] == 1
            assert other.ask()["step"] == 1


def test_two_windows_of_a_person_see_one_policy(tmp_path: Path, joint: Helpers) -> None:
    app = app_at(tmp_path, TASK, helpers=joint)
    with page(app) as one, page(app) as other:
        secret = begin(one)
        begin(other, person=secret)
        one.ask()
        assert other.screen["step"] == 0
        assert other.ask()["step"] == 1  # the click that is there already
        assert other.ask()["step"] == 2
    assert len(only_log(tmp_path).clicks) == 2


def test_a_policy_that_fails_stops_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = "people_at_work:make_failing"
    with closing(Helpers(source)) as helpers, page(app_at(tmp_path, helpers=helpers)) as one:
        begin(one)
        stopped = one.ask()
        assert stopped["paused"] and "stopped" in stopped["text"]
        assert one.click(30, 30)["step"] == 1
    assert "no idea" in caplog.text


def test_one_policy_works_on_a_world(tmp_path: Path, joint: Helpers) -> None:
    with page(app_at(tmp_path, helpers=joint)) as one:
        secret = begin(one)
        one.ask()
    with closing(Helpers("random")) as random, page(app_at(tmp_path, helpers=random)) as one:
        begin(one, person=secret)
        assert "Another policy" in one.ask()["text"]
        assert one.click(30, 30)["step"] == 2  # the person goes on


@pytest.mark.parametrize("kind", ["policy", "outlook"])
def test_without_a_policy_there_is_nobody_to_ask(kind: str, tmp_path: Path) -> None:
    with page(app_at(tmp_path)) as one, pytest.raises(WebSocketDisconnect) as closed:
        begin(one)
        assert one.screen["policy"] is None
        one.ask(kind)
    assert closed.value.code == window.MALFORMED


def test_damage_around_a_policy_is_named(tmp_path: Path, joint: Helpers) -> None:
    with page(app_at(tmp_path, helpers=joint)) as one:
        begin(one)
        one.ask()
        one.click(30, 30)
    (path,) = people.logs(tmp_path)
    opening, helper, policy, person = path.read_bytes().splitlines()
    for lines, problem in [
        ([opening, policy], "line 2: expected the name of the policy first"),
        ([opening, helper, helper], "line 3 names a second policy"),
        ([opening, person.replace(b"1000.0", b"null")], "line 2 is no line"),
        ([opening, helper, policy.replace(b"null", b"1.0")], "line 3 is no line"),
    ]:
        path.write_bytes(b"\n".join(lines) + b"\n")
        with pytest.raises(people.PeopleError, match=problem):
            people.read(path)


# What it says of the screen


def test_the_outlook_is_that_of_the_viewer(tmp_path: Path, joint: Helpers) -> None:
    answers = []
    with page(app_at(tmp_path, TASK, helpers=joint)) as one:
        begin(one)
        for _ in range(4):
            answers.append(one.ask("outlook"))
            one.ask()
    *_, (_, session) = only_log(tmp_path).replay()
    expected = predict(Policy.load(policy_folder("joint")), seen_by(session))
    assert len(expected) == len(answers)
    for number, (answer, prediction) in enumerate(zip(answers, expected)):
        assert answer["step"] == number and answer["block"] == prediction.block
        assert (answer["height"], answer["width"]) == prediction.chances.shape
        mass = {cell[0]: cell[1] for cell in answer["map"]}
        assert sum(mass.values()) == pytest.approx(UNIT, abs=UNIT / 100)
        for cell, value, *_rest in sparse(prediction):
            assert mass.get(cell, 0) == pytest.approx(value, abs=UNIT / 1000)
        assert answer["top"][0][:2] == [*prediction.top[0][:2]]
        assert answer["top"][0][2] == pytest.approx(prediction.top[0].chance, abs=1e-3)
        assert answer["top"][0][3]


# Marks at the end


def session_of(task: str, style: str, share: float) -> Session[Any, Any]:
    """Return the first part of an episode of the virtual annotator."""
    source = Source(task, "people", 0, style=style)
    episode = record(source, 0)
    session = Session(get_task(task), source.world(0), episode.look)
    clicks = list(zip(episode.columns["x"], episode.columns["y"]))
    for _ in session.play(clicks[: int(share * len(clicks))]):
        pass
    return session


@pytest.mark.parametrize("task", task_names())
def test_marks_show_what_is_missed_and_wrong(task: str) -> None:
    rng = np.random.default_rng(0)
    empty = review(session_of(task, "typical", 0), rng)
    assert {mark.kind for view in empty for mark in view.marks} == {"missed"}

    done = session_of(task, "oracle", 1)
    (last,) = review(done, rng)
    assert done.score.success and not last.marks and last.screen == done.screen()

    half = session_of(task, "hasty", 0.6)
    marks = [mark for view in review(half, rng) for mark in view.marks]
    edits = [mistake for mistake in half.mistakes if mistake.edit is not None]
    assert sum(mark.kind != "missed" for mark in marks) == len(edits)
    assert all(0 <= mark.x < 448 and 0 <= mark.y < 336 for mark in marks)


def test_missed_dots_are_marked_where_they_are() -> None:
    session = session_of("colored_dots", "hasty", 0.6)
    world = session.world
    left = {*range(len(world.z))} - world.matched(session.state.edits)
    canvas = session.screen().canvas
    found = set()
    for view in review(session, np.random.default_rng(0)):
        for mark in view.marks:
            if mark.kind != "wrong":
                u, v = mark.to_x - canvas.x, mark.to_y - canvas.y
                dot = world.near(u, v)
                distance = np.hypot(*(world.xy[dot] - (u, v)))
                assert distance <= dots.RADIUS
                assert f"slice {world.z[dot] + 1} of" in view.screen.status()[0]
                found.add(dot)
    assert found == left and left


def test_the_views_are_shown_after_the_end(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        last = one.start("colored_dots")
        pixels = one.pixels
        one.send(type="give up")
        views = one.receive()["views"]
        assert len(views) > 1 and views[1]["marks"]
        assert last["type"] == "screen"
        for number in (1, 0):
            one.send(type="review", view=number)
            assert one.receive()["view"] == number
        assert one.pixels == pixels  # the last screen
        one.send(type="review", view=len(views))
        with pytest.raises(WebSocketDisconnect):
            one.receive()


def test_before_the_end_there_is_no_review(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        one.send(type="review", view=0)
        with pytest.raises(WebSocketDisconnect) as closed:
            one.receive()
    assert closed.value.code == window.MALFORMED


# Pixels


def test_screens_go_to_other_machines_as_png(tmp_path: Path) -> None:
    """Without a loss: the page checks the digest of what it decoded."""
    app = app_at(tmp_path, "road_mapping", loopback=False, look=Look("left", "light"))
    with page(app) as one:
        one.hello()
        assert one.start("road_mapping")["png"]
        png = one.pixels
        one.click(30, 30)
    with page(app_at(tmp_path, "road_mapping", look=Look("left", "light"))) as one:
        one.hello()
        assert not one.start("road_mapping")["png"]
        assert one.pixels == png
