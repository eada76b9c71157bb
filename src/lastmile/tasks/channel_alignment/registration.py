"""Landmark registration: pair points, fit a map to them, measure its error, draw the overlay.

Maps from one channel to the other are kept as the (33, 33, 2) images of the points of `GRID`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

GRID_STEP = 8
"""Spacing of `GRID`, logical px."""
_AXIS = np.arange(0.0, CANVAS + 1, GRID_STEP)
GRID = np.stack(np.meshgrid(_AXIS, _AXIS), 2)
"""(33, 33, 2) points (u, v) at which maps are kept."""
MIN_SPREAD = 12.0
"""Smallest standard deviation of points across their main direction for a spline, logical px."""
SMOOTHING = 10000.0
"""Bending penalty of the thin-plate spline; tolerates about 1 px of jitter in each placed point."""
_ERROR_MARGIN = 3  # grid points at each border (24 px) that the error leaves out
# Fractional grid row and column of every pixel, (256, 256) float32 each
_PIXEL_ROWS = (
    (np.arange(CANVAS, dtype=np.float32) / GRID_STEP).repeat(CANVAS).reshape(CANVAS, CANVAS)
)
_PIXEL_COLUMNS = _PIXEL_ROWS.T.copy()


class Point(NamedTuple):
    """A point at canvas position (u, v) of channel "A" or "B"."""

    channel: str
    u: float
    v: float


Pairs = tuple[tuple[float, float, float, float], ...]
"""For each pair its (u, v) in A followed by its (u, v) in B."""


@lru_cache(maxsize=1024)
def pair_points(points: tuple[Point, ...]) -> Pairs:
    """Pair the k-th point of A with the k-th point of B."""
    a = [point for point in points if point.channel == "A"]
    b = [point for point in points if point.channel == "B"]
    return tuple((p.u, p.v, q.u, q.v) for p, q in zip(a, b))


@lru_cache(maxsize=1024)
def first_unpaired(points: tuple[Point, ...]) -> Point | None:
    """Return the first point of A that has no partner in B yet, or None."""
    in_b = sum(point.channel == "B" for point in points)
    in_a = [point for point in points if point.channel == "A"]
    return in_a[in_b] if len(in_a) > in_b else None


@lru_cache(maxsize=256)
def fit_map(pairs: Pairs) -> np.ndarray:
    """Fit the map from A to B that the pairs define.

    From three pairs on this is a smoothing thin-plate spline (Bookstein, IEEE PAMI 1989). With
    fewer pairs it is the mean shift, and also while the points lie nearly on one line: they say
    nothing of what is beside the line, and a spline would stretch or squeeze it at will.

    Args:
        pairs: Matching points of A and B, canvas coordinates.

    Returns:
        (33, 33, 2) float64, the points of B that correspond to the points of `GRID` in A.
        Shared between calls: do not write to it.
    """
    from scipy.interpolate import RBFInterpolator  # here, since it is slow to import

    if not pairs:
        return GRID

    matched = np.array(pairs)  # (n, 4)
    if len(matched) >= 3 and min(_spread(matched[:, :2]), _spread(matched[:, 2:])) >= MIN_SPREAD:
        spline = RBFInterpolator(
            matched[:, :2], matched[:, 2:], kernel="thin_plate_spline", smoothing=SMOOTHING
        )
        warped: np.ndarray = spline(GRID.reshape(-1, 2)).reshape(GRID.shape)
        return warped
    return GRID + (matched[:, 2:] - matched[:, :2]).mean(0)


def _spread(points: np.ndarray) -> float:
    """Return the standard deviation of points (n, 2) across their main direction, px."""
    centered = points - points.mean(0)
    return float(np.linalg.svd(centered, compute_uv=False)[-1] / np.sqrt(len(points)))


def registration_error(true_map: np.ndarray, pairs: Pairs) -> float:
    """Measure the target registration error of the map fitted to the pairs.

    This is the root mean square distance between the fitted and the true map over all grid points
    at least 24 px from the border (Fitzpatrick and West, IEEE TMI 2001).

    Args:
        true_map: (33, 33, 2) points of B that correspond to the points of `GRID` in A.
        pairs: Matching points of A and B, canvas coordinates.

    Returns:
        The error in logical px.
    """
    inner = slice(_ERROR_MARGIN, -_ERROR_MARGIN)
    residuals = (fit_map(pairs) - true_map)[inner, inner]
    return float(np.sqrt((residuals**2).sum(2).mean()))


def upsample(grid_map: np.ndarray) -> np.ndarray:
    """Interpolate a (33, 33, 2) map on `GRID` to (256, 256, 2) float32, one point per pixel."""
    return cv2.remap(grid_map.astype(np.float32), _PIXEL_COLUMNS, _PIXEL_ROWS, cv2.INTER_LINEAR)


def draw_overlay(image_a: np.ndarray, image_b: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Draw A in magenta and, warped onto it by the fitted map, B in green.

    Args:
        image_a, image_b: (256, 256, 3) uint8, both channels as they are shown.
        pairs: Matching points of A and B, canvas coordinates.

    Returns:
        (256, 256, 3) uint8, read-only.
    """
    sources = upsample(fit_map(pairs))  # (256, 256, 2): where in B each pixel of A comes from
    warped = cv2.remap(image_b[..., 1], sources[..., 0], sources[..., 1], cv2.INTER_LINEAR)

    overlay = image_a.copy()
    overlay[..., 1] = warped
    overlay.flags.writeable = False
    return overlay
