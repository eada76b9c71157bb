"""What a hyperspectral camera sees of the ground: kinds of surface with their spectra, fields, a road, a river, roofs, texture.

All is made on a grid of half the canvas' resolution (1 half px = 2 logical px).
"""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.screen import CANVAS

SIDE = CANVAS // 2
KINDS = ("soil", "clay", "grass", "wood", "sand", "asphalt", "concrete", "tiles", "water")
_FIELDS = (0, 1, 2, 3, 4)


def smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """(128, 128) float32 smooth noise of unit variance; coarse noise is made small and enlarged."""
    coarse = max(1, int(sigma / 2))
    small = -(-SIDE // coarse) + 4
    field = cv2.GaussianBlur(
        rng.standard_normal((small, small), dtype=np.float32), (0, 0), sigma / coarse
    )
    if coarse > 1:
        field = cv2.resize(field, (small * coarse, small * coarse), interpolation=cv2.INTER_CUBIC)
    return field[:SIDE, :SIDE] / field[:SIDE, :SIDE].std()


def spectra(rng: np.random.Generator, bands: int, feature: float) -> np.ndarray:
    """(kinds, bands) float32 reflectances over 0.4 to 2.5 um, after the shapes of common surfaces; clay absorbs round band `feature`."""
    x = np.linspace(0, 1, bands)

    def dip(middle: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((x - middle) / width) ** 2)

    def rise(middle: float, width: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(x - middle) / width))

    leaf = (
        0.20 + 0.26 * rise(0.1, 0.03) - 0.10 * dip(0.52, 0.05) - 0.14 * dip(0.76, 0.06) - 0.10 * x
    )
    table = np.stack(
        [
            0.24 + 0.22 * x**0.7,
            0.30 + 0.24 * x**0.6,
            leaf + 0.05,
            0.8 * leaf,
            0.38 + 0.24 * x**0.5,
            0.20 + 0.06 * x,
            0.42 + 0.06 * dip(0.5, 0.3),
            0.22 + 0.20 * rise(0.08, 0.03),
            0.19 - 0.05 * x,
        ]
    )
    table *= rng.uniform(0.9, 1.1, (len(KINDS), 1))
    table[1] *= 1 - 0.4 * np.exp(-0.5 * (np.arange(bands) - feature) ** 2)
    return table.astype(np.float32)


def surfaces(rng: np.random.Generator) -> np.ndarray:
    """(128, 128) uint8: the kind of surface at each half px; fields, then a river, a road, roofs, single trees."""
    count = int(rng.integers(9, 15))
    seeds = rng.uniform(-10, SIDE + 10, (count, 2))
    angle = rng.uniform(0, np.pi / 2)
    cos, sin = np.cos(angle), np.sin(angle)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    across, along = x * cos + y * sin, y * cos - x * sin
    p, q = seeds[:, 0] * cos + seeds[:, 1] * sin, seeds[:, 1] * cos - seeds[:, 0] * sin
    best, nearest = np.full_like(across, np.inf), np.zeros(across.shape, np.uint8)
    for k, (one, other) in enumerate(zip(p.astype(np.float32), q.astype(np.float32))):
        distance = np.maximum(abs(across - one), abs(along - other))
        nearest[distance < best] = k
        best = np.minimum(best, distance)
    ground = rng.permutation(np.resize(_FIELDS, count)).astype(np.uint8)[nearest]
    if rng.random() < 0.6:
        _path(rng, ground, KINDS.index("water"), int(rng.integers(6, 11)), 16)
    _path(rng, ground, KINDS.index("asphalt"), 3, 6)
    corner = rng.uniform(15, SIDE - 45, 2)
    for _ in range(int(rng.integers(4, 10))):
        middle, size = corner + rng.uniform(0, 30, 2), rng.uniform(5, 12, 2)
        box = cv2.boxPoints(
            (tuple(map(float, middle)), tuple(map(float, size)), float(np.degrees(angle)))
        )
        cv2.fillConvexPoly(ground, box.round().astype(np.int32), int(rng.integers(6, 8)))
    for tree in rng.integers(0, SIDE, (25, 2)).tolist():
        cv2.circle(ground, tree, int(rng.integers(2, 4)), KINDS.index("wood"), -1)
    return ground


def _path(rng: np.random.Generator, ground: np.ndarray, kind: int, width: int, bend: float) -> None:
    """A road or river from one side to the other."""
    t = np.linspace(-0.1, 1.1, 20)
    side = SIDE * rng.uniform(0.15, 0.85, 2)
    points = np.stack(
        [
            t * SIDE,
            side[0]
            + (side[1] - side[0]) * t
            + bend * np.sin(2 * np.pi * (t * rng.uniform(0.5, 1.2) + rng.random())),
        ],
        1,
    )
    if rng.random() < 0.5:
        points = points[:, ::-1]
    cv2.polylines(ground, [points.round().astype(np.int32)], False, kind, width)


def texture(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """(128, 128) float32 brightness around 1: grain everywhere, crowns in woods, rows in some fields, little on water and roads."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle, row = rng.uniform(0, np.pi), rng.uniform(4.0, 6.5)
    rows = np.sin(
        (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)))
        * np.float32(2 * np.pi / row)
    )
    grain, crowns, slow = smooth(rng, 0.8), smooth(rng, 1.7), smooth(rng, 14)
    strength = np.array([0.05, 0.05, 0.04, 0.05, 0.04, 0.02, 0.03, 0.04, 0.015], np.float32)[ground]
    wooded = np.array([0, 0, 0, 0.13, 0, 0, 0, 0, 0], np.float32)[ground]
    tilled = np.array([0.06, 0.05, 0, 0, 0, 0, 0, 0, 0], np.float32)[ground]
    return 1 + strength * grain + wooded * crowns + tilled * rows + 0.04 * slow
