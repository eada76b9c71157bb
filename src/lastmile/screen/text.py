"""Text as cached coverage masks, drawn with the DejaVu fonts in `fonts/`.

The fonts are part of the package, so that screens have the same pixels on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lastmile.screen.widgets import Color

if TYPE_CHECKING:
    from PIL import ImageFont

FONTS = Path(__file__).parent / "fonts"
"""Folder of the font files and their license."""


@lru_cache(maxsize=16)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont  # here, since importing Pillow takes longer than all of `screen`

    path = FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    # Raqm, which Pillow takes where libfribidi is installed, draws other pixels.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=8192)
def mask(text: str, size: int, bold: bool = False) -> np.ndarray:
    """Return the coverage of a line of text, (height, width) uint8 from 0 to 255; read only.

    The height depends on the font size alone, so that lines of text align.
    """
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    width = max(1, int(np.ceil(font.getlength(text))))
    raw, (left, top) = font.getmask2(text, mode="L")

    coverage = np.zeros((ascent + descent, width + 2), np.uint8)
    if raw.size[0] and raw.size[1]:  # a space has no pixels
        glyphs = np.asarray(raw, np.uint8).reshape(raw.size[1], raw.size[0])
        left = max(left, 0)
        rows = min(glyphs.shape[0], coverage.shape[0] - top)
        columns = min(glyphs.shape[1], coverage.shape[1] - left)
        coverage[top : top + rows, left : left + columns] = glyphs[:rows, :columns]
    coverage.flags.writeable = False
    return coverage


@lru_cache(maxsize=8192)
def fit(text: str, width: int, size: int, bold: bool = False) -> str:
    """Return the text, shortened with an ellipsis if it is wider than `width` pixels."""
    if mask(text, size, bold).shape[1] <= width:
        return text
    while text and mask(text + "…", size, bold).shape[1] > width:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=8192)
def wrap(text: str, width: int, size: int) -> tuple[str, ...]:
    """Return the text in lines of at most `width` pixels, broken between words.

    A single word that is too long is shortened.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and mask(longer, size).shape[1] <= width:
            lines[-1] = longer
        else:
            lines.append(fit(word, width, size))
    return tuple(lines)


@lru_cache(maxsize=2048)
def outlined(
    text: str, color: Color, size: int, bold: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return a line of text with a dark rim of one pixel, as weights to blend with.

    Returns:
        How much of the background remains, (height + 2, width + 2, 1) uint16 from 0 to 255, and the
        color to add, (height + 2, width + 2, 3) uint8.
    """
    padded = np.pad(mask(text, size, bold), 2)
    height, width = padded.shape

    # The rim is the text shifted by up to one pixel in all directions.
    shifts = [padded[j : height - 2 + j, i : width - 2 + i] for j in range(3) for i in range(3)]
    rim = np.max(shifts, axis=0)
    ink = padded[1:-1, 1:-1, None].astype(np.uint16)

    remains = ((255 - rim[..., None].astype(np.uint16)) * (255 - ink) + 127) // 255
    return remains, ((ink * np.asarray(color, np.uint16) + 127) // 255).astype(np.uint8)


def put(
    image: np.ndarray, text: str, x: int, y: int, color: Color, size: int, bold: bool = False
) -> None:
    """Blend a line of text into `image` (h, w, 3), cut at the borders of the image.

    Args:
        image: The image, uint8, changed in place.
        text: The line of text.
        x: Left edge of the text, px.
        y: Upper edge of the text, px.
        color: Color of the text.
        size: Font size, px.
        bold: Whether to use the bold font.
    """
    coverage = mask(text, size, bold)
    over, under = _overlap(image, coverage, x, y)
    weight = coverage[over][..., None].astype(np.uint16)
    part = image[under]
    part[:] = (
        (np.uint16(255) - weight) * part + weight * np.asarray(color, np.uint16) + 127
    ) // 255


def put_outlined(
    image: np.ndarray, text: str, x: int, y: int, color: Color, size: int, bold: bool = False
) -> None:
    """Blend a line of text with a dark rim into `image`, as `put` does; readable over pictures."""
    remains, added = outlined(text, color, size, bold)
    over, under = _overlap(image, remains, x - 1, y - 1)
    part = image[under]
    part[:] = (remains[over] * part + 127) // 255 + added[over]


Part = tuple[slice, slice]
"""Rows and columns of a part of an image."""


def _overlap(image: np.ndarray, tile: np.ndarray, x: int, y: int) -> tuple[Part, Part]:
    """Return the part of a tile at (x, y) that is inside the image, and the part of the image."""
    x0 = max(x, 0)
    y0 = max(y, 0)
    x1 = max(min(x + tile.shape[1], image.shape[1]), x0)
    y1 = max(min(y + tile.shape[0], image.shape[0]), y0)
    return (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)), (slice(y0, y1), slice(x0, x1))
