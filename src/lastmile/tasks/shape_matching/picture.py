"""How specimens look: pale shells with dark pores on a black slide, lit from one side."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

HALF = CANVAS // 2
"""Width of a photograph, logical px: `before` is on the left half of the canvas, `after` on the
right."""
PATCH = 72
"""Side of the patch that a specimen is drawn in, logical px."""

OFFSETS = np.stack(np.meshgrid(*2 * [np.arange(PATCH, dtype=np.float32) - (PATCH - 1) / 2]))
"""How far each pixel of a patch is right of and below its center, (2, 72, 72) logical px."""

_PORE = 3.5  # radius of a pore, logical px
_EDGE = 1.3  # width over which edges fade, logical px
_AMBIENT = 0.45  # share of the light that does not come from the side


class Light(NamedTuple):
    """The light of a photograph.

    Attributes:
        tint: Color of a shell that faces the light.
        empty: Color of the slide.
        direction: Where the light comes from: to the right, down, and up from the slide.
    """

    tint: tuple[int, int, int]
    empty: tuple[int, int, int]
    direction: tuple[float, float, float]


BEFORE = Light((250, 232, 196), (26, 24, 22), (-0.5, -0.55, 0.67))
AFTER = Light((214, 230, 250), (19, 23, 30), (-0.3, -0.65, 0.7))


def background(rng: np.random.Generator, light: Light) -> np.ndarray:
    """Return a slide without specimens, (256, 128, 3) float32 from 0 to 255: dust and noise."""
    dust = cv2.GaussianBlur(rng.random((CANVAS, HALF), np.float32), (0, 0), 1.1)
    specks = np.clip((dust - np.quantile(dust, 0.985)) * 90, 0, 16)
    noise = rng.normal(0, 1.8, (CANVAS, HALF)).astype(np.float32)
    return np.asarray(light.empty, np.float32) + (specks + noise)[..., None]


def grain(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return the roughness of some shells, (count, 72, 72) float32 around 1."""
    fine = rng.normal(0, 1, (count, PATCH, PATCH)).astype(np.float32)
    rough = np.stack([cv2.GaussianBlur(one, (0, 0), 1.4) for one in fine])
    return np.asarray(1 + 0.22 * rough, np.float32)


def shell(
    radius: np.ndarray, angle: float, pores: np.ndarray, rough: np.ndarray, light: Light
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a specimen.

    Args:
        radius: (72, 72) distance of its outline from its center, in the direction of each pixel.
        angle: How it is turned, rad clockwise.
        pores: (k, 2) positions of its pores before it was turned, logical px from its center.
        rough: (72, 72) roughness of its shell.
        light: The light of the photograph.

    Returns:
        Its color (72, 72, 3) from 0 to 255, and its coverage (72, 72, 1) from 0 to 1, float32.
    """
    xs, ys = OFFSETS
    distance = np.hypot(xs, ys)
    coverage = np.clip((radius - distance) / _EDGE + 0.5, 0, 1)

    # A flat dome whose slope the light shows.
    height = 0.55 * radius.mean() * np.clip(1 - (distance / radius) ** 2, 0, 1) ** 0.55
    height = cv2.GaussianBlur(height, (0, 0), 1.2)
    slope_v, slope_u = np.gradient(height)
    x, y, z = light.direction
    facing = (z - slope_u * x - slope_v * y) / np.sqrt(1 + slope_u**2 + slope_v**2)
    bright = _AMBIENT + (1 - _AMBIENT) * np.clip(facing, 0, 1)

    degrees = -np.degrees(angle)  # OpenCV turns counterclockwise
    middle = (PATCH - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), degrees, 1)
    bright = bright * cv2.warpAffine(rough, turn, (PATCH, PATCH), borderMode=cv2.BORDER_REFLECT)

    cosine, sine = np.cos(angle), np.sin(angle)
    for u, v in pores:
        away = np.hypot(xs - (cosine * u - sine * v), ys - (sine * u + cosine * v))
        bright = bright * (1 - 0.88 * np.clip((_PORE - away) / _EDGE + 0.5, 0, 1))

    color = np.clip(bright, 0, 1)[..., None] * np.asarray(light.tint, np.float32)
    return color.astype(np.float32), coverage[..., None].astype(np.float32)
