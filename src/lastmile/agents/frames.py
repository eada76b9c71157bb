"""The screens that agents see, and the way back from their pixels to logical ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lastmile.errors import UnknownNameError
from lastmile.screen import HEIGHT, WIDTH


class Frame(NamedTuple):
    """A screen with the interface in its middle, magnified by the largest integer that fits.

    Every logical pixel is a square of pixels of the frame, so coordinates go back exactly.

    Attributes:
        width, height: Size in px.
    """

    width: int
    height: int

    @property
    def scale(self) -> int:
        """Pixels of the frame along a logical pixel."""
        return min(self.width // WIDTH, self.height // HEIGHT)

    @property
    def corner(self) -> tuple[int, int]:
        """Upper left pixel (x, y) of the interface."""
        return (self.width - WIDTH * self.scale) // 2, (self.height - HEIGHT * self.scale) // 2

    def logical(self, x: int, y: int) -> tuple[int, int] | None:
        """Return the logical pixel (x, y) at a pixel of the frame; None outside the interface."""
        left, top = self.corner
        u, v = (x - left) // self.scale, (y - top) // self.scale
        return (u, v) if 0 <= u < WIDTH and 0 <= v < HEIGHT else None

    def pixel(self, u: int, v: int) -> tuple[int, int]:
        """Return the pixel (x, y) in the middle of a logical pixel."""
        left, top = self.corner
        return left + u * self.scale + self.scale // 2, top + v * self.scale + self.scale // 2

    def show(self, image: np.ndarray) -> np.ndarray:
        """Return the frame with a drawn screen in it.

        Args:
            image: The screen, (336, 448, 3) uint8, RGB.

        Returns:
            (height, width, 3) uint8, RGB; the margins are black.
        """
        left, top = self.corner
        shown = np.zeros((self.height, self.width, 3), np.uint8)
        magnified = image.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        shown[top : top + len(magnified), left : left + magnified.shape[1]] = magnified
        return shown


FRAMES = {
    "896x672": Frame(896, 672),
    # The size that Inspect declares for the computer tools of providers.
    "1366x768": Frame(1366, 768),
}
"""The frames by their names: the interface without margins, and with."""


def get_frame(name: str) -> Frame:
    """Return the frame with this name.

    Raises:
        UnknownNameError: There is no such frame.
    """
    if name not in FRAMES:
        raise UnknownNameError("screen", name, FRAMES)
    return FRAMES[name]
