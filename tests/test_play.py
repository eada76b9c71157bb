"""`lastmile play` without a browser: the socket, the logs, and the recordings made of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from lastmile.cli import main
from lastmile.errors import LastmileError
from lastmile.screen import Look
from lastmile.simulation import people, people_trajectories, tokens, trajectory
from lastmile.simulation.trajectory import Source, record
from lastmile.storage import locks, parquet
from lastmile.tasks import get_task, guide, task_names
from lastmile.web import server, window
from lastmile.web.keys import shortcuts
from lastmile.web.messages import parse
from lastmile.web.work import People, Settings, Work
from people_at_work import ADDRESS, SOCKET, Page, app_at, page

INTENT = {"phase", "mistake", "critical", "target_x", "target_y", "again_x", "again_y"}
"""What only the annotator itself knows."""


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests click faster than people."""
    monkeypatch.setattr(window, "PER_SECOND", 1e9)


def clicks(task: str, episode: int = 0, **source: Any) -> list[tuple[int, int]]:
    columns = record(Source(task, "people", 0, **source), episode).columns
    return list(zip(columns["x"], columns["y"]))


def only_log(folder: Path) -> people.Log:
    (path,) = people.logs(folder)
    return people.read(path)


# Recording


@pytest.mark.parametrize("task", task_names())
def test_a_recording_is_the_one_made_without_a_browser(task: str, tmp_path: Path) -> None:
    look = Look("left", "light")
    source = Source(task, "people", 0, "short", "typical", (look.layout,), (look.theme,))
    expected = record(source, 0)
    with page(app_at(tmp_path / "in", task, look=look)) as one:
        name = one.hello()["name"]
        one.start(task)
        for x, y in zip(expected.columns["x"], expected.columns["y"]):
            assert not one.click(x, y)["refused"]
        result = one.receive()
    assert result["ended"] == "done"
    assert result["score"] == expected.score.score and result["success"] == expected.score.success
    assert bool(result["missed"]) == bool(get_task(task).mistakes(source.world(0), expected.state))

    log = only_log(tmp_path / "in")
    people.check(log)
    assert people_trajectories.export(tmp_path / "out.parquet", [log]) == 1
    read = trajectory.read(tmp_path / "out.parquet")
    table = parquet.read(tmp_path / "out.parquet", people_trajectories.STEPS)
    assert table.schema.names == people_trajectories.STEPS.names
    for column in {*trajectory.STEPS.names} - INTENT:
        values = np.array(expected.columns[column], read.steps[column].to_numpy().dtype)
        assert np.array_equal(read.steps[column].to_numpy(), values), column
    assert {*read.steps["phase"]} == {*read.steps["mistake"]} == {""}
    assert not read.steps["critical"].any()
    assert read.steps["down_ms"].tolist() == [1000.0 * n + 500 for n in range(len(read.steps))]
    assert {*read.steps["via"]} == {"pointer"}

    (row,) = read.episodes.to_dict("records")
    assert row["world"] == expected.world and row["steps"] == len(read.steps)
    assert (row["layout"], row["theme"]) == (look.layout, look.theme)
    assert row["source"] == name and row["ended"] == "done" and not row["practice"]
    assert row["device"] == "1280x720 @1 mouse"
    last = [*read.open(0).replay()][-1].after
    assert last == expected.state


def test_recordings_are_tokenized_and_trained_on(tmp_path: Path) -> None:
    from lastmile.evaluation import skills
    from lastmile.training.windows import held_out_batches

    for _ in range(2):
        with page(app_at(tmp_path, "colored_dots")) as one:
            one.hello()
            one.start("colored_dots")
            for x, y in clicks("colored_dots"):
                one.click(x, y)
    path = tmp_path / "out.parquet"
    people_trajectories.export(path, [people.read(log) for log in people.logs(tmp_path)])
    read = trajectory.read(path)
    assert read.source == Source("colored_dots", "people", 0, style="person")
    tokens.write(tmp_path / "out.tokens", read)
    store = tokens.TokenStore(tmp_path / "out.tokens")
    assert len(store) == 2 and store.frames == len(read.steps)
    assert (store.phase == tokens.NO_PHASE).all()
    assert np.array_equal(store.clicks, read.steps[["x", "y"]])
    batches = held_out_batches([store], 20, 4)
    assert batches and all(bool(batch["mask"].any()) for batch in batches)
    table = skills.measure(read, {"trigram": skills.trigram(read), "exact": store.clicks})
    exact = table[table["predictor"] == "exact"].groupby("skill")[["hits", "total"]].sum()
    assert exact.loc["action", "hits"] == exact.loc["action", "total"] == store.frames


def test_worlds_of_people_are_nobody_elses() -> None:
    assert people.SPLIT not in ("train", "validation", "test")
    keys = {Source("colored_dots", split, 0).key(0) for split in ("train", "test", people.SPLIT)}
    assert len(keys) == 3


def test_practice_is_kept_apart(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots", worlds=1)) as one:
        one.hello()
        for practice in (True, False):
            one.start("colored_dots", practice)
            one.click(*next(iter(clicks("colored_dots"))))
            one.send(type="give up")
            assert one.receive()["ended"] == "abandoned"
        assert one.start("colored_dots", practice=False)["type"] == "menu"  # that was the only one
        assert one.start("colored_dots", practice=True)["world"] == people.PRACTICE + 1
    assert main(["recordings", "export", str(tmp_path), "--out", str(tmp_path / "a.parquet")]) == 0
    assert trajectory.read(tmp_path / "a.parquet").episodes["practice"].tolist() == [False]
    words = ["recordings", "export", str(tmp_path), "--practice", "--out"]
    assert main([*words, str(tmp_path / "b.parquet")]) == 0
    episodes = trajectory.read(tmp_path / "b.parquet").episodes
    assert sorted(episodes["practice"]) == [False, True]
    assert {*episodes["ended"]} == {"abandoned"}


def test_an_episode_that_nobody_ended_was_cut_off(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        one.click(365, 68)
    assert people_trajectories.convert(only_log(tmp_path)).row["ended"] == "cut off"


def test_too_many_clicks_end_an_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "LONGEST", 3)
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        for _ in range(3):
            one.click(0, 0)
        assert one.receive()["ended"] == "cut off"
        assert "finished" in one.click(0, 0)["refused"]
    assert len(only_log(tmp_path).clicks) == 3


def test_long_pauses_do_not_count_as_work(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        assert people.working_ms(only_log(tmp_path)) == 0
        for down in (1_000, 3_000, 200_000):
            one.click(0, 0, shown_ms=500.0, down_ms=float(down))
    assert people.working_ms(only_log(tmp_path)) == 500 + 2_000 + people.IDLE_MS


# Clicks that count, and those that do not


def test_a_click_on_an_old_screen_is_refused_and_shown(tmp_path: Path) -> None:
    first, second, *_ = clicks("limb_tracking")
    with page(app_at(tmp_path, "limb_tracking")) as one:
        one.hello()
        old = one.start("limb_tracking")["digest"]
        after = one.click(*first)
        assert after["step"] == 1 and after["digest"] != old
        for stale in ({"step": 0, "screen": old}, {"screen": old}, {"step": 0}, {"step": 2}):
            again = one.click(*second, **stale)
            assert again["refused"] and again["step"] == 1 and again["digest"] == after["digest"]
        assert not one.click(*second)["refused"]
    assert [(click.x, click.y) for click in only_log(tmp_path).clicks] == [first, second]


def test_a_click_that_cannot_be_stored_was_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    app = app_at(tmp_path, "colored_dots")
    with page(app) as one:
        secret = one.hello()["person"]
        one.start("colored_dots")
        one.click(365, 68)
        with monkeypatch.context() as patched:
            patched.setattr("lastmile.simulation.people.os.fsync", full)
            with pytest.raises(WebSocketDisconnect) as closed:
                one.click(365, 68)
    assert closed.value.code == window.FAILED and "No space left" in (closed.value.reason or "")
    with page(app) as one:
        one.hello("", secret)
        assert one.start("colored_dots")["step"] == 1
        one.click(365, 68)
    people.check(only_log(tmp_path))


def test_nothing_follows_an_end_that_could_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = people.LogFile.append

    def only_clicks(self: people.LogFile, value: Any) -> None:
        if isinstance(value, people.Ending):
            raise OSError(28, "No space left on device")
        append(self, value)

    todo = clicks("limb_tracking")
    with page(app_at(tmp_path, "limb_tracking")) as one:
        secret = one.hello()["person"]
        one.start("limb_tracking")
        with monkeypatch.context() as patched:
            patched.setattr(people.LogFile, "append", only_clicks)
            with pytest.raises(WebSocketDisconnect):
                for x, y in todo:
                    one.click(x, y)
    assert only_log(tmp_path).ending == ""
    with page(app_at(tmp_path, "limb_tracking")) as one:
        one.hello("", secret)
        assert one.start("limb_tracking")["world"] == 1
    assert people.read(people.logs(tmp_path)[0]).ending == "done"


def test_every_acknowledged_click_is_in_the_file(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        for number in range(1, 4):
            one.click(365, 68)
            assert len(only_log(tmp_path).clicks) == number


# Coming back


def test_a_reload_and_a_restart_go_on_where_they_were(tmp_path: Path) -> None:
    todo = clicks("cell_lineage")
    with page(app_at(tmp_path, "cell_lineage")) as one:
        secret = one.hello()["person"]
        one.start("cell_lineage")
        for x, y in todo[:5]:
            last = one.click(x, y)
    for start in (5, 10):  # each time another server
        with page(app_at(tmp_path, "cell_lineage")) as one:
            assert one.hello("", secret)["person"] == secret
            assert one.start("cell_lineage") | {"refused": ""} == last
            for x, y in todo[start : start + 5]:
                last = one.click(x, y)
    assert [(click.x, click.y) for click in only_log(tmp_path).clicks] == todo[:15]


def test_two_windows_of_a_person_show_one_episode(tmp_path: Path) -> None:
    app = app_at(tmp_path, "colored_dots")
    with page(app) as one, page(app) as other:
        secret = one.hello()["person"]
        other.hello("", secret)
        one.start("colored_dots")
        other.start("colored_dots")
        one.click(365, 68)
        refused = other.click(365, 68)
        assert refused["refused"] and refused["step"] == 1
        assert other.click(365, 68)["step"] == 2
    assert len(only_log(tmp_path).clicks) == 2


@pytest.mark.parametrize("torn", [b"{", b'{"step": 1, "screen": "0123', b"\0" * 100, b"\xff{}"])
def test_a_torn_last_line_was_never_acknowledged(tmp_path: Path, torn: bytes) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        secret = one.hello()["person"]
        one.start("colored_dots")
        one.click(365, 68)
    (path,) = people.logs(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert people.read(path).size == len(whole)
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello("", secret)
        assert one.start("colored_dots")["step"] == 1
        one.click(365, 68)
    assert path.read_bytes().startswith(whole) and len(people.read(path).clicks) == 2
    people.check(people.read(path))


def test_any_cut_of_a_log_keeps_its_whole_lines(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        for x, y in clicks("colored_dots")[:4]:
            one.click(x, y)
    (path,) = people.logs(tmp_path)
    data = path.read_bytes()
    for size in range(data.index(b"\n") + 1, len(data), 7):
        path.write_bytes(data[:size])
        assert len(people.read(path).clicks) == data[:size].count(b"\n") - 1


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda lines: [lines[0], lines[2]], "line 2: expected step 0"),
        (lambda lines: [lines[0], b"{}", *lines[2:]], "line 2 is no line"),
        (lambda lines: [b"", *lines], "line 1 is no line"),
        (lambda lines: [*lines, b'{"ended": "done"}', lines[1]], "line 5 follows the end"),
        (lambda lines: [lines[0], lines[1].replace(b'"x": 365', b'"x": 448')], "line 2"),
        (lambda lines: [lines[0], lines[1].replace(b'"x": 365', b'"x": NaN')], "line 2"),
    ],
)
def test_damage_to_a_log_is_named(tmp_path: Path, change: Any, problem: str) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        for _ in range(2):
            one.click(365, 68)
    (path,) = people.logs(tmp_path)
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(people.PeopleError, match=problem) as error:
        people.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_changed_log_is_read_or_refused(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        for _ in range(3):
            one.click(365, 68)
    (path,) = people.logs(tmp_path)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(data)))
            data[at : at + int(rng.integers(3))] = rng.bytes(int(rng.integers(3)))
        path.write_bytes(data)
        try:
            people_trajectories.convert(people.read(path))
        except people.PeopleError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 100


def test_logs_that_no_longer_fit_are_refused(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        secret = one.hello()["person"]
        one.start("colored_dots")
        one.click(365, 68)
    (path,) = people.logs(tmp_path)
    log = people.read(path)
    opening = log.opening.model_copy(update={"task_version": 0})
    with pytest.raises(people.PeopleError, match="version 0 of task 'colored_dots'"):
        people_trajectories.convert(log._replace(opening=opening))
    opening = log.opening.model_copy(update={"world": "0" * 16})
    with pytest.raises(people.PeopleError, match="another world"):
        people_trajectories.convert(log._replace(opening=opening))
    screen = log.clicks[0].model_copy(update={"screen": "0" * 16})
    with pytest.raises(people.PeopleError, match="step 0 was made on screen 0000"):
        people.check(log._replace(clicks=(screen,)))

    # The person goes on with the next world; the old log stays.
    before = path.read_bytes().replace(b'"task_version": ', b'"task_version": 9')
    path.write_bytes(before)
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello("", secret)
        assert one.start("colored_dots")["world"] == 1
    assert path.read_bytes() == before


# Who may do what


@pytest.mark.parametrize(
    "origin, host",
    [
        ("http://evil.example", "127.0.0.1:8710"),
        ("http://evil.example", "evil.example"),
        ("http://127.0.0.1:9999", "127.0.0.1:8710"),
        ("null", "127.0.0.1:8710"),
        ("", "127.0.0.1:8710"),
        ("http://[", "["),
        ("file://127.0.0.1:8710", "127.0.0.1:8710"),
    ],
)
def test_foreign_pages_are_refused(
    tmp_path: Path, origin: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not server.is_own(origin, host, loopback=True)
    with pytest.raises(WebSocketDisconnect), page(app_at(tmp_path), origin="http://evil.example"):
        pass
    assert "refused a page" in caplog.text


def test_a_server_for_others_answers_its_own_pages_alone() -> None:
    assert server.is_own("http://lab.example:8710", "lab.example:8710", loopback=False)
    assert not server.is_own("http://evil.example", "lab.example:8710", loopback=False)


@pytest.mark.parametrize("token, person", [("", ""), ("wrong", ""), ("", "A" * 43), ("x", "B" * 9)])
def test_wrong_tokens_are_refused(tmp_path: Path, token: str, person: str) -> None:
    with page(app_at(tmp_path)) as one, pytest.raises(WebSocketDisconnect) as closed:
        one.hello(token, person)
    assert closed.value.code == window.UNKNOWN_PERSON
    assert not [*tmp_path.iterdir()]


def closing_code(one: Page, *messages: str | bytes) -> int:
    """Send messages and return the code with which the socket is then closed."""
    for message in messages:
        if isinstance(message, bytes):
            one.socket.send_bytes(message)
        else:
            one.socket.send_text(message)
    with pytest.raises(WebSocketDisconnect) as closed:
        for _ in range(1000):
            one.receive()
    return closed.value.code


@pytest.mark.parametrize(
    "message, code",
    [
        ("", window.MALFORMED),
        ("null", window.MALFORMED),
        ("[" * 3000, window.MALFORMED),
        ('{"type": "start", "task": "colored_dots", "practice": 1}', window.MALFORMED),
        ('{"type": "start", "task": "../../etc/passwd", "practice": true}', window.MALFORMED),
        ('{"type": "start", "task": "colored_dots/..", "practice": true}', window.MALFORMED),
        ('{"type": "start", "task": "limb_tracking", "practice": true}', window.MALFORMED),
        ('{"type": "start", "task": "colored_dots\\u0000", "practice": true}', window.MALFORMED),
        ('{"type": "hint"}', window.MALFORMED),  # out of place: no world is open
        ('{"type": "hint", "file": "/etc/passwd"}', window.MALFORMED),
        ('{"type": "hello", "token": "", "person": "../x", "device": ""}', window.MALFORMED),
        ("x" * 4001, window.TOO_LARGE),
        (b"\0\1", window.MALFORMED),
    ],
)
def test_malformed_messages_close_the_socket(
    tmp_path: Path, message: str | bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        assert closing_code(one, message) == code
    assert "closed a window of person-" in caplog.text
    assert not [*tmp_path.iterdir()]


def test_the_first_message_is_a_greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with page(app_at(tmp_path)) as one:
        assert closing_code(one, '{"type": "menu"}') == window.MALFORMED
    monkeypatch.setattr(window, "PATIENCE", 0.01)
    with page(app_at(tmp_path)) as one:
        assert closing_code(one) == window.MALFORMED


def test_floods_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "PER_SECOND", 0.0)
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        assert closing_code(one, *['{"type": "menu"}'] * 201) == window.TOO_MANY


def test_windows_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_SOCKETS", 1)
    app = app_at(tmp_path)
    with page(app) as one, page(app) as other:
        one.hello()
        assert closing_code(other) == window.FULL


VALID: list[dict[str, Any]] = [
    {
        "type": "click",
        "step": 0,
        "screen": "0" * 16,
        "x": 1,
        "y": 2,
        "via": "key",
        "shown_ms": 1.0,
        "down_ms": 2.0,
        "up_ms": 3.0,
    },
    {"type": "start", "task": "colored_dots", "practice": True},
    {"type": "hint"},
    {"type": "menu"},
    {"type": "policy", "step": 0, "screen": "0" * 16},
    {"type": "outlook", "step": 0, "screen": "0" * 16},
    {"type": "review", "view": 0},
    {"type": "hello", "token": "t", "person": "", "device": ""},
]


def drawn_message(rng: np.random.Generator, valid: list[dict[str, Any]]) -> str:
    """Draw a message: a valid one with keys, values or characters changed, or noise."""
    odd: list[Any] = [None, True, -1, 1e999, 2**70, "", "../..", "a" * 200, [], {}, "\0", 0.5, "7"]
    message = dict(valid[rng.integers(len(valid))])
    for _ in range(rng.integers(0, 3)):
        key = str(rng.choice([*message, "other"]))
        if rng.random() < 0.3:
            message.pop(key, None)
        else:
            message[key] = odd[rng.integers(len(odd))]
    text = json.dumps(message)
    for _ in range(rng.integers(0, 4)):
        at = int(rng.integers(len(text)))
        text = text[:at] + chr(int(rng.integers(1, 0x250))) + text[at + int(rng.integers(2)) :]
    return text if rng.random() < 0.9 else rng.bytes(int(rng.integers(40))).decode("latin-1")


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_drawn_messages_change_nothing_that_is_not_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    caplog.set_level(logging.WARNING)
    rng = np.random.default_rng(0)
    app = app_at(tmp_path, "colored_dots")
    with page(app) as victim:
        victim.hello()
        victim.start("colored_dots")
        victim.click(365, 68)
        (path,) = people.logs(tmp_path)
        before = path.read_bytes()

        valid = [VALID[0] | {"screen": victim.screen["digest"]}, *VALID[1:]]
        sent = 0
        with TestClient(app) as client:
            while sent < count:
                with client.websocket_connect(SOCKET, headers={"origin": ADDRESS}) as socket:
                    one = Page(socket)
                    one.hello()
                    while sent < count:
                        text = drawn_message(rng, valid)
                        socket.send_text(text)
                        sent += 1
                        try:
                            one.receive()
                        except WebSocketDisconnect as closed:
                            assert closed.code in (window.MALFORMED, window.TOO_LARGE), text
                            break
        assert victim.click(365, 68)["step"] == 2  # and it goes on
    assert path.read_bytes().startswith(before)
    assert len(people.read(path).clicks) == 2
    assert "Traceback" not in caplog.text
    for log in people.logs(tmp_path):
        people.check(people.read(log))


def test_messages_are_bounded() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        parse(drawn_message(rng, VALID))
    assert all(parse(json.dumps(message)) for message in VALID)
    assert parse("[" * 100_000) is None
    assert parse('{"type": "hint"}') is not None and parse('{"type": "pause"}') is not None
    assert parse('{"type": "hint", "type": "menu"}') is not None  # JSON takes the last


def test_people_do_not_see_each_other(tmp_path: Path) -> None:
    app = app_at(tmp_path, "colored_dots", "limb_tracking")
    todo = clicks("colored_dots")
    with page(app) as one, page(app) as other:
        names = {one.hello()["name"], other.hello()["name"]}
        one.start("colored_dots")
        other.start("colored_dots")
        for x, y in todo:
            one.click(x, y)
        assert other.click(*todo[0])["step"] == 1  # the same world, from its own beginning
        other.send(type="menu")
        assert [task["done"] for task in other.receive()["tasks"]] == [0, 0]
        assert one.receive()["type"] == "result"
        one.send(type="menu")
        assert [task["done"] for task in one.receive()["tasks"]] == [1, 0]
    assert len(names) == 2 == len(people.logs(tmp_path))
    assert {path.parent.name for path in people.logs(tmp_path)} == names


def test_pages_are_served_with_a_policy(tmp_path: Path) -> None:
    client = TestClient(app_at(tmp_path), base_url=ADDRESS)
    for path in server.FILES:
        answer = client.get(path)
        assert answer.status_code == 200 and "default-src 'self'" in str(answer.headers)
    for path in ("/../pyproject.toml", "/%2e%2e/server.py", "/static/play.js", "/socket"):
        assert client.get(path).status_code == 404


# Hints and keys


@pytest.mark.parametrize("task", task_names())
def test_who_follows_the_hints_succeeds(task: str, tmp_path: Path) -> None:
    settings = Settings(tmp_path, (task,))
    everybody = People(settings)
    person, _ = everybody.join()
    work = everybody.open(person, task, True, "")
    assert isinstance(work, Work)
    times = {"shown_ms": 0.0, "down_ms": 0.0, "up_ms": 0.0, "received_ms": 0.0}
    while not work.ending:
        hint = work.hint()
        assert hint == work.hint()  # asked again, it says the same
        click = people.Click(
            step=work.step, screen=work.screen()[0], x=hint.x, y=hint.y, via="key", **times
        )
        work.click(click)
    assert work.session.score.success and not work.missed()


def test_hints_are_for_practice(tmp_path: Path) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        one.hello()
        one.start("colored_dots")
        one.send(type="hint")
        assert one.receive()["text"] == "Hints are for practice."


@pytest.mark.parametrize("task", task_names())
def test_every_button_has_a_key_of_its_own(task: str) -> None:
    interface = get_task(task).interface(Source(task, "people", 0).world(0))
    groups = interface.controls(interface.start())
    buttons = [button for group in groups for button in group.buttons]
    keys = shortcuts(buttons)
    assert keys.keys() == {button.id for button in buttons}
    assert len({*keys.values()}) == len(keys) and "h" not in keys.values()
    assert keys["undo"] == "u" and keys["done"] == "d"


@pytest.mark.parametrize("task", task_names())
def test_every_task_says_how_it_works(task: str) -> None:
    words = guide.about(task)
    assert words["about"] and [title for title, _ in words["guide"]] == [*guide.SECTIONS]
    assert all(len(text) > 5 and "**" not in text for _, text in words["guide"])


# Commands


def test_recordings_are_listed_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with page(app_at(tmp_path, "colored_dots")) as one:
        name = one.hello()["name"]
        one.start("colored_dots")
        one.click(365, 68)
    assert main(["recordings", "list", str(tmp_path)]) == 0
    assert name in (out := capsys.readouterr().out) and "colored_dots" in out and "open" in out
    assert main(["recordings", "check", str(tmp_path)]) == 0
    assert "1 of 1" in capsys.readouterr().out

    (path,) = people.logs(tmp_path)
    path.with_name("other.jsonl").write_bytes(b"{}\n")
    assert main(["recordings", "check", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "1 of 2" in out and "other.jsonl: line 1" in err
    assert main(["recordings", "list", str(tmp_path)]) == 0
    assert main(["recordings", "list", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_an_export_is_of_one_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with page(app_at(tmp_path, "colored_dots", "limb_tracking")) as one:
        one.hello()
        for task in ("colored_dots", "limb_tracking"):
            one.start(task)
            one.click(*clicks(task)[0])
    out = tmp_path / "out.parquet"
    words = ["recordings", "export", str(tmp_path), "--out", str(out)]
    assert main(words) == 1
    assert "colored_dots, short, seed 0; limb_tracking" in capsys.readouterr().err
    assert not out.exists()
    assert main([*words, "--task", "limb_tracking"]) == 0
    assert trajectory.read(out).source.task == "limb_tracking"
    assert main([*words, "--task", "road_mapping"]) == 1
    assert "got none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"tasks": ("colored_dot",)}, "did you mean 'colored_dots'"),
        ({"difficulty": "hard"}, "hard"),
        ({"look": Look("middle", "dark")}, "middle"),
        ({"worlds": 0}, "worlds"),
    ],
)
def test_what_no_server_can_offer_is_refused(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(LastmileError, match=problem):
        server.make_app(Settings(tmp_path, **settings), "token")


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    with open(tmp_path / ".lock", "w", encoding="utf-8") as lock:
        assert locks.take(lock)
        with pytest.raises(LastmileError, match="another lastmile play"):
            server.serve(Settings(tmp_path), port=0)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LastmileError, match=f"port {port}.*--port"):
            server.serve(Settings(tmp_path), port=port)
