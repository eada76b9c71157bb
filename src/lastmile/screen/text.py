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
        raise RuntimeError("the fonts of matplotlib are needed to draw text: pip install matplotlib")
    folder = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


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
        rows, columns = min(glyphs.shape[0], out.shape[0] - top), min(glyphs.shape[1], out.shape[1] - left)
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


@lru_cache(maxsize=1024)
def halo(text: str, size: int, bold: bool = False) -> np.ndarray:
    """Coverage of a line of text widened by a pixel on all sides, (height + 2, width + 2) uint8."""
    padded = np.pad(mask(text, size, bold), 2)
    height, width = padded.shape
    return np.max([padded[j : height - 2 + j, i : width - 2 + i] for j in range(3) for i in range(3)], axis=0)


def put(image: np.ndarray, text: str, x: int, y: int, color: Color, size: int, bold: bool = False) -> None:
    """Blend a line of text into `image` (h, w, 3) with its top left corner at (x, y); what lies outside is cut."""
    _blend(image, mask(text, size, bold), x, y, color)


def put_outlined(image: np.ndarray, text: str, x: int, y: int, color: Color, size: int, bold: bool = False) -> None:
    """`put` with a dark rim, for text over pictures."""
    _blend(image, halo(text, size, bold), x - 1, y - 1, (0, 0, 0))
    _blend(image, mask(text, size, bold), x, y, color)


def _blend(image: np.ndarray, coverage: np.ndarray, x: int, y: int, color: Color) -> None:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + coverage.shape[1], width), min(y + coverage.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    part = image[y0:y1, x0:x1]
    weight = coverage[y0 - y : y1 - y, x0 - x : x1 - x, None].astype(np.uint16)
    part[:] = ((np.uint16(255) - weight) * part + weight * np.asarray(color, np.uint16) + 127) // 255
