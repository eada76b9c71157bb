"""How the animal of limb tracking moves: the joints of a walking quadruped in every frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lastmile.screen import CANVAS


class Leg(NamedTuple):
    """Joints of one leg in all frames, canvas coordinates, (frames, 2) each."""

    hip: np.ndarray
    knee: np.ndarray
    paw: np.ndarray


class Pose(NamedTuple):
    """Positions of the body parts in canvas coordinates, (frames, 2) each unless noted.

    Attributes:
        scale: Size of the animal; 1 for a trunk of 88 px.
        girth: Factor on the thickness of the trunk.
        facing: 1 if the animal walks to the right, -1 to the left.
        shoulder: Front end of the trunk.
        rump: Back end of the trunk.
        poll: Top of the head, between the ears.
        nose: Tip of the nose.
        tail: (frames, 6, 2) chain from the base of the tail to its tip.
        legs: Near fore, far fore, near hind, far hind.
        ground: y of the ground under the near and the far paws, px.
        pan: (frames,) distance that the ground has moved in the image, px.
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


# Share of the cycle that each paw is on the ground, and phases of the legs as in `Pose.legs`
_GAITS = (
    (0.62, (0.25, 0.75, 0.0, 0.5)),  # walk: the legs follow each other evenly
    (0.52, (0.5, 0.0, 0.0, 0.5)),  # trot: diagonal legs together
    (0.58, (0.12, 0.62, 0.0, 0.5)),  # amble: the legs of each side almost together
)
_GAIT_SHARES = (0.5, 0.3, 0.2)


def make_pose(rng: np.random.Generator, frames: int, facing: int) -> Pose:
    """Simulate a walk past the camera.

    A paw moves back with the ground while it stands and forward through the air while it swings,
    and the legs are out of phase as in one of three gaits (Hildebrand, Science 1965). Knees follow
    by inverse kinematics of two segments. Trunk, head and tail move along.

    Args:
        rng: The world's generator.
        frames: Number of frames.
        facing: 1 to walk to the right, -1 to the left.
    """
    # Everything is first built in body coordinates, in px: x forward from the middle of the trunk,
    # y down from the ground
    scale = rng.uniform(0.9, 1.05)
    trunk = 88 * scale * rng.uniform(0.92, 1.06)
    height = 60 * scale * rng.uniform(0.94, 1.04)
    stride = scale * rng.uniform(21, 26)
    lift = scale * rng.uniform(9, 13)
    duty, phases = _GAITS[int(rng.choice(3, p=_GAIT_SHARES))]
    pace = rng.uniform(0.09, 0.14)
    cycle = rng.uniform() + pace * np.arange(frames)

    bob = 1.5 * scale * np.sin(4 * np.pi * cycle)
    spine = np.stack([np.zeros(frames), -height + bob], axis=1)
    rump = spine + (-trunk / 2, 0.0)
    shoulder = spine + (trunk / 2, 0.5 * scale)
    neck = rng.uniform(0.3, 1.0) + 0.07 * np.sin(4 * np.pi * cycle + rng.uniform(0, 6))
    poll = (
        shoulder
        + (4 * scale, -7 * scale)
        + scale * rng.uniform(30, 38) * np.stack([np.cos(neck), -np.sin(neck)], axis=1)
    )
    head = rng.uniform(0.35, 0.8) + 0.08 * np.sin(2 * np.pi * cycle + rng.uniform(0, 6))
    nose = poll + scale * rng.uniform(23, 29) * np.stack([np.cos(head), np.sin(head)], axis=1)
    tail = _tail(rng, scale, rump, cycle)

    far = np.array([3.0, -9.0]) * scale  # offset of far legs: they are higher in the image
    legs = []
    for pair, (root, bend) in enumerate(
        ((shoulder + (-3 * scale, 7 * scale), -1), (rump + (2 * scale, 5 * scale), 1))
    ):
        for side in range(2):
            phase = (cycle + phases[2 * pair + side] + rng.normal(0, 0.015)) % 1.0
            swing = np.clip((phase - duty) / (1 - duty), 0, 1)
            reach = np.where(
                phase < duty, stride * (1 - 2 * phase / duty), -stride * np.cos(np.pi * swing)
            )
            paw = np.stack([root[:, 0] + reach, -lift * np.sin(np.pi * swing)], axis=1) + side * far
            hip = root + side * far * 0.6
            legs.append(Leg(hip, _knee(hip, paw, bend * 35 * scale), paw))

    # The camera follows the animal partly: the body drifts through the image, and the ground
    # makes up for the rest of its advance
    extent = np.concatenate([nose, tail.reshape(-1, 2), *(leg.paw for leg in legs)])
    low = extent[:, 0].min() - 12
    high = extent[:, 0].max() + 12
    room = max(CANVAS - (high - low), 0.0)
    advance = 2 * stride / duty * pace  # of the body over the ground, px per frame
    drift = min(rng.uniform(0.2, 0.9) * room / max(frames - 1, 1), advance)
    offset = -low + rng.uniform(0, 1) * (room - drift * (frames - 1)) + drift * np.arange(frames)
    ground = rng.uniform(186, 214)

    def to_canvas(path: np.ndarray) -> np.ndarray:
        """Map body coordinates, (frames, ..., 2), to canvas coordinates."""
        x = path[..., 0] + offset.reshape(-1, *[1] * (path.ndim - 2))
        return np.stack([x if facing > 0 else CANVAS - 1 - x, path[..., 1] + ground], axis=-1)

    near_fore, far_fore, near_hind, far_hind = (Leg(*map(to_canvas, leg)) for leg in legs)
    return Pose(
        scale=scale,
        girth=rng.uniform(0.9, 1.08),
        facing=facing,
        shoulder=to_canvas(shoulder),
        rump=to_canvas(rump),
        poll=to_canvas(poll),
        nose=to_canvas(nose),
        tail=to_canvas(tail),
        legs=(near_fore, far_fore, near_hind, far_hind),
        ground=(ground, ground + far[1]),
        pan=facing * (advance - drift) * np.arange(frames),
    )


def _knee(hip: np.ndarray, paw: np.ndarray, length: float) -> np.ndarray:
    """Return the middle joints of legs with two segments of equal length.

    Args:
        hip, paw: Upper and lower ends, (frames, 2).
        length: Length of each segment, px; positive to bend forward, negative to bend backward.

    Returns:
        (frames, 2) positions.
    """
    along = paw - hip
    distance = np.hypot(along[:, 0], along[:, 1])[:, None]
    out = np.sqrt(np.maximum(length**2 - (distance / 2) ** 2, 0.0))
    across = np.stack([along[:, 1], -along[:, 0]], axis=1) / distance
    knee: np.ndarray = (hip + paw) / 2 + np.sign(length) * out * across
    return knee


def _tail(
    rng: np.random.Generator, scale: float, rump: np.ndarray, cycle: np.ndarray
) -> np.ndarray:
    """Return a bent, swaying chain from the back edge of the rump, (frames, 6, 2)."""
    angle_at_base = rng.uniform(-0.5, 0.5)
    bend = rng.uniform(0.1, 0.35) * rng.choice([-1.0, 1.0])
    sway = 0.12 * np.sin(2 * np.pi * cycle + rng.uniform(0, 6))
    links = np.arange(5)
    angle = angle_at_base + bend * links + sway[:, None] * (1 + 0.5 * links)  # (frames, 5)
    step = scale * rng.uniform(6, 9) * np.stack([-np.cos(angle), np.sin(angle)], axis=-1)
    base = rump + (-16 * scale, -9 * scale)
    return np.concatenate([base[:, None], base[:, None] + np.cumsum(step, axis=1)], axis=1)
