"""Colored dots by script: maxima of the projection, each in the slice in which it is brightest."""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.tasks.script import Clicks, Script, logical

THRESHOLD = 26.0
"""Least brightness of a dot above the background, of 255, after smoothing."""
APART = 5
"""Side of the square within which a dot is the only maximum, px of the small canvas."""


class ColoredDotsScript(Script):
    """Go through the stack once, then back, and mark the maxima slice by slice.

    It does not order the dots by hue, which the score does not ask for. Two dots closer than three
    pixels of the small screen would be taken for one.
    """

    GROUPS = (("Slice", ("-z", "+z"), 2), ("View", ("mip",), 1))

    def work(self) -> Clicks:
        """Scan, find all dots, and mark them from the last slice to the first."""
        views = yield from self.scan("+z")
        dots = find_dots(np.stack(views))
        for z in reversed(range(len(views))):
            for point in dots[dots[:, 2] == z]:
                yield from self.place(point[:2])
            if z:
                yield from self.press("-z")


def find_dots(stack: np.ndarray) -> np.ndarray:
    """Find the dots of a stack.

    Args:
        stack: The slices, (slices, 96, 96, 3), 0 to 255.

    Returns:
        (dots, 3): u, v in logical px, and the slice.
    """
    light = stack.max(-1) - np.median(stack.max(-1))
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in light])
    projection = smooth.max(0)
    peaks = projection == cv2.dilate(projection, np.ones((APART, APART)))
    dots = []
    for y, x in np.argwhere(peaks & (projection > THRESHOLD)):
        z = int(smooth[:, y, x].argmax())
        rows = slice(max(y - 2, 0), y + 3)
        columns = slice(max(x - 2, 0), x + 3)
        weights = np.clip(smooth[z, rows, columns] - 0.3 * smooth[z, y, x], 0, None)
        ys, xs = np.mgrid[rows, columns][:, : weights.shape[0], : weights.shape[1]]
        middle = np.array([(xs * weights).sum(), (ys * weights).sum()]) / weights.sum()
        dots.append((*logical(middle), z))
    return np.array(dots, float).reshape(-1, 3)


SCRIPT = ColoredDotsScript
