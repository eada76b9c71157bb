"""The world of limb tracking: an animal that walks past a camera, the key points of its body, and which of them are hidden when."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.limb_tracking.picture import Body, make_body, paint, shares

NAMES = ("Nose", "Tail", "L fore", "R fore", "L hind", "R hind")
"""Key points in the order of the tabs. `Tail` is the base of the tail."""
PARTNER = (-1, -1, 3, 2, 5, 4)
"""For each key point the one of the other side of the body, -1 without one."""
HIDDEN, PARTLY, CLEAR = 0, 1, 2
"""How well a key point is seen. What is partly seen may be marked or called hidden."""
RADIUS = 5.0
"""A point belongs to a key point within this many logical px."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """frames: smallest and largest number. both_ways: whether the animal may walk to the right as well, so that the near legs are its
    right ones; in `short` worlds it walks to the left, so that a small model has less to learn about sides."""

    frames: tuple[int, int]
    both_ways: bool


DIFFICULTIES = {
    "short": Difficulty(frames=(4, 5), both_ways=False),
    "full": Difficulty(frames=(6, 12), both_ways=True),
}


class Leg(NamedTuple):
    """Joints of one leg in all frames, canvas coordinates, (frames, 2) each."""

    hip: np.ndarray
    knee: np.ndarray
    paw: np.ndarray


class Pose(NamedTuple):
    """Where the parts of the body are, canvas coordinates, (frames, 2) each unless said otherwise.

    scale: size of the animal, 1 for a trunk of 88 px. girth: factor on the thickness of the trunk. facing: 1 to the right, -1 to the left.
    legs: near fore, far fore, near hind, far hind. tail: (frames, 6, 2). ground: y of the ground under the near and the far paws, px.
    pan: px that the ground has moved, (frames,).
    """

    scale: float
    girth: float
    facing: int
    shoulder: np.ndarray
    rump: np.ndarray
    poll: np.ndarray
    nose: np.ndarray
    tail: np.ndarray
    legs: tuple[Leg, Leg, Leg, Leg]
    ground: tuple[float, float]
    pan: np.ndarray


@dataclass(frozen=True, eq=False)
class LimbTrackingWorld:
    """facing: 1 when the animal walks to the right, -1 to the left. points: (frames, 6, 2) canvas positions of the key points. seen:
    (frames, 6) int8, HIDDEN, PARTLY or CLEAR. image_pose, image_body: what is painted. image_rng: random numbers for the picture."""

    facing: int
    points: np.ndarray
    seen: np.ndarray
    image_pose: Pose
    image_body: Body
    image_rng: np.random.Generator

    @cached_property
    def image_frames(self) -> np.ndarray:
        """(frames, 256, 256, 3) uint8, painted when first asked for."""
        return paint(copy.deepcopy(self.image_rng), self.image_pose, self.image_body)

    @property
    def frames(self) -> int:
        return len(self.points)

    def point(self, frame: int, part: int) -> tuple[float, float]:
        return float(self.points[frame, part, 0]), float(self.points[frame, part, 1])

    def near(self, frame: int, u: float, v: float) -> tuple[int, ...]:
        """Key points of a frame, hidden ones included, within RADIUS of a point, nearest first."""
        return _near(self, frame, u, v)


@lru_cache(maxsize=4096)
def _near(world: LimbTrackingWorld, frame: int, u: float, v: float) -> tuple[int, ...]:
    squared = (world.points[frame, :, 0] - u) ** 2 + (world.points[frame, :, 1] - v) ** 2
    return tuple(part for part in squared.argsort().tolist() if squared[part] <= RADIUS**2)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> LimbTrackingWorld:
    frames = int(rng.integers(difficulty.frames[0], difficulty.frames[1] + 1))
    facing = 1 if difficulty.both_ways and rng.random() < 0.5 else -1
    pose = _walk(rng, frames, facing)
    near_fore, far_fore, near_hind, far_hind = (leg.paw for leg in pose.legs)
    pairs = (
        (near_fore, far_fore, near_hind, far_hind)
        if facing < 0
        else (far_fore, near_fore, far_hind, near_hind)
    )
    points = np.stack([pose.nose, pose.tail[:, 0], *pairs], axis=1)
    body = make_body(rng, pose)
    order = (
        [0, 1, 2, 3, 4, 5] if facing < 0 else [0, 1, 3, 2, 5, 4]
    )  # of the key points: nose, tail, then the legs as in the pose
    share = shares(pose, body)[:, order]
    seen = np.where(share >= 0.6, CLEAR, np.where(share >= 0.3, PARTLY, HIDDEN)).astype(np.int8)
    return LimbTrackingWorld(facing, points, seen, pose, body, rng)


def _walk(rng: np.random.Generator, frames: int, facing: int) -> Pose:
    """A walk: every paw goes back with the ground while it stands and forward through the air while it swings, legs out of phase as in
    the gait; knees follow by inverse kinematics of two segments; trunk, head and tail move along."""
    scale = rng.uniform(0.9, 1.05)
    trunk, height = 88 * scale * rng.uniform(0.92, 1.06), 60 * scale * rng.uniform(0.94, 1.04)
    stride, lift = scale * rng.uniform(21, 26), scale * rng.uniform(9, 13)
    duty, gait = (
        (0.62, (0.25, 0.75, 0.0, 0.5)),  # walk: left hind, left fore, right hind, right fore
        (0.52, (0.5, 0.0, 0.0, 0.5)),  # trot: diagonal legs together
        (0.58, (0.12, 0.62, 0.0, 0.5)),  # amble: legs of a side almost together
    )[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    pace = rng.uniform(0.09, 0.14)
    cycle = rng.uniform() + pace * np.arange(frames)

    bob = 1.5 * scale * np.sin(4 * np.pi * cycle)
    spine = np.stack(
        [np.zeros(frames), -height + bob], axis=1
    )  # x forward from the middle of the trunk, y down from the ground
    rump, shoulder = spine + (-trunk / 2, 0.0), spine + (trunk / 2, 0.5 * scale)
    neck = rng.uniform(0.3, 1.0) + 0.07 * np.sin(4 * np.pi * cycle + rng.uniform(0, 6))
    poll = (
        shoulder
        + (4 * scale, -7 * scale)
        + scale * rng.uniform(30, 38) * np.stack([np.cos(neck), -np.sin(neck)], axis=1)
    )
    head = rng.uniform(0.35, 0.8) + 0.08 * np.sin(2 * np.pi * cycle + rng.uniform(0, 6))
    nose = poll + scale * rng.uniform(23, 29) * np.stack([np.cos(head), np.sin(head)], axis=1)
    tail = _tail(rng, scale, rump, cycle)

    far = np.array([3.0, -9.0]) * scale
    legs = []
    for pair, (root, bend) in enumerate(
        ((shoulder + (-3 * scale, 7 * scale), -1), (rump + (2 * scale, 5 * scale), 1))
    ):
        for side in range(2):
            phase = (cycle + gait[2 * pair + side] + rng.normal(0, 0.015)) % 1.0
            swing = np.clip((phase - duty) / (1 - duty), 0, 1)
            reach = np.where(
                phase < duty, stride * (1 - 2 * phase / duty), -stride * np.cos(np.pi * swing)
            )
            paw = np.stack([root[:, 0] + reach, -lift * np.sin(np.pi * swing)], axis=1) + side * far
            hip = root + side * far * 0.6
            legs.append(Leg(hip, _knee(hip, paw, bend * 35 * scale), paw))

    everything = np.concatenate([nose, tail.reshape(-1, 2), *(leg.paw for leg in legs)])
    low, high = everything[:, 0].min() - 12, everything[:, 0].max() + 12
    room = max(CANVAS - (high - low), 0.0)
    advance = 2 * stride / duty * pace  # of the body over the ground, px a frame
    drift = min(rng.uniform(0.2, 0.9) * room / max(frames - 1, 1), advance)
    place = -low + rng.uniform(0, 1) * (room - drift * (frames - 1)) + drift * np.arange(frames)
    ground = rng.uniform(186, 214)

    def canvas(path: np.ndarray) -> np.ndarray:
        """From body coordinates, (frames, ..., 2), to the canvas."""
        x = path[..., 0] + place.reshape(-1, *[1] * (path.ndim - 2))
        return np.stack([x if facing > 0 else CANVAS - 1 - x, path[..., 1] + ground], axis=-1)

    return Pose(
        scale,
        rng.uniform(0.9, 1.08),
        facing,
        *(canvas(part) for part in (shoulder, rump, poll, nose, tail)),
        tuple(Leg(*map(canvas, leg)) for leg in legs),
        (ground, ground + far[1]),
        facing * (advance - drift) * np.arange(frames),
    )


def _knee(hip: np.ndarray, paw: np.ndarray, length: float) -> np.ndarray:
    """Middle joints of legs of two segments, each |length| px long, bent forward (positive) or backward; all (frames, 2)."""
    along = paw - hip
    distance = np.hypot(along[:, 0], along[:, 1])[:, None]
    out = np.sqrt(np.maximum(length**2 - (distance / 2) ** 2, 0.0))
    across = np.stack([along[:, 1], -along[:, 0]], axis=1) / distance
    return (hip + paw) / 2 + np.sign(length) * out * across


def _tail(
    rng: np.random.Generator, scale: float, rump: np.ndarray, cycle: np.ndarray
) -> np.ndarray:
    """A tail as a chain that bends and sways, (frames, 6, 2); it begins at the back edge of the rump."""
    first, bend = rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.35) * rng.choice([-1.0, 1.0])
    sway = 0.12 * np.sin(2 * np.pi * cycle + rng.uniform(0, 6))
    links = np.arange(5)
    angle = first + bend * links + sway[:, None] * (1 + 0.5 * links)
    step = scale * rng.uniform(6, 9) * np.stack([-np.cos(angle), np.sin(angle)], axis=-1)
    root = rump + (-16 * scale, -9 * scale)
    return np.concatenate([root[:, None], root[:, None] + np.cumsum(step, axis=1)], axis=1)
