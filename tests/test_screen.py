"""Screens: what is drawn is what is clicked, in every layout and theme.

A toy screen takes the place of all tasks.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.screen import (
    CANVAS,
    HEIGHT,
    LAYOUTS,
    SMALL_HEIGHT,
    SMALL_WIDTH,
    THEMES,
    WIDTH,
    Button,
    Group,
    Look,
    Mark,
    Screen,
    Widget,
    draw,
    draw_small,
    shrink,
)
from lastmile.screen import text as texts
from lastmile.screen.layout import Shape, places, shape
from lastmile.screen.widgets import NOTHING

GROUPS = (
    Group(
        "Slice", (Button("-z", "− z", "navigate", enabled=False), Button("+z", "+ z", "navigate"))
    ),
    Group(
        "Animal",
        tuple(
            Button(name, name.title(), "mode", active=name == "red", color=(200, 40, 40))
            for name in ("red", "green", "blue")
        ),
    ),
    Group(
        "",
        (Button("undo", "Undo", "undo"), Button("done", "A label that is much too long", "done")),
    ),
)
MARKS = (
    Mark("ring", ((30.5, 40.2), (3, 250))),
    Mark("dot", ((100, 100),), (255, 0, 0), 4, label="7"),
    Mark("cross", ((200.7, 33.3),)),
    Mark("line", ((10, 10), (90, 120), (250, 128)), (0, 255, 0), 2),
    Mark("polygon", ((150, 150), (200, 160), (180, 220)), faint=True),
    Mark("ring", ((-20, 400),), faint=True),
    Mark("dot", ((255, 255),), label="edge", faint=True),
)
LOOKS = [Look(layout, theme) for layout, theme in product(LAYOUTS, THEMES)]


DEFAULT_LOOK = Look()


def toy(
    look: Look = DEFAULT_LOOK,
    groups: tuple[Group, ...] = GROUPS,
    marks: tuple[Mark, ...] = MARKS,
) -> Screen:
    """Return a screen with noise on its canvas and every kind of mark over it."""
    image = np.random.default_rng(0).integers(0, 256, (CANVAS, CANVAS, 3), dtype=np.uint8)
    image.flags.writeable = False  # drawing has to leave it alone
    layout = LAYOUTS[look.layout]
    rects = places(shape(groups), look.layout)
    buttons = [button for group in groups for button in group.buttons]
    return Screen(
        "A toy task",
        tuple(map(Widget, buttons, rects.buttons)),
        tuple((group.title, rect) for group, rect in zip(groups, rects.titles)),
        layout.canvas,
        layout.status_bar,
        layout.title_bar,
        True,
        lambda: ("slice 3 of 9", "12 markers"),
        lambda: image,
        lambda: marks,
        look,
    )


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.layout}-{look.theme}")
def test_the_small_screen_is_the_large_one_shrunk(look: Look) -> None:
    large = draw(toy(look))
    small = draw_small(toy(look))
    assert large.shape == (HEIGHT, WIDTH, 3)
    assert small.shape == (SMALL_HEIGHT, SMALL_WIDTH, 3) and small.dtype == np.uint8
    assert np.abs(shrink(large).astype(int) - small.astype(int)).max() <= 1


def test_drawing_is_deterministic_and_returns_a_new_image() -> None:
    first = draw(toy())
    again = draw(toy())
    assert np.array_equal(first, again)
    first[:] = 0
    draw_small(toy())[:] = 0
    assert np.array_equal(draw(toy()), again)


def test_the_canvas_shows_the_image() -> None:
    screen = toy(marks=())
    x, y, width, height = screen.canvas
    assert np.array_equal(draw(screen)[y : y + height, x : x + width], screen.image())


@pytest.mark.parametrize("kind", ["ring", "dot", "cross", "line", "polygon"])
def test_marks_change_the_canvas_and_nothing_else(kind: Any) -> None:
    mark = Mark(kind, ((-5, 60), (60, 90), (300, 40)), (0, 255, 0), 9, label="x")
    changed = (draw(toy(marks=(mark,))) != draw(toy(marks=()))).any(axis=2)
    x, y, width, height = toy().canvas
    assert changed[y : y + height, x : x + width].sum() == changed.sum() > 20

    faint = draw(toy(marks=(mark._replace(faint=True),)))
    assert not np.array_equal(faint, draw(toy(marks=(mark,))))
    assert not np.array_equal(faint, draw(toy(marks=())))


def test_every_theme_and_layout_looks_different() -> None:
    images = [draw(toy(look)) for look in LOOKS]
    for i, image in enumerate(images):
        for other in images[:i]:
            assert (image != other).any(axis=2).mean() > 0.1


@pytest.mark.parametrize(
    "change",
    [{"enabled": False}, {"active": True}, {"label": "Back"}, {"color": (0, 200, 0)}],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("theme", THEMES)
def test_the_state_of_a_button_is_seen_where_it_is_clicked(
    theme: str, change: dict[str, Any]
) -> None:
    undo, done = GROUPS[-1].buttons
    before, after = (
        toy(Look(theme=theme), (*GROUPS[:-1], Group("", (button, done))))
        for button in (undo, undo._replace(**change))
    )
    changed = (draw(before) != draw(after)).any(axis=2)
    x, y, width, height = before.widget("undo").rect
    # The anti-aliased rim around the button is one pixel wide.
    assert changed[y - 1 : y + height + 1, x - 1 : x + width + 1].sum() == changed.sum() > 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_widget_is_hit_at_each_of_its_corners(layout: str) -> None:
    screen = toy(Look(layout))
    for button, (x, y, width, height) in screen.widgets:
        expected = (button.id, button.kind) if button.enabled else ("", "invalid")
        for corner in product((x, x + width - 1), (y, y + height - 1)):
            hit = screen.hit(*corner)
            assert (hit.widget, hit.kind) == expected

    x, y = screen.canvas.x, screen.canvas.y
    assert screen.hit(x + 5, y + 255) == ("canvas", "place", 5, 255)
    assert replace(screen, canvas_live=False).hit(x + 5, y + 255) == NOTHING


@pytest.mark.parametrize("x, y", [(-1, 0), (0, -1), (WIDTH, 0), (0, HEIGHT), (float("nan"), 0)])
def test_a_click_outside_is_an_error(x: float, y: float) -> None:
    with pytest.raises(ValueError, match="outside the screen"):
        toy().hit(x, y)


def test_a_widget_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="no widget 'redo'.*undo"):
        toy().widget("redo")


@pytest.mark.parametrize("look", [Look("middle"), Look(theme="neon")])
def test_an_unknown_look_is_refused(look: Look) -> None:
    with pytest.raises(UnknownNameError, match="unknown (layout 'middle'|theme 'neon').*known: "):
        look.check()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_known_look_is_accepted(look: Look) -> None:
    assert look.check() is look


@pytest.mark.parametrize("layout", LAYOUTS)
def test_canvases_are_on_multiples_of_eight(layout: str) -> None:
    canvas = LAYOUTS[layout].canvas
    assert all(length % 8 == 0 for length in canvas)
    assert 0 <= canvas.x <= WIDTH - CANVAS and 0 <= canvas.y <= HEIGHT - CANVAS


STRUCTURES = st.lists(
    st.tuples(st.sampled_from(["", "View"]), st.integers(1, 6), st.integers(1, 3)),
    min_size=1,
    max_size=5,
).map(lambda groups: (*groups, ("", 2, 2)))


@given(STRUCTURES, st.sampled_from(sorted(LAYOUTS)))
def test_buttons_are_apart_in_their_panels_or_do_not_fit(structure: Shape, layout: str) -> None:
    try:
        rects = places(structure, layout).buttons
    except LastmileError as error:
        assert "do not fit" in str(error)
        return
    panels = LAYOUTS[layout].panels
    assert len(rects) == sum(count for _, count, _ in structure)
    taken = np.zeros((HEIGHT, WIDTH), int)
    for x, y, width, height in rects:
        assert width >= 20 and height >= 14
        assert any(
            p.x <= x and x + width <= p.x + p.width and p.y <= y and y + height <= p.y + p.height
            for p in panels
        )
        taken[y : y + height, x : x + width] += 1
    assert taken.max() == 1


@pytest.mark.parametrize("size, bold", [(9, False), (11, False), (13, True)])
def test_letters_have_ink(size: int, bold: bool) -> None:
    missing = texts.mask("\U0010ffff", size, bold)
    for letter in map(chr, range(33, 127)):
        assert texts.mask(letter, size, bold).any(), letter
    for letter in "−…°²×→←":  # used in labels and texts
        mask = texts.mask(letter, size, bold)
        assert mask.any() and not np.array_equal(mask, missing), letter


def test_fonts_are_part_of_the_package() -> None:
    """Matplotlib, which has the same fonts, is not needed to draw."""
    code = (
        "import sys; sys.modules['matplotlib'] = None; "
        "from lastmile.screen import text; "
        "assert all(text.mask('Undo', 11, bold).any() for bold in (False, True))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (texts.FONTS / "LICENSE_DEJAVU").is_file()


def test_importing_screens_leaves_pillow_alone() -> None:
    code = "import sys, lastmile.screen; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30),
    st.integers(20, 200),
)
def test_fitted_text_fits(line: str, width: int) -> None:
    fitted = texts.fit(line, width, 11)
    assert texts.mask(fitted, 11).shape[1] <= width
    assert fitted == line or (fitted.endswith("…") and line.startswith(fitted[:-1]))


@given(st.integers(-50, 120), st.integers(-50, 120))
def test_text_is_cut_at_the_edges(x: int, y: int) -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    texts.put(image, "Undo", x, y, (255, 255, 255), 11)
    whole = np.zeros((260, 280, 3), np.uint8)
    texts.put(whole, "Undo", x + 100, y + 100, (255, 255, 255), 11)
    assert np.array_equal(image, whole[100:160, 100:180])


def test_text_is_drawn_the_same_with_and_without_raqm() -> None:
    """Pillow would take Raqm wherever its library is found: other pixels, other policies."""
    assert texts._font(9, False).layout_engine == ImageFont.Layout.BASIC
