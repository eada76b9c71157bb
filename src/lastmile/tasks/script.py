"""What scripts share: hand-written solvers that work from the pixels of the screen alone.

A task may have a script, in its file `script.py`: a subclass of `Script` that is named in `SCRIPT`.
It uses classical means of image analysis, with thresholds set by hand on validation worlds. It sees
what a policy sees and clicks as a policy does. Of the interface it knows what a manual would tell:
which buttons there are, and where the layout puts them. It never reads the world or the state.

Nothing that is recorded, tokenized or trained imports a script.
"""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import CANVAS, Look
from lastmile.screen.layout import LAYOUTS, Shape, places
from lastmile.screen.theme import THEMES
from lastmile.screen.widgets import SMALL_WIDTH, WIDTH, Rect

SCALE = WIDTH / SMALL_WIDTH
"""Logical px per pixel of the small screen: 8/3."""
SIDE = int(CANVAS / SCALE)
"""Side of the canvas on the small screen, px: 96."""

Click: TypeAlias = tuple[int, int]
"""A click (x, y), logical px."""
Clicks: TypeAlias = Generator[Click, None, None]
"""Clicks, one at a time: after each, `Script.screen` is the new screen."""

_LOOK = Look()
_LAYOUT = LAYOUTS[_LOOK.layout]
_THEME = THEMES[_LOOK.theme]
_FINISH = ("", ("undo", "done"), 2)


class Script(ABC):
    """A player of one task, in the default look.

    Attributes:
        GROUPS: The task's own groups of buttons, in order: title, ids of the buttons, columns.
        screen: The current screen, (126, 168, 3) uint8.
        task: Name of the task.
    """

    GROUPS: ClassVar[tuple[tuple[str, tuple[str, ...], int], ...]]

    def __init__(self, task: str) -> None:
        self.task = task
        self.screen: np.ndarray = np.zeros((0, 0, 3), np.uint8)
        groups = (*self.GROUPS, _FINISH)
        structure: Shape = tuple((title, len(ids), columns) for title, ids, columns in groups)
        ids = [button for _, buttons, _ in groups for button in buttons]
        rects = places(structure, _LOOK.layout).buttons
        self.buttons: Mapping[str, Rect] = dict(zip(ids, rects, strict=True))
        self.reset()

    def reset(self) -> None:
        """Begin an episode: forget the last one."""
        self._clicks = self._all()

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> Click:
        """Return the next click, from the screen alone.

        Args:
            observation: The screen, (126, 168, 3) uint8.
            info: Ignored.
        """
        self.screen = observation
        return next(self._clicks)

    def _all(self) -> Clicks:
        yield from self.work()
        while True:
            yield from self.press("done")

    @abstractmethod
    def work(self) -> Clicks:
        """Yield the clicks of an episode, except for `Done` at its end."""

    def press(self, button: str) -> Clicks:
        """Click in the middle of a button."""
        yield self.buttons[button].middle

    def place(self, point: np.ndarray) -> Clicks:
        """Click on the canvas.

        Args:
            point: Where, (u, v) in logical px; moved onto the canvas if it is outside.
        """
        u, v = np.clip(np.round(point), 0, CANVAS - 1).astype(int).tolist()
        yield _LAYOUT.canvas.x + u, _LAYOUT.canvas.y + v

    def scan(self, button: str) -> Generator[Click, None, list[np.ndarray]]:
        """Press a button until it is disabled, and return all canvases on the way."""
        views = [self.canvas()]
        while self.enabled(button):
            yield from self.press(button)
            views.append(self.canvas())
        return views

    def canvas(self) -> np.ndarray:
        """Return the canvas, (96, 96, 3) float32, 0 to 255."""
        return self._cut(_LAYOUT.canvas).astype(np.float32)

    def enabled(self, button: str) -> bool:
        """Return whether a button looks enabled, or active."""
        fill = self._fill(button)
        distances = {
            look: np.abs(fill - color).sum()
            for look, color in (
                ("enabled", _THEME.button),
                ("active", _THEME.active),
                ("disabled", _THEME.disabled),
            )
        }
        return min(distances, key=lambda look: float(distances[look])) != "disabled"

    def active(self, button: str) -> bool:
        """Return whether a button is that of the current mode, tab or view."""
        fill = self._fill(button)
        return bool(
            np.abs(fill - _THEME.active).sum()
            < min(np.abs(fill - _THEME.button).sum(), np.abs(fill - _THEME.disabled).sum())
        )

    def _fill(self, button: str) -> np.ndarray:
        """Return the color of most of a button, (3,)."""
        return np.median(self._cut(self.buttons[button])[2:-2, 2:-2].reshape(-1, 3), 0)

    def _cut(self, rect: Rect) -> np.ndarray:
        x, y = round(rect.x / SCALE), round(rect.y / SCALE)
        width, height = round(rect.width / SCALE), round(rect.height / SCALE)
        return self.screen[y : y + height, x : x + width]


def logical(pixels: np.ndarray) -> np.ndarray:
    """Return canvas coordinates (u, v) in logical px of pixels (column, row) of the small canvas.

    Args:
        pixels: (..., 2) floats; the middle of a pixel has whole numbers.
    """
    return (np.asarray(pixels, float) + 0.5) * SCALE - 0.5


def has_script(task: str) -> bool:
    """Return whether a task has a script."""
    return importlib.util.find_spec(f"lastmile.tasks.{task}.script") is not None


def make_script(task: str) -> Script:
    """Return the script of a task.

    Raises:
        LastmileError: The task has none.
    """
    if not has_script(task):
        raise LastmileError(f"the task '{task}' has no script: expected tasks/{task}/script.py")
    script: type[Script] = importlib.import_module(f"lastmile.tasks.{task}.script").SCRIPT
    return script(task)
