"""The rasterizer: turns a `Screen` into pixels, in-process, with OpenCV and NumPy.

Whatever stays the same from one screen to the next (panels, buttons in a given state, status texts)
is drawn once and cached. A screen then costs one copy of these surroundings, the image on the
canvas, and the marks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np

from lastmile.screen import text
from lastmile.screen.layout import LAYOUTS, Look
from lastmile.screen.screen import Screen
from lastmile.screen.theme import THEMES, Theme
from lastmile.screen.widgets import CANVAS, HEIGHT, WIDTH, Button, Color, Mark, Rect, Widget

# Images are small and cores are shared among processes, so threads of OpenCV only cost time.
cv2.setNumThreads(1)

Titles = tuple[tuple[str, Rect], ...]
"""Title of each group with its rectangle."""

_SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions
_ONE = 1 << _SHIFT


def draw(screen: Screen) -> np.ndarray:
    """Return the screen as (336, 448, 3) uint8, RGB."""
    image = _chrome(
        screen.title, screen.widgets, screen.groups, screen.look, screen.status()
    ).copy()
    x, y = screen.canvas.x, screen.canvas.y
    image[y : y + CANVAS, x : x + CANVAS] = _canvas(screen)
    return image


def _weights() -> np.ndarray:
    """Return how much of each of 8 pixels is in each of the 3 that replace them, (3, 8)."""
    edges = np.arange(4) * 8 / 3
    low = np.maximum(edges[:3, None], np.arange(8))
    high = np.minimum(edges[1:, None], np.arange(1, 9))
    return (np.maximum(high - low, 0) * 3 / 8).astype(np.float32)


_DOWN = _weights()  # (3, 8)
# Eight RGB pixels of a row to three: the channels are interleaved and must not mix. (24, 9)
_ACROSS = np.kron(_DOWN.T, np.eye(3, dtype=np.float32))


def shrink(image: np.ndarray) -> np.ndarray:
    """Return an image as a policy sees it: each pixel is the mean of the area that it covers.

    Two small matrix products, three times as fast as OpenCV's INTER_AREA.

    Args:
        image: (h, w, 3) uint8, where h and w are multiples of 8.

    Returns:
        (3/8 h, 3/8 w, 3) uint8; a whole screen becomes (126, 168, 3).
    """
    height, width = image.shape[:2]
    rows = image.reshape(height // 8, 8, width * 3).astype(np.float32)
    low = np.matmul(_DOWN, rows)  # (h / 8, 3, 3 w)

    # Eight rows at a time: products this small do not make BLAS wake other threads.
    small = np.matmul(low.reshape(height // 8, -1, 24), _ACROSS)  # (h / 8, 3 w / 8, 9)
    small += 0.5  # the cast below cuts, so this rounds
    return small.reshape(height * 3 // 8, width * 3 // 8, 3).astype(np.uint8)


def draw_small(screen: Screen) -> np.ndarray:
    """Return `shrink(draw(screen))`, (126, 168, 3) uint8, in a third of the time.

    In every layout the canvas is on multiples of 8 logical px, so pixels of the small screen never
    mix the canvas with its surroundings, and both can be shrunk separately.
    """
    small = _small_surroundings(screen)
    _cut(small, _reduced(screen.canvas))[:] = shrink(_canvas(screen))
    return small


def draw_small_series(screens: Iterable[Screen]) -> np.ndarray:
    """Return `draw_small` of consecutive screens, (n, 126, 168, 3) uint8.

    Only the rows of the canvas that differ from the screen before are shrunk again.
    """
    images: list[np.ndarray] = []
    last: np.ndarray = np.zeros(0, np.uint8)  # the canvas before, in bands of 8 rows
    small: np.ndarray = np.zeros(0, np.uint8)  # the same canvas, shrunk
    for screen in screens:
        canvas = np.ascontiguousarray(_canvas(screen))
        bands = canvas.reshape(CANVAS // 8, -1)  # (32, 8 * 256 * 3)

        if len(last):
            # Eight bytes at a time, since comparing bytes would take as long as shrinking.
            changed = (bands.view(np.uint64) != last.view(np.uint64)).any(axis=1)
            if changed.any():
                small = small.copy()
                small.reshape(CANVAS // 8, -1)[changed] = shrink(
                    bands[changed].reshape(-1, CANVAS, 3)
                ).reshape(-1, small.size * 8 // CANVAS)
        else:
            small = shrink(canvas)

        last = bands
        images.append(_small_surroundings(screen))
        _cut(images[-1], _reduced(screen.canvas))[:] = small
    return np.stack(images)


def _small_surroundings(screen: Screen) -> np.ndarray:
    """Return a new small screen, still without the content of its canvas."""
    small = _small_chrome(screen.title, screen.widgets, screen.groups, screen.look).copy()
    status = _small_status(screen.title, screen.groups, screen.look, screen.status())
    _cut(small, _reduced(_around(screen.status_bar)))[:] = status
    return small


def _canvas(screen: Screen) -> np.ndarray:
    """Return the canvas at full size, (256, 256, 3) uint8; not to be written to."""
    canvas = screen.image()
    marks = screen.marks()
    if marks:
        canvas = canvas.copy()
        for mark in marks:
            _draw_mark(canvas, mark)
    return canvas


def _draw_mark(canvas: np.ndarray, mark: Mark) -> None:
    """Draw one mark on a canvas, in place."""
    if not mark.faint:
        _paint_mark(canvas, mark, 0, 0)
        return

    # A faint mark is painted on a copy of its surroundings, and the two are blended.
    xs = [point[0] for point in mark.points]
    ys = [point[1] for point in mark.points]
    pad = int(mark.size) + 4 + 8 * len(mark.label)
    x0 = max(int(min(xs)) - pad, 0)
    y0 = max(int(min(ys)) - pad, 0)
    x1 = min(int(max(xs)) + pad, canvas.shape[1])
    y1 = min(int(max(ys)) + pad, canvas.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = canvas[y0:y1, x0:x1]
    over = part.copy()
    _paint_mark(over, mark, x0, y0)
    cv2.addWeighted(part, 0.6, over, 0.4, 0, dst=over)
    part[:] = over


def _paint_mark(image: np.ndarray, mark: Mark, x0: int, y0: int) -> None:
    """Paint a mark at full strength on the part of a canvas that begins at (x0, y0)."""
    points = [((x - x0) * _ONE, (y - y0) * _ONE) for x, y in mark.points]

    if mark.kind in ("line", "polygon"):
        path = np.array(points, np.float64).round().astype(np.int32).reshape(-1, 1, 2)
        closed = mark.kind == "polygon"
        width = max(1, round(mark.size))
        cv2.polylines(image, [path], closed, mark.color, width, cv2.LINE_AA, _SHIFT)
    else:
        radius = round(mark.size * _ONE)
        for point in points:
            x, y = round(point[0]), round(point[1])
            if mark.kind == "ring":
                # The dark rim keeps a ring visible on a background of its own color.
                cv2.circle(image, (x, y), radius, (0, 0, 0), 3, cv2.LINE_AA, _SHIFT)
                cv2.circle(image, (x, y), radius, mark.color, 2, cv2.LINE_AA, _SHIFT)
            elif mark.kind == "dot":
                cv2.circle(image, (x, y), radius, mark.color, -1, cv2.LINE_AA, _SHIFT)
            else:
                for dx, dy in ((radius, 0), (0, radius)):
                    start, end = (x - dx, y - dy), (x + dx, y + dy)
                    cv2.line(image, start, end, mark.color, 1, cv2.LINE_AA, _SHIFT)

    if mark.label:
        u, v = mark.points[0]
        left = round(u - x0 + mark.size + 2)
        top = round(v - y0 - mark.size - 8)
        text.put_outlined(image, mark.label, left, top, mark.color, 9, bold=True)


@lru_cache(maxsize=512)
def _chrome(
    title: str, widgets: tuple[Widget, ...], groups: Titles, look: Look, status: tuple[str, ...]
) -> np.ndarray:
    """Return everything but the content of the canvas, (336, 448, 3) uint8; read only."""
    image = _panels(title, groups, look).copy()
    for button, (x, y, width, height) in widgets:
        image[y : y + height, x : x + width] = _button(button, width, height, look.theme)
    _write(image, status, look, Rect(0, 0, WIDTH, HEIGHT))
    image.flags.writeable = False
    return image


@lru_cache(maxsize=128)
def _small_panels(title: str, groups: Titles, look: Look) -> np.ndarray:
    """Return the chrome without buttons and status as a policy sees it."""
    return shrink(_panels(title, groups, look))


@lru_cache(maxsize=2048)
def _small_chrome(
    title: str, widgets: tuple[Widget, ...], groups: Titles, look: Look
) -> np.ndarray:
    """Return the chrome without the status as a policy sees it.

    Buttons in another state change the panels only, so only these are drawn again.
    """
    small = _small_panels(title, groups, look).copy()
    for panel in LAYOUTS[look.layout].panels:
        area = _around(panel)
        part = _cut(_panels(title, groups, look), area).copy()
        for button, (x, y, width, height) in widgets:
            if panel.contains(x, y):
                place = Rect(x - area.x, y - area.y, width, height)
                _cut(part, place)[:] = _button(button, width, height, look.theme)
        _cut(small, _reduced(area))[:] = shrink(part)
    small.flags.writeable = False
    return small


@lru_cache(maxsize=2048)
def _small_status(title: str, groups: Titles, look: Look, status: tuple[str, ...]) -> np.ndarray:
    """Return the area around the status bar as a policy sees it."""
    area = _around(LAYOUTS[look.layout].status_bar)
    part = _cut(_panels(title, groups, look), area).copy()
    _write(part, status, look, area)
    return shrink(part)


def _around(rect: Rect) -> Rect:
    """Return the smallest rectangle on multiples of 8 logical px that holds another one."""
    x = rect.x // 8 * 8
    y = rect.y // 8 * 8
    right = -(-(rect.x + rect.width) // 8) * 8
    bottom = -(-(rect.y + rect.height) // 8) * 8
    return Rect(x, y, right - x, bottom - y)


def _reduced(rect: Rect) -> Rect:
    """Return where a rectangle on multiples of 8 logical px is on the small screen."""
    return Rect(*(side * 3 // 8 for side in rect))


def _cut(image: np.ndarray, rect: Rect) -> np.ndarray:
    """Return the view of an image inside a rectangle."""
    return image[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]


def _write(image: np.ndarray, status: tuple[str, ...], look: Look, area: Rect) -> None:
    """Write the status onto an image that shows an area of the screen."""
    theme = THEMES[look.theme]
    bar = LAYOUTS[look.layout].status_bar
    if bar.width == WIDTH:
        x = bar.x + 12
        for line in status:
            text.put(image, line, x - area.x, bar.y + 5 - area.y, theme.text, 11)
            x += text.mask(line, 11).shape[1] + 18
    else:
        lines = [line for item in status for line in text.wrap(item, bar.width - 8, 10)]
        for i, line in enumerate(lines):
            text.put(image, line, bar.x + 6 - area.x, bar.y + 2 + 15 * i - area.y, theme.text, 10)


@lru_cache(maxsize=128)
def _panels(title: str, groups: Titles, look: Look) -> np.ndarray:
    """Return the empty panels, the bars and all titles, (336, 448, 3) uint8; read only."""
    theme = THEMES[look.theme]
    layout = LAYOUTS[look.layout]
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = theme.background
    for panel in layout.panels:
        _box(image, panel, theme.panel, theme.border, theme, width=1)

    if layout.status_bar.width == WIDTH:
        bar = layout.status_bar
        image[bar.y :] = theme.panel
        cv2.line(image, (0, bar.y), (WIDTH - 1, bar.y), theme.border, 1)
        text.put(image, title, 14, 8, theme.text, 13, bold=True)
    else:  # beside the canvas there is room for one word per line
        bar = layout.title_bar
        for i, word in enumerate(title.split()):
            fitted = text.fit(word, bar.width - 6, 11, True)
            text.put(image, fitted, bar.x + 6, bar.y + 8 + 16 * i, theme.text, 11, bold=True)

    canvas = layout.canvas
    corner = (canvas.x + CANVAS, canvas.y + CANVAS)
    cv2.rectangle(image, (canvas.x - 1, canvas.y - 1), corner, theme.canvas_border, 1)
    for name, rect in groups:
        if rect.height:
            text.put(image, text.fit(name, rect.width, 9), rect.x + 1, rect.y, theme.muted, 9)
    image.flags.writeable = False
    return image


@lru_cache(maxsize=4096)
def _button(button: Button, width: int, height: int, theme_name: str) -> np.ndarray:
    """Return a button on the panel, (height, width, 3) uint8; read only."""
    theme = THEMES[theme_name]
    image = np.empty((height, width, 3), np.uint8)
    image[:] = theme.panel

    if not button.enabled:
        fill, ink = theme.disabled, theme.disabled_text
    elif button.active:
        fill, ink = theme.active, theme.active_text
    else:
        fill, ink = theme.button, theme.button_text
    _box(image, Rect(0, 0, width, height), fill, theme.border, theme, width=theme.border_width)
    if theme.bevel and button.enabled:
        _bevel(image, pressed=button.active)

    # A label that is too wide gets the smaller font before it is cut.
    size = 11 if height >= 20 else 9
    swatch = 12 if button.color else 0
    label = text.fit(button.label, width - 4 - swatch, size)
    if label != button.label and size > 9:
        size = 9
        label = text.fit(button.label, width - 4 - swatch, size)
    coverage = text.mask(label, size)
    left = (width - coverage.shape[1] - swatch) // 2

    if button.color:
        color = button.color if button.enabled else _mean(button.color, theme.disabled)
        middle = ((left + 4) * _ONE, height // 2 * _ONE)
        if button.active:  # the fill of an active button can have the color of the swatch
            cv2.circle(image, middle, 5 * _ONE, theme.active_text, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, middle, 4 * _ONE, color, -1, cv2.LINE_AA, _SHIFT)

    text.put(image, label, left + swatch, (height - coverage.shape[0]) // 2, ink, size)
    image.flags.writeable = False
    return image


def _mean(color: Color, other: Color) -> Color:
    """Return the color halfway between two colors."""
    red, green, blue = ((c + d) // 2 for c, d in zip(color, other))
    return red, green, blue


def _bevel(image: np.ndarray, pressed: bool) -> None:
    """Draw the edges of a button that looks raised or pressed, in place."""
    if pressed:
        upper, lower = (20, 20, 60), (190, 190, 255)
    else:
        upper, lower = (255, 255, 255), (110, 110, 110)
    x1 = image.shape[1] - 2
    y1 = image.shape[0] - 2
    cv2.line(image, (1, 1), (x1, 1), upper, 1)
    cv2.line(image, (1, 1), (1, y1), upper, 1)
    cv2.line(image, (1, y1), (x1, y1), lower, 1)
    cv2.line(image, (x1, 1), (x1, y1), lower, 1)


def _box(
    image: np.ndarray, rect: Rect, fill: Color, border: Color, theme: Theme, width: int
) -> None:
    """Draw a filled box with a border and the corners of a theme, in place."""
    x0 = rect.x
    y0 = rect.y
    x1 = rect.x + rect.width - 1
    y1 = rect.y + rect.height - 1
    r = min(theme.radius, rect.width // 2, rect.height // 2)
    if r == 0:
        cv2.rectangle(image, (x0, y0), (x1, y1), fill, -1)
        cv2.rectangle(image, (x0, y0), (x1, y1), border, width)
        return

    # A quarter circle around each inner corner, clockwise from the lower right.
    angles = np.linspace(0, np.pi / 2, 8)
    centers = ((x1 - r, y1 - r), (x0 + r, y1 - r), (x0 + r, y0 + r), (x1 - r, y0 + r))
    corners = []
    for quarter, (cx, cy) in enumerate(centers):
        turn = angles + quarter * np.pi / 2
        corners.append(np.stack([cx + r * np.cos(turn), cy + r * np.sin(turn)], axis=1))
    path = (np.concatenate(corners) * _ONE).round().astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(image, [path], fill, cv2.LINE_AA, _SHIFT)
    cv2.polylines(image, [path], True, border, width, cv2.LINE_AA, _SHIFT)
