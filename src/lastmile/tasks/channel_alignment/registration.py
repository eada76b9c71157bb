"""Registration by pairs of points: the fitted map, the overlay that it gives, and its error."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from lastmile.screen import CANVAS

if TYPE_CHECKING:
    from lastmile.tasks.channel_alignment.world import ChannelAlignmentWorld

STEP = 8
"""Spacing of the grid on which maps are kept, logical px."""
AXIS = np.arange(0.0, CANVAS + 1, STEP)
GRID = np.stack(np.meshgrid(AXIS, AXIS), 2)
"""(33, 33, 2) points (u, v) of that grid."""
SMOOTHING = 10000.0
"""Bending penalty of the thin-plate spline: leaves about a pixel to the jitter of a hand."""
_MARGIN = 3  # grid points at each border that do not count in the error: 24 px
_WHERE = (np.arange(CANVAS, dtype=np.float32) / STEP).repeat(CANVAS).reshape(CANVAS, CANVAS)


class Point(NamedTuple):
    """A point at canvas position (u, v) of channel "A" or "B"."""

    channel: str
    u: float
    v: float


Pairs = tuple[tuple[float, float, float, float], ...]
"""(u, v) in A and (u, v) in B of each pair."""


@lru_cache(maxsize=1024)
def pairs(points: tuple[Point, ...]) -> Pairs:
    """The k-th point of A with the k-th point of B."""
    a = [point for point in points if point.channel == "A"]
    b = [point for point in points if point.channel == "B"]
    return tuple((p.u, p.v, q.u, q.v) for p, q in zip(a, b))


@lru_cache(maxsize=256)
def fitted(matched: Pairs) -> np.ndarray:
    """(33, 33, 2) points of B that the pairs assign to the points of `GRID` in A: a smoothing thin-plate spline (Bookstein 1989) from three
    pairs on, before that and where the points lie on a line the mean shift."""
    if not matched:
        return GRID
    both = np.array(matched)
    if len(both) >= 3:
        try:
            spline = RBFInterpolator(
                both[:, :2], both[:, 2:], kernel="thin_plate_spline", smoothing=SMOOTHING
            )
            return spline(GRID.reshape(-1, 2)).reshape(GRID.shape)
        except np.linalg.LinAlgError:
            pass
    return GRID + (both[:, 2:] - both[:, :2]).mean(0)


def error(field: np.ndarray, matched: Pairs) -> float:
    """Target registration error: root mean square distance, in px, of the fitted from the true map (`field`, (33, 33, 2)) over all grid
    points at least 24 px from the border (Fitzpatrick and West 2001)."""
    inner = slice(_MARGIN, -_MARGIN)
    off = (fitted(matched) - field)[inner, inner]
    return float(np.sqrt((off**2).sum(2).mean()))


def dense(field: np.ndarray) -> np.ndarray:
    """(33, 33, 2) on the grid to (256, 256, 2) float32 at every pixel."""
    return cv2.remap(field.astype(np.float32), _WHERE.T.copy(), _WHERE, cv2.INTER_LINEAR)


@lru_cache(maxsize=64)
def overlay(world: ChannelAlignmentWorld, matched: Pairs) -> np.ndarray:
    """A in magenta and B, drawn into A by the fitted map, in green: (256, 256, 3) uint8."""
    where = dense(fitted(matched))
    warped = cv2.remap(world.image_b[..., 1], where[..., 0], where[..., 1], cv2.INTER_LINEAR)
    image = world.image_a.copy()
    image[..., 1] = warped
    image.flags.writeable = False
    return image
