"""`lastmile play` in a real browser: pixels, pointers, keys, reloads, and a server that is killed."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lastmile.screen import draw
from lastmile.simulation import people, people_trajectories, trajectory
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import Episode, record
from lastmile.tasks import get_task, task_names

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.xdist_group("play"),
]
TASK = "channel_alignment"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


class Server:
    """`lastmile play` in a process of its own."""

    def __init__(self, folder: Path, port: int = 0, *options: str) -> None:
        words = ["play", "--folder", str(folder), "--port", str(port), *options]
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lastmile", *words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/#token=\S+", line)
        assert match, line
        self.address, self.port = match[0], int(match[1])

    def kill(self) -> None:
        """End it as a loss of power would."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("recordings"))
    yield server
    server.kill()


@contextmanager
def window(browser: Any, server: Server, task: str = TASK, **options: Any) -> Iterator[Any]:
    """Open the page in a browser of its own, and begin a world that counts."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(server.address)
    title = get_task(task).interface.title
    page.get_by_role("button", name=f"Worlds that count: {title}").click()
    at_step(page, 0)
    yield page
    context.close()
    assert not problems


def at_step(page: Any, step: int) -> None:
    page.wait_for_selector(f"#screen[data-step='{step}']")


def at_least(page: Any, step: int) -> None:
    """Wait for a step that a policy may be past before it is seen."""
    deadline = time.monotonic() + 60
    while int(page.get_attribute("#screen", "data-step")) < step:
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def log_of(page: Any, server: Server) -> people.Log:
    name = page.evaluate("document.getElementById('name').textContent")
    (path,) = (server.folder / name).glob("*.jsonl")
    return people.read(path)


def point(
    page: Any, x: float, y: float, place: dict[str, float] | None = None
) -> tuple[float, float]:
    """Return where the middle of a logical pixel is in the window."""
    place = place or page.locator("#screen").bounding_box()
    assert place
    return (
        place["x"] + (x + 0.5) * place["width"] / 448,
        place["y"] + (y + 0.5) * place["height"] / 336,
    )


@pytest.mark.parametrize(
    "scale, zoom", [(1, 1), (1.5, 1), (2, 1), (1.25, 1.25)], ids=["1", "1.5", "2", "zoom 125 %"]
)
def test_the_stored_click_is_the_pixel_under_the_pointer(
    browser: Any, serving: Server, scale: float, zoom: float
) -> None:
    """Browser zoom is a larger pixel ratio in a window of fewer CSS pixels."""
    size = {"width": int(1280 / zoom), "height": int(720 / zoom)}
    with window(browser, serving, viewport=size, device_scale_factor=scale) as page:
        place = page.locator("#screen").bounding_box()
        left, top, width = (place[name] * scale for name in ("x", "y", "width"))
        factor = round(width / 448)
        assert factor >= 1 and abs(width / 448 - factor) < 1e-3
        assert abs(left - round(left)) < 0.05 and abs(top - round(top)) < 0.05

        # What is seen is what the server drew, each pixel as a square of device pixels.
        picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        seen = picture[round(top) :, round(left) :][: 336 * factor, : 448 * factor]
        session = log_of(page, serving).opening.session()
        drawn = draw(session.screen()).repeat(factor, 0).repeat(factor, 1)
        assert np.array_equal(seen, drawn)

        wanted = [(0, 0), (447, 335), (101, 57), (3, 332), (222, 200), (446, 1)]
        for number, (x, y) in enumerate(wanted, 1):
            page.mouse.click(*point(page, x, y))
            at_step(page, number)
        log = log_of(page, serving)
    assert [(click.x, click.y) for click in log.clicks] == wanted
    assert {click.via for click in log.clicks} == {"pointer"}
    for click in log.clicks:
        assert click.shown_ms is not None and click.down_ms is not None and click.up_ms is not None
        assert click.shown_ms <= click.down_ms <= click.up_ms <= click.received_ms + 1000
    assert f"@{scale}" in log.opening.device and "mouse" in log.opening.device


def test_touches_and_keys_are_clicks(browser: Any, serving: Server) -> None:
    options: dict[str, Any] = {"viewport": {"width": 768, "height": 1024}, "has_touch": True}
    with window(browser, serving, device_scale_factor=2, **options) as page:
        page.touchscreen.tap(*point(page, 120, 130))
        at_step(page, 1)
        page.keyboard.press("o")
        at_step(page, 2)
        page.keyboard.press("h")  # no hints here
        page.keyboard.press("x")  # no such key
        log = log_of(page, serving)
        rect = log.opening.session().screen().widget("overlay").rect
    assert [click.via for click in log.clicks] == ["pointer", "key"]
    assert (log.clicks[0].x, log.clicks[0].y) == (120, 130)
    assert (log.clicks[1].x, log.clicks[1].y) == rect.middle


def test_an_annotator_in_the_browser_leaves_the_recording_of_one_without(
    browser: Any, tmp_path: Path
) -> None:
    """With a reload, and with a server that is killed and started again, on the way."""
    expected = record(Source(TASK, "people", 0), 0)
    todo = list(zip(expected.columns["x"], expected.columns["y"]))
    server = Server(tmp_path / "in")
    try:
        with window(browser, server) as page:
            place = page.locator("#screen").bounding_box()
            for number, (x, y) in enumerate(todo, 1):
                page.mouse.click(*point(page, x, y, place))
                if number < len(todo):
                    at_step(page, number)
                if number == 5:
                    page.reload()
                    at_step(page, 5)
                if number == 10:
                    server.kill()
                    page.wait_for_selector("#banner:not([hidden])")
                    page.mouse.click(*point(page, 5, 5))  # nobody hears it
                    server = Server(tmp_path / "in", server.port)
                    at_step(page, 10)
                    assert page.locator("#banner").is_hidden()
            page.wait_for_selector("#result:not([hidden])")
            assert f"{round(100 * expected.score.score)} %" == page.inner_text("#score")
            log = log_of(page, server)
    finally:
        server.kill()
    agree(log, expected, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", task_names())
def test_every_task_is_played_in_the_browser(
    browser: Any, serving: Server, task: str, tmp_path: Path
) -> None:
    expected = record(Source(task, "people", 0), 0)
    todo = list(zip(expected.columns["x"], expected.columns["y"]))
    with window(browser, serving, task) as page:
        place = page.locator("#screen").bounding_box()
        for number, (x, y) in enumerate(todo, 1):
            page.mouse.click(*point(page, x, y, place))
            at_step(page, number)
        page.wait_for_selector("#result:not([hidden])")
        log = log_of(page, serving)
    agree(log, expected, tmp_path)


def agree(log: people.Log, expected: Episode, folder: Path) -> None:
    """Check that what a log becomes is a recording that was made without a browser."""
    people.check(log)
    people_trajectories.export(folder / "out.parquet", [log])
    steps = trajectory.read(folder / "out.parquet").steps
    for column in ("x", "y", "widget", "kind", "verdict", "open_mistakes"):
        assert steps[column].tolist() == expected.columns[column], column


def test_of_a_hundred_clicks_at_once_none_is_lost_in_silence(browser: Any, serving: Server) -> None:
    with window(browser, serving) as page:
        page.evaluate(
            """() => {
              let refusals = 0;
              const watch = new MutationObserver((changes) => {
                refusals += changes.filter((change) => change.addedNodes.length).length;
                document.body.dataset.refusals = refusals;
              });
              watch.observe(document.getElementById("notice"), {childList: true});
              const canvas = document.getElementById("screen");
              const box = canvas.getBoundingClientRect();
              for (let n = 0; n < 100; n++) {
                const at = {isPrimary: true, pointerId: 7, button: 0, bubbles: true,
                  clientX: box.left + 5 + n, clientY: box.top + 5};
                canvas.dispatchEvent(new PointerEvent("pointerdown", at));
                canvas.dispatchEvent(new PointerEvent("pointerup", at));
              }
            }"""
        )
        page.wait_for_selector("body[data-refusals='99']")
        at_step(page, 1)
        assert "previous screen" in page.inner_text("#notice")
        assert len(log_of(page, serving).clicks) == 1
        page.mouse.click(*point(page, 9, 9))  # and it goes on
        at_step(page, 2)


def drawn_over(page: Any) -> int:
    """Return how many pixels are drawn over the screen."""
    count: int = page.evaluate(
        """() => {
          const over = document.getElementById("over");
          const {data} = over.getContext("2d").getImageData(0, 0, over.width, over.height);
          return data.filter((value, i) => i % 4 === 3 && value).length;
        }"""
    )
    return count


def test_a_policy_is_taken_over_and_handed_back(browser: Any, tmp_path: Path) -> None:
    server = Server(tmp_path / "in", 0, "--policy", "joint")
    try:
        with window(browser, server) as page:
            assert page.inner_text("#run-label") == "Start" and not drawn_over(page)
            page.select_option("#speed", "4")
            page.check("#show-map")
            page.check("#show-top")
            page.wait_for_selector("#top-clicks li")
            assert drawn_over(page) > 1000
            page.keyboard.press(" ")
            at_least(page, 3)
            answer = "#run-label:text-is('Hand back'), #notice:has-text('previous screen')"
            page.mouse.click(*point(page, 120, 130))  # takes over
            page.wait_for_selector(answer)
            if page.inner_text("#run-label") == "Go on":  # the policy was faster, and has paused
                page.mouse.click(*point(page, 120, 130))
                page.wait_for_selector("#run-label:text-is('Hand back')")
            log = log_of(page, server)
            taken = len(log.clicks)
            assert [click.via for click in log.clicks] == [*(taken - 1) * ["policy"], "pointer"]
            page.wait_for_timeout(300)
            assert len(log_of(page, server).clicks) == taken  # it does not go on by itself
            page.keyboard.press(" ")  # hands back
            at_least(page, taken + 2)
            page.keyboard.press(" ")
            page.wait_for_selector("#run-label:text-is('Go on')")
            page.wait_for_timeout(200)
            step = len(log_of(page, server).clicks)
            page.keyboard.press(".")
            at_least(page, step + 1)
            page.click("#give-up")
            page.wait_for_selector("#review:not([hidden])")
            assert "missed" in page.inner_text("#legend") and drawn_over(page)
            page.click("#next-view")
            page.wait_for_selector("#view:has-text('2 of')")
            log = log_of(page, server)
    finally:
        server.kill()
    people.check(log)
    flags = people.interventions(log.clicks)
    assert [n for n, flag in enumerate(flags) if flag] == [taken - 1]
    assert (log.clicks[taken - 1].x, log.clicks[taken - 1].y) == (120, 130)


@pytest.mark.parametrize(
    "width, height, scale, factor",
    [(1280, 720, 1, 2), (768, 1024, 1, 1), (768, 1024, 2, 3), (1920, 1080, 1, 3)],
)
def test_pixels_are_as_large_as_fits(
    browser: Any, serving: Server, width: int, height: int, scale: int, factor: int
) -> None:
    """A whole number of device pixels each; on a tablet, where two are a CSS pixel, three."""
    size = {"width": width, "height": height}
    with window(browser, serving, viewport=size, device_scale_factor=scale) as page:
        place = page.locator("#screen").bounding_box()
        assert place["width"] * scale == 448 * factor
        assert place["x"] + place["width"] <= width and place["y"] + place["height"] <= height
        assert (factor + 1) * 448 > (width - 40) * scale or (factor + 1) * 336 > (
            height - 40
        ) * scale
