"""How an interface looks: widgets, layouts, themes and the rasterizer. Knows no task.

Importing this package loads NumPy and OpenCV, which every task needs anyway; Pillow is loaded when
the first text is drawn.
"""

from lastmile.screen.layout import LAYOUTS, Look
from lastmile.screen.raster import draw, draw_small, draw_small_series, shrink
from lastmile.screen.screen import Screen
from lastmile.screen.theme import THEMES
from lastmile.screen.widgets import (
    CANVAS,
    HEIGHT,
    SMALL_HEIGHT,
    SMALL_WIDTH,
    WIDTH,
    Button,
    Group,
    Hit,
    Mark,
    Rect,
    Widget,
)

__all__ = [
    "CANVAS",
    "HEIGHT",
    "LAYOUTS",
    "SMALL_HEIGHT",
    "SMALL_WIDTH",
    "THEMES",
    "WIDTH",
    "Button",
    "Group",
    "Hit",
    "Look",
    "Mark",
    "Rect",
    "Screen",
    "Widget",
    "draw",
    "draw_small",
    "draw_small_series",
    "shrink",
]
