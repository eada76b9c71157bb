"""Where widgets stand: the five layouts of a screen.

A layout fixes the rectangles of canvas, title and status bar and one or two panel areas, then fills the panels with the groups of buttons
in the order in which the task lists them. Rectangles depend on the structure of the groups alone (not on what is enabled), and are cached.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lastmile.errors import LastmileError
from lastmile.screen.theme import THEMES
from lastmile.screen.widgets import CANVAS, HEIGHT, WIDTH, Group, Rect

BUTTON_HEIGHT, GAP, TITLE, MARGIN = 26, 5, 14, 8


class Look(NamedTuple):
    """How a screen is laid out and painted: names of a layout and a theme."""

    layout: str = "right"
    theme: str = "dark"

    def check(self) -> Look:
        """Self, or ValueError naming the layout or theme that does not exist."""
        if self.layout not in LAYOUTS:
            raise LastmileError(
                f"unknown layout '{self.layout}': expected one of {', '.join(LAYOUTS)}"
            )
        if self.theme not in THEMES:
            raise LastmileError(
                f"unknown theme '{self.theme}': expected one of {', '.join(THEMES)}"
            )
        return self


class Frame(NamedTuple):
    """The fixed rectangles of a layout; `panels` are filled with groups, stacked (`tall`) or side by side."""

    canvas: Rect
    title_bar: Rect
    status_bar: Rect
    panels: tuple[Rect, ...]
    tall: bool


_SIDE = WIDTH - CANVAS
_TOP, _STATUS = 26, 24
_BAND = HEIGHT - CANVAS

LAYOUTS: dict[str, Frame] = {
    "right": Frame(
        Rect(16, 40, CANVAS, CANVAS),
        Rect(0, 0, WIDTH, _TOP),
        Rect(0, HEIGHT - _STATUS, WIDTH, _STATUS),
        (Rect(284, 34, 158, 272),),
        True,
    ),
    "left": Frame(
        Rect(WIDTH - CANVAS - 16, 40, CANVAS, CANVAS),
        Rect(0, 0, WIDTH, _TOP),
        Rect(0, HEIGHT - _STATUS, WIDTH, _STATUS),
        (Rect(6, 34, 158, 272),),
        True,
    ),
    "split": Frame(
        Rect(_SIDE // 2, 40, CANVAS, CANVAS),
        Rect(0, 0, WIDTH, _TOP),
        Rect(0, HEIGHT - _STATUS, WIDTH, _STATUS),
        (Rect(3, 34, 90, 272), Rect(WIDTH - 93, 34, 90, 272)),
        True,
    ),
    "top": Frame(
        Rect(_SIDE // 2, _BAND, CANVAS, CANVAS),
        Rect(0, HEIGHT - 110, _SIDE // 2 - 4, 110),
        Rect(0, 82, _SIDE // 2 - 4, 80),
        (Rect(3, 1, WIDTH - 6, _BAND - 4),),
        False,
    ),
    "bottom": Frame(
        Rect(_SIDE // 2, 0, CANVAS, CANVAS),
        Rect(0, 0, _SIDE // 2 - 4, 110),
        Rect(0, CANVAS - 82, _SIDE // 2 - 4, 80),
        (Rect(3, CANVAS + 3, WIDTH - 6, _BAND - 4),),
        False,
    ),
}
"""Layouts by name: panel to the right, left, on both sides (split), above, below."""


class Places(NamedTuple):
    """Rectangles for one structure of groups: of each button in order, and of each group's title."""

    buttons: tuple[Rect, ...]
    titles: tuple[Rect, ...]


Shape = tuple[tuple[str, int, int], ...]
"""Structure of groups: (title, number of buttons, columns) each."""


def shape(groups: tuple[Group, ...]) -> Shape:
    return tuple((group.title, len(group.buttons), group.columns) for group in groups)


@lru_cache(maxsize=4096)
def places(structure: Shape, layout: str) -> Places:
    """Rectangles of all buttons and group titles under a layout.

    Raises ValueError when the buttons do not fit into the panel.
    """
    frame = LAYOUTS[layout]
    return _stack(structure, frame.panels) if frame.tall else _row(structure, frame.panels[0])


def _stack(structure: Shape, panels: tuple[Rect, ...]) -> Places:
    """Groups one below the other; with two panels, split where the halves are most even in rows. The last group stands at the bottom."""
    narrow = panels[0].width < 120
    shapes = [
        (title, count, min(columns, 1 if narrow and count <= 5 else 2) if narrow else columns)
        for title, count, columns in structure
    ]
    heights = [
        TITLE * bool(title) + -(-count // columns) * (BUTTON_HEIGHT + GAP) + GAP
        for title, count, columns in shapes
    ]
    cut = len(shapes)
    if len(panels) == 2 and len(shapes) > 1:
        cut = min(range(1, len(shapes)), key=lambda i: (max(sum(heights[:i]), sum(heights[i:])), i))
    buttons: list[Rect] = []
    titles: list[Rect] = []
    for panel, part in zip(panels, (range(cut), range(cut, len(shapes)))):
        total = sum(heights[i] for i in part)
        room = panel.height - 2 * MARGIN
        squeeze = min(1.0, room / total) if total else 1.0
        height = int(BUTTON_HEIGHT * squeeze) if squeeze < 1 else BUTTON_HEIGHT
        gap = GAP if squeeze == 1 else max(2, int(GAP * squeeze))
        rows = sum(-(-shapes[i][1] // shapes[i][2]) for i in part)
        fixed = (
            sum(TITLE * bool(shapes[i][0]) + gap for i in part) - 2 * gap
        )  # titles keep their height
        height = min(height, (room - fixed) // rows - gap) if rows else height
        if height < 14:
            raise LastmileError(
                f"{sum(shapes[i][1] for i in part)} buttons do not fit into a panel of height {panel.height}"
            )
        top = panel.y + MARGIN
        for i in part:
            title, count, columns = shapes[i]
            rows = -(-count // columns)
            if i == len(shapes) - 1:
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
                buttons.append(
                    Rect(
                        panel.x + MARGIN + (k % columns) * (width + gap),
                        top + (k // columns) * (height + gap),
                        width,
                        height,
                    )
                )
            top += rows * (height + gap) + gap
    return Places(tuple(buttons), tuple(titles))


def _row(structure: Shape, panel: Rect) -> Places:
    """Groups side by side, each in two rows, as wide as its share of the columns."""
    rows = 2
    columns = [-(-count // rows) for _, count, _ in structure]
    usable = panel.width - 2 * MARGIN - 8 * (len(structure) - 1)
    width = min(84, (usable - 4 * (sum(columns) - len(columns))) // sum(columns))
    if width < 26:
        raise LastmileError(
            f"{sum(c for _, c, _ in structure)} buttons do not fit into a panel of width {panel.width}"
        )
    height = 26
    buttons: list[Rect] = []
    titles: list[Rect] = []
    spare = panel.width - 2 * MARGIN - sum(c * (width + 4) - 4 for c in columns)
    between = min(24, spare // max(1, len(structure) - 1)) if len(structure) > 1 else 0
    left = panel.x + MARGIN
    for (title, count, _), across in zip(structure, columns):
        titles.append(Rect(left, panel.y + 3, across * (width + 4) - 4, TITLE if title else 0))
        for k in range(count):
            buttons.append(
                Rect(
                    left + (k % across) * (width + 4),
                    panel.y + TITLE + 2 + (k // across) * (height + 4),
                    width,
                    height,
                )
            )
        left += across * (width + 4) - 4 + between
    return Places(tuple(buttons), tuple(titles))
