"""Neuron tracing by script: cells by threshold, from slice to slice the one that overlaps most."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from lastmile.tasks.script import Clicks, Script, logical

YELLOW = np.array([255, 214, 10], np.float32)
"""Color of the cross-hair."""
BAR = 5
"""Rows at the bottom of the small canvas that the bar of slices covers."""
ZOOM = 3
"""Membranes are thin on the small canvas, so it is enlarged to find them."""
DARK = 0.88
"""A membrane is darker than its surroundings by this factor."""
SEEDS = 0.8
"""Passages narrower than twice this divide two cells, px of the small canvas."""
DRIFT = 6
"""Largest drift of the tissue between two slices, px of the small canvas."""


class NeuronTracingScript(Script):
    """Segment every slice on its own, and follow the marked cell by overlap.

    The drift around the cell is found by cross-correlation. Where a cell becomes narrow, or a
    mitochondrion divides it, the threshold cuts it and the script may go on in a neighbor; it never
    looks back.
    """

    GROUPS = (("Slice", ("-z", "+z", "-5", "+5"), 2),)

    def work(self) -> Clicks:
        """Scan, trace the cell through the views, go back and set the nodes."""
        views = yield from self.scan("+z")
        yield from self.scan("-5")
        for node in trace(views):
            yield from self.place(logical(node))
            yield from self.press("+z")


def trace(views: list[np.ndarray]) -> np.ndarray:
    """Return the node of the marked cell in every slice, (slices, 2) px of the small canvas."""
    gray = [view.mean(-1) for view in views]
    distance = np.abs(views[0] - YELLOW).sum(-1)
    rows, columns = np.nonzero(distance[:-BAR] < 150)
    node = np.array([np.median(columns), np.median(rows)])
    # The arms of the cross-hair would look like cytoplasm or membrane.
    hair = (distance < 260).astype(np.uint8)
    hair[-BAR:] = 0
    gray[0] = cv2.inpaint(gray[0].astype(np.uint8), hair, 2, cv2.INPAINT_TELEA).astype(np.float32)

    cell: np.ndarray | None = None
    nodes = []
    for z, image in enumerate(gray):
        labels, depth = segment(image)
        if cell is None:
            around = np.zeros_like(depth)
            around[int(node[1]), int(node[0])] = 1
            around = cv2.GaussianBlur(around, (0, 0), 2.0)
        else:
            dx, dy = drift(gray[z - 1], image, node)
            around = ndimage.shift(cell.astype(np.float32), (dy, dx), order=1)
        overlap = np.bincount(labels.ravel(), (around * depth).ravel())
        overlap[0] = 0
        # A gap in a membrane joins two cells: a cell does not change much from slice to slice.
        near = cv2.dilate((around > 0.3 * around.max()).astype(np.uint8), np.ones((7, 7)))
        cell = (labels == overlap.argmax()) & ((near > 0) | (z == 0))
        node = middle(cell, depth * (0.3 + cv2.GaussianBlur(around / around.max(), (0, 0), 2.0)))
        nodes.append(node)
    return np.array(nodes)


def segment(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide a slice into cells.

    Returns:
        The labels, (96, 96) from 1, 0 on membranes; and the distance from the membranes, (96, 96).
    """
    large = cv2.resize(image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(large, (0, 0), 0.8 * ZOOM)
    inside = smooth > DARK * cv2.GaussianBlur(large, (0, 0), 5.0 * ZOOM)
    inside[-BAR * ZOOM :] = False
    holes = ndimage.binary_fill_holes(inside)  # mitochondria that touch no membrane
    depth = cv2.distanceTransform(holes.astype(np.uint8), cv2.DIST_L2, 5)
    cores, _ = ndimage.label(depth > SEEDS * ZOOM)
    nearest = ndimage.distance_transform_edt(
        cores == 0, return_distances=False, return_indices=True
    )
    labels = np.where(holes, cores[tuple(nearest)], 0)
    middle_of = slice(ZOOM // 2, None, ZOOM)
    return labels[middle_of, middle_of], depth[middle_of, middle_of] / ZOOM


def drift(before: np.ndarray, after: np.ndarray, at: np.ndarray, half: int = 14) -> tuple[int, int]:
    """Return how the tissue around a point moved between two slices, (x, y) px."""
    padded = cv2.copyMakeBorder(after, half + DRIFT, half + DRIFT, half + DRIFT, half + DRIFT, 4)
    template = cv2.copyMakeBorder(before, half, half, half, half, 4)
    x, y = np.round(at).astype(int)
    patch = template[y : y + 2 * half + 1, x : x + 2 * half + 1]
    area = padded[y : y + 2 * (half + DRIFT) + 1, x : x + 2 * (half + DRIFT) + 1]
    match = cv2.matchTemplate(area, patch, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(match.argmax(), match.shape)
    return int(column) - DRIFT, int(row) - DRIFT


def middle(cell: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the point of a cell that is farthest from its membranes, (column, row)."""
    inner = np.where(cell, depth, -1)
    rows, columns = np.nonzero(inner >= 0.95 * inner.max())
    row, column = np.unravel_index(inner.argmax(), inner.shape)
    near = (rows - row) ** 2 + (columns - column) ** 2 <= 4
    return np.array([columns[near].mean(), rows[near].mean()])


SCRIPT = NeuronTracingScript
