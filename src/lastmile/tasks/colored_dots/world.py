"""The world of colored dots: a stack of slices with a chain of blurred dots."""

from __future__ import annotations

import colorsys
import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        slices: Smallest and largest number of slices.
        dots: Smallest and largest number of dots.
        swings: Least and most periods of the depth along the chain.
    """

    slices: tuple[int, int]
    dots: tuple[int, int]
    swings: tuple[float, float]


DIFFICULTIES = {
    "short": Difficulty(slices=(8, 10), dots=(8, 12), swings=(1.2, 2.0)),
    "full": Difficulty(slices=(12, 16), dots=(10, 18), swings=(1.6, 2.4)),
}

RADIUS = 5.0
"""A marker belongs to a dot within this distance, logical px."""
SPACING = 19.0
"""Smallest distance between two dots in the projection, logical px. It exceeds two match radii, so
that a marker belongs to one dot at most."""

_BORDER = 20  # distance of the chain from the border of the canvas, logical px
_SIGMA = 4.6  # standard deviation of a dot in focus, logical px
_DEPTH = 1.0  # standard deviation of a dot's brightness along z, slices
_HALF = 18  # half the width of the patch in which a dot is drawn, logical px


class Marker(NamedTuple):
    """An annotation: a dot is at (u, v) in slice z.

    Attributes:
        u: Canvas coordinate, logical px to the right.
        v: Canvas coordinate, logical px down.
        z: The slice.
    """

    u: float
    v: float
    z: int


@dataclass(frozen=True, eq=False)
class ColoredDotsWorld:
    """A stack and its n dots, in the order of their hue.

    Attributes:
        slices: Number of slices.
        xy: (n, 2) centers of the dots, canvas coordinates.
        z: (n,) slices of the dots.
        colors: (n, 3) uint8, RGB.
        image_rng: Source of the randomness of the images.
    """

    slices: int
    xy: np.ndarray
    z: np.ndarray
    colors: np.ndarray
    image_rng: np.random.Generator

    @cached_property
    def image_slices(self) -> np.ndarray:
        """The slices, (slices, 256, 256, 3) uint8, drawn at the first access."""
        # A copy of the generator, so that the images do not depend on when they are drawn.
        return _render(copy.deepcopy(self.image_rng), self.slices, self.xy, self.z, self.colors)

    @cached_property
    def image_mip(self) -> np.ndarray:
        """The maximum intensity projection of all slices, (256, 256, 3) uint8."""
        return self.image_slices.max(0)

    def near(self, u: float, v: float) -> int:
        """Return the dot within `RADIUS` of a point of the projection, or -1."""
        squared = (self.xy[:, 0] - u) ** 2 + (self.xy[:, 1] - v) ** 2
        nearest = int(squared.argmin())
        return nearest if squared[nearest] <= RADIUS**2 else -1

    def matched(self, markers: tuple[Marker, ...]) -> frozenset[int]:
        """Return the dots that have a marker within `RADIUS` in their own slice."""
        return _matched(self, markers)

    def following(self, markers: tuple[Marker, ...]) -> int:
        """Return the first dot, in the order of their hue, that has no marker; -1 if all have."""
        matched = _matched(self, markers)
        return next((k for k in range(len(self.z)) if k not in matched), -1)


# Cached and recursive: each new marker costs one look-up, not a pass over all markers.
@lru_cache(maxsize=512)
def _matched(world: ColoredDotsWorld, markers: tuple[Marker, ...]) -> frozenset[int]:
    if not markers:
        return frozenset()
    earlier = _matched(world, markers[:-1])
    last = markers[-1]
    dot = world.near(last.u, last.v)
    return earlier | {dot} if dot >= 0 and world.z[dot] == last.z else earlier


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ColoredDotsWorld:
    """Make a stack with a chain of dots. See `Task.make_world`."""
    slices = int(rng.integers(difficulty.slices[0], difficulty.slices[1] + 1))
    count = int(rng.integers(difficulty.dots[0], difficulty.dots[1] + 1))
    xy = _chain(rng, count)
    z = _depths(rng, count, slices, difficulty.swings)
    colors = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1.0) for hue in np.linspace(0.66, 0.0, count)])
    return ColoredDotsWorld(slices, xy, z, (colors * 255).astype(np.uint8), rng)


# Strokes of letters in a unit square, y down; the chain interpolates them smoothly.
_LETTERS = {
    "C": [(0.95, 0.2), (0.6, 0), (0.15, 0.15), (0, 0.5), (0.15, 0.85), (0.6, 1), (0.95, 0.8)],
    "J": [(0.8, 0), (0.8, 0.4), (0.8, 0.75), (0.5, 1), (0.15, 0.9), (0, 0.65)],
    "M": [(0, 1), (0.1, 0.5), (0.15, 0), (0.5, 0.7), (0.85, 0), (0.9, 0.5), (1, 1)],
    "N": [(0, 1), (0, 0.5), (0, 0), (0.5, 0.5), (1, 1), (1, 0.5), (1, 0)],
    "S": [(0.95, 0.12), (0.5, 0), (0.08, 0.2), (0.45, 0.48), (0.92, 0.75), (0.5, 1), (0.02, 0.88)],
    "U": [(0, 0), (0, 0.4), (0.08, 0.8), (0.5, 1), (0.92, 0.8), (1, 0.4), (1, 0)],
    "W": [(0, 0), (0.12, 0.5), (0.25, 1), (0.5, 0.3), (0.75, 1), (0.88, 0.5), (1, 0)],
    "Z": [(0, 0), (0.5, 0.02), (1, 0), (0.5, 0.5), (0, 1), (0.5, 0.98), (1, 1)],
}


def _curve(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Draw a curve of a random family.

    Args:
        rng: The source of randomness.
        t: (n,) parameters along the curve, from 0 to 1.

    Returns:
        (n, 2) points, in arbitrary units.
    """
    from scipy.interpolate import PchipInterpolator  # here, since it is slow to import

    family = rng.choice(["spiral", "wave", "loop", "eight", "letter", "arc"])

    if family == "spiral":
        turns = rng.uniform(1.3, 2.0)
        inner = rng.uniform(0.2, 0.35)
        angle = 2 * np.pi * turns * t
        radius = inner + (1 - inner) * t
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    elif family == "wave":
        waves = rng.uniform(1.0, 2.2)
        height = rng.uniform(0.35, 0.6)
        points = np.stack([2 * t - 1, height * np.sin(2 * np.pi * waves * t)], 1)
    elif family == "loop":
        ratio = rng.uniform(0.7, 1.0)
        phase = rng.uniform(0.85, 0.95)
        points = np.stack([np.cos(2 * np.pi * phase * t), ratio * np.sin(2 * np.pi * phase * t)], 1)
    elif family == "eight":
        angle = 2 * np.pi * 0.95 * t + rng.uniform(0, 1)
        points = np.stack([np.sin(angle), 0.6 * np.sin(2 * angle)], 1)
    elif family == "arc":
        sweep = rng.uniform(0.8, 1.4) * np.pi
        drift = rng.uniform(-0.4, 0.4)
        points = np.stack([np.cos(sweep * t), np.sin(sweep * t) + drift * t], 1)
    else:
        knots = np.array(_LETTERS[str(rng.choice(sorted(_LETTERS)))])
        knots = knots + rng.normal(0, 0.03, knots.shape)
        along = np.linspace(0, 1, len(knots))
        points = PchipInterpolator(along, knots)(t)

    # Any curve in any direction, but letters upright; stretched a little; from either end.
    tilt = rng.uniform(0, 2 * np.pi) if family != "letter" else rng.normal(0, 0.2)
    rotation = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    points = (points @ rotation.T) * rng.uniform(0.8, 1.0, 2)
    return points[::-1] if rng.random() < 0.5 else points


def _chain(rng: np.random.Generator, count: int) -> np.ndarray:
    """Place dots along a curve that fills most of the canvas, evenly spaced with jitter.

    Returns:
        (count, 2) canvas coordinates, no two closer than `SPACING`.
    """
    fine = np.linspace(0, 1, 400)
    while True:
        # Fit the curve into the canvas, at a random place and almost as large as possible.
        curve = _curve(rng, fine)
        low = curve.min(0)
        high = curve.max(0)
        extent = (high - low).max()
        room = CANVAS - 2 * _BORDER
        scale = rng.uniform(0.8, 1.0) * room / extent
        size = (high - low) * scale
        curve = (curve - low) * scale + _BORDER + rng.uniform(0, 1, 2) * (room - size)

        # Evenly spaced along the arc length, not along the parameter of the curve.
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
        stops = (np.arange(count) + 0.5 + rng.uniform(-0.12, 0.12, count)) / count * length[-1]
        xy = np.stack(
            [np.interp(stops, length, curve[:, 0]), np.interp(stops, length, curve[:, 1])], 1
        )

        # A curve that passes close to itself is rejected.
        gaps = np.hypot(xy[:, None, 0] - xy[None, :, 0], xy[:, None, 1] - xy[None, :, 1])
        if (gaps + np.eye(count) * CANVAS).min() >= SPACING:
            return xy


def _depths(
    rng: np.random.Generator, count: int, slices: int, swings: tuple[float, float]
) -> np.ndarray:
    """Draw the slices of the dots, (count,): a smooth wave through the whole stack, with noise."""
    t = np.arange(count) / count
    wave = np.sin(2 * np.pi * (rng.uniform(*swings) * t + rng.uniform())) + 0.25 * np.sin(
        2 * np.pi * (2.7 * t + rng.uniform())
    )
    wave = (wave - wave.min()) / (wave.max() - wave.min())
    return np.clip(np.round(wave * (slices - 1) + rng.normal(0, 0.3, count)), 0, slices - 1).astype(
        np.int64
    )


def _render(
    rng: np.random.Generator, slices: int, xy: np.ndarray, z: np.ndarray, colors: np.ndarray
) -> np.ndarray:
    """Draw the slices, (slices, 256, 256, 3) uint8.

    Dots are Gaussian spots that dim and widen out of focus. The background is dark and uneven, with
    the noise of a camera.
    """
    ground = (
        16
        + 5
        * np.sin(np.linspace(0, np.pi, CANVAS))[None, :]
        * np.sin(np.linspace(0, np.pi, CANVAS))[:, None]
    )
    ground = ground.astype(np.float32)

    # One noise field for all slices, of which each shows another part: drawing noise is slow.
    noise = 6 * rng.standard_normal((CANVAS + 32, CANVAS + 32), dtype=np.float32)
    image = np.empty((slices, CANVAS, CANVAS, 3), np.uint8)
    for level in range(slices):
        x = level * 13 % 32
        y = level * level * 7 % 32
        gray = cv2.add(noise[y : y + CANVAS, x : x + CANVAS], ground, dtype=cv2.CV_8U)
        cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB, dst=image[level])

    brightness = rng.uniform(0.8, 1.0, len(z))
    for (x, y), depth, color, bright in zip(xy, z, colors, brightness):
        cx = int(round(x))
        cy = int(round(y))
        x0 = max(cx - _HALF, 0)
        x1 = min(cx + _HALF + 1, CANVAS)
        y0 = max(cy - _HALF, 0)
        y1 = min(cy + _HALF + 1, CANVAS)
        down = ((np.arange(y0, y1) - y) ** 2)[:, None]  # squared distances, (rows, 1)
        across = ((np.arange(x0, x1) - x) ** 2)[None]  # (1, columns)

        for level in range(max(depth - 3, 0), min(depth + 4, slices)):
            off = (level - depth) / _DEPTH
            wide = _SIGMA**2 * (1 + 0.35 * off * off)  # variance, grows with defocus
            light = 225 / 255 * bright * np.exp(-0.5 * off * off)
            spot = (light * np.exp(-down / (2 * wide)) * np.exp(-across / (2 * wide))).astype(
                np.float32
            )
            patch = image[level, y0:y1, x0:x1]
            # Light adds up; OpenCV saturates at 255 instead of wrapping around.
            cv2.add(
                patch,
                cv2.merge([spot * shade for shade in color.tolist()]),
                dst=patch,
                dtype=cv2.CV_8U,
            )
    return image
