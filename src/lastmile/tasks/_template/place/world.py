"""The world of template place: a noisy picture with bright spots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

RADIUS = 5.0
"""A marker belongs to a spot within this many logical px."""

SPACING = 22.0
"""Smallest distance between two spots, logical px: more than twice `RADIUS`."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard a world is.

    Attributes:
        spots: Smallest and largest number of spots.
    """

    spots: tuple[int, int]


# Every task has at least these two.
DIFFICULTIES = {
    "short": Difficulty(spots=(5, 8)),
    "full": Difficulty(spots=(12, 20)),
}


class Marker(NamedTuple):
    """One annotation: a marker on the canvas.

    Attributes:
        u: Logical px to the right.
        v: Logical px down.
    """

    u: float
    v: float


# `eq=False` keeps worlds hashable, so that they can be keys of caches. `lastmile.tasks.task.digest`
# covers every field that is not called `image...`.
@dataclass(frozen=True, eq=False)
class TemplatePlaceWorld:
    """What there is to annotate, and the ground truth.

    Attributes:
        xy: (n, 2) float64, the spots from left to right, canvas coordinates.
        image: (256, 256, 3) uint8, the picture.
        image_smooth: (256, 256, 3) uint8, the picture with less noise.
    """

    xy: np.ndarray
    image: np.ndarray
    image_smooth: np.ndarray

    def near(self, marker: Marker) -> int:
        """Return the spot within `RADIUS` of a marker, or -1. There is at most one."""
        distances = np.hypot(self.xy[:, 0] - marker.u, self.xy[:, 1] - marker.v)
        nearest = int(distances.argmin())
        return nearest if distances[nearest] <= RADIUS else -1

    def marked(self, markers: Iterable[Marker]) -> set[int]:
        """Return the spots that have a marker."""
        return {self.near(marker) for marker in markers} - {-1}


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> TemplatePlaceWorld:
    """Make a world.

    Args:
        rng: The only source of randomness, so that a seed gives the same world everywhere.
        difficulty: One of the values of `DIFFICULTIES`.
    """
    count = int(rng.integers(difficulty.spots[0], difficulty.spots[1] + 1))
    xy = np.zeros((0, 2))
    while len(xy) < count:
        spot = rng.uniform(20, CANVAS - 20, 2)
        if len(xy) == 0 or np.hypot(*(xy - spot).T).min() > SPACING:
            xy = np.vstack([xy, spot])

    # If pictures are slow to draw, store `rng` in the world (as `image_rng`) and draw them from a
    # copy of it when they are first needed, as `colored_dots` does: recordings need no pictures.
    y, x = np.mgrid[:CANVAS, :CANVAS]
    light = np.full((CANVAS, CANVAS), 30.0)
    for u, v in xy:
        light += 130 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 30)
    noisy = np.clip(light + rng.normal(0, 25, light.shape), 0, 255).astype(np.uint8)
    smooth = cv2.GaussianBlur(noisy, (0, 0), 2)

    return TemplatePlaceWorld(
        xy=xy[np.argsort(xy[:, 0])],
        image=np.repeat(noisy[..., None], 3, axis=2),
        image_smooth=np.repeat(smooth[..., None], 3, axis=2),
    )
