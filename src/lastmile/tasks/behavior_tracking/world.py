"""The world of behavior tracking: a video of animals of one look that cross each other's ways."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.behavior_tracking.painting import LENGTH, SPECIES, body, paint


@dataclass(frozen=True, slots=True)
class Difficulty:
    """frames: smallest and largest number, by the number of animals to choose from."""

    frames: tuple[tuple[int, tuple[int, int]], ...]


DIFFICULTIES = {
    "short": Difficulty(((2, (4, 6)), (2, (4, 6)), (3, (3, 4)))),
    "full": Difficulty(((2, (8, 12)), (3, (7, 11)), (3, (7, 11)), (4, (6, 9)))),
}
"""More animals come with fewer frames, so that the work stays within reason."""

RADIUS = 5.0
"""A marker belongs to a point within this many logical px."""
CLOSE = 34.0
"""Two animals are crossing while their centers are nearer than this, logical px."""
_EDGE, _SUBSTEPS, _DRAWS = 34.0, 4, 96


@dataclass(frozen=True, eq=False)
class BehaviorTrackingWorld:
    """points: (frames, animals, 2, 2) front and back of each animal, canvas coordinates. center: (frames, animals, 2). crossing: (frames,)
    whether two animals are close. species: index into SPECIES. image_poses: heading and bend of each animal, radians, and the way that it
    has gone, px, (frames, animals) each. image_rng: random numbers for the picture."""

    points: np.ndarray
    center: np.ndarray
    crossing: np.ndarray
    species: int
    image_poses: tuple[np.ndarray, np.ndarray, np.ndarray]
    image_rng: np.random.Generator

    @cached_property
    def image_frames(self) -> np.ndarray:
        """(frames, 256, 256, 3) uint8, drawn when first asked for."""
        return paint(
            copy.deepcopy(self.image_rng), SPECIES[self.species], self.center, *self.image_poses
        )

    @property
    def frames(self) -> int:
        return len(self.points)

    @property
    def animals(self) -> int:
        return self.points.shape[1]

    def point(self, t: int, animal: int, part: int) -> tuple[float, float]:
        """Where the front (part 0) or back (1) of an animal is in a frame."""
        x, y = self.points[t, animal, part].tolist()
        return x, y

    def near(self, t: int, u: float, v: float) -> tuple[int, int]:
        """The (animal, part) of the nearest point within RADIUS in a frame, or (-1, -1)."""
        squared = ((self.points[t] - (u, v)) ** 2).sum(-1)
        nearest = int(squared.argmin())
        return (nearest // 2, nearest % 2) if squared.flat[nearest] <= RADIUS**2 else (-1, -1)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> BehaviorTrackingWorld:
    animals, span = difficulty.frames[int(rng.integers(len(difficulty.frames)))]
    frames = int(rng.integers(span[0], span[1] + 1))
    species = int(rng.integers(len(SPECIES)))
    length = LENGTH[SPECIES[species]]
    while True:
        center, heading, bend, moved = _walk(rng, frames, animals)
        points = body(
            heading[..., None], bend[..., None], length, np.array((1.0, -1.0)), np.zeros(2)
        )
        points = center[..., None, :] + points
        good = np.flatnonzero(_fair(points, center))
        if len(good):
            break
    i = int(good[0])
    poses = heading[i], bend[i], moved[i]
    return BehaviorTrackingWorld(
        points[i], center[i], _crossing(center[i : i + 1])[0], species, poses, rng
    )


def _walk(
    rng: np.random.Generator, frames: int, animals: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Many draws of how the animals move: center (draws, frames, animals, 2), heading, bend and way gone (draws, frames, animals).

    Each animal has a pattern of its own: straight on, circling, darting (rest and dash), or pausing (walk and stand). Near the edge
    all turn back towards the middle.
    """
    shape = (_DRAWS, animals)
    pattern = np.argsort(rng.random((_DRAWS, 4)), axis=1)[:, :animals]
    straight, circling, darting, pausing = (pattern == i for i in range(4))
    place = rng.uniform(_EDGE + 10, CANVAS - _EDGE - 10, (*shape, 2))
    heading = rng.uniform(0, 2 * np.pi, shape)
    pace = np.select(
        [straight, circling, darting],
        [rng.uniform(11, 16, shape), rng.uniform(9, 14, shape), rng.uniform(18, 24, shape)],
        13.0,
    )
    spin = np.where(circling, rng.choice((-1.0, 1.0), shape) * rng.uniform(0.3, 0.55, shape), 0.0)
    phase = rng.uniform(0, 1, shape)
    out = []
    turned = np.zeros(shape)
    moved = np.zeros(shape)
    for t in range(frames):
        bend = np.clip(0.9 * turned, -0.7, 0.7)
        out.append((place, heading, bend, moved))
        beat = (phase + t * np.where(darting, 0.34, 0.21)) % 1
        speed = pace * np.select(
            [darting, pausing],
            [np.where(beat < 0.4, 1.0, 0.12), np.where(beat < 0.55, 1.0, 0.04)],
            1.0,
        )
        wander = rng.normal(0, np.where(darting & (beat > 0.4), 0.35, 0.13), shape)
        turned = np.zeros(shape)
        for _ in range(_SUBSTEPS):
            step = np.stack([np.cos(heading), np.sin(heading)], -1)
            ahead = place + 24 * step
            inside = (np.abs(ahead - CANVAS / 2) < CANVAS / 2 - _EDGE).all(-1)
            to_middle = np.arctan2(CANVAS / 2 - place[..., 1], CANVAS / 2 - place[..., 0])
            back = np.clip((to_middle - heading + np.pi) % (2 * np.pi) - np.pi, -0.22, 0.22)
            turn = np.where(inside, (spin + wander) / _SUBSTEPS, back)
            heading, turned = heading + turn, turned + turn
            place = place + (speed / _SUBSTEPS)[..., None] * np.stack(
                [np.cos(heading), np.sin(heading)], -1
            )
        moved = moved + speed
    center, heading, bend, moved = (np.stack(part, 1) for part in zip(*out))
    return center, heading, bend, moved


def _pairs(animals: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(animals, 1)


def _crossing(center: np.ndarray) -> np.ndarray:
    """(draws, frames) whether any two animals are close."""
    a, b = _pairs(center.shape[2])
    return (np.hypot(*np.moveaxis(center[:, :, a] - center[:, :, b], -1, 0)) < CLOSE).any(-1)


def _fair(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """(draws,) whether all points are well inside and apart, some but not most frames have a crossing, and who is who can be told: the
    true continuation of a pair by where both were heading is clearly better than the exchanged one."""
    draws, frames, animals = center.shape[:3]
    inside = ((points > 9) & (points < CANVAS - 9)).all((1, 2, 3, 4))
    flat = points.reshape(draws, frames, animals * 2, 2)
    i, j = _pairs(animals * 2)
    apart = (np.hypot(*np.moveaxis(flat[:, :, i] - flat[:, :, j], -1, 0)) > 2.2 * RADIUS).all(
        (1, 2)
    )
    crossing = _crossing(center)
    share = crossing.mean(1)
    some = (share > 0) & (share <= 0.5) & ~crossing[:, 0]
    guess = points[:, 1:-1] + 0.5 * (points[:, 1:-1] - points[:, :-2])
    guess = np.concatenate([points[:, :1], guess], 1)
    true = points[:, 1:]
    a, b = _pairs(animals)

    def far(x, y):
        return np.hypot(*np.moveaxis(x - y, -1, 0)).sum(-1)

    kept = far(guess[:, :, a], true[:, :, a]) + far(guess[:, :, b], true[:, :, b])
    swapped = far(guess[:, :, a], true[:, :, b]) + far(guess[:, :, b], true[:, :, a])
    told = (kept < 0.7 * swapped).all((1, 2))
    return inside & apart & some & told
