"""The rasteriser: a `Screen` to pixels, in-process, on OpenCV and NumPy.

What stays the same between two screens (panels, buttons in a given state, status texts) is drawn once and cached; a frame is then one copy
of the chrome, the canvas image and the marks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np

from lastmile.screen import text
from lastmile.screen.layout import LAYOUTS
from lastmile.screen.theme import THEMES, Theme
from lastmile.screen.widgets import CANVAS, HEIGHT, WIDTH, Button, Color, Mark, Rect, Screen, Widget

cv2.setNumThreads(1)  # pictures are small, and cores are shared out among processes
_SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions
_ONE = 1 << _SHIFT


def draw(screen: Screen) -> np.ndarray:
    """The screen as (336, 448, 3) uint8, RGB."""
    frame = _chrome(
        screen.title, screen.widgets, screen.groups, screen.look, screen.status()
    ).copy()
    x, y = screen.canvas.x, screen.canvas.y
    frame[y : y + CANVAS, x : x + CANVAS] = _canvas(screen)
    return frame


def _weights() -> np.ndarray:
    """(3, 8): how much of each of 8 pixels lies in each of the 3 that take their place."""
    edges = np.arange(4) * 8 / 3
    low, high = (
        np.maximum(edges[:3, None], np.arange(8)),
        np.minimum(edges[1:, None], np.arange(1, 9)),
    )
    return (np.maximum(high - low, 0) * 3 / 8).astype(np.float32)


_DOWN = _weights()
_ACROSS = np.kron(
    _DOWN.T, np.eye(3, dtype=np.float32)
)  # (24, 9): 8 pixels of 3 channels to 3 pixels of 3 channels


def shrink(frame: np.ndarray) -> np.ndarray:
    """An image as a policy sees it: (h, w, 3) to (3/8 h, 3/8 w, 3) uint8, each pixel the mean of the area that it covers.

    h and w are multiples of 8; a whole screen becomes (126, 168, 3). Two small matrix products, three times as fast as OpenCV's INTER_AREA.
    """
    height, width = frame.shape[:2]
    low = np.matmul(
        _DOWN, frame.reshape(height // 8, 8, width * 3).astype(np.float32)
    )  # (h / 8, 3, 3 w)
    # Eight rows at a time: products so small that BLAS does not wake other threads for them.
    small = np.matmul(low.reshape(height // 8, -1, 24), _ACROSS)  # (h / 8, 3 w / 8, 9)
    small += 0.5
    return small.reshape(height * 3 // 8, width * 3 // 8, 3).astype(np.uint8)


def draw_small(screen: Screen) -> np.ndarray:
    """`shrink(draw(screen))` in a third of the time: (126, 168, 3) uint8.

    The canvas stands on multiples of 8 logical px in every layout, so that the pixels over it and those over the rest never mix.
    """
    frame = _small_surroundings(screen)
    _cut(frame, _reduced(screen.canvas))[:] = shrink(_canvas(screen))
    return frame


def draw_small_series(screens: Iterable[Screen]) -> np.ndarray:
    """`draw_small` of screens that follow each other, (n, 126, 168, 3) uint8: of the canvas only the rows that have changed are shrunk again."""
    frames: list[np.ndarray] = []
    last: np.ndarray = np.zeros(0, np.uint8)
    small: np.ndarray = np.zeros(0, np.uint8)
    for screen in screens:
        canvas = np.ascontiguousarray(_canvas(screen))
        bands = canvas.reshape(CANVAS // 8, -1)
        if len(last):
            changed = (bands.view(np.uint64) != last.view(np.uint64)).any(axis=1)
            if changed.any():
                small = small.copy()
                small.reshape(CANVAS // 8, -1)[changed] = shrink(
                    bands[changed].reshape(-1, CANVAS, 3)
                ).reshape(-1, small.size * 8 // CANVAS)
        else:
            small = shrink(canvas)
        last = bands
        frames.append(_small_surroundings(screen))
        _cut(frames[-1], _reduced(screen.canvas))[:] = small
    return np.stack(frames)


def _small_surroundings(screen: Screen) -> np.ndarray:
    """A new small screen without the content of its canvas."""
    frame = _small_chrome(screen.title, screen.widgets, screen.groups, screen.look).copy()
    status = _small_status(screen.title, screen.groups, screen.look, screen.status())
    _cut(frame, _reduced(_around(screen.status_bar)))[:] = status
    return frame


def _canvas(screen: Screen) -> np.ndarray:
    """The content of the canvas at full size, (256, 256, 3) uint8; not to be written to."""
    canvas, marks = screen.image(), screen.marks()
    if marks:
        canvas = canvas.copy()
        for mark in marks:
            draw_mark(canvas, mark)
    return canvas


def draw_mark(canvas: np.ndarray, mark: Mark) -> None:
    """Draw one mark over a canvas view, in place."""
    if mark.faint:
        xs, ys = [p[0] for p in mark.points], [p[1] for p in mark.points]
        pad = int(mark.size) + 4 + 8 * len(mark.label)
        x0, y0 = max(int(min(xs)) - pad, 0), max(int(min(ys)) - pad, 0)
        x1, y1 = min(int(max(xs)) + pad, canvas.shape[1]), min(int(max(ys)) + pad, canvas.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        part = canvas[y0:y1, x0:x1]
        over = part.copy()
        _draw_mark(over, mark, x0, y0)
        cv2.addWeighted(part, 0.6, over, 0.4, 0, dst=over)
        part[:] = over
    else:
        # OpenCV writes to contiguous-row views in place
        _draw_mark(canvas, mark, 0, 0)


def _draw_mark(image: np.ndarray, mark: Mark, x0: int, y0: int) -> None:
    points = [((x - x0) * _ONE, (y - y0) * _ONE) for x, y in mark.points]
    if mark.kind in ("line", "polygon"):
        path = np.array(points, np.float64).round().astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(
            image,
            [path],
            mark.kind == "polygon",
            mark.color,
            max(1, round(mark.size)),
            cv2.LINE_AA,
            _SHIFT,
        )
    else:
        radius = round(mark.size * _ONE)
        for x, y in points:
            x, y = round(x), round(y)
            if mark.kind == "ring":
                cv2.circle(image, (x, y), radius, (0, 0, 0), 3, cv2.LINE_AA, _SHIFT)
                cv2.circle(image, (x, y), radius, mark.color, 2, cv2.LINE_AA, _SHIFT)
            elif mark.kind == "dot":
                cv2.circle(image, (x, y), radius, mark.color, -1, cv2.LINE_AA, _SHIFT)
            else:
                cv2.line(
                    image, (x - radius, y), (x + radius, y), mark.color, 1, cv2.LINE_AA, _SHIFT
                )
                cv2.line(
                    image, (x, y - radius), (x, y + radius), mark.color, 1, cv2.LINE_AA, _SHIFT
                )
    if mark.label:
        x, y = mark.points[0]
        text.put_outlined(
            image,
            mark.label,
            round(x - x0 + mark.size + 2),
            round(y - y0 - mark.size - 8),
            mark.color,
            9,
            bold=True,
        )


@lru_cache(maxsize=512)
def _chrome(
    title: str,
    widgets: tuple[Widget, ...],
    groups: tuple[tuple[str, Rect], ...],
    look,
    status: tuple[str, ...],
) -> np.ndarray:
    """Everything but the canvas content, (336, 448, 3) uint8; read only."""
    frame = _panels(title, groups, look).copy()
    for button, (x, y, width, height) in widgets:
        frame[y : y + height, x : x + width] = _button(button, width, height, look.theme)
    _write(frame, status, look, Rect(0, 0, WIDTH, HEIGHT))
    frame.flags.writeable = False
    return frame


@lru_cache(maxsize=128)
def _small_panels(title: str, groups: tuple[tuple[str, Rect], ...], look) -> np.ndarray:
    """The chrome without buttons and status as a policy sees it."""
    return shrink(_panels(title, groups, look))


@lru_cache(maxsize=2048)
def _small_chrome(
    title: str, widgets: tuple[Widget, ...], groups: tuple[tuple[str, Rect], ...], look
) -> np.ndarray:
    """The chrome without the status as a policy sees it; only the panels are drawn again for buttons in another state."""
    small = _small_panels(title, groups, look).copy()
    for panel in LAYOUTS[look.layout].panels:
        around = _around(panel)
        part = _cut(_panels(title, groups, look), around).copy()
        for button, (x, y, width, height) in widgets:
            if panel.contains(x, y):
                part[y - around.y : y - around.y + height, x - around.x : x - around.x + width] = (
                    _button(button, width, height, look.theme)
                )
        _cut(small, _reduced(around))[:] = shrink(part)
    small.flags.writeable = False
    return small


@lru_cache(maxsize=2048)
def _small_status(
    title: str, groups: tuple[tuple[str, Rect], ...], look, status: tuple[str, ...]
) -> np.ndarray:
    """What stands around the status bar as a policy sees it."""
    around = _around(LAYOUTS[look.layout].status_bar)
    part = _cut(_panels(title, groups, look), around).copy()
    _write(part, status, look, around)
    return shrink(part)


def _around(rect: Rect) -> Rect:
    """The rectangle around another one that lies on multiples of 8 logical px."""
    x, y = rect.x // 8 * 8, rect.y // 8 * 8
    return Rect(
        x, y, -(-(rect.x + rect.width) // 8) * 8 - x, -(-(rect.y + rect.height) // 8) * 8 - y
    )


def _reduced(rect: Rect) -> Rect:
    """Where a rectangle on multiples of 8 logical px lies on the small screen."""
    return Rect(*(side * 3 // 8 for side in rect))


def _cut(frame: np.ndarray, rect: Rect) -> np.ndarray:
    return frame[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]


def _write(image: np.ndarray, status: tuple[str, ...], look, area: Rect) -> None:
    """Write the status onto an image that shows an area of the screen."""
    theme, bar = THEMES[look.theme], LAYOUTS[look.layout].status_bar
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
def _panels(title: str, groups: tuple[tuple[str, Rect], ...], look) -> np.ndarray:
    theme, layout = THEMES[look.theme], LAYOUTS[look.layout]
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = theme.background
    for panel in layout.panels:
        _box(frame, panel, theme.panel, theme.border, theme, width=1)
    wide = layout.status_bar.width == WIDTH
    if wide:
        bar = layout.status_bar
        frame[bar.y :] = theme.panel
        cv2.line(frame, (0, bar.y), (WIDTH - 1, bar.y), theme.border, 1)
        text.put(frame, title, 14, 8, theme.text, 13, bold=True)
    else:
        bar = layout.title_bar
        for i, word in enumerate(title.split()):
            text.put(
                frame,
                text.fit(word, bar.width - 6, 11, True),
                bar.x + 6,
                bar.y + 8 + 16 * i,
                theme.text,
                11,
                bold=True,
            )
    canvas = layout.canvas
    cv2.rectangle(
        frame,
        (canvas.x - 1, canvas.y - 1),
        (canvas.x + CANVAS, canvas.y + CANVAS),
        theme.canvas_border,
        1,
    )
    for name, rect in groups:
        if rect.height:
            text.put(frame, text.fit(name, rect.width, 9), rect.x + 1, rect.y, theme.muted, 9)
    frame.flags.writeable = False
    return frame


@lru_cache(maxsize=4096)
def _button(button: Button, width: int, height: int, theme_name: str) -> np.ndarray:
    """A button on the panel, (height, width, 3) uint8; read only."""
    theme, rect = THEMES[theme_name], Rect(0, 0, width, height)
    frame = np.empty((height, width, 3), np.uint8)
    frame[:] = theme.panel
    if not button.enabled:
        fill, ink = theme.disabled, theme.disabled_text
    elif button.active:
        fill, ink = theme.active, theme.active_text
    else:
        fill, ink = theme.button, theme.button_text
    _box(frame, rect, fill, theme.border, theme, width=theme.border_width)
    if theme.bevel and button.enabled:
        light, dark = (
            ((255, 255, 255), (110, 110, 110))
            if not button.active
            else ((20, 20, 60), (190, 190, 255))
        )
        x1, y1 = rect.x + rect.width - 2, rect.y + rect.height - 2
        cv2.line(frame, (rect.x + 1, rect.y + 1), (x1, rect.y + 1), light, 1)
        cv2.line(frame, (rect.x + 1, rect.y + 1), (rect.x + 1, y1), light, 1)
        cv2.line(frame, (rect.x + 1, y1), (x1, y1), dark, 1)
        cv2.line(frame, (x1, rect.y + 1), (x1, y1), dark, 1)
    size = 11 if rect.height >= 20 else 9
    swatch = 12 if button.color else 0
    label = text.fit(button.label, rect.width - 4 - swatch, size)
    if label != button.label and size > 9:
        size = 9
        label = text.fit(button.label, rect.width - 4 - swatch, size)
    coverage = text.mask(label, size)
    left = rect.x + (rect.width - coverage.shape[1] - swatch) // 2
    if button.color:
        color = (
            button.color
            if button.enabled
            else tuple((c + d) // 2 for c, d in zip(button.color, theme.disabled))
        )
        middle = ((left + 4) * _ONE, (rect.y + rect.height // 2) * _ONE)
        if button.active:  # a swatch of the color of an active button would not be seen on it
            cv2.circle(frame, middle, 5 * _ONE, theme.active_text, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(frame, middle, 4 * _ONE, color, -1, cv2.LINE_AA, _SHIFT)
    text.put(
        frame, label, left + swatch, rect.y + (rect.height - coverage.shape[0]) // 2, ink, size
    )
    frame.flags.writeable = False
    return frame


def _box(
    frame: np.ndarray, rect: Rect, fill: Color, border: Color, theme: Theme, width: int
) -> None:
    """A filled box with border and rounded corners."""
    x0, y0, x1, y1 = rect.x, rect.y, rect.x + rect.width - 1, rect.y + rect.height - 1
    r = min(theme.radius, rect.width // 2, rect.height // 2)
    if r == 0:
        cv2.rectangle(frame, (x0, y0), (x1, y1), fill, -1)
        cv2.rectangle(frame, (x0, y0), (x1, y1), border, width)
        return
    angles = np.linspace(0, np.pi / 2, 8)
    corners = []
    for cx, cy, start in (
        (x1 - r, y1 - r, 0),
        (x0 + r, y1 - r, 1),
        (x0 + r, y0 + r, 2),
        (x1 - r, y0 + r, 3),
    ):
        turn = angles + start * np.pi / 2
        corners.append(np.stack([cx + r * np.cos(turn), cy + r * np.sin(turn)], axis=1))
    path = (np.concatenate(corners) * _ONE).round().astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(frame, [path], fill, cv2.LINE_AA, _SHIFT)
    cv2.polylines(frame, [path], True, border, width, cv2.LINE_AA, _SHIFT)
