"""The computer tool of agents: screens of two sizes, the way back to logical pixels, what counts.

None of this needs Inspect; `test_inspect.py` is about its tasks.
"""

from __future__ import annotations

import io
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from lastmile.agents.computer import NOTHING_DONE, Computer
from lastmile.agents.frames import FRAMES, Frame, get_frame
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH, Look, draw
from lastmile.simulation.pool import Rollout
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record

SOURCE = Source("colored_dots", "test", 0, style="oracle")
MARGINS = {"896x672": (0, 0), "1366x768": (235, 48)}


def computer(frame: str = "896x672", max_steps: int = 500) -> Computer:
    rollout = Rollout(0, "colored_dots", SOURCE.world(0), Look(), max_steps)
    return Computer(rollout, get_frame(frame))


def pixels(tool: Computer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(tool.screen())))


@pytest.mark.parametrize("name", FRAMES)
@hypothesis.given(st.data())
def test_every_pixel_goes_back_to_the_logical_pixel_that_it_shows(
    name: str, data: st.DataObject
) -> None:
    frame = FRAMES[name]
    x = data.draw(st.integers(-5, frame.width + 5))
    y = data.draw(st.integers(-5, frame.height + 5))
    left, top = MARGINS[name]
    inside = left <= x < frame.width - left and top <= y < frame.height - top
    assert frame.logical(x, y) == (((x - left) // 2, (y - top) // 2) if inside else None)

    u, v = data.draw(st.integers(0, WIDTH - 1)), data.draw(st.integers(0, HEIGHT - 1))
    assert frame.logical(*frame.pixel(u, v)) == (u, v)


@pytest.mark.parametrize("name", FRAMES)
def test_the_screen_is_the_interface_magnified(name: str) -> None:
    tool, frame, (left, top) = computer(name), FRAMES[name], MARGINS[name]
    shown = pixels(tool)
    assert name == f"{frame.width}x{frame.height}" and shown.shape == (frame.height, frame.width, 3)
    inner = shown[top : frame.height - top, left : frame.width - left]
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert (inner[dy::2, dx::2] == draw(tool.rollout.screen())).all()
    assert shown.sum(dtype=int) == inner.sum(dtype=int)  # the margins are black


def test_frames_by_name() -> None:
    with pytest.raises(LastmileError, match="unknown screen '896x671'; did you mean '896x672'?"):
        get_frame("896x671")
    assert Frame(1920, 1080).scale == 3 and Frame(1920, 1080).corner == (288, 36)


@pytest.mark.parametrize("name", FRAMES)
def test_the_clicks_of_the_annotator_through_the_tool(name: str) -> None:
    columns = record(SOURCE, 0).columns
    clicks = list(zip(columns["x"], columns["y"]))
    tool = computer(name)
    for click in clicks:
        assert tool.act({"action": "left_click", "coordinate": tool.frame.pixel(*click)}) == ""
    assert [step.click for step in tool.rollout.steps] == clicks
    assert tool.rollout.done and tool.rollout.score.success and tool.refused == 0


def test_looking_and_moving_are_free() -> None:
    tool = computer()
    before = tool.screen()
    assert tool.act({"action": "screenshot"}) == tool.act({"action": "wait", "duration": 9}) == ""
    assert tool.act({"action": "cursor_position"}) == "cursor at (448, 336)"
    assert tool.act({"action": "mouse_move", "coordinate": [101, 203.9]}) == ""
    assert tool.act({"action": "cursor_position"}) == "cursor at (101, 203)"
    assert not tool.rollout.steps and tool.screen() == before and tool.refused == 0

    assert tool.act({"action": "left_click"}) == ""  # where the cursor is
    assert [step.click for step in tool.rollout.steps] == [(50, 101)]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"action": "key", "text": "Return"}, "'key': only left_click acts on this screen"),
        ({"action": "type", "text": "done"}, "'type': only left_click acts"),
        ({"action": "scroll", "coordinate": [500, 300]}, "'scroll': only left_click acts"),
        ({"action": "double_click", "coordinate": [500, 300]}, "'double_click': only left_click"),
        ({"action": "left_click_drag", "coordinate": [500, 300]}, "'left_click_drag': only"),
        ({"action": "zoom", "region": [0, 0, 9, 9]}, "'zoom': only left_click acts"),
        ({"action": "a\n" * 500}, "'a a a a"),
        ({}, "no action: only left_click acts"),
        ({"action": "mouse_move"}, "mouse_move: expected coordinate [x, y] in px, got None"),
        ({"action": "left_click", "coordinate": [1]}, "expected coordinate [x, y] in px, got [1]"),
        ({"action": "left_click", "coordinate": "1,2"}, "in px, got 1,2"),
        ({"action": "left_click", "coordinate": ["1", "2"]}, "got ['1', '2']"),
        ({"action": "left_click", "coordinate": [True, 2]}, "got [True, 2]"),
        ({"action": "left_click", "coordinate": [float("nan"), 2]}, "got [nan, 2]"),
        ({"action": "left_click", "coordinate": [10**999, 2]}, "got [1000000"),
        (
            {"action": "left_click", "coordinate": [-1, 2]},
            "[-1, 2] is outside the screen of 1366 x",
        ),
        ({"action": "left_click", "coordinate": [1366, 2]}, "outside the screen of 1366 x 768 px"),
        (
            {"action": "left_click", "coordinate": [234, 100]},
            "left_click: [234, 100] is in the margin; expected 235 <= x < 1131 and 48 <= y < 720",
        ),
        ({"action": "left_click", "coordinate": [600, 720]}, "[600, 720] is in the margin"),
    ],
)
def test_what_is_refused_changes_nothing_and_is_not_counted(
    arguments: dict[str, Any], words: str
) -> None:
    tool = computer("1366x768")
    before = tool.screen()
    line = tool.act(arguments)
    assert words in line and line.endswith(f"; {NOTHING_DONE}")
    assert "\n" not in line and len(line) < 200
    assert not tool.rollout.steps and tool.screen() == before and tool.refused == 1


def test_nothing_is_clicked_after_the_end() -> None:
    tool = computer(max_steps=2)
    click = {"action": "left_click", "coordinate": [500, 300]}
    assert tool.act(click) == tool.act(click) == ""
    assert tool.act(click) == f"left_click: the episode is over; {NOTHING_DONE}"
    assert len(tool.rollout.steps) == 2 and tool.refused == 1


def test_the_status_is_that_of_the_screen() -> None:
    tool = computer()
    assert tool.status() == ", ".join(filter(None, tool.rollout.screen().status()))
    assert "0 markers" in tool.status()


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(["action", "coordinate", "text", "actions"]),
        st.one_of(
            st.sampled_from(["left_click", "mouse_move", "cursor_position", "screenshot", "key"]),
            st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=3)), max_size=3),
            st.none(),
            st.integers(),
        ),
    )
)
def test_whatever_a_model_sends_gets_at_most_a_line(arguments: dict[str, Any]) -> None:
    tool = computer("1366x768")
    line = tool.act(arguments)
    assert "\n" not in line and len(tool.rollout.steps) + tool.refused <= 1
