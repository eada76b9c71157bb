"""A screen as a value: drawing and hit-testing read the same one, so both always agree.

A task says *what* is on the screen (groups of buttons, an image with marks, a status line), a
layout says *where*, and a theme says *how it looks*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen.layout import Look
from lastmile.screen.widgets import HEIGHT, NOTHING, WIDTH, Hit, Mark, Rect, Widget


@dataclass(frozen=True, slots=True)
class Screen:
    """One screen of one task: where everything is, and how to get what is drawn.

    `status`, `image` and `marks` are called only when the screen is drawn, so that a screen which
    is only clicked costs no pixels.

    Attributes:
        title: Name of the task.
        widgets: All buttons with their rectangles.
        groups: Title of each group with its rectangle.
        canvas: Rectangle of the canvas.
        status_bar: Rectangle of the status bar.
        title_bar: Rectangle of the title bar.
        canvas_live: Whether a click on the canvas does something.
        status: Returns the texts of the status bar.
        image: Returns the canvas without marks, (256, 256, 3) uint8; not to be written to.
        marks: Returns what is drawn over the image.
        look: The layout and theme.
    """

    title: str
    widgets: tuple[Widget, ...]
    groups: tuple[tuple[str, Rect], ...]
    canvas: Rect
    status_bar: Rect
    title_bar: Rect
    canvas_live: bool
    status: Callable[[], tuple[str, ...]]
    image: Callable[[], np.ndarray]
    marks: Callable[[], tuple[Mark, ...]]
    look: Look

    def hit(self, x: float, y: float) -> Hit:
        """Return what a click at logical pixel (x, y) hits: an enabled button or the live canvas.

        Raises:
            LastmileError: The click is outside the screen.
        """
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
            raise LastmileError(
                f"click ({x}, {y}) is outside the screen: "
                f"expected 0 <= x < {WIDTH} and 0 <= y < {HEIGHT}"
            )

        if self.canvas.contains(x, y):
            if not self.canvas_live:
                return NOTHING
            return Hit("canvas", "place", x - self.canvas.x, y - self.canvas.y)

        for button, rect in self.widgets:
            if rect.contains(x, y):
                return Hit(button.id, button.kind) if button.enabled else NOTHING
        return NOTHING

    def widget(self, widget_id: str) -> Widget:
        """Return the widget of a button.

        Raises:
            KeyError: The screen has no such button.
        """
        for widget in self.widgets:
            if widget.button.id == widget_id:
                return widget
        known = ", ".join(widget.button.id for widget in self.widgets)
        raise KeyError(f"no widget '{widget_id}' on this screen; it has {known}")
