"""How a solid object looks from one side, as in a scanning electron microscope."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.object_exploration.world import ObjectExplorationWorld, axes

_SIZE = 132  # side of the rendered square, px; it is enlarged to _SHOWN
_SHOWN = 216  # side of the square on the canvas, logical px
_REACH = 1.2  # half the side of the square, in units of the mean radius
_BACKGROUND = 17  # gray of the dark around the object

# Directions of the light, of its gloss and of the line of sight: right, up, towards the viewer.
_LIGHTS = np.array([[-0.50, 0.58, 0.64], [-0.28, 0.32, 0.906], [0, 0, 1]], np.float32)

# Coordinates of the pixels in the plane through the middle of the object, (132, 132) each.
_GRID = ((np.arange(_SIZE, dtype=np.float32) + 0.5) / _SIZE * 2 - 1) * _REACH
_X, _Y = np.meshgrid(_GRID, -_GRID)
_RHO2 = _X**2 + _Y**2
_FRONT = np.sqrt(np.maximum(1 - _RHO2, 0.0))  # depth of the surface of a unit sphere
_RHO = np.sqrt(_RHO2)

# What is bright: all within 33 degrees of the line of sight, out at 53, smooth between.
_SPOT = np.clip((0.80 - _RHO) / 0.26, 0, 1)
_SPOT = _SPOT * _SPOT * (3 - 2 * _SPOT)


@lru_cache(maxsize=160)
def view(world: ObjectExplorationWorld, yaw: int, pitch: int) -> np.ndarray:
    """Return the object from one side on a dark background, (256, 256, 3) uint8; read only.

    The projection is orthographic. The surface is star-shaped, that is, given by its radius in each
    direction from the middle. Its depth under each pixel is found by fixed-point iteration: the
    depth gives a direction, and the radius in that direction gives a better depth.

    Args:
        world: The world.
        yaw: Side of the object, steps of 30 degrees.
        pitch: Side of the object, steps of 30 degrees.
    """
    right, up, out = frame = axes(yaw, pitch)
    base = [_X * right[k] + _Y * up[k] for k in range(3)]
    depth = _FRONT
    for _ in range(3):
        u, v = _lookup(world, *(base[k] + depth * out[k] for k in range(3)))
        radius = cv2.remap(
            world.image_radius, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        depth = cv2.sqrt(_at_least_0(radius * radius - _RHO2))

    # Normal (3) and albedo (1) of the surface; the normal along light, gloss and line of sight.
    skin = cv2.remap(world.image_skin, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    facing = cv2.transform(skin, np.pad(_LIGHTS @ frame, ((0, 0), (0, 1))))
    lambert, shine, front = cv2.split(facing)

    edge = 1 - _at_least_0(front)  # steep parts shine, as in an electron microscope
    light = skin[..., 3] * (
        0.05 + 0.04 * front + _SPOT * (1.0 * _at_least_0(lambert) + 0.05 + 0.5 * edge)
    )
    gloss = (12 * _SPOT) * cv2.pow(_at_least_0(shine), 24)
    inside = np.clip((radius - _RHO) * 60 + 0.5, 0, 1)  # anti-aliased silhouette
    picture = cv2.merge(
        [_BACKGROUND + inside * (light * tint + gloss - _BACKGROUND) for tint in world.image_tint]
    )
    picture = cv2.convertScaleAbs(_at_least_0(picture))

    image = np.full((CANVAS, CANVAS, 3), _BACKGROUND, np.uint8)
    left = (CANVAS - _SHOWN) // 2
    image[:_SHOWN, left : left + _SHOWN] = cv2.resize(
        picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_LINEAR
    )
    cv2.add(image, world.image_grain, dst=image)
    image.flags.writeable = False
    return image


def _at_least_0(values: np.ndarray) -> np.ndarray:
    """Return max(values, 0), by OpenCV, which is faster than NumPy."""
    return cv2.max(values, 0)  # type: ignore[call-overload]  # it takes numbers too


def _lookup(
    world: ObjectExplorationWorld, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the column and row of points (x, y, z) in the maps over longitude and latitude.

    All arrays have the shape of the rendered square, (132, 132).
    """
    rows, columns = world.image_radius.shape
    longitude = cv2.phase(z, x)
    from_pole = cv2.phase(y, cv2.magnitude(x, z))  # angle from the upper pole
    u = longitude * np.float32((columns - 2 * world.margin) / (2 * np.pi)) + np.float32(
        world.margin - 0.5
    )
    v = from_pole * np.float32(rows / np.pi) - np.float32(0.5)
    return u, v
