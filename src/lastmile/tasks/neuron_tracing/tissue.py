"""The tissue of neuron tracing: drifting, densely packed cells, seen through a deformation.

Everything is made at half the resolution of the canvas (1 half px = 2 logical px) on a padded grid,
of which the deformation shows the middle.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

SIDE = CANVAS // 2
"""Side of a slice, half px."""
PAD = 10
"""Margin around the visible part, half px, so that cells do not begin at its border."""
GRID = SIDE + 2 * PAD
"""Side of the padded grid, half px."""

_SPACING = 17.0  # mean distance between neighboring cells, half px


class Tissue(NamedTuple):
    """The geometry behind the images.

    Attributes:
        depth: (slices, 128, 128) distance to the nearest membrane, half px.
        seeds: (slices, cells, 7, 2) midlines of the cells on the padded grid, half px.
        maps: (slices, 128, 128, 2) float32, the elastic deformation: the point (x, y) of the padded
            grid that each half px shows.
        drift: (slices, 2) shift of the whole tissue, half px.
    """

    depth: np.ndarray
    seeds: np.ndarray
    maps: np.ndarray
    drift: np.ndarray


def smooth_noise(
    rng: np.random.Generator, sigma: float, channels: int, side: int = SIDE
) -> np.ndarray:
    """Return Gaussian noise, smoothed.

    Args:
        rng: The source of randomness.
        sigma: Standard deviation of the smoothing, px.
        channels: Number of independent fields.
        side: Side of the fields, px.

    Returns:
        (side, side, channels), of unit standard deviation.
    """
    # Coarse noise is made small and enlarged, which is faster.
    coarse = max(1, int(sigma / 2))
    small = -(-side // coarse) + 4
    field = cv2.GaussianBlur(rng.standard_normal((small, small, channels)), (0, 0), sigma / coarse)
    if coarse > 1:
        field = cv2.resize(field, (small * coarse, small * coarse), interpolation=cv2.INTER_CUBIC)
    field = field.reshape(*field.shape[:2], channels)[:side, :side]
    return field / field.std()


def warp(image: np.ndarray, maps: np.ndarray, interpolation: int) -> np.ndarray:
    """Return an image on the padded grid as the deformation shows it.

    Args:
        image: (148, 148) of any type.
        maps: (128, 128, 2), the deformation of a slice as in `Tissue.maps`.
        interpolation: A constant of OpenCV.

    Returns:
        (128, 128) of the same type.
    """
    # `None` for a second map is what OpenCV documents, but its types do not allow it.
    return cv2.remap(image, maps, None, interpolation)  # type: ignore[call-overload]


def _waves(
    rng: np.random.Generator,
    slices: int,
    count: int,
    size: tuple[float, float],
    period: tuple[float, float],
) -> np.ndarray:
    """Draw smooth movements: sine waves along z.

    Args:
        rng: The source of randomness.
        slices: Number of slices.
        count: Number of movements.
        size: Smallest and largest amplitude, half px.
        period: Shortest and longest period, slices.

    Returns:
        (slices, count, 2) displacements, half px.
    """
    z = np.arange(slices)[:, None, None]
    return rng.uniform(*size, (count, 2)) * np.sin(
        2 * np.pi * (z / rng.uniform(*period, (count, 2)) + rng.uniform(0, 1, (count, 2)))
    )


def random_drift(rng: np.random.Generator, slices: int) -> np.ndarray:
    """Draw the shift of the whole tissue, (slices, 2), half px.

    It is the sum of slow and faster drift, imperfect alignment of the slices, and rare jumps.
    """
    drift = (
        _waves(rng, slices, 1, (6, 12), (26, 60))[:, 0]
        + _waves(rng, slices, 1, (1.5, 3.5), (9, 16))[:, 0]
    )
    jumps = rng.normal(0, 2.0, (slices, 2)) * (rng.random((slices, 1)) < 0.06)
    return drift + rng.normal(0, 0.5, (slices, 2)) + np.cumsum(jumps, 0)


def random_midlines(rng: np.random.Generator, slices: int) -> np.ndarray:
    """Draw the midlines of the cells, about a third of them long.

    Returns:
        (slices, cells, 7, 2) points (x, y) on the padded grid, half px.
    """
    # Cells on a jittered hexagonal grid, with gaps that their neighbors will fill.
    side = np.arange(-34, GRID + 34, _SPACING)
    x, y = np.meshgrid(side, side)
    x[1::2] += _SPACING / 2
    middle = np.stack([x.ravel(), y.ravel()], 1)
    middle += rng.uniform(-0.36, 0.36, middle.shape) * _SPACING
    middle = middle[rng.random(len(middle)) > 0.12]  # (cells, 2)
    count = len(middle)

    # Each midline is a parabola that turns slowly with z.
    length = np.where(rng.random(count) < 0.35, rng.uniform(9, 22, count), rng.uniform(0, 5, count))
    z = np.arange(slices)[:, None]
    angle = rng.uniform(0, np.pi, count) + rng.uniform(-0.03, 0.03, count) * z  # (slices, cells)
    along = (
        np.linspace(-0.5, 0.5, 7) * length[:, None] * np.ones((slices, 1, 1))
    )  # (slices, cells, 7)
    bend = rng.uniform(-0.03, 0.03, count)[:, None] * along**2
    cos = np.cos(angle)[..., None]
    sin = np.sin(angle)[..., None]
    points = np.stack([along * cos - bend * sin, along * sin + bend * cos], -1)
    return points + (middle + _waves(rng, slices, count, (1.5, 4.5), (18, 44)))[:, :, None]


def random_deformation(rng: np.random.Generator, slices: int) -> np.ndarray:
    """Draw an elastic deformation that changes slowly with z.

    Returns:
        (slices, 128, 128, 2) float32, the point (x, y) of the padded grid that each half px shows.
    """
    # Two fixed fields, mixed by an angle that turns with z. All is rounded to binary fractions, so
    # that the sums below are exact and the same on every machine.
    first, second = (
        np.float32(
            np.round(64 * (2.6 * smooth_noise(rng, 11, 2) + 0.9 * smooth_noise(rng, 3.5, 2))) / 64
        )
        for _ in range(2)
    )
    turn = 2 * np.pi * (np.arange(slices) / rng.uniform(30, 45) + rng.random())
    cosines = (np.round(256 * np.cos(turn)) / 256).tolist()
    sines = (np.round(256 * np.sin(turn)) / 256).tolist()

    base = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).astype(np.float32) + PAD
    maps = np.empty((slices, *base.shape), np.float32)
    for z, (cos, sin) in enumerate(zip(cosines, sines)):
        np.add(base, cos * first + sin * second, out=maps[z])
    return maps


def assign_labels(seeds: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Assign each half px to the cell with the nearest midline, seen through the deformation.

    Args:
        seeds: (slices, cells, 7, 2) midlines.
        maps: (slices, 128, 128, 2) deformation.

    Returns:
        (slices, 128, 128) uint8.
    """
    slices = len(seeds)
    x, y = np.floor(seeds + 0.5).astype(np.int64).reshape(slices, -1, 2).transpose(2, 0, 1)
    owner = np.full((slices, GRID, GRID), 255, np.uint8)  # the cell of each midline pixel
    level, k = np.nonzero((x >= 0) & (x < GRID) & (y >= 0) & (y < GRID))
    owner[level, y[level, k], x[level, k]] = k // seeds.shape[2]

    labels = np.empty((slices, SIDE, SIDE), np.uint8)
    for z, plane in enumerate(owner):
        # OpenCV numbers the midline pixels itself; `table` translates its numbers into cells.
        free = plane == 255
        nearest = cv2.distanceTransformWithLabels(
            free.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )[1]
        table = np.zeros(int(nearest.max()) + 1, np.uint8)
        table[nearest[~free]] = plane[~free]
        labels[z] = warp(table[nearest], maps[z], cv2.INTER_NEAREST)
    return labels
