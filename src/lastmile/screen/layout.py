"""Where widgets go: the five layouts of a screen.

A layout fixes the rectangles of the canvas, the title bar, the status bar and one or two panels.
The panels are filled with the groups of buttons, in the order in which the task lists them.
Rectangles depend on the structure of the groups alone, not on which buttons are enabled, and are
cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.screen.theme import THEMES
from lastmile.screen.widgets import CANVAS, HEIGHT, WIDTH, Group, Rect

BUTTON_HEIGHT = 26
"""Height of a button where there is enough room, px."""
GAP = 5
"""Distance between buttons of a side panel, px."""
TITLE = 14
"""Height of the title of a group, px."""
MARGIN = 8
"""Distance between the border of a panel and its content, px."""

_MIN_HEIGHT = 14  # of a button, px: less does not hold a line of text
_MIN_WIDTH = 26  # of a button of a horizontal panel, px
_MAX_WIDTH = 84  # of a button of a horizontal panel, px
_ROWS = 2  # of buttons in a horizontal panel
_ROW_GAP = 4  # distance between the buttons of a horizontal panel, px


@dataclass(frozen=True, slots=True)
class Look:
    """How a screen is laid out and painted.

    Attributes:
        layout: Name of a layout, a key of `LAYOUTS`.
        theme: Name of a theme, a key of `THEMES`.
    """

    layout: str = "right"
    theme: str = "dark"

    def check(self) -> Look:
        """Return the look itself, if both names exist.

        Raises:
            UnknownNameError: The layout or theme does not exist.
        """
        if self.layout not in LAYOUTS:
            raise UnknownNameError("layout", self.layout, LAYOUTS)
        if self.theme not in THEMES:
            raise UnknownNameError("theme", self.theme, THEMES)
        return self


class Layout(NamedTuple):
    """The fixed rectangles of a layout.

    Attributes:
        canvas: The canvas; on multiples of 8 px, so that it shrinks apart from its surroundings.
        title_bar: The bar with the name of the task.
        status_bar: The bar with position and counts.
        panels: The areas that hold the groups of buttons.
        tall: Whether groups are stacked; otherwise they are placed side by side.
    """

    canvas: Rect
    title_bar: Rect
    status_bar: Rect
    panels: tuple[Rect, ...]
    tall: bool


_SIDE = WIDTH - CANVAS  # width left beside the canvas, px
_BAND = HEIGHT - CANVAS  # height left above or below the canvas, px
_TOP = 26  # height of a title bar across the screen, px
_STATUS = 24  # height of a status bar across the screen, px

LAYOUTS: dict[str, Layout] = {
    "right": Layout(
        Rect(16, 40, CANVAS, CANVAS),
        Rect(0, 0, WIDTH, _TOP),
        Rect(0, HEIGHT - _STATUS, WIDTH, _STATUS),
        (Rect(284, 34, 158, 272),),
        tall=True,
    ),
    "left": Layout(
        Rect(WIDTH - CANVAS - 16, 40, CANVAS, CANVAS),
        Rect(0, 0, WIDTH, _TOP),
        Rect(0, HEIGHT - _STATUS, WIDTH, _STATUS),
        (Rect(6, 34, 158, 272),),
        tall=True,
    ),
    "split": Layout(
        Rect(_SIDE // 2, 40, CANVAS, CANVAS),
        Rect(0, 0, WIDTH, _TOP),
        Rect(0, HEIGHT - _STATUS, WIDTH, _STATUS),
        (Rect(3, 34, 90, 272), Rect(WIDTH - 93, 34, 90, 272)),
        tall=True,
    ),
    "top": Layout(
        Rect(_SIDE // 2, _BAND, CANVAS, CANVAS),
        Rect(0, HEIGHT - 110, _SIDE // 2 - 4, 110),
        Rect(0, 82, _SIDE // 2 - 4, 80),
        (Rect(3, 1, WIDTH - 6, _BAND - 4),),
        tall=False,
    ),
    "bottom": Layout(
        Rect(_SIDE // 2, 0, CANVAS, CANVAS),
        Rect(0, 0, _SIDE // 2 - 4, 110),
        Rect(0, CANVAS - 82, _SIDE // 2 - 4, 80),
        (Rect(3, CANVAS + 3, WIDTH - 6, _BAND - 4),),
        tall=False,
    ),
}
"""Layouts by name: panel to the right, to the left, on both sides (split), above, below."""


class Places(NamedTuple):
    """Rectangles for one structure of groups.

    Attributes:
        buttons: One for each button, in order.
        titles: One for each group, in order; without height or width where a group has no title.
    """

    buttons: tuple[Rect, ...]
    titles: tuple[Rect, ...]


Shape = tuple[tuple[str, int, int], ...]
"""Structure of groups: (title, number of buttons, columns) of each."""


def shape(groups: tuple[Group, ...]) -> Shape:
    """Return the structure of some groups, which is all that `places` depends on."""
    return tuple((group.title, len(group.buttons), group.columns) for group in groups)


@lru_cache(maxsize=4096)
def places(structure: Shape, layout: str) -> Places:
    """Return the rectangles of all buttons and group titles in a layout.

    Raises:
        LastmileError: The buttons do not fit into the panel.
    """
    frame = LAYOUTS[layout]
    return _stack(structure, frame.panels) if frame.tall else _row(structure, frame.panels[0])


def _stack(structure: Shape, panels: tuple[Rect, ...]) -> Places:
    """Stack the groups in one or two side panels; the last group goes to the bottom."""
    narrow = panels[0].width < 120
    groups = [
        (title, count, min(columns, 1 if narrow and count <= 5 else 2) if narrow else columns)
        for title, count, columns in structure
    ]
    heights = [
        TITLE * bool(title) + -(-count // columns) * (BUTTON_HEIGHT + GAP) + GAP
        for title, count, columns in groups
    ]

    # With two panels, cut the sequence of groups where both parts are closest in height.
    cut = len(groups)
    if len(panels) == 2 and len(groups) > 1:
        cut = min(range(1, len(groups)), key=lambda i: (max(sum(heights[:i]), sum(heights[i:])), i))

    buttons: list[Rect] = []
    titles: list[Rect] = []
    for panel, part in zip(panels, (range(cut), range(cut, len(groups)))):
        height, gap = _squeezed([groups[i] for i in part], sum(heights[i] for i in part), panel)

        top = panel.y + MARGIN
        for i in part:
            title, count, columns = groups[i]
            rows = -(-count // columns)
            if i == len(groups) - 1:
                top = panel.y + panel.height - MARGIN - rows * (height + gap) + gap
                top -= TITLE * bool(title)

            if title:
                titles.append(Rect(panel.x + MARGIN, top, panel.width - 2 * MARGIN, TITLE))
                top += TITLE
            else:
                titles.append(Rect(panel.x + MARGIN, top, 0, 0))

            inner = panel.width - 2 * MARGIN
            width = (inner - (columns - 1) * gap) // columns
            for k in range(count):
                x = panel.x + MARGIN + (k % columns) * (width + gap)
                y = top + (k // columns) * (height + gap)
                buttons.append(Rect(x, y, width, height))
            top += rows * (height + gap) + gap
    return Places(tuple(buttons), tuple(titles))


def _squeezed(groups: list[tuple[str, int, int]], total: int, panel: Rect) -> tuple[int, int]:
    """Return the height of buttons and the gap between them with which groups fit into a panel.

    Args:
        groups: (title, number of buttons, columns) of each group in the panel.
        total: Height of the groups with buttons and gaps of full size, px.
        panel: The side panel.
    """
    room = panel.height - 2 * MARGIN
    squeeze = min(1.0, room / total) if total else 1.0
    height = int(BUTTON_HEIGHT * squeeze) if squeeze < 1 else BUTTON_HEIGHT
    gap = GAP if squeeze == 1 else max(2, int(GAP * squeeze))

    # Titles keep their height, so buttons give way by more than `squeeze`.
    rows = sum(-(-count // columns) for _, count, columns in groups)
    fixed = sum(TITLE * bool(title) + gap for title, _, _ in groups) - 2 * gap
    height = min(height, (room - fixed) // rows - gap) if rows else height
    if height < _MIN_HEIGHT:
        buttons = sum(count for _, count, _ in groups)
        raise LastmileError(f"{buttons} buttons do not fit into a panel of height {panel.height}")
    return height, gap


def _row(structure: Shape, panel: Rect) -> Places:
    """Place the groups side by side in a horizontal panel, each with two rows of buttons."""
    columns = [-(-count // _ROWS) for _, count, _ in structure]
    usable = panel.width - 2 * MARGIN - 8 * (len(structure) - 1)
    width = min(_MAX_WIDTH, (usable - _ROW_GAP * (sum(columns) - len(columns))) // sum(columns))
    if width < _MIN_WIDTH:
        count = sum(count for _, count, _ in structure)
        raise LastmileError(f"{count} buttons do not fit into a panel of width {panel.width}")

    spare = panel.width - 2 * MARGIN - sum(c * (width + _ROW_GAP) - _ROW_GAP for c in columns)
    between = min(24, spare // max(1, len(structure) - 1)) if len(structure) > 1 else 0

    buttons: list[Rect] = []
    titles: list[Rect] = []
    left = panel.x + MARGIN
    for (title, count, _), across in zip(structure, columns):
        group_width = across * (width + _ROW_GAP) - _ROW_GAP
        titles.append(Rect(left, panel.y + 3, group_width, TITLE if title else 0))
        for k in range(count):
            x = left + (k % across) * (width + _ROW_GAP)
            y = panel.y + TITLE + 2 + (k // across) * (BUTTON_HEIGHT + _ROW_GAP)
            buttons.append(Rect(x, y, width, BUTTON_HEIGHT))
        left += group_width + between
    return Places(tuple(buttons), tuple(titles))
