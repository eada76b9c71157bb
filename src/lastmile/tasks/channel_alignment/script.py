"""Channel alignment by script: outlines of cells in A, found in B by template and affine map."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
from scipy import ndimage

from lastmile.tasks.script import Clicks, Script, logical

SMALLEST = 14
"""Least area of a large cell body in channel A, px of the small canvas."""
BODY = 95.0
"""Least brightness of a cell body in channel A."""
REACH = 14
"""Largest distance of a partner from the same place in the other channel, px."""
HALF = 8
"""Half the side of a template, px."""
FIT = 0.25
"""Least correlation of an outline with its partner."""
NEAR = 2.5
"""Largest distance of a partner from where the affine map puts it, px."""
PAIRS = 6
"""Pairs that are placed, if that many fit."""


class ChannelAlignmentScript(Script):
    """Match the outline of every cell body in A with channel B, and keep the matches that agree.

    The tissue is taken to move by an affine map, up to `NEAR`. A match on a vessel or on the wrong
    cell that happens to agree with the map goes unnoticed.
    """

    GROUPS = (("View", ("channel", "overlay"), 1),)

    def work(self) -> Clicks:
        """Look at both channels, then place pairs, best first."""
        view_a = self.canvas()
        yield from self.press("channel")
        view_b = self.canvas()
        yield from self.press("channel")
        for point, partner in pairs(view_a, view_b):
            yield from self.place(logical(point))
            yield from self.press("channel")
            yield from self.place(logical(partner))
            yield from self.press("channel")


def pairs(view_a: np.ndarray, view_b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return points in A with their partners in B, px of the small canvas, best first."""
    red = cv2.GaussianBlur(view_a[..., 0], (0, 0), 0.5)
    labels, count = ndimage.label(red > BODY)
    bodies = [labels == k for k in range(1, count + 1) if (labels == k).sum() >= SMALLEST]
    green = cv2.GaussianBlur(view_b[..., 1], (0, 0), 0.5)
    points, maps = [], []
    for body in bodies:
        points.append(np.array(ndimage.center_of_mass(body))[::-1])
        maps.append(matches(body, points[-1], green))
    if len(points) < 3:
        return []
    return agreeing(np.array(points), maps)


def matches(body: np.ndarray, point: np.ndarray, green: np.ndarray) -> np.ndarray:
    """Return how well the outline of a cell fits at each displacement, (2 REACH + 1,) * 2."""
    size = 2 * HALF + 1
    best: np.ndarray = np.full((2 * REACH + 1,) * 2, -1, np.float32)
    pad = HALF + REACH
    area = cv2.copyMakeBorder(green, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    x, y = np.round(point).astype(int)
    area = area[y : y + 2 * pad + 1, x : x + 2 * pad + 1]
    for turn in (-12, -6, 0, 6, 12):
        turned = cv2.getRotationMatrix2D(tuple(point.tolist()), turn, 1.0)
        turned[:, 2] += HALF - point
        patch = cv2.warpAffine(body.astype(np.float32), turned, (size, size))
        grown = cv2.GaussianBlur(patch, (0, 0), 0.8)
        # Outlines are where the smoothed body is half as bright as inside.
        rim = np.exp(-(((grown - 0.5) / 0.25) ** 2))
        fit = cv2.matchTemplate(area, rim.astype(np.float32), cv2.TM_CCOEFF_NORMED)
        best = np.maximum(best, fit)
    return best


def agreeing(points: np.ndarray, maps: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the pairs of the affine map under which most cells fit, best first."""
    peaks = []
    for fit in maps:
        tops = (fit == ndimage.maximum_filter(fit, 5)) & (fit > 0.3)
        found = np.argwhere(tops)
        order = np.argsort(-fit[tops])[:3]
        peaks.append([(found[k][::-1] - REACH, float(fit[tuple(found[k])])) for k in order])
    candidates = [(k, shift, fit) for k, of_cell in enumerate(peaks) for shift, fit in of_cell]
    best_total, best_fit = -1.0, None
    for trio in combinations(candidates, 3):
        if len({k for k, _, _ in trio}) < 3:
            continue
        source = points[[k for k, _, _ in trio]]
        target = source + [shift for _, shift, _ in trio]
        affine = solve(source, target)
        if affine is None:
            continue
        total, _ = judged(points, maps, affine)
        if total > best_total:
            best_total, best_fit = total, affine
    if best_fit is None:
        return []
    _, chosen = judged(points, maps, best_fit)
    chosen.sort(key=lambda pair: -pair[2])
    return [(point, partner) for point, partner, _ in chosen[:PAIRS]]


def solve(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Return the affine map of three points onto three, (3, 2); None if it is implausible."""
    system = np.c_[source, np.ones(3)]
    if abs(np.linalg.det(system)) < 250:
        return None
    affine: np.ndarray = np.linalg.solve(system, target)
    return affine if np.abs(affine[:2] - np.eye(2)).max() < 0.3 else None


def judged(
    points: np.ndarray, maps: list[np.ndarray], affine: np.ndarray
) -> tuple[float, list[tuple[np.ndarray, np.ndarray, float]]]:
    """Return how well the cells fit under an affine map, and the pairs that agree with it."""
    expected = (
        np.c_[points, np.ones(len(points))] @ affine - points + REACH
    )  # (column, row) in maps
    total = 0.0
    chosen = []
    for point, goal, fit in zip(points, expected, maps):
        columns, rows = ((np.arange(len(fit)) - middle) ** 2 for middle in goal)
        distance = np.sqrt(rows[:, None] + columns)
        value = np.where(distance < NEAR, fit - 0.05 * distance, -1.0)
        row, column = np.unravel_index(value.argmax(), value.shape)
        if value[row, column] > FIT:
            total += float(value[row, column])
            partner = point + peak(fit, int(row), int(column)) - REACH
            chosen.append((point, partner, float(value[row, column])))
    return total, chosen


def peak(fit: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return the place (column, row) of a maximum to a fraction of a pixel."""
    rows = slice(max(row - 1, 0), row + 2)
    columns = slice(max(column - 1, 0), column + 2)
    weights = np.clip(fit[rows, columns] - 0.5 * fit[row, column], 0, None)
    ys, xs = np.mgrid[rows, columns][:, : weights.shape[0], : weights.shape[1]]
    return np.array([(xs * weights).sum(), (ys * weights).sum()]) / weights.sum()


SCRIPT = ChannelAlignmentScript
