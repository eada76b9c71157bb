"""Plume finding by script: the band in which the ratio is brightest, thresholded there."""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.tasks.script import Clicks, Script, logical

BAR = 5
"""Rows at the bottom of the small canvas that the bar of bands covers."""
LEAST = 0.012
"""Share of the canvas that must be bright for a band to count: less is noise."""
BRIGHT = 0.55
"""Threshold between the background (0) and the brightest part (1)."""
CORNER = 0.9
"""Distance by which the polygon may miss the contour, px of the small canvas."""


class PlumeFindingScript(Script):
    """Look at the ratio of every band, and outline the largest bright part of the best.

    It takes the band in which a small part of the ratio is brightest. A field of clay whose
    absorption is as strong as the gas would be taken for the plume.
    """

    GROUPS = (
        ("Band", ("-1", "+1", "-5", "+5"), 2),
        ("View", ("ratio",), 1),
        ("Polygon", ("close",), 1),
    )

    def work(self) -> Clicks:
        """Scan in the ratio, go back to the best band, and outline the plume there."""
        yield from self.press("ratio")
        views = yield from self.scan("+1")
        light = [brightness(view) for view in views]
        best = int(np.argmax([np.quantile(image, 1 - LEAST) for image in light]))
        for _ in range(len(views) - 1 - best):
            yield from self.press("-1")
        yield from self.press("ratio")
        for point in outline(light[best]):
            yield from self.place(point)
        yield from self.press("close")


def brightness(view: np.ndarray) -> np.ndarray:
    """Return how bright a ratio is, (91, 96): smoothed, without the bar."""
    return cv2.GaussianBlur(view[:-BAR].mean(-1), (0, 0), 1.2)


def outline(light: np.ndarray) -> np.ndarray:
    """Return the corners of the largest bright part, (n, 2) in logical px."""
    low, high = np.median(light), np.quantile(light, 1 - LEAST)
    mask = (light > low + BRIGHT * (high - low)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    return logical(cv2.approxPolyDP(largest, CORNER, True)[:, 0])


SCRIPT = PlumeFindingScript
