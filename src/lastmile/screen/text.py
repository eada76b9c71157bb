"""Text as cached coverage masks, from the DejaVu fonts that come with matplotlib."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ImageFont

from lastmile.screen.widgets import Color


@lru_cache(maxsize=16)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    spec = find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "the fonts of matplotlib are needed to draw text: pip install matplotlib"
        )
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(
        str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size
    )


@lru_cache(maxsize=8192)
def mask(text: str, size: int, bold: bool = False) -> np.ndarray:
    """Coverage of a line of text, (height, width) uint8 from 0 to 255; the height depends on the size alone."""
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    width = max(1, int(np.ceil(font.getlength(text))))
    raw, (left, top) = font.getmask2(text, mode="L")
    out = np.zeros((ascent + descent, width + 2), np.uint8)
    if raw.size[0] and raw.size[1]:
        glyphs = np.asarray(raw, np.uint8).reshape(raw.size[1], raw.size[0])
        left = max(left, 0)
        rows, columns = (
            min(glyphs.shape[0], out.shape[0] - top),
            min(glyphs.shape[1], out.shape[1] - left),
        )
        out[top : top + rows, left : left + columns] = glyphs[:rows, :columns]
    out.flags.writeable = False
    return out


@lru_cache(maxsize=8192)
def fit(text: str, width: int, size: int, bold: bool = False) -> str:
    """The text, shortened with an ellipsis if it is wider than `width` pixels."""
    if mask(text, size, bold).shape[1] <= width:
        return text
    while text and mask(text + "…", size, bold).shape[1] > width:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=8192)
def wrap(text: str, width: int, size: int) -> tuple[str, ...]:
    """The text in lines of at most `width` pixels, broken between words; a word that is too long by itself is shortened."""
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
    """A line of text with a dark rim of a pixel: how much of the ground stays, (height + 2, width + 2, 1) uint16 from 0 to 255, and the color
    that is added, (height + 2, width + 2, 3) uint8."""
    padded = np.pad(mask(text, size, bold), 2)
    height, width = padded.shape
    rim = np.max(
        [padded[j : height - 2 + j, i : width - 2 + i] for j in range(3) for i in range(3)], axis=0
    )
    ink = padded[1:-1, 1:-1, None].astype(np.uint16)
    stays = ((255 - rim[..., None].astype(np.uint16)) * (255 - ink) + 127) // 255
    return stays, ((ink * np.asarray(color, np.uint16) + 127) // 255).astype(np.uint8)


def put(
    image: np.ndarray, text: str, x: int, y: int, color: Color, size: int, bold: bool = False
) -> None:
    """Blend a line of text into `image` (h, w, 3) with its top left corner at (x, y); what lies outside is cut."""
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
    """`put` with a dark rim, for text over pictures."""
    stays, added = outlined(text, color, size, bold)
    over, under = _overlap(image, stays, x - 1, y - 1)
    part = image[under]
    part[:] = (stays[over] * part + 127) // 255 + added[over]


Part = tuple[slice, slice]


def _overlap(image: np.ndarray, tile: np.ndarray, x: int, y: int) -> tuple[Part, Part]:
    """The part of a tile that lies on an image when its top left corner is at (x, y), and the part of the image under it."""
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = (
        max(min(x + tile.shape[1], image.shape[1]), x0),
        max(min(y + tile.shape[0], image.shape[0]), y0),
    )
    return (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)), (slice(y0, y1), slice(x0, x1))
