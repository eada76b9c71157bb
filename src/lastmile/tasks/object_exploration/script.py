"""Object exploration by script: the pictures of the legend as templates, on all sides."""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.tasks.script import Clicks, Script

MIDDLE = (47.7, 39.9)
"""Where the object is on the small canvas, (column, row) px."""
RADIUS = 17.0
"""How far from there features are seen well, px of the small canvas."""
LEGEND = ((2.6, 1.5), (2.6, 14.6), (2.6, 27.8))
"""Upper left corners of the pictures of knob, pit and bars, (column, row) px."""
SHRUNK = 24 / 56
"""Size of a feature in the legend, relative to that on the object."""
SIDE = 21
"""Side of a picture of the legend at the scale of the object, px of the small canvas."""
MARGIN = 4
"""What is left out around it, px."""
FOUND = (0.95, 0.9, 0.66)
"""Least correlation of a knob, a pit and bars with their pictures."""
YAWS = 12


class ObjectExplorationScript(Script):
    """Go around the object at every height, and choose the kinds that look like the legend.

    Knobs and pits are compared as they are lit, bars in six directions. It looks at all sides, also
    after two kinds have been found.
    """

    GROUPS = (
        ("Go round", ("left", "right", "up", "down"), 2),
        ("One kind", ("class-1", "class-2", "class-4"), 2),
        ("Two kinds", ("class-3", "class-5", "class-6"), 2),
    )

    def work(self) -> Clicks:
        """Scan all sides, then choose the class."""
        templates = legend(self.canvas())
        yield from self.scan("up")
        best = np.full(3, -1.0)
        while True:
            for _ in range(YAWS):
                best = np.maximum(best, likeness(self.canvas(), templates))
                yield from self.press("right")
            if not self.enabled("down"):
                break
            yield from self.press("down")
        yield from self.press(f"class-{kinds(best)}")


def kinds(best: np.ndarray) -> int:
    """Return the kinds of features of an object, the sum of 1, 2 and 4: one or two of them."""
    beyond = best - FOUND
    likely = np.argsort(-beyond)
    return sum(1 << int(kind) for kind in likely[:2] if beyond[kind] > 0 or kind == likely[0])


def legend(canvas: np.ndarray) -> list[list[np.ndarray]]:
    """Return the templates of knob, pit and bars, each in one or more directions."""
    gray = canvas.mean(-1)
    templates = []
    for column, row in LEGEND:
        map_back = np.array([[SHRUNK, 0, column - 0.5], [0, SHRUNK, row - 0.5]], np.float32)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        picture = flat(cv2.warpAffine(gray, map_back, (SIDE, SIDE), flags=flags))
        templates.append(picture[MARGIN:-MARGIN, MARGIN:-MARGIN])
    knob, pit, bars = templates
    middle = (len(bars) // 2,) * 2
    turned = [
        cv2.warpAffine(
            bars,
            cv2.getRotationMatrix2D(middle, angle, 1),
            bars.shape[::-1],
            borderMode=cv2.BORDER_REPLICATE,
        )
        for angle in range(0, 180, 30)
    ]
    return [[knob], [pit], turned]


def flat(gray: np.ndarray) -> np.ndarray:
    """Return a picture without the slow change of brightness over the object."""
    return gray - cv2.GaussianBlur(gray, (0, 0), 5)


def likeness(canvas: np.ndarray, templates: list[list[np.ndarray]]) -> np.ndarray:
    """Return the greatest correlation with knob, pit and bars in the middle of a view, (3,)."""
    gray = flat(canvas.mean(-1))
    rows, columns = np.mgrid[: len(gray), : len(gray)]
    inside = np.hypot(columns - MIDDLE[0], rows - MIDDLE[1]) < RADIUS
    half = SIDE // 2 - MARGIN
    inside = inside[half:-half, half:-half]
    return np.array(
        [
            max(
                cv2.matchTemplate(gray, template, cv2.TM_CCOEFF_NORMED)[inside].max()
                for template in of_kind
            )
            for of_kind in templates
        ]
    )


SCRIPT = ObjectExplorationScript
