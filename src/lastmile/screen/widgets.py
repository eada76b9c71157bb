"""What stands on a screen. Drawing and hit-testing read the same `Screen`, so what is seen is what is clicked.

A task says *what* there is (groups of buttons, an image with marks, a status line); a layout says *where*; a theme says *how it looks*.
All coordinates are logical pixels, x to the right, y down; the canvas has coordinates (u, v) of its own, with (0, 0) at its top left corner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from lastmile.errors import LastmileError

WIDTH, HEIGHT = 448, 336
"""Size of every screen in logical pixels."""
CANVAS = 256
"""Side of the square canvas in logical pixels."""
SMALL_WIDTH, SMALL_HEIGHT = 168, 126
"""Size of the screen a policy sees: 3/8 of the logical one, a 12 x 9 grid of 14-pixel patches."""

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

Kind = Literal["navigate", "look", "mode", "place", "decide", "undo", "done", "invalid"]
"""Kind of an action: moving through the data, looking at a derived view, changing a tool or tab, putting an annotation on the canvas,
deciding (choosing, splitting, closing), undoing, finishing, and clicks that hit nothing."""
KINDS: tuple[Kind, ...] = ("navigate", "look", "mode", "place", "decide", "undo", "done", "invalid")


class Rect(NamedTuple):
    """An axis-aligned rectangle; contains [x, x + width) by [y, y + height)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> tuple[int, int]:
        return self.x + self.width // 2, self.y + self.height // 2

    def contains(self, x: float, y: float) -> bool:
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Button(NamedTuple):
    """A button as a task lists it.

    `active` marks the button of the mode or tab that is on; `color` is a small swatch (the color of an animal's tab, of a key point).
    """

    id: str
    label: str
    kind: Kind
    enabled: bool = True
    active: bool = False
    color: Color | None = None


class Group(NamedTuple):
    """Buttons that belong together, under a title, in rows of `columns`."""

    title: str
    buttons: tuple[Button, ...]
    columns: int = 2


class Mark(NamedTuple):
    """Something drawn over the canvas image, anti-aliased.

    kind: "ring", "dot", "cross" (at each point), "line" (open polyline) or "polygon" (closed). points: canvas coordinates. size: radius
    in pixels (ring, dot, cross) or line width. label: a short text beside the first point. faint: drawn half transparent.
    """

    kind: Literal["ring", "dot", "cross", "line", "polygon"]
    points: tuple[tuple[float, float], ...]
    color: Color = (255, 255, 255)
    size: float = 6.0
    label: str = ""
    faint: bool = False


class Widget(NamedTuple):
    """A button with its place on the screen."""

    button: Button
    rect: Rect


class Hit(NamedTuple):
    """What a click hits. `kind` "invalid" (with an empty widget) means nothing; widget "canvas" means the live canvas at (u, v)."""

    widget: str
    kind: Kind
    u: float = -1.0
    v: float = -1.0


NOTHING = Hit("", "invalid")


@dataclass(frozen=True, slots=True)
class Screen:
    """One screen of one task: where everything is, and how to get the canvas content when it is to be drawn.

    canvas_live: whether a click on the canvas means something. status, image, marks: called only when the screen is drawn; the image is
    (256, 256, 3) uint8 and not to be written to.
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
    look: object

    def hit(self, x: float, y: float) -> Hit:
        """The enabled widget or live canvas under a click at logical pixel (x, y).

        Raises ValueError for a click outside the screen.
        """
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
            raise LastmileError(
                f"click ({x}, {y}) is outside the screen: expected 0 <= x < {WIDTH} and 0 <= y < {HEIGHT}"
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
        """The widget of that id; KeyError if the screen has none."""
        for widget in self.widgets:
            if widget.button.id == widget_id:
                return widget
        raise KeyError(
            f"no widget '{widget_id}' on this screen; it has {', '.join(w.button.id for w in self.widgets)}"
        )
