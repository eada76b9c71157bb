"""What an imaging spectrometer sees of the ground: surfaces with their spectra, and their texture.

Everything is made on a grid of half the resolution of the canvas (1 half px = 2 logical px).
"""

from __future__ import annotations

import cv2
import numpy as np

from lastmile.screen import CANVAS

SIDE = CANVAS // 2
"""Side of the grid, half px."""
KINDS = ("soil", "clay", "grass", "wood", "sand", "asphalt", "concrete", "tiles", "water")
"""Kinds of surface; a surface is stored as its index here."""

_FIELDS = (0, 1, 2, 3, 4)  # kinds of surface that fields have


def smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Return smooth noise of unit variance, (128, 128) float32.

    Args:
        rng: Random numbers.
        sigma: Standard deviation of the blur, half px.
    """
    # Coarse noise is blurred at low resolution and enlarged, which is much faster.
    coarse = max(1, int(sigma / 2))
    small = -(-SIDE // coarse) + 4
    noise = rng.standard_normal((small, small), dtype=np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), sigma / coarse)
    if coarse > 1:
        field = cv2.resize(field, (small * coarse, small * coarse), interpolation=cv2.INTER_CUBIC)
    return field[:SIDE, :SIDE] / field[:SIDE, :SIDE].std()


def spectra(rng: np.random.Generator, bands: int, feature: float) -> np.ndarray:
    """Return the reflectances of all surfaces over 0.4 to 2.5 um, (kinds, bands) float32.

    The curves imitate the shapes of the spectra of common surfaces.

    Args:
        rng: Random numbers.
        bands: Number of bands.
        feature: The band at which clay has an absorption of its own.
    """
    x = np.linspace(0, 1, bands)

    def dip(middle: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((x - middle) / width) ** 2)

    def rise(middle: float, width: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(x - middle) / width))

    # Vegetation: the red edge, then the two absorptions of water in leaves.
    leaf = (
        0.20 + 0.26 * rise(0.1, 0.03) - 0.10 * dip(0.52, 0.05) - 0.14 * dip(0.76, 0.06) - 0.10 * x
    )
    table = np.stack(  # in the order of KINDS
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
    """Return the kind of surface at each half px, (128, 128) uint8.

    Fields, then a river, a road, roofs and single trees over them.
    """
    count = int(rng.integers(9, 15))
    seeds = rng.uniform(-10, SIDE + 10, (count, 2))
    angle = rng.uniform(0, np.pi / 2)

    # Fields: each half px belongs to the nearest seed in the maximum norm of turned axes.
    cos = np.cos(angle)
    sin = np.sin(angle)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    across = x * cos + y * sin
    along = y * cos - x * sin
    p = (seeds[:, 0] * cos + seeds[:, 1] * sin).astype(np.float32)
    q = (seeds[:, 1] * cos - seeds[:, 0] * sin).astype(np.float32)
    best = np.full_like(across, np.inf)
    nearest = np.zeros(across.shape, np.uint8)
    for k in range(count):
        distance = np.maximum(abs(across - p[k]), abs(along - q[k]))
        nearest[distance < best] = k
        best = np.minimum(best, distance)
    ground = rng.permutation(np.resize(_FIELDS, count)).astype(np.uint8)[nearest]

    if rng.random() < 0.6:
        _path(rng, ground, KINDS.index("water"), int(rng.integers(6, 11)), 16)
    _path(rng, ground, KINDS.index("asphalt"), 3, 6)

    # A settlement: roofs in the direction of the fields.
    corner = rng.uniform(15, SIDE - 45, 2)
    for _ in range(int(rng.integers(4, 10))):
        mid_x, mid_y = (corner + rng.uniform(0, 30, 2)).tolist()
        width, height = rng.uniform(5, 12, 2).tolist()
        box = cv2.boxPoints(((mid_x, mid_y), (width, height), float(np.degrees(angle))))
        cv2.fillConvexPoly(ground, box.round().astype(np.int32), int(rng.integers(6, 8)))

    for tree in rng.integers(0, SIDE, (25, 2)).tolist():
        cv2.circle(ground, tree, int(rng.integers(2, 4)), KINDS.index("wood"), -1)
    return ground


def _path(rng: np.random.Generator, ground: np.ndarray, kind: int, width: int, bend: float) -> None:
    """Draw a road or a river from one side to the other, in place."""
    t = np.linspace(-0.1, 1.1, 20)
    start, end = SIDE * rng.uniform(0.15, 0.85, 2)
    wave = np.sin(2 * np.pi * (t * rng.uniform(0.5, 1.2) + rng.random()))
    points = np.stack([t * SIDE, start + (end - start) * t + bend * wave], 1)
    if rng.random() < 0.5:
        points = points[:, ::-1]
    cv2.polylines(ground, [points.round().astype(np.int32)], False, kind, width)


def texture(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """Return the brightness of the ground around 1, (128, 128) float32.

    There is grain everywhere (little on water and roads), crowns in woods, and rows in some fields.

    Args:
        rng: Random numbers.
        ground: (128, 128) uint8 kinds of surface.
    """
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    spacing = rng.uniform(4.0, 6.5)
    rows = np.sin(
        (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)))
        * np.float32(2 * np.pi / spacing)
    )
    grain = smooth(rng, 0.8)
    crowns = smooth(rng, 1.7)
    slow = smooth(rng, 14)

    # Strength of each texture on each surface, in the order of KINDS.
    strength = np.array([0.05, 0.05, 0.04, 0.05, 0.04, 0.02, 0.03, 0.04, 0.015], np.float32)[ground]
    wooded = np.array([0, 0, 0, 0.13, 0, 0, 0, 0, 0], np.float32)[ground]
    tilled = np.array([0.06, 0.05, 0, 0, 0, 0, 0, 0, 0], np.float32)[ground]
    return 1 + strength * grain + wooded * crowns + tilled * rows + 0.04 * slow
