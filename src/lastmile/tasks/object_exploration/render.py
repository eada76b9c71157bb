"""How a solid object looks from one side, under an inspection lamp."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lastmile.screen import CANVAS

if TYPE_CHECKING:
    from lastmile.tasks.object_exploration.world import ObjectExplorationWorld

_SIZE = 132  # side of the rendered square in pixels, enlarged to _SHOWN
_SHOWN = 216  # its side on the canvas, logical px
_REACH = 1.2  # half its side in units of the mean radius
_GROUND = 17  # gray of the dark round the object
# Where the light comes from, where its gloss shows, and the line of sight: right, up, towards the viewer
_LIGHTS = np.array([[-0.50, 0.58, 0.64], [-0.28, 0.32, 0.906], [0, 0, 1]], np.float32)
_grid = ((np.arange(_SIZE, dtype=np.float32) + 0.5) / _SIZE * 2 - 1) * _REACH
_X, _Y = np.meshgrid(_grid, -_grid)
_RHO2 = _X**2 + _Y**2
_FRONT = np.sqrt(np.maximum(1 - _RHO2, 0.0))
_RHO = np.sqrt(_RHO2)
_SPOT = np.clip((0.80 - _RHO) / 0.26, 0, 1)  # the lamp's cone: full within 33 degrees, out at 53
_SPOT = _SPOT * _SPOT * (3 - 2 * _SPOT)


def axes(yaw: int, pitch: int) -> np.ndarray:
    """Right, up and towards the viewer in coordinates of the object, (3, 3); yaw and pitch in steps of 30 degrees."""
    a, b = yaw * np.pi / 6, pitch * np.pi / 6
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    out = np.array([np.cos(b) * np.sin(a), np.sin(b), np.cos(b) * np.cos(a)])
    return np.stack([right, np.cross(out, right), out]).astype(np.float32)


@lru_cache(maxsize=160)
def view(world: ObjectExplorationWorld, yaw: int, pitch: int) -> np.ndarray:
    """The object from one side on a dark ground, (256, 256, 3) uint8, read only.

    Orthographic: the depth of a star-shaped surface under each pixel is found by fixed-point iteration on radius and direction.
    """
    right, up, out = frame = axes(yaw, pitch)
    base = [_X * right[k] + _Y * up[k] for k in range(3)]
    depth = _FRONT
    for _ in range(3):
        u, v = _lookup(world, *(base[k] + depth * out[k] for k in range(3)))
        radius = cv2.remap(
            world.image_radius, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        depth = cv2.sqrt(cv2.max(radius * radius - _RHO2, 0))
    skin = cv2.remap(
        world.image_skin, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )  # normal (3), albedo (1)
    facing = cv2.transform(
        skin, np.pad(_LIGHTS @ frame, ((0, 0), (0, 1)))
    )  # normal along lamp, gloss and line of sight
    lambert, shine, front = cv2.split(facing)
    light = skin[..., 3] * (0.05 + 0.04 * front + _SPOT * (1.12 * cv2.max(lambert, 0) + 0.05))
    gloss = (34 * _SPOT) * cv2.pow(cv2.max(shine, 0), 24)
    inside = np.clip((radius - _RHO) * 60 + 0.5, 0, 1)
    picture = cv2.merge(
        [_GROUND + inside * (light * tint + gloss - _GROUND) for tint in world.image_tint]
    )
    picture = cv2.convertScaleAbs(cv2.max(picture, 0))
    image = np.full((CANVAS, CANVAS, 3), _GROUND, np.uint8)
    left = (CANVAS - _SHOWN) // 2
    image[:_SHOWN, left : left + _SHOWN] = cv2.resize(
        picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_LINEAR
    )
    cv2.add(image, world.image_grain, dst=image)
    image.flags.writeable = False
    return image


def _lookup(
    world: ObjectExplorationWorld, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, in the maps over longitude and latitude, of points (x, y, z), (size, size) each."""
    rows, columns = world.image_radius.shape
    u = cv2.phase(z, x) * np.float32((columns - 2 * world.margin) / (2 * np.pi)) + np.float32(
        world.margin - 0.5
    )
    v = cv2.phase(y, cv2.magnitude(x, z)) * np.float32(rows / np.pi) - np.float32(
        0.5
    )  # the angle from the upper pole
    return u, v
