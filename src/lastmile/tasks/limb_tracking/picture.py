"""The picture of limb tracking: an animal with a coat on textured ground, painted part by part from far to near."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

_SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions
_PAD = 96, 16  # px by which the coat may move to either side, up and down
_DISK = np.array(
    [(x, y) for y in range(-4, 5) for x in range(-4, 5) if x * x + y * y <= 16]
)  # pixels of a key point

_SCENES = (
    # Ground, backdrop and coats that stand out against both, far legs included.
    ((186, 170, 136), (168, 172, 150), ((92, 62, 42), (70, 66, 64), (110, 78, 50), (84, 74, 84))),
    ((172, 178, 150), (150, 168, 172), ((88, 60, 44), (62, 58, 60), (104, 70, 46))),
    ((184, 186, 190), (164, 170, 182), ((96, 72, 52), (72, 70, 76), (118, 80, 52))),
    ((58, 74, 48), (48, 60, 58), ((206, 190, 160), (190, 188, 184), (204, 168, 120))),
    ((74, 66, 58), (56, 58, 66), ((208, 194, 168), (194, 194, 192), (208, 176, 130))),
)


class Body(NamedTuple):
    """An animal as it is painted. scene: index into the scenes. parts: from far to near. outlines: (frames, parts, 18, 2) int32, in OpenCV's fixed
    point."""

    scene: int
    parts: tuple[Part, ...]
    outlines: np.ndarray


def make_body(rng: np.random.Generator, pose) -> Body:
    """A body in the colors of a scene, in all poses of a walk."""
    scene = int(rng.integers(len(_SCENES)))
    coats = _SCENES[scene][2]
    color = np.array(coats[int(rng.integers(len(coats)))], np.float64) * rng.uniform(0.94, 1.06, 3)
    parts = _parts(rng, pose, color)
    return Body(scene, parts, _capsules(parts))


def shares(pose, body: Body) -> np.ndarray:
    """The share of each key point that is not covered by a nearer part, (frames, 6): nose, tail base, and the paws in the order of
    `pose.legs`."""
    found = np.empty((len(pose.nose), 6))
    spots = (
        (pose.nose, 6),
        (pose.tail[:, 0], 5),
        *((leg.paw, k + 1) for k, leg in enumerate(pose.legs)),
    )
    for t in range(len(found)):
        owners = np.zeros((CANVAS, CANVAS), np.uint8)
        for part, outline in zip(body.parts, body.outlines[t]):
            cv2.fillConvexPoly(owners, outline, part.owner, cv2.LINE_8, _SHIFT)
        for k, (spot, owner) in enumerate(spots):
            u, v = np.clip(np.round(spot[t]).astype(int) + _DISK, 0, CANVAS - 1).T
            found[t, k] = (owners[v, u] == owner).mean()
    return found


def paint(rng: np.random.Generator, pose, body: Body) -> np.ndarray:
    """Frames, (frames, 256, 256, 3) uint8."""
    frames = len(pose.nose)
    ground, backdrop, _ = _SCENES[body.scene]
    scenery = _scenery(rng, ground, backdrop, pose)
    coat = _coat(rng, pose)
    shadows = _shadows(pose)
    image = np.empty((frames, CANVAS, CANVAS, 3), np.uint8)
    origin = pose.rump[0]
    for t in range(frames):
        cv2.multiply(scenery(t), shadows(t), dst=image[t], dtype=cv2.CV_8U)
        layers = cv2.merge([*cv2.split(image[t]), np.zeros((CANVAS, CANVAS), np.uint8)])
        for part, outline in zip(body.parts, body.outlines[t]):
            cv2.fillConvexPoly(layers, outline, part.color, cv2.LINE_AA, _SHIFT)
        dx, dy = np.round(pose.rump[t] - origin).astype(int)
        x, y = np.clip((_PAD[0] - dx, _PAD[1] - dy), 0, (2 * _PAD[0], 2 * _PAD[1]))
        low, high = (
            body.outlines[t].min((0, 1)) >> _SHIFT,
            (body.outlines[t].max((0, 1)) >> _SHIFT) + 2,
        )
        (left, up), (right, down) = np.clip(low - 1, 0, CANVAS), np.clip(high, 0, CANVAS)
        inner = layers[up:down, left:right]
        gain = 1 + inner[..., 3] * (
            coat[y + up : y + down, x + left : x + right] * np.float32(1 / 255)
        )
        cv2.multiply(
            np.ascontiguousarray(inner[..., :3]),
            cv2.merge([gain] * 3),
            dst=image[t, up:down, left:right],
            dtype=cv2.CV_8U,
        )
    return image


class Part:
    """A tapered capsule: from p to q, (frames, 2) each, with radii there; color as (r, g, b, strength of the coat's texture, 0 to 255).
    owner: number of the limb that it belongs to."""

    __slots__ = ("color", "owner", "p", "q", "radii")

    def __init__(
        self,
        p: np.ndarray,
        q: np.ndarray,
        radii: tuple[float, float],
        color: np.ndarray,
        strength: int,
        owner: int,
    ) -> None:
        self.p, self.q, self.radii, self.owner = p, q, radii, owner
        self.color = (*(int(c) for c in np.clip(color, 0, 255)), strength)


def _parts(rng: np.random.Generator, pose, color: np.ndarray) -> tuple[Part, ...]:
    """All parts of the body from far to near: far legs, tail, trunk, head, near legs. Far legs are darker, near legs have an outline."""
    s, fat = pose.scale, pose.scale * pose.girth
    sock = color * 0.6 + (110, 50, 40) if color.mean() > 150 else color * 1.5 + 45
    ahead = np.array([pose.facing * s, 0.0])
    parts: list[Part] = []

    def leg(number: int, near: bool) -> None:
        hip, knee, paw = pose.legs[number]
        thigh = (13.5 if number >= 2 else 11.0) * s
        ankle, toe, heel = paw + (0.0, -3 * s), paw + ahead * 2.5, paw - ahead * 1.5
        for rim, light in ((1.3, 0.5), (0.0, 1.0)) if near else ((0.0, 0.6),):
            parts.append(Part(hip, knee, (thigh, 6.5 * s + rim), color * light, 170, number + 1))
            parts.append(
                Part(knee, ankle, (6.0 * s + rim, 4.0 * s + rim), color * light, 120, number + 1)
            )
            parts.append(
                Part(heel, toe, (4.6 * s + rim, 4.2 * s + rim), sock * light, 60, number + 1)
            )

    leg(3, near=False)
    leg(1, near=False)
    for link in range(5):
        taper = (4.2 - 0.5 * link) * s, (4.2 - 0.5 * (link + 1)) * s
        parts.append(Part(pose.tail[:, link], pose.tail[:, link + 1], taper, color * 0.78, 120, 5))
    middle = (pose.rump + pose.shoulder) / 2 + (0.0, rng.uniform(0.0, 3.0) * s)
    back, chest = pose.rump + (0.0, 1 * s), pose.shoulder + (0.0, 2 * s)
    parts.append(Part(back, middle, (18 * s, 19 * fat), color, 255, 7))
    parts.append(Part(middle, chest, (19 * fat, 19.5 * s), color, 255, 7))
    # The tail shows on the rump where it begins
    parts.append(
        Part(pose.tail[:, 0] + ahead * 2, pose.tail[:, 0], (3.4 * s, 4.2 * s), color * 0.78, 120, 5)
    )
    parts.append(
        Part(chest + ahead * 4 + (0, -6 * s), pose.poll, (13.5 * s, 8.5 * s), color, 255, 8)
    )
    up = pose.poll + (0.0, -3 * s)
    ear = up + ahead * rng.uniform(-7, -2) + (0.0, -rng.uniform(8, 13) * s)
    parts.append(Part(up + ahead * 3, ear + ahead * 5, (3.4 * s, 1.2 * s), color * 0.6, 80, 8))
    muzzle = pose.nose * 0.8 + pose.poll * 0.2
    parts.append(Part(pose.poll, muzzle, (9.5 * s, 5.2 * s), color, 230, 8))
    parts.append(Part(up, ear, (4.0 * s, 1.6 * s), color * 0.82, 120, 8))
    eye = pose.poll * 0.72 + pose.nose * 0.28 + (0.0, -3 * s)
    parts.append(Part(eye, eye + (0.5, 0.0), (1.7 * s, 1.7 * s), color * 0.12, 0, 8))
    dark = np.array([26.0, 20.0, 22.0])
    parts.append(
        Part(pose.nose - ahead * 0.5, pose.nose + ahead * 0.5, (4.4 * s, 4.2 * s), dark, 0, 6)
    )
    leg(2, near=True)
    leg(0, near=True)
    return tuple(parts)


def _capsules(parts: tuple[Part, ...]) -> np.ndarray:
    """Outlines of all parts in OpenCV's fixed point, (frames, parts, 18, 2) int32."""
    p, q = (
        np.stack([part.p for part in parts], axis=1),
        np.stack([part.q for part in parts], axis=1),
    )
    radii = np.array([part.radii for part in parts])
    along = q - p
    angle = np.arctan2(along[..., 1], along[..., 0])[..., None]
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)
    ends = []
    for center, radius, turn in ((q, radii[:, 1], 0.0), (p, radii[:, 0], np.pi)):
        around = angle + half + turn
        ends.append(
            center[:, :, None]
            + radius[:, None, None] * np.stack([np.cos(around), np.sin(around)], axis=-1)
        )
    return np.round(np.concatenate(ends, axis=2) * (1 << _SHIFT)).astype(np.int32)


def _noise(
    rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]
) -> np.ndarray:
    """Smooth noise of standard deviation near 1 with cells of (width, height) px: (height, width) float32."""
    small = rng.standard_normal(
        (int(height / cell[1]) + 3, int(width / cell[0]) + 3), dtype=np.float32
    )
    large = cv2.resize(small, None, fx=cell[0], fy=cell[1], interpolation=cv2.INTER_CUBIC)
    return large[:height, :width]


def _scenery(rng: np.random.Generator, ground, backdrop, pose):
    """A function from a frame to the ground and backdrop behind the animal, (256, 256, 3) uint8, scrolling with the camera."""
    travel = int(np.ceil(np.abs(pose.pan).max()))
    width = CANVAS + travel
    grain = sum(
        size * _noise(rng, CANVAS, width, cell)
        for size, cell in ((0.06, (60, 22)), (0.05, (15, 6)), (0.05, (3, 2)))
    )
    blur = sum(
        size * _noise(rng, CANVAS, width, cell)
        for size, cell in ((0.08, (40, 50)), (0.06, (12, 30)))
    )
    fading = np.interp(np.arange(CANVAS), (0, CANVAS), (0.86, 1.08)).astype(np.float32)[:, None]
    floor = np.clip(
        np.array(ground, np.float32) * ((1 + grain) * fading)[..., None], 0, 255
    ).astype(np.uint8)
    wall = np.clip(np.array(backdrop, np.float32) * (0.94 + blur)[..., None], 0, 255).astype(
        np.uint8
    )
    horizon = int(pose.ground[1] - rng.uniform(48, 90))

    def view(t: int) -> np.ndarray:
        near = int(round(pose.pan[t])) if pose.facing > 0 else travel + int(round(pose.pan[t]))
        away = int(round(0.4 * near))
        out = floor[:, near : near + CANVAS].copy()
        out[:horizon] = wall[:horizon, away : away + CANVAS]
        return out

    return view


def _coat(rng: np.random.Generator, pose) -> np.ndarray:
    """Relative brightness of the coat around the body of the first frame, the canvas and _PAD around it, float32: hair along the body, a
    lighter back and a darker belly, perhaps patches or stripes."""
    width, height = CANVAS + 2 * _PAD[0], CANVAS + 2 * _PAD[1]
    hair = cv2.GaussianBlur(_noise(rng, height, width, (9, 1.6)), (0, 0), 0.7)
    row = (np.arange(height) - _PAD[1] - pose.rump[0, 1]) / pose.scale
    light = np.interp(
        row, (-22, -8, 10, 22, 40, 70), (0.22, 0.12, -0.08, -0.2, -0.05, 0.02)
    ).astype(np.float32)
    coat = 0.11 * hair + light[:, None]
    look = rng.choice(["plain", "patches", "stripes"])
    if look == "patches":
        coat += rng.choice([-0.3, 0.22]) * np.clip(
            3 * (_noise(rng, height, width, (20, 18)) - 0.5), 0, 1
        )
    elif look == "stripes":
        column = np.arange(width) * 2 * np.pi / rng.uniform(13, 20) + 0.8 * _noise(
            rng, height, width, (40, 25)
        )
        coat -= 0.26 * np.clip(2 * np.sin(column) - 0.4, 0, 1)
    return coat.astype(np.float32)


def _shadows(pose):
    """A function from a frame to the brightness of the ground under the animal's shadow, (256, 256, 3) float32."""
    middle, spread = (
        sum(pose.ground) / 2,
        abs(pose.shoulder[:, 0] - pose.rump[:, 0]) / 2 + 16 * pose.scale,
    )

    def view(t: int) -> np.ndarray:
        shade = np.zeros((CANVAS // 4, CANVAS // 4), np.uint8)
        x = (pose.shoulder[t, 0] + pose.rump[t, 0]) / 2
        cv2.ellipse(
            shade,
            (round(x / 4), round(middle / 4)),
            (round(spread[t] / 4), round(9 * pose.scale / 4)),
            0,
            0,
            360,
            110,
            -1,
        )
        for number, leg in enumerate(pose.legs):
            spot = round(leg.paw[t, 0] / 4), round((pose.ground[number % 2] + 3) / 4)
            cv2.ellipse(shade, spot, (3, 1), 0, 0, 360, 150, -1)
        shade = cv2.resize(
            cv2.GaussianBlur(shade, (0, 0), 1.3), (CANVAS, CANVAS), interpolation=cv2.INTER_LINEAR
        )
        return cv2.merge([1 - shade.astype(np.float32) * np.float32(1 / 255)] * 3)

    return view
