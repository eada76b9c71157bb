"""Screens of an episode as one picture of distinct tiles.

Successive screens differ in a mark or a status text, and the canvas holds noise that does not
compress. So a screen is cut into tiles, each distinct tile is kept once, in a lossless picture of
its own, and a screen is the list of its tiles: about a quarter of the bytes of whole screens.
"""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from PIL import Image

from lastmile.screen import HEIGHT, WIDTH

TILE = 16
"""Side of a tile, logical px: 28 x 21 tiles are a screen."""
_ROWS = HEIGHT // TILE
_COLUMNS = WIDTH // TILE


class Pictures:
    """Collect the screens of one or more tracks of an episode; equal ones are kept once."""

    def __init__(self) -> None:
        self._tiles: dict[bytes, int] = {}
        self._screens: dict[tuple[int, ...], int] = {}

    def add(self, pixels: np.ndarray) -> int:
        """Add a screen, (336, 448, 3) uint8, and return its number."""
        tiles = pixels.reshape(_ROWS, TILE, _COLUMNS, TILE, 3).swapaxes(1, 2)
        screen = tuple(
            self._tiles.setdefault(tile.tobytes(), len(self._tiles))
            for tile in tiles.reshape(-1, TILE, TILE, 3)
        )
        return self._screens.setdefault(screen, len(self._screens))

    @property
    def screens(self) -> list[list[int]]:
        """How each screen differs from the one before, in runs: position, tile, length, ...

        Positions and tiles are numbered row by row, tiles in `picture`. A run is a number of
        consecutive positions with consecutive tiles.
        """
        before: tuple[int, ...] = (-1,) * (_ROWS * _COLUMNS)
        changes = []
        for screen in self._screens:
            runs: list[int] = []
            for position, tile in enumerate(screen):
                if tile == before[position]:
                    continue
                if runs and (position - runs[-3], tile - runs[-2]) == (runs[-1], runs[-1]):
                    runs[-1] += 1
                else:
                    runs += [position, tile, 1]
            changes.append(runs)
            before = screen
        return changes

    @property
    def columns(self) -> int:
        """Number of tiles in a row of the picture."""
        return max(1, math.isqrt(len(self._tiles) - 1) + 1 if self._tiles else 1)

    def picture(self) -> str:
        """Return all tiles as one lossless WebP picture, as a data URI."""
        columns = self.columns
        rows = -(-len(self._tiles) // columns)
        tiles = np.zeros((rows * columns, TILE, TILE, 3), np.uint8)
        for number, pixels in enumerate(self._tiles):
            tiles[number] = np.frombuffer(pixels, np.uint8).reshape(TILE, TILE, 3)
        pixels_of_all = tiles.reshape(rows, columns, TILE, TILE, 3).swapaxes(1, 2)
        image = Image.fromarray(pixels_of_all.reshape(rows * TILE, columns * TILE, 3))
        file = io.BytesIO()
        image.save(file, "WEBP", lossless=True, quality=80, method=4)
        return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
