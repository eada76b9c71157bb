"""What the actions of a computer tool do to an episode: clicks count, everything else does not.

Nothing here knows a framework for agents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lastmile.agents.frames import Frame
from lastmile.screen import HEIGHT, WIDTH, draw
from lastmile.screen.png import encode_png
from lastmile.simulation.pool import Rollout

LOOKING = ("screenshot", "wait")
"""Actions that only ask for the screen."""
NOTHING_DONE = "nothing was done, and no click was counted"
"""Ends the line about an action that is refused."""
_FAR = 1_000_000  # px; no screen is that large
_SHOWN = 60  # characters of a wrong argument that a line quotes


class Computer:
    """An episode behind the mouse of a computer tool.

    Attributes:
        rollout: The episode.
        frame: The screen that the agent sees.
        refused: How many actions were refused.
    """

    def __init__(self, rollout: Rollout, frame: Frame) -> None:
        self.rollout = rollout
        self.frame = frame
        self.refused = 0
        self._cursor = (frame.width // 2, frame.height // 2)

    def act(self, arguments: Mapping[str, Any]) -> str:
        """Do one action.

        Args:
            arguments: Arguments of the tool: `action`, and what else belongs to it. They come from
                a model and may be anything.

        Returns:
            What there is to say, in one line: why the action was refused, or where the cursor is;
            empty if the screen says it all.
        """
        action = arguments.get("action")
        if action in LOOKING:
            return ""
        if action == "cursor_position":
            return "cursor at ({}, {})".format(*self._cursor)
        if action not in ("mouse_move", "left_click"):
            shown = f"'{_quoted(action)}'" if action else "no action"
            return self._refuse(f"{shown}: only left_click acts on this screen")

        point: Any = arguments.get("coordinate")
        if point is not None or action == "mouse_move":
            pixel = _pixel(point)
            if pixel is None:
                return self._refuse(
                    f"{action}: expected coordinate [x, y] in px, got {_quoted(point)}"
                )
            if not (0 <= pixel[0] < self.frame.width and 0 <= pixel[1] < self.frame.height):
                return self._refuse(
                    f"{action}: {list(pixel)} is outside the screen of "
                    f"{self.frame.width} x {self.frame.height} px"
                )
            self._cursor = pixel
        return self._click() if action == "left_click" else ""

    def _click(self) -> str:
        if self.rollout.over:
            return self._refuse("left_click: the episode is over")
        click = self.frame.logical(*self._cursor)
        if click is None:
            left, top = self.frame.corner
            right, bottom = left + WIDTH * self.frame.scale, top + HEIGHT * self.frame.scale
            return self._refuse(
                f"left_click: {list(self._cursor)} is in the margin; expected "
                f"{left} <= x < {right} and {top} <= y < {bottom}"
            )
        self.rollout.click(*click)
        return ""

    def screen(self) -> bytes:
        """Return what the agent sees, as PNG."""
        return encode_png(self.frame.show(draw(self.rollout.screen())))

    def status(self) -> str:
        """Return the texts of the status bar of the screen, in one line."""
        return ", ".join(text for text in self.rollout.screen().status() if text)

    def _refuse(self, reason: str) -> str:
        self.refused += 1
        return f"{reason}; {NOTHING_DONE}"


def _pixel(point: Any) -> tuple[int, int] | None:
    """Return the pixel that a coordinate of a model lies in; None if it is no pair of numbers."""
    if not isinstance(point, (list, tuple)) or len(point) != 2:
        return None
    # Bounded, so that no infinity and no integer of a thousand digits gets through, nor NaN.
    if not all(type(value) in (int, float) and abs(value) < _FAR for value in point):
        return None
    return math.floor(point[0]), math.floor(point[1])


def _quoted(value: Any) -> str:
    """Return a value as a line quotes it."""
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
