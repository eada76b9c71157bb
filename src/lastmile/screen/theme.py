"""Colors and shapes of a screen."""

from __future__ import annotations

from dataclasses import dataclass

from lastmile.screen.widgets import Color


@dataclass(frozen=True, slots=True)
class Theme:
    """How widgets are painted.

    Attributes:
        name: Name of the theme.
        background: Color of the screen behind everything.
        panel: Color of panels and of a status bar across the screen.
        canvas_border: Color of the line around the canvas.
        text: Color of the title and the status.
        muted: Color of the titles of groups.
        button: Fill of a button that is enabled.
        button_text: Label of a button that is enabled.
        active: Fill of the button of the current mode, tab or view.
        active_text: Label of that button.
        disabled: Fill of a button that is disabled.
        disabled_text: Label of a button that is disabled.
        border: Color of the lines around panels and buttons.
        border_width: Width of the lines around buttons, px.
        radius: Radius of the corners of panels and buttons, px.
        bevel: Whether enabled buttons have light and dark edges.
    """

    name: str
    background: Color
    panel: Color
    canvas_border: Color
    text: Color
    muted: Color
    button: Color
    button_text: Color
    active: Color
    active_text: Color
    disabled: Color
    disabled_text: Color
    border: Color
    border_width: int
    radius: int
    bevel: bool = False


THEMES: dict[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme(
            "dark",
            background=(24, 26, 31),
            panel=(33, 36, 43),
            canvas_border=(70, 75, 88),
            text=(226, 229, 235),
            muted=(150, 156, 168),
            button=(58, 63, 75),
            button_text=(236, 238, 242),
            active=(64, 132, 214),
            active_text=(255, 255, 255),
            disabled=(40, 43, 51),
            disabled_text=(98, 103, 115),
            border=(78, 84, 99),
            border_width=1,
            radius=5,
        ),
        Theme(
            "light",
            background=(244, 245, 247),
            panel=(255, 255, 255),
            canvas_border=(170, 176, 186),
            text=(34, 38, 46),
            muted=(104, 111, 124),
            button=(229, 232, 238),
            button_text=(34, 38, 46),
            active=(38, 110, 196),
            active_text=(255, 255, 255),
            disabled=(242, 243, 246),
            disabled_text=(176, 181, 190),
            border=(188, 194, 204),
            border_width=1,
            radius=8,
        ),
        Theme(
            "retro",
            background=(192, 192, 192),
            panel=(192, 192, 192),
            canvas_border=(96, 96, 96),
            text=(0, 0, 0),
            muted=(72, 72, 72),
            button=(204, 204, 204),
            button_text=(0, 0, 0),
            active=(0, 0, 128),
            active_text=(255, 255, 255),
            disabled=(198, 198, 198),
            disabled_text=(140, 140, 140),
            border=(64, 64, 64),
            border_width=1,
            radius=0,
            bevel=True,
        ),
    )
}
"""Themes by name."""
