"""The world of colored dots: a stack of slices with a chain of blurred dots."""

from __future__ import annotations

import colorsys
import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from lastmile.screen import CANVAS


@dataclass(frozen=True, slots=True)
class Difficulty:
    """slices, dots: smallest and largest number. swings: how often the depth goes up and down along the chain."""

    slices: tuple[int, int]
    dots: tuple[int, int]
    swings: tuple[float, float]


DIFFICULTIES = {
    "short": Difficulty(slices=(8, 10), dots=(8, 12), swings=(1.2, 2.0)),
    "full": Difficulty(slices=(12, 16), dots=(10, 18), swings=(1.6, 2.4)),
}

RADIUS = 5.0
"""A marker belongs to a dot within this many logical px."""
SPACING = 19.0
"""Smallest distance of two dots in the projection, logical px: more than twice the radius of a match."""
_SIGMA, _DEPTH, _HALF = 4.6, 1.0, 18


@dataclass(frozen=True, eq=False)
class ColoredDotsWorld:
    """xy: (n, 2) canvas positions in hue order. z: (n,) slices. colors: (n, 3) uint8. image_rng: random numbers for the picture."""

    slices: int
    xy: np.ndarray
    z: np.ndarray
    colors: np.ndarray
    image_rng: np.random.Generator

    @cached_property
    def image_slices(self) -> np.ndarray:
        """(slices, 256, 256, 3) uint8, drawn when first asked for."""
        return _render(copy.deepcopy(self.image_rng), self.slices, self.xy, self.z, self.colors)

    @cached_property
    def image_mip(self) -> np.ndarray:
        """(256, 256, 3) uint8, the maximum of all slices."""
        return self.image_slices.max(0)

    def near(self, u: float, v: float) -> int:
        """The dot within RADIUS of a point of the projection (there is at most one), or -1."""
        squared = (self.xy[:, 0] - u) ** 2 + (self.xy[:, 1] - v) ** 2
        nearest = int(squared.argmin())
        return nearest if squared[nearest] <= RADIUS**2 else -1

    def matched(self, markers: tuple) -> frozenset[int]:
        """Dots that have a marker within RADIUS in their own slice."""
        return _matched(self, markers)

    def following(self, markers: tuple) -> int:
        """The first dot in hue order that has no marker yet, or -1."""
        done = _matched(self, markers)
        return next((k for k in range(len(self.z)) if k not in done), -1)


@lru_cache(maxsize=512)
def _matched(world: ColoredDotsWorld, markers: tuple) -> frozenset[int]:
    if not markers:
        return frozenset()
    earlier, last = _matched(world, markers[:-1]), markers[-1]
    dot = world.near(last.u, last.v)
    return earlier | {dot} if dot >= 0 and world.z[dot] == last.z else earlier


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ColoredDotsWorld:
    slices = int(rng.integers(difficulty.slices[0], difficulty.slices[1] + 1))
    count = int(rng.integers(difficulty.dots[0], difficulty.dots[1] + 1))
    xy = _chain(rng, count)
    z = _depths(rng, count, slices, difficulty.swings)
    colors = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1.0) for hue in np.linspace(0.66, 0.0, count)])
    return ColoredDotsWorld(slices, xy, z, (colors * 255).astype(np.uint8), rng)


# Strokes of letters in a unit square, y down; the chain follows them smoothly.
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
    """A curve of a random family at parameters t in [0, 1], (len(t), 2), of any scale."""
    family = rng.choice(["spiral", "wave", "loop", "eight", "letter", "arc"])
    if family == "spiral":
        turns, inner = rng.uniform(1.3, 2.0), rng.uniform(0.2, 0.35)
        angle, radius = 2 * np.pi * turns * t, inner + (1 - inner) * t
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    elif family == "wave":
        waves, height = rng.uniform(1.0, 2.2), rng.uniform(0.35, 0.6)
        points = np.stack([2 * t - 1, height * np.sin(2 * np.pi * waves * t)], 1)
    elif family == "loop":
        ratio, phase = rng.uniform(0.7, 1.0), rng.uniform(0.85, 0.95)
        points = np.stack([np.cos(2 * np.pi * phase * t), ratio * np.sin(2 * np.pi * phase * t)], 1)
    elif family == "eight":
        angle = 2 * np.pi * 0.95 * t + rng.uniform(0, 1)
        points = np.stack([np.sin(angle), 0.6 * np.sin(2 * angle)], 1)
    elif family == "arc":
        sweep, drift = rng.uniform(0.8, 1.4) * np.pi, rng.uniform(-0.4, 0.4)
        points = np.stack([np.cos(sweep * t), np.sin(sweep * t) + drift * t], 1)
    else:
        knots = np.array(_LETTERS[str(rng.choice(sorted(_LETTERS)))])
        knots = knots + rng.normal(0, 0.03, knots.shape)
        along = np.linspace(0, 1, len(knots))
        points = PchipInterpolator(along, knots)(t)
    angle = rng.uniform(0, 2 * np.pi) if family != "letter" else rng.normal(0, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (points @ turn.T) * rng.uniform(0.8, 1.0, 2)
    return points[::-1] if rng.random() < 0.5 else points


def _chain(rng: np.random.Generator, count: int) -> np.ndarray:
    """Positions along a curve that fills most of the canvas, evenly spaced with jitter, none closer than SPACING."""
    fine = np.linspace(0, 1, 400)
    while True:
        curve = _curve(rng, fine)
        low, high = curve.min(0), curve.max(0)
        extent = (high - low).max()
        room = CANVAS - 2 * 20
        scale = rng.uniform(0.8, 1.0) * room / extent
        size = (high - low) * scale
        curve = (curve - low) * scale + 20 + rng.uniform(0, 1, 2) * (room - size)
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
        stops = (np.arange(count) + 0.5 + rng.uniform(-0.12, 0.12, count)) / count * length[-1]
        xy = np.stack(
            [np.interp(stops, length, curve[:, 0]), np.interp(stops, length, curve[:, 1])], 1
        )
        gaps = np.hypot(xy[:, None, 0] - xy[None, :, 0], xy[:, None, 1] - xy[None, :, 1])
        if (gaps + np.eye(count) * CANVAS).min() >= SPACING:
            return xy


def _depths(
    rng: np.random.Generator, count: int, slices: int, swings: tuple[float, float]
) -> np.ndarray:
    """Slices of the dots: a smooth wave through the whole stack, with some noise."""
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
    """The slices: Gaussian spots that dim and widen out of focus, an uneven dark background, camera noise."""
    ground = (
        16
        + 5
        * np.sin(np.linspace(0, np.pi, CANVAS))[None, :]
        * np.sin(np.linspace(0, np.pi, CANVAS))[:, None]
    )
    ground = ground.astype(np.float32)
    noise = 6 * rng.standard_normal((CANVAS + 32, CANVAS + 32), dtype=np.float32)
    image = np.empty((slices, CANVAS, CANVAS, 3), np.uint8)
    for level in range(slices):  # each slice has another part of the noise
        x, y = level * 13 % 32, level * level * 7 % 32
        gray = cv2.add(noise[y : y + CANVAS, x : x + CANVAS], ground, dtype=cv2.CV_8U)
        cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB, dst=image[level])
    brightness = rng.uniform(0.8, 1.0, len(z))
    for (x, y), depth, color, bright in zip(xy, z, colors, brightness):
        cx, cy = int(round(x)), int(round(y))
        x0, x1, y0, y1 = (
            max(cx - _HALF, 0),
            min(cx + _HALF + 1, CANVAS),
            max(cy - _HALF, 0),
            min(cy + _HALF + 1, CANVAS),
        )
        down, across = ((np.arange(y0, y1) - y) ** 2)[:, None], ((np.arange(x0, x1) - x) ** 2)[None]
        for level in range(max(depth - 3, 0), min(depth + 4, slices)):
            off = (level - depth) / _DEPTH
            wide = _SIGMA**2 * (1 + 0.35 * off * off)
            light = 225 / 255 * bright * np.exp(-0.5 * off * off)
            spot = (light * np.exp(-down / (2 * wide)) * np.exp(-across / (2 * wide))).astype(
                np.float32
            )
            part = image[level, y0:y1, x0:x1]
            cv2.add(
                part,
                cv2.merge([spot * shade for shade in color.tolist()]),
                dst=part,
                dtype=cv2.CV_8U,
            )
    return image
