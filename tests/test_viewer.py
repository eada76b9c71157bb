"""The viewer: its data are the recording and the policy's, its page is harmless and works."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from lastmile.cli import main
from lastmile.config import PolicySettings
from lastmile.screen import draw
from lastmile.simulation import trajectory
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.simulation.tokens import TokenStore
from lastmile.storage import parquet
from lastmile.tasks import get_task, task_names
from lastmile.viewer import episodes, page, pictures, predictions

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lastmile.policy.policy import Policy

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<img src=x onerror=hacked=1></script><script>hacked=1</script><!--"


@cache
def embedded(path: Path) -> dict[str, Any]:
    """Read the data that a page carries."""
    match = re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def run(*words: object, code: int = 0) -> None:
    assert main(["view", *map(str, words)]) == code


def truncate(patch: pytest.MonkeyPatch) -> None:
    """Truncate rollouts after a dozen clicks: the policy is untrained, and never finishes."""
    patch.setattr(episodes, "Evaluation", lambda: SimpleNamespace(max_steps=0.2))


@pytest.fixture(scope="module")
def policy_folder(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "tiny"
    policy.save(folder)
    return folder


@pytest.fixture(scope="module")
def all_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with an episode of every task."""
    out = tmp_path_factory.mktemp("pages") / "viewer.html"
    run("all", "--episodes", "1", "--out", out)
    return out


@pytest.fixture(scope="module")
def with_policy(
    recorded: trajectory.Trajectories, policy_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A page with two recorded episodes, predictions and rollouts."""
    out = tmp_path_factory.mktemp("pages") / "viewer.html"
    with pytest.MonkeyPatch.context() as patch:
        truncate(patch)
        run(recorded.path, "--episodes", "1,3", "--play", policy_folder, "--out", out)
    return out


# What the page holds


@pytest.mark.parametrize("name", task_names())
def test_the_page_holds_what_was_recorded(all_tasks: Path, name: str) -> None:
    (shown,) = [e for e in embedded(all_tasks)["episodes"] if e["task"] == name]
    (track,) = shown["tracks"]
    recording = trajectory.record(Source(name, "test", 0), 1, again=True)
    assert (shown["number"], shown["key"]) == (1, f"{name}.1")
    for column, values in recording.columns.items():
        if column in ("position", "target_x", "target_y"):
            assert track["steps"][column] == pytest.approx(values, abs=1e-4)
        else:
            assert track["steps"][column] == values, column
    assert track["success"] == recording.score.success
    assert track["score"][-1] == pytest.approx(recording.score.score, abs=1e-4)
    assert track["open"][:-1] == recording.columns["open_mistakes"]
    # What is shown before each step, and at the end.
    steps = len(recording.columns["x"])
    assert len(track["screen"]) == len(track["status"]) == len(track["score"]) == steps + 1
    assert set(track["screen"]) == set(range(len(shown["screens"])))


def test_a_recording_is_shown_as_it_was_read(
    recorded: trajectory.Trajectories, with_policy: Path
) -> None:
    shown = embedded(with_policy)["episodes"]
    assert [(e["number"], e["key"], e["seed"]) for e in shown] == [(1, "1", 3), (3, "3", 3)]
    for episode in shown:
        steps = recorded.steps[recorded.steps["episode"] == episode["number"]]
        annotator, policy = episode["tracks"]
        for column in ("x", "y", "widget", "kind", "phase", "mistake", "verdict", "again_x"):
            assert annotator["steps"][column] == steps[column].tolist()
        assert annotator["player"] == "annotator, typical"
        assert policy["player"].startswith("policy ") and policy["player"].endswith("T = 0.4")
        assert set(policy["steps"]["phase"]) == {""} and set(policy["again_kind"]) == {""}
        assert all(
            len(track["predictions"][name]) == len(track["steps"]["x"])
            for track in (annotator, policy)
            for name in ("nats", "top", "maps")
        )


def test_tiles_give_back_every_pixel(recorded: trajectory.Trajectories) -> None:
    replay = recorded.open(0)
    screens = [draw(replay.interface.screen(step.before, replay.look)) for step in replay.replay()]
    kept = pictures.Pictures()
    numbers = [kept.add(screen) for screen in screens]
    assert len(set(numbers)) == len({screen.tobytes() for screen in screens})

    file = io.BytesIO(base64.b64decode(kept.picture().partition(",")[2]))
    tiles = np.asarray(Image.open(file))
    side = pictures.TILE
    shown: dict[int, np.ndarray] = {}
    canvas = np.zeros_like(screens[0])
    for number, changes in enumerate(kept.screens):
        for place, tile, length in zip(changes[::3], changes[1::3], changes[2::3]):
            for k in range(length):
                y, x = (side * n for n in divmod(place + k, 448 // side))
                v, u = (side * n for n in divmod(tile + k, kept.columns))
                canvas[y : y + side, x : x + side] = tiles[v : v + side, u : u + side]
        shown[number] = canvas.copy()
    assert all(np.array_equal(shown[n], screen) for n, screen in zip(numbers, screens))


def test_events_are_mistakes_and_what_becomes_of_them(recorded: trajectory.Trajectories) -> None:
    made = repaired = 0
    for episode in episodes.of_recording(recorded.path):
        (track,) = episode.tracks
        events, columns = track.events(), track.columns
        made += len(events["made"])
        repaired += len(events["repaired"])
        assert events["made"] == [i for i, mistake in enumerate(columns["mistake"]) if mistake]
        assert all(columns["phase"][i] == "correct" for i in events["noticed"])
        assert events["undo"] == [i for i, kind in enumerate(columns["kind"]) if kind == "undo"]
        for i in events["repaired"]:
            assert track.open_mistakes[i + 1] < track.open_mistakes[i]
    assert made and repaired


def test_links_name_an_episode_by_as_little_as_is_unique() -> None:
    def named(*pairs: tuple[str, int]) -> list[str]:
        return page.keys([episodes.Episode(Source(task, "test", 0), n, ()) for task, n in pairs])

    assert named(("a", 0), ("a", 3)) == ["0", "3"]
    assert named(("a", 0), ("b", 0), ("b", 1)) == ["a.0", "b.0", "1"]
    assert named(("a", 0), ("a", 0)) == ["a.0.0", "a.0.1"]


def test_the_same_episodes_make_the_same_page(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run("cell_lineage", "--episodes", 4, "--out", tmp_path / f"{name}.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


# Predictions


def beginning(recorded: trajectory.Trajectories, number: int, steps: int) -> Session[Any, Any]:
    """Return a session with the first clicks of a recorded episode."""
    replay = recorded.open(number)
    for x, y in replay.clicks[:steps].tolist():
        replay.click(x, y)
    return replay


@pytest.mark.parametrize("settings", [{}, {"head": "bins"}, {"context": "patch", "encoder": "vit"}])
def test_predictions_are_those_of_the_policy(
    recorded: trajectory.Trajectories, token_file: Path, settings: dict[str, Any]
) -> None:
    from lastmile.policy.policy import initial

    policy = initial(PolicySettings(size="xs", window=4, **settings), 0)
    tokens = TokenStore(token_file)
    start = int(recorded.starts[1])
    stop = start + 36  # more than are encoded at a time
    screens, clicks = tokens.screens(start, stop), tokens.clicks[start:stop]
    _, nats = policy.predict_episode(screens, clicks, tokens.targets[start:stop])

    seen = predictions.seen_by(beginning(recorded, 1, stop - start))
    assert np.array_equal(seen.small, screens) and np.array_equal(seen.clicks, clicks)
    assert np.array_equal(seen.targets, tokens.targets[start:stop])
    predicted = predictions.predict(policy, seen)
    assert [p.nats for p in predicted] == pytest.approx(nats.tolist(), abs=1e-4)
    for prediction in predicted:
        assert prediction.chances.sum() == pytest.approx(1, abs=1e-4)
        cells = page.sparse(prediction)
        assert sum(mass for _, mass, *_ in cells) == pytest.approx(page.UNIT, rel=5e-3)
        chances = [click.chance for click in prediction.top]
        assert 1 <= len(chances) <= 5 and chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1 + 1e-4


@pytest.mark.parametrize("head", ["pointer", "bins"])
def test_a_button_has_the_chance_of_its_rectangle(
    recorded: trajectory.Trajectories, head: str
) -> None:
    import torch

    from lastmile.policy.policy import NO_CLICK, initial

    policy = initial(PolicySettings(size="xs", head=head), 1)
    seen = predictions.seen_by(beginning(recorded, 0, 1))
    with torch.inference_mode():
        frames = policy.encode(torch.as_tensor(seen.small), torch.tensor([NO_CLICK]))
        context = policy.context(frames.tokens[None])[0]
        chances, places = predictions._distribution(policy.head, context, frames, 0)
        for _, rect in seen.screens[0].widgets:
            rows = slice(*np.searchsorted(places[1], (rect.y, rect.y + rect.height)))
            columns = slice(*np.searchsorted(places[0], (rect.x, rect.x + rect.width)))
            expected = policy.head.chance(context, frames.cells, frames.patches, rect)
            assert chances[rows, columns].sum() == pytest.approx(float(expected), abs=1e-3)


# Recordings that mean harm


def changed(recorded: trajectory.Trajectories, folder: Path, **columns: Any) -> Path:
    """Write a recording with some columns replaced or added, each with one value for all rows."""
    for path in (recorded.path, trajectory.episodes_path(recorded.path)):
        table = parquet.read(path)
        meta = json.loads(table.schema.metadata[b"lastmile"])
        for name, value in columns.items():
            if name in table.column_names:
                number = table.column_names.index(name)
                field = table.schema.field(name)
                values = pa.array([value] * len(table)).cast(field.type)
                table = table.set_column(number, field, values)
            elif name not in trajectory.STEPS.names and path != recorded.path:
                table = table.append_column(name, pa.array([value] * len(table)))
        parquet.write(table.replace_schema_metadata(None), folder / path.name, meta)
    return folder / recorded.path.name


@pytest.fixture(scope="module")
def hostile(recorded: trajectory.Trajectories, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a recording whose texts are markup."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = dict.fromkeys(("widget", "kind", "mistake", "verdict", "source"), HOSTILE)
    path = changed(recorded, folder, **texts)
    run(path, "--episodes", 0, "--out", folder / "viewer.html")
    return folder / "viewer.html"


def test_texts_of_a_recording_are_not_markup(hostile: Path) -> None:
    text = hostile.read_text(encoding="utf-8")
    (track,) = embedded(hostile)["episodes"][0]["tracks"]
    assert track["mistakes"] == [HOSTILE] and track["player"] == HOSTILE
    assert "hacked" in text and "<img" not in text and text.count("<!--") == 0
    assert text.count("<script") == text.count("</script>") == 2
    assert "http" not in re.sub(r'id="data">.*?</script>', "", text, flags=re.DOTALL).replace(
        "http-equiv", ""
    )


def test_the_title_is_escaped() -> None:
    recording = episodes.of_task(Source("cell_lineage", "test", 0), [0])
    text = page.page(recording, HOSTILE)
    assert f"<title>{html.escape(HOSTILE)}</title>" in text and text.count("<script") == 2


# Bad input


@pytest.mark.parametrize(
    "words, message",
    [
        (["coloured_dots"], "unknown task 'coloured_dots'; did you mean 'colored_dots'?"),
        (["colored_dots", "--episodes", "3-1"], "episodes: expected a range of 1 to 200 numbers"),
        (["colored_dots", "--episodes", "x"], "episodes: expected numbers such as 0,3,5 or 0-9"),
        (["colored_dots", "--episodes", "0-200"], "episodes: expected a range of 1 to 200"),
        (["colored_dots", "--policy", "./nowhere"], "nowhere/config.json: no such file"),
        (["colored_dots", "--play", "./nowhere"], "nowhere/config.json: no such file"),
        (["nowhere.parquet"], "nowhere.parquet: no such file"),
    ],
)
def test_bad_input_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], message: str
) -> None:
    run(*words, "--out", tmp_path / "viewer.html", code=1)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_episode_out_of_range_is_named(
    capsys: pytest.CaptureFixture[str], recorded: trajectory.Trajectories, tmp_path: Path
) -> None:
    run(recorded.path, "--episodes", "2-7", "--out", tmp_path / "viewer.html", code=1)
    expected = f"error: {recorded.path}: no episode 4; expected numbers from 0 to 3 (4 episodes)\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("column, value", [("again_x", 448), ("position", float("inf"))])
def test_numbers_out_of_range_are_refused(
    capsys: pytest.CaptureFixture[str],
    recorded: trajectory.Trajectories,
    tmp_path: Path,
    column: str,
    value: float,
) -> None:
    path = changed(recorded, tmp_path, **{column: value})
    run(path, "--out", tmp_path / "viewer.html", code=1)
    expected = f"error: {path}: a position, target or second answer is out of range\n"
    assert capsys.readouterr().err == expected


def test_several_people_may_work_on_one_world(
    recorded: trajectory.Trajectories, tmp_path: Path
) -> None:
    """Their episodes have the same number, and each names its player."""
    steps, rows = recorded.steps, recorded.episodes
    first = steps[steps["episode"] == 0]
    people = pd.concat([rows[:1], rows[:1]]).assign(source=["ada", "bob"])
    version = get_task("colored_dots").version
    meta = {
        "format": trajectory.FORMAT,
        "task_version": version,
        "source": recorded.source.__dict__,
    }
    for table, schema, path in (
        (pd.concat([first, first]), trajectory.STEPS, tmp_path / "people.parquet"),
        (
            people,
            pa.schema([*trajectory.EPISODES, ("source", pa.string())]),
            tmp_path / "people.episodes.parquet",
        ),
    ):
        parquet.write(pa.Table.from_pandas(table, schema, preserve_index=False), path, meta)
    shown = episodes.of_recording(tmp_path / "people.parquet", [0])
    assert [(e.number, e.tracks[0].player) for e in shown] == [(0, "ada"), (0, "bob")]
    assert page.keys(shown) == ["colored_dots.0.0", "colored_dots.0.1"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--alone"], "--alone needs --play"),
        (["--style", "hasty"], "--style is for tasks; a recording has its own"),
        (["--seed", "1"], "--seed is for tasks; a recording has its own"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    capsys: pytest.CaptureFixture[str],
    recorded: trajectory.Trajectories,
    words: list[str],
    message: str,
) -> None:
    run(recorded.path, *words, code=2)
    assert message in capsys.readouterr().err


def test_a_policy_of_another_task_is_pointed_out_and_may_be_alone(
    capsys: pytest.CaptureFixture[str],
    recorded: trajectory.Trajectories,
    policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truncate(monkeypatch)
    policy.save(tmp_path / "other")
    (tmp_path / "other" / "manifest.json").write_text(
        '{"spec": {"data": {"limb_tracking/train.tokens": "1"}}}'
    )
    out = tmp_path / "viewer.html"
    run(recorded.path, "--episodes", 2, "--play", tmp_path / "other", "--alone", "--out", out)
    warning = capsys.readouterr().err
    assert warning.endswith("was trained on limb_tracking, not on colored_dots\n")
    assert warning.count("warning:") == 1
    (shown,) = embedded(out)["episodes"]
    (track,) = shown["tracks"]
    assert track["player"].startswith("policy") and track["predictions"]


# In a browser


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    """A page of Chromium; whatever it writes to its console is an error."""
    playwright_of = pytest.importorskip("playwright.sync_api").sync_playwright
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright_of() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 1280, "height": 720})
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:"))
                else complaints.append(request.url)
            ),
        )
        yield tab
        browser.close()
    assert complaints == []


def visit(tab: Page, path: Path, link: str = "") -> None:
    tab.goto("about:blank")
    tab.goto(f"{path.as_uri()}{link}")
    tab.wait_for_selector("html[data-drawn]")


def drawn(tab: Page, place: str) -> None:
    """Wait until an episode's step is on the screen, and check that the link says so."""
    tab.wait_for_selector(f"html[data-drawn='{place}']")
    episode, _, step = place.rpartition("/")
    assert tab.evaluate("location.hash") == f"#e={episode}&s={step}"


def test_keys_and_links_lead_to_steps(browser_page: Page, with_policy: Path) -> None:
    visit(browser_page, with_policy, "#e=3&s=17")
    steps = len(embedded(with_policy)["episodes"][1]["tracks"][0]["steps"]["x"])
    drawn(browser_page, "3/17")
    assert browser_page.locator("#episode").text_content() == "Colored dots, episode 3"
    slider = browser_page.locator("#timeline")
    for key, step in (
        ("ArrowRight", 18),
        ("ArrowLeft", 17),
        ("Home", 1),
        ("ArrowLeft", 1),
        ("PageDown", 11),
        ("End", steps + 1),
        ("ArrowRight", steps + 1),
    ):
        browser_page.keyboard.press(key)
        drawn(browser_page, f"3/{step}")
        assert slider.get_attribute("aria-valuenow") == str(step)
    assert "result" in (browser_page.locator("#facts").text_content() or "")
    browser_page.keyboard.press("ArrowUp")
    drawn(browser_page, "1/1")
    browser_page.evaluate("location.hash = '#e=3&s=5'")
    drawn(browser_page, "3/5")

    box = slider.bounding_box()
    assert box
    browser_page.mouse.move(box["x"] + 20, box["y"] + 30)
    browser_page.mouse.down()
    browser_page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 30, steps=3)
    browser_page.mouse.up()
    drawn(browser_page, f"3/{steps + 1}")


def test_space_plays_and_pauses(browser_page: Page, with_policy: Path) -> None:
    steps = len(embedded(with_policy)["episodes"][0]["tracks"][0]["steps"]["x"])
    play = browser_page.locator("#play")
    visit(browser_page, with_policy, f"#e=1&s={steps - 1}")
    browser_page.keyboard.press(" ")
    drawn(browser_page, f"1/{steps + 1}")  # and there it stops
    assert play.text_content() == "Play"
    browser_page.keyboard.press(" ")  # from the start
    assert play.text_content() == "Pause"
    browser_page.keyboard.press(" ")
    assert play.text_content() == "Play"


def test_what_is_on_the_canvas_is_the_screen(
    browser_page: Page, recorded: trajectory.Trajectories, with_policy: Path
) -> None:
    visit(browser_page, with_policy, "#e=1&s=9")
    drawn(browser_page, "1/9")
    data = browser_page.evaluate("document.querySelector('canvas.pixels').toDataURL('image/png')")
    pixels = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB")
    replay = recorded.open(1)
    step = list(replay.replay())[8]
    expected = draw(replay.interface.screen(step.before, replay.look))
    assert np.array_equal(np.asarray(pixels), expected)


def test_players_are_side_by_side(browser_page: Page, with_policy: Path) -> None:
    visit(browser_page, with_policy)
    assert browser_page.locator("canvas.pixels").count() == 1
    browser_page.get_by_role("button", name="side by side").click()
    assert browser_page.locator("canvas.pixels").count() == 2
    assert browser_page.locator("#facts .who").all_text_contents()[0] == "annotator, typical"
    assert browser_page.locator(".top").count() == 2


@pytest.mark.parametrize(
    ("view", "pressed", "kept"),
    [
        ("&v=2", "policy", "&v=2"),
        ("&v=all", "side by side", "&v=all"),
        ("&v=99", "policy", "&v=2"),
        ("&v=1", "annotator", ""),
        ("&v=<b>", "annotator", ""),
    ],
)
def test_links_name_the_player(
    browser_page: Page, with_policy: Path, view: str, pressed: str, kept: str
) -> None:
    visit(browser_page, with_policy, f"#e=1&s=3{view}")
    button = browser_page.locator("#views button[aria-pressed=true]")
    assert (button.text_content() or "").startswith(pressed)
    assert browser_page.evaluate("location.hash") == f"#e=1&s=3{kept}"
    assert browser_page.locator("canvas.pixels").count() == 1 + (kept == "&v=all")
    assert browser_page.locator("#note").is_hidden()


def test_filters_narrow_the_list(browser_page: Page, all_tasks: Path) -> None:
    visit(browser_page, all_tasks)
    shown = embedded(all_tasks)["episodes"]
    buttons = browser_page.locator("#episodes button")
    assert buttons.count() == len(task_names())

    slipped = [e for e in shown if "slip" in e["tracks"][0]["mistakes"]]
    assert 0 < len(slipped) < len(shown)
    browser_page.get_by_label("Mistakes").select_option("slip")
    assert buttons.count() == len(slipped)
    assert browser_page.locator("#count").text_content() == f"{len(slipped)} of {len(shown)}"
    browser_page.get_by_label("Mistakes").select_option("")
    browser_page.get_by_label("Task").select_option("road_mapping")
    assert buttons.count() == 1
    buttons.first.click()
    drawn(browser_page, "road_mapping.1/1")


@pytest.mark.parametrize("width", [600, 1280, 1920])
def test_nothing_is_wider_than_the_window(
    browser_page: Page, with_policy: Path, width: int
) -> None:
    browser_page.set_viewport_size({"width": width, "height": 720})
    visit(browser_page, with_policy)
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    browser_page.get_by_label("Zoom").select_option("2")
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    left = "document.querySelector('{}').getBoundingClientRect().left"
    screen, frame = (browser_page.evaluate(left.format(id)) for id in (".screen", "#screens"))
    assert screen >= frame  # the left part of the screen can be reached
    browser_page.set_viewport_size({"width": 1280, "height": 720})


def test_markup_in_a_recording_stays_text(browser_page: Page, hostile: Path) -> None:
    visit(browser_page, hostile)
    browser_page.keyboard.press("ArrowRight")
    assert HOSTILE in (browser_page.locator("#facts").text_content() or "")
    assert browser_page.evaluate("typeof hacked") == "undefined"
    assert browser_page.locator("img").count() == 0
