"""The parts of a screen: buttons, groups, marks on the canvas, and what a click hits.

All coordinates are logical pixels, x to the right and y down. The canvas has coordinates (u, v) of
its own, with (0, 0) at its top left corner.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

WIDTH = 448
"""Width of every screen, logical px."""
HEIGHT = 336
"""Height of every screen, logical px."""
CANVAS = 256
"""Side of the square canvas, logical px."""
SMALL_WIDTH = 168
"""Width of the screen that a policy sees: 3/8 of the logical one, 12 patches of 14 px."""
SMALL_HEIGHT = 126
"""Height of the screen that a policy sees: 3/8 of the logical one, 9 patches of 14 px."""

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

Kind = Literal["navigate", "look", "mode", "place", "decide", "undo", "done", "invalid"]
"""Kind of an action: moving through the data, looking at a derived view, changing a tool or tab,
putting an annotation on the canvas, deciding (choosing, splitting, closing), undoing, finishing,
and clicks that hit nothing."""
KINDS: tuple[Kind, ...] = ("navigate", "look", "mode", "place", "decide", "undo", "done", "invalid")
"""All kinds of actions; their order is that of the one-hot features of probes."""


class Rect(NamedTuple):
    """An axis-aligned rectangle; contains [x, x + width) by [y, y + height)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> tuple[int, int]:
        """The pixel in the middle."""
        return self.x + self.width // 2, self.y + self.height // 2

    def contains(self, x: float, y: float) -> bool:
        """Return whether a point is inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Button(NamedTuple):
    """A button as a task lists it.

    Attributes:
        id: Name of the button within its task.
        label: Text on the button.
        kind: Kind of action of a click on it.
        enabled: Whether a click on it does something.
        active: Whether it is the button of the current mode, tab or view.
        color: Color of a small swatch on it (of an animal's tab, of a key point), if any.
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

    Attributes:
        kind: A ring, dot or cross at each point, an open line through the points, or a polygon.
        points: Canvas coordinates (u, v).
        color: Color of the mark and its label.
        size: Radius (ring, dot, cross) or line width (line, polygon), px.
        label: Short text beside the first point.
        faint: Whether it is drawn half transparent.
    """

    kind: Literal["ring", "dot", "cross", "line", "polygon"]
    points: tuple[tuple[float, float], ...]
    color: Color = (255, 255, 255)
    size: float = 6.0
    label: str = ""
    faint: bool = False


class Widget(NamedTuple):
    """A button and its place on the screen."""

    button: Button
    rect: Rect


class Hit(NamedTuple):
    """What a click hits.

    Attributes:
        widget: Id of an enabled button, "canvas" for the live canvas, or empty.
        kind: Kind of action; "invalid" if nothing was hit.
        u: Position on the canvas, logical px; -1 off the canvas.
        v: Position on the canvas, logical px; -1 off the canvas.
    """

    widget: str
    kind: Kind
    u: float = -1.0
    v: float = -1.0


NOTHING = Hit("", "invalid")
"""A click that hits nothing."""
