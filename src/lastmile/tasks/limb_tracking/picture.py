"""The images of limb tracking: an animal with a coat on textured ground.

The animal is painted part by part, from far to near.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.screen.widgets import Color
from lastmile.tasks.limb_tracking.pose import Pose

_SHIFT = 4  # sub-pixel bits of the coordinates given to OpenCV's drawing functions
_PAD = 96, 16  # px by which the coat can move sideways, and up or down
_DISK = np.array(
    [(x, y) for y in range(-4, 5) for x in range(-4, 5) if x * x + y * y <= 16]
)  # (n, 2) pixels of a key point, relative to its center

# What a pixel of the animal belongs to; legs are 1 to 4, in the order of `Pose.legs`
_TAIL = 5
_NOSE = 6
_TRUNK = 7
_HEAD = 8

FrameView = Callable[[int], np.ndarray]
"""Frame number -> an image of that frame."""


class Scene(NamedTuple):
    """Colors of the ground and the backdrop, and of coats that stand out against both."""

    ground: Color
    backdrop: Color
    coats: tuple[Color, ...]


_SCENES = (
    # The coats also stand out where the far legs darken them
    Scene(
        (186, 170, 136),
        (168, 172, 150),
        ((92, 62, 42), (70, 66, 64), (110, 78, 50), (84, 74, 84)),
    ),
    Scene((172, 178, 150), (150, 168, 172), ((88, 60, 44), (62, 58, 60), (104, 70, 46))),
    Scene((184, 186, 190), (164, 170, 182), ((96, 72, 52), (72, 70, 76), (118, 80, 52))),
    Scene((58, 74, 48), (48, 60, 58), ((206, 190, 160), (190, 188, 184), (204, 168, 120))),
    Scene((74, 66, 58), (56, 58, 66), ((208, 194, 168), (194, 194, 192), (208, 176, 130))),
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A tapered capsule from p to q.

    Attributes:
        p, q: Ends in every frame, canvas coordinates, (frames, 2).
        radii: Radius at p and at q, px.
        color: Red, green, blue, and the strength of the coat's texture, each 0 to 255.
        owner: What the part belongs to.
    """

    p: np.ndarray
    q: np.ndarray
    radii: tuple[float, float]
    color: tuple[int, int, int, int]
    owner: int


class Body(NamedTuple):
    """An animal, ready to be painted.

    Attributes:
        scene: Index into _SCENES.
        parts: All parts, from far to near.
        outlines: (frames, parts, 18, 2) int32, in OpenCV's fixed-point coordinates.
    """

    scene: int
    parts: tuple[Part, ...]
    outlines: np.ndarray


def make_body(rng: np.random.Generator, pose: Pose) -> Body:
    """Draw a scene and a coat, and build the animal in all poses of a walk."""
    scene = int(rng.integers(len(_SCENES)))
    coats = _SCENES[scene].coats
    color = np.array(coats[int(rng.integers(len(coats)))], np.float64) * rng.uniform(0.94, 1.06, 3)
    parts = _parts(rng, pose, color)
    return Body(scene, parts, _capsules(parts))


def visible_shares(pose: Pose, body: Body) -> np.ndarray:
    """Measure which share of each key point is not covered by nearer parts.

    Returns:
        (frames, 6) shares of the pixels within 4 px: nose, base of the tail, and the paws in the
        order of `pose.legs`.
    """
    shares = np.empty((len(pose.nose), 6))
    key_points = (
        (pose.nose, _NOSE),
        (pose.tail[:, 0], _TAIL),
        *((leg.paw, number + 1) for number, leg in enumerate(pose.legs)),
    )
    for t in range(len(shares)):
        owners = np.zeros((CANVAS, CANVAS), np.uint8)
        for part, outline in zip(body.parts, body.outlines[t]):
            cv2.fillConvexPoly(owners, outline, part.owner, cv2.LINE_8, _SHIFT)
        for k, (path, owner) in enumerate(key_points):
            u, v = np.clip(np.round(path[t]).astype(int) + _DISK, 0, CANVAS - 1).T
            shares[t, k] = (owners[v, u] == owner).mean()
    return shares


def paint(rng: np.random.Generator, pose: Pose, body: Body) -> np.ndarray:
    """Paint the video, (frames, 256, 256, 3) uint8."""
    frames = len(pose.nose)
    background = _background(rng, _SCENES[body.scene], pose)
    coat = _coat(rng, pose)
    shadow = _shadow(pose)

    image = np.empty((frames, CANVAS, CANVAS, 3), np.uint8)
    for t in range(frames):
        cv2.multiply(background(t), shadow(t), dst=image[t], dtype=cv2.CV_8U)

        # Red, green, blue and strength of the texture: one polygon sets color and texture
        layers = cv2.merge([*cv2.split(image[t]), np.zeros((CANVAS, CANVAS), np.uint8)])
        for part, outline in zip(body.parts, body.outlines[t]):
            cv2.fillConvexPoly(layers, outline, part.color, cv2.LINE_AA, _SHIFT)

        # The texture moves with the trunk; only the box around the animal needs it
        dx, dy = np.round(pose.rump[t] - pose.rump[0]).astype(int)
        x, y = np.clip((_PAD[0] - dx, _PAD[1] - dy), 0, (2 * _PAD[0], 2 * _PAD[1]))
        low = body.outlines[t].min((0, 1)) >> _SHIFT
        high = (body.outlines[t].max((0, 1)) >> _SHIFT) + 2
        left, top = np.clip(low - 1, 0, CANVAS)
        right, bottom = np.clip(high, 0, CANVAS)
        box = layers[top:bottom, left:right]
        gain = 1 + box[..., 3] * (
            coat[y + top : y + bottom, x + left : x + right] * np.float32(1 / 255)
        )
        cv2.multiply(
            np.ascontiguousarray(box[..., :3]),
            cv2.merge([gain] * 3),
            dst=image[t, top:bottom, left:right],
            dtype=cv2.CV_8U,
        )
    return image


def _parts(rng: np.random.Generator, pose: Pose, color: np.ndarray) -> tuple[Part, ...]:
    """Build the body from far to near: far legs, tail, trunk, head, near legs.

    Far legs are darker, and near legs have an outline.

    Args:
        rng: The world's generator.
        pose: Where the body parts are.
        color: (3,) color of the coat, 0 to 255.
    """
    s = pose.scale
    girth = pose.scale * pose.girth
    sock = color * 0.6 + (110, 50, 40) if color.mean() > 150 else color * 1.5 + 45
    ahead = np.array([pose.facing * s, 0.0])  # 1 px of body length towards the nose
    parts: list[Part] = []

    def add(
        p: np.ndarray,
        q: np.ndarray,
        radii: tuple[float, float],
        color: np.ndarray,
        texture: int,
        owner: int,
    ) -> None:
        red, green, blue = (int(c) for c in np.clip(color, 0, 255))
        parts.append(Part(p, q, radii, (red, green, blue, texture), owner))

    def add_leg(number: int, near: bool) -> None:
        hip, knee, paw = pose.legs[number]
        thigh = (13.5 if number >= 2 else 11.0) * s
        ankle = paw + (0.0, -3 * s)
        toe = paw + ahead * 2.5
        heel = paw - ahead * 1.5
        # A near leg is painted twice: wider and darker for its outline, then as itself
        for rim, light in ((1.3, 0.5), (0.0, 1.0)) if near else ((0.0, 0.6),):
            owner = number + 1
            add(hip, knee, (thigh, 6.5 * s + rim), color * light, 170, owner)
            add(knee, ankle, (6.0 * s + rim, 4.0 * s + rim), color * light, 120, owner)
            add(heel, toe, (4.6 * s + rim, 4.2 * s + rim), sock * light, 60, owner)

    add_leg(3, near=False)
    add_leg(1, near=False)

    for link in range(5):
        taper = (4.2 - 0.5 * link) * s, (4.2 - 0.5 * (link + 1)) * s
        add(pose.tail[:, link], pose.tail[:, link + 1], taper, color * 0.78, 120, _TAIL)

    middle = (pose.rump + pose.shoulder) / 2 + (0.0, rng.uniform(0.0, 3.0) * s)
    back = pose.rump + (0.0, 1 * s)
    chest = pose.shoulder + (0.0, 2 * s)
    add(back, middle, (18 * s, 19 * girth), color, 255, _TRUNK)
    add(middle, chest, (19 * girth, 19.5 * s), color, 255, _TRUNK)
    # The base of the tail is a key point: paint it again, on top of the rump
    tail_base = pose.tail[:, 0]
    add(tail_base + ahead * 2, tail_base, (3.4 * s, 4.2 * s), color * 0.78, 120, _TAIL)

    # Neck, far ear, head, near ear, eye, nose
    add(chest + ahead * 4 + (0, -6 * s), pose.poll, (13.5 * s, 8.5 * s), color, 255, _HEAD)
    ear_base = pose.poll + (0.0, -3 * s)
    ear_tip = ear_base + ahead * rng.uniform(-7, -2) + (0.0, -rng.uniform(8, 13) * s)
    add(ear_base + ahead * 3, ear_tip + ahead * 5, (3.4 * s, 1.2 * s), color * 0.6, 80, _HEAD)
    muzzle = pose.nose * 0.8 + pose.poll * 0.2
    add(pose.poll, muzzle, (9.5 * s, 5.2 * s), color, 230, _HEAD)
    add(ear_base, ear_tip, (4.0 * s, 1.6 * s), color * 0.82, 120, _HEAD)
    eye = pose.poll * 0.72 + pose.nose * 0.28 + (0.0, -3 * s)
    add(eye, eye + (0.5, 0.0), (1.7 * s, 1.7 * s), color * 0.12, 0, _HEAD)
    dark = np.array([26.0, 20.0, 22.0])
    add(pose.nose - ahead * 0.5, pose.nose + ahead * 0.5, (4.4 * s, 4.2 * s), dark, 0, _NOSE)

    add_leg(2, near=True)
    add_leg(0, near=True)
    return tuple(parts)


def _capsules(parts: tuple[Part, ...]) -> np.ndarray:
    """Return the outlines of all parts, (frames, parts, 18, 2) int32 in OpenCV's fixed point."""
    p = np.stack([part.p for part in parts], axis=1)  # (frames, parts, 2)
    q = np.stack([part.q for part in parts], axis=1)
    radii = np.array([part.radii for part in parts])  # (parts, 2)
    along = q - p
    angle = np.arctan2(along[..., 1], along[..., 0])[..., None]  # (frames, parts, 1)

    # Half a circle of nine points around each end
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)
    ends = []
    for center, radius, turn in ((q, radii[:, 1], 0.0), (p, radii[:, 0], np.pi)):
        around = angle + half + turn  # (frames, parts, 9)
        ends.append(
            center[:, :, None]
            + radius[:, None, None] * np.stack([np.cos(around), np.sin(around)], axis=-1)
        )
    return np.round(np.concatenate(ends, axis=2) * (1 << _SHIFT)).astype(np.int32)


def _noise(
    rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]
) -> np.ndarray:
    """Return smooth noise with a standard deviation near 1, (height, width) float32.

    Args:
        rng: Source of the noise.
        height, width: Size, px.
        cell: Width and height of the noise's grain, px.
    """
    small = rng.standard_normal(
        (int(height / cell[1]) + 3, int(width / cell[0]) + 3), dtype=np.float32
    )
    large = cv2.resize(small, None, fx=cell[0], fy=cell[1], interpolation=cv2.INTER_CUBIC)
    return large[:height, :width]


def _background(rng: np.random.Generator, scene: Scene, pose: Pose) -> FrameView:
    """Return a function from a frame to what is behind the animal, (256, 256, 3) uint8.

    Ground and backdrop scroll with the camera, the backdrop more slowly.
    """
    travel = int(np.ceil(np.abs(pose.pan).max()))
    width = CANVAS + travel

    def mix(layers: tuple[tuple[float, tuple[float, float]], ...]) -> np.ndarray:
        """Return the sum of noises, given as (strength, cell)."""
        total = np.zeros((CANVAS, width), np.float32)
        for strength, cell in layers:
            total += strength * _noise(rng, CANVAS, width, cell)
        return total

    grain = mix(((0.06, (60, 22)), (0.05, (15, 6)), (0.05, (3, 2))))
    blur = mix(((0.08, (40, 50)), (0.06, (12, 30))))
    fading = np.interp(np.arange(CANVAS), (0, CANVAS), (0.86, 1.08)).astype(np.float32)[:, None]
    floor = np.clip(
        np.array(scene.ground, np.float32) * ((1 + grain) * fading)[..., None], 0, 255
    ).astype(np.uint8)
    wall = np.clip(np.array(scene.backdrop, np.float32) * (0.94 + blur)[..., None], 0, 255).astype(
        np.uint8
    )
    horizon = int(pose.ground[1] - rng.uniform(48, 90))

    def view(t: int) -> np.ndarray:
        floor_x = int(round(pose.pan[t])) if pose.facing > 0 else travel + int(round(pose.pan[t]))
        wall_x = int(round(0.4 * floor_x))
        image = floor[:, floor_x : floor_x + CANVAS].copy()
        image[:horizon] = wall[:horizon, wall_x : wall_x + CANVAS]
        return image

    return view


def _coat(rng: np.random.Generator, pose: Pose) -> np.ndarray:
    """Return the relative brightness of the coat, 0 for unchanged.

    The coat has hair along the body, a lighter back, a darker belly, and perhaps patches or
    stripes.

    Returns:
        (256 + 32, 256 + 192) float32: the canvas in the first frame, with _PAD around it.
    """
    width = CANVAS + 2 * _PAD[0]
    height = CANVAS + 2 * _PAD[1]
    hair = cv2.GaussianBlur(_noise(rng, height, width, (9, 1.6)), (0, 0), 0.7)
    row = (np.arange(height) - _PAD[1] - pose.rump[0, 1]) / pose.scale  # px below the rump
    light = np.interp(
        row, (-22, -8, 10, 22, 40, 70), (0.22, 0.12, -0.08, -0.2, -0.05, 0.02)
    ).astype(np.float32)
    coat = 0.11 * hair + light[:, None]  # float32; patterns are added in place

    pattern = rng.choice(["plain", "patches", "stripes"])
    if pattern == "patches":
        coat += rng.choice([-0.3, 0.22]) * np.clip(
            3 * (_noise(rng, height, width, (20, 18)) - 0.5), 0, 1
        )
    elif pattern == "stripes":
        column = np.arange(width) * 2 * np.pi / rng.uniform(13, 20) + 0.8 * _noise(
            rng, height, width, (40, 25)
        )
        coat -= 0.26 * np.clip(2 * np.sin(column) - 0.4, 0, 1)
    return coat.astype(np.float32)


def _shadow(pose: Pose) -> FrameView:
    """Return a function from a frame to the brightness under the animal's shadow.

    The brightness is (256, 256, 3) float32, 1 where there is no shadow.
    """
    middle = sum(pose.ground) / 2
    spread = abs(pose.shoulder[:, 0] - pose.rump[:, 0]) / 2 + 16 * pose.scale  # (frames,) px

    def view(t: int) -> np.ndarray:
        # Drawn at a quarter of the resolution, since it is blurred anyway
        shade = np.zeros((CANVAS // 4, CANVAS // 4), np.uint8)
        x = (pose.shoulder[t, 0] + pose.rump[t, 0]) / 2
        center = (round(x / 4), round(middle / 4))
        axes = (round(spread[t] / 4), round(9 * pose.scale / 4))
        cv2.ellipse(shade, center, axes, 0, 0, 360, 110, -1)
        for number, leg in enumerate(pose.legs):
            spot = round(leg.paw[t, 0] / 4), round((pose.ground[number % 2] + 3) / 4)
            cv2.ellipse(shade, spot, (3, 1), 0, 0, 360, 150, -1)

        blurred = cv2.GaussianBlur(shade, (0, 0), 1.3)
        large = cv2.resize(blurred, (CANVAS, CANVAS), interpolation=cv2.INTER_LINEAR)
        return cv2.merge([1 - large.astype(np.float32) * np.float32(1 / 255)] * 3)

    return view
