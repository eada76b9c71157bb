"""Limb tracking by script: a silhouette by GrabCut, and paws where its legs are lowest."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from lastmile.tasks.script import Clicks, Script, logical

ZOOM = 3
"""The frame is enlarged before it is cut."""
AROUND = (slice(28, 84), slice(2, 94))
"""Rows and columns of the small canvas in which the animal may be."""
LIKELY = (slice(44, 58), slice(22, 70))
"""Where its body probably is."""
SURELY = (slice(47, 52), slice(32, 62))
"""Where its body is in any case."""
TRUNK = 4.5
"""Radius of a disk that fits into the trunk but not into legs and tail, px of the small canvas."""
NOSE = np.array([0.6, 2.2])
"""Nose from the left end of the silhouette, px of the small canvas."""
TAIL = np.array([-0.9, 3.2])
"""Base of the tail from the upper right corner of the trunk, px of the small canvas."""
PAWS = (np.array([-2.7, 1.0]), np.array([2.7, 1.0]))
"""Fore and hind paw from the lowest point of the leg: paws have another color than the rest, so
that the silhouette often ends above them. In px of the small canvas."""
STRIDE = 4.0
"""Least distance of the two paws of a pair, px of the small canvas: else the far one is hidden."""
PARTS = tuple(f"part{k}" for k in range(6))


class LimbTrackingScript(Script):
    """Cut the animal out of each frame on its own, and look for the ends of its outline.

    The animals walk to the left, so that the left legs are near the camera: of the legs of a pair,
    the one that reaches lower. It does not know which leg crosses which, does not follow the legs
    from frame to frame, and calls a far paw hidden when it does not see two ends.
    """

    GROUPS = (
        ("Frame", ("-t", "+t"), 2),
        ("Body", PARTS[:2], 2),
        ("Paws", PARTS[2:], 2),
        ("", ("hidden",), 1),
    )

    def work(self) -> Clicks:
        """Mark frame by frame; the tabs follow by themselves."""
        while True:
            for point in key_points(self.canvas()):
                if point is None:
                    yield from self.press("hidden")
                else:
                    yield from self.place(logical(point))
            if not self.enabled("+t"):
                return
            yield from self.press("+t")


def silhouette(view: np.ndarray) -> np.ndarray:
    """Return which pixels are of the animal, (288, 288) bool (Rother et al., 2004)."""
    large = cv2.resize(view, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    large = np.clip(large, 0, 255).astype(np.uint8)
    labels: np.ndarray = np.full(large.shape[:2], cv2.GC_BGD, np.uint8)
    for (rows, columns), label in (
        (AROUND, cv2.GC_PR_BGD),
        (LIKELY, cv2.GC_PR_FGD),
        (SURELY, cv2.GC_FGD),
    ):
        area = slice(ZOOM * rows.start, ZOOM * rows.stop)
        labels[area, ZOOM * columns.start : ZOOM * columns.stop] = label
    cv2.setRNGSeed(0)  # GrabCut draws the first means of its mixtures
    mixtures = np.zeros((2, 1, 65))
    nowhere = (0, 0, 0, 0)  # the mask says where, and not a rectangle
    cv2.grabCut(large, labels, nowhere, mixtures[0], mixtures[1], 4, cv2.GC_INIT_WITH_MASK)
    parts, _ = ndimage.label((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    middle = np.bincount(parts[parts > 0])
    return ndimage.binary_fill_holes(parts == middle.argmax())


def key_points(view: np.ndarray) -> list[np.ndarray | None]:
    """Return nose, base of the tail, left fore, right fore, left hind and right hind paw.

    Returns:
        (column, row) in px of the small canvas; None for a paw that is hidden.
    """
    animal = silhouette(view)
    size = 2 * int(TRUNK * ZOOM) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    trunk = cv2.morphologyEx(animal.astype(np.uint8), cv2.MORPH_OPEN, disk) > 0
    trunk = trunk if trunk.any() else animal
    rows, columns = np.nonzero(animal)
    left = columns.min()
    nose = np.array([left, rows[columns <= left + ZOOM].mean()])
    trunk_rows, trunk_columns = np.nonzero(trunk)
    right = trunk_columns.max()
    top = trunk_rows[trunk_columns >= right - 6 * ZOOM].min()
    tail = np.array([right, top])
    middle = (trunk_columns.min() + right) / 2
    belly = np.quantile(trunk_rows, 0.9)

    bottom = np.where(animal.any(0), animal.shape[0] - 1 - animal[::-1].argmax(0), -1)
    bottom = np.where(bottom > belly, bottom, -1)
    everywhere = np.arange(len(bottom))
    points: list[np.ndarray | None] = [small(nose) + NOSE, small(tail) + TAIL]
    for half, offset in zip((everywhere < middle, everywhere >= middle), PAWS):
        tips = paws(np.where(half, bottom, -1))
        points += [None if tip is None else tip + offset for tip in tips]
    return points


def paws(bottom: np.ndarray) -> list[np.ndarray | None]:
    """Return the lowest points of the near and the far leg of a pair.

    Args:
        bottom: The lowest row of the legs in each column, -1 without any.
    """
    found: list[np.ndarray | None] = []
    for _ in range(2):
        lowest = bottom.max()
        if lowest < 0:
            found.append(None)
            continue
        columns = np.flatnonzero(bottom >= lowest - 1)
        column = columns[np.abs(columns - np.median(columns)).argmin()]
        found.append(small(np.array([column, lowest])))
        # The other paw is another low point: on the way to it the outline rises.
        away = np.abs(np.arange(len(bottom)) - column) < STRIDE * ZOOM
        peaks = bottom == ndimage.maximum_filter1d(bottom, int(STRIDE * ZOOM))
        bottom = np.where(away | ~peaks, -1, bottom)
    return found


def small(point: np.ndarray) -> np.ndarray:
    """Return a point (column, row) of the enlarged frame in px of the small canvas."""
    return (point + 0.5) / ZOOM - 0.5


SCRIPT = LimbTrackingScript
