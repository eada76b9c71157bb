"""The world of behavior tracking: a video of identical-looking animals whose paths cross."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.behavior_tracking.painting import LENGTH, SPECIES, body_points, paint


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How many animals and frames there are.

    Attributes:
        frames: Choices of a number of animals with its smallest and largest number of frames.
    """

    frames: tuple[tuple[int, tuple[int, int]], ...]


DIFFICULTIES = {
    "short": Difficulty(((2, (4, 6)), (2, (4, 6)), (3, (3, 4)))),
    "full": Difficulty(((2, (8, 12)), (3, (7, 11)), (3, (7, 11)), (4, (6, 9)))),
}
"""Videos with more animals have fewer frames, to bound the length of an episode."""

RADIUS = 5.0
"""Largest distance between a marker and the point that it marks, logical px."""
CROSSING_DISTANCE = 34.0
"""Two animals are crossing while their centers are closer than this, logical px."""

_EDGE = 34.0  # px from the border within which animals turn back
_BORDER = 9  # smallest distance of any point from the border, px
_SUBSTEPS = 4  # steps of the simulation per frame
_DRAWS = 96  # videos simulated at once, of which the first suitable one is taken


@dataclass(frozen=True, eq=False)
class BehaviorTrackingWorld:
    """Positions of all animals in every frame.

    Attributes:
        points: (frames, animals, 2, 2) front and back of each animal, canvas coordinates.
        center: (frames, animals, 2) centers of the animals, canvas coordinates.
        crossing: (frames,) bool, whether two animals are close to each other.
        species: Index into SPECIES.
        image_poses: Heading and bend of each animal, radians, and the distance that it has
            covered, px; (frames, animals) each.
        image_rng: Random numbers for the images.
    """

    points: np.ndarray
    center: np.ndarray
    crossing: np.ndarray
    species: int
    image_poses: tuple[np.ndarray, np.ndarray, np.ndarray]
    image_rng: np.random.Generator

    @cached_property
    def image_frames(self) -> np.ndarray:
        """The video, (frames, 256, 256, 3) uint8, painted on first use."""
        # From a copy of the generator: the images must not depend on when they are painted
        rng = copy.deepcopy(self.image_rng)
        return paint(rng, SPECIES[self.species], self.center, *self.image_poses)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.points)

    @property
    def animals(self) -> int:
        """Number of animals."""
        return self.points.shape[1]

    def point(self, t: int, animal: int, part: int) -> tuple[float, float]:
        """Return the position of the front (part 0) or back (1) of an animal in a frame."""
        x, y = self.points[t, animal, part].tolist()
        return x, y

    def near(self, t: int, u: float, v: float) -> tuple[int, int] | None:
        """Return (animal, part) of the nearest point within RADIUS in a frame, or None."""
        squared = ((self.points[t] - (u, v)) ** 2).sum(-1)  # (animals, 2)
        nearest = int(squared.argmin())
        if squared.flat[nearest] > RADIUS**2:
            return None
        return nearest // 2, nearest % 2


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> BehaviorTrackingWorld:
    """Simulate many videos at once and take the first that suits the task.

    Args:
        rng: The world's own generator; it is kept for the images.
        difficulty: Numbers of animals and frames.
    """
    animals, (fewest, most) = difficulty.frames[int(rng.integers(len(difficulty.frames)))]
    frames = int(rng.integers(fewest, most + 1))
    species = int(rng.integers(len(SPECIES)))
    length = LENGTH[SPECIES[species]]
    while True:
        center, heading, bend, covered = _simulate(rng, frames, animals)
        offsets = body_points(
            heading[..., None], bend[..., None], length, np.array((1.0, -1.0)), np.zeros(2)
        )
        points = center[..., None, :] + offsets  # (draws, frames, animals, 2, 2)
        suitable = np.flatnonzero(_is_suitable(points, center))
        if len(suitable):
            break

    i = int(suitable[0])
    crossing = _is_crossing(center[i : i + 1])[0]
    poses = (heading[i], bend[i], covered[i])
    return BehaviorTrackingWorld(points[i], center[i], crossing, species, poses, rng)


def _simulate(
    rng: np.random.Generator, frames: int, animals: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Simulate how the animals move, in many independent draws.

    Each animal of a video moves in a different pattern: straight on, circling, darting (rest and
    dash), or pausing (walk and stand). Near the edge all turn back towards the middle.

    Returns:
        Centers, (draws, frames, animals, 2), and headings, bends (radians) and distances covered
        so far (px), (draws, frames, animals) each.
    """
    shape = (_DRAWS, animals)
    pattern = np.argsort(rng.random((_DRAWS, 4)), axis=1)[:, :animals]
    straight, circling, darting, pausing = (pattern == i for i in range(4))
    center = rng.uniform(_EDGE + 10, CANVAS - _EDGE - 10, (*shape, 2))
    heading = rng.uniform(0, 2 * np.pi, shape)
    pace = np.select(  # px per frame
        [straight, circling, darting],
        [rng.uniform(11, 16, shape), rng.uniform(9, 14, shape), rng.uniform(18, 24, shape)],
        13.0,
    )
    spin = np.where(circling, rng.choice((-1.0, 1.0), shape) * rng.uniform(0.3, 0.55, shape), 0.0)
    phase = rng.uniform(0, 1, shape)

    snapshots = []
    turned = np.zeros(shape)
    covered = np.zeros(shape)
    for t in range(frames):
        bend = np.clip(0.9 * turned, -0.7, 0.7)  # bodies bend into the turn
        snapshots.append((center, heading, bend, covered))

        # Darting and pausing animals move during the first part of each beat
        beat = (phase + t * np.where(darting, 0.34, 0.21)) % 1
        speed = pace * np.select(
            [darting, pausing],
            [np.where(beat < 0.4, 1.0, 0.12), np.where(beat < 0.55, 1.0, 0.04)],
            1.0,
        )
        wander = rng.normal(0, np.where(darting & (beat > 0.4), 0.35, 0.13), shape)

        turned = np.zeros(shape)
        for _ in range(_SUBSTEPS):
            direction = np.stack([np.cos(heading), np.sin(heading)], -1)
            ahead = center + 24 * direction
            inside = (np.abs(ahead - CANVAS / 2) < CANVAS / 2 - _EDGE).all(-1)
            to_middle = np.arctan2(CANVAS / 2 - center[..., 1], CANVAS / 2 - center[..., 0])
            homing = np.clip((to_middle - heading + np.pi) % (2 * np.pi) - np.pi, -0.22, 0.22)
            turn = np.where(inside, (spin + wander) / _SUBSTEPS, homing)
            heading = heading + turn  # not in place: the snapshots share these arrays
            turned = turned + turn
            direction = np.stack([np.cos(heading), np.sin(heading)], -1)
            center = center + (speed / _SUBSTEPS)[..., None] * direction
        covered = covered + speed

    centers, headings, bends, distances = (np.stack(values, 1) for values in zip(*snapshots))
    return centers, headings, bends, distances


def _is_crossing(center: np.ndarray) -> np.ndarray:
    """Return whether any two animals are close, (draws, frames) bool.

    Args:
        center: (draws, frames, animals, 2).
    """
    a, b = _pairs(center.shape[2])
    return np.any(_distance(center[:, :, a], center[:, :, b]) < CROSSING_DISTANCE, axis=-1)


def _is_suitable(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return which draws can be annotated with certainty and are not too easy.

    All points are well inside the image and apart from each other; some frames, but at most half
    and not the first, have a crossing; and identities can be told: for each pair of animals,
    extrapolating their motion predicts the true next positions clearly better than exchanged ones.

    Args:
        points: (draws, frames, animals, 2, 2) front and back of each animal.
        center: (draws, frames, animals, 2).

    Returns:
        (draws,) bool.
    """
    draws, frames, animals = center.shape[:3]
    inside = ((points > _BORDER) & (points < CANVAS - _BORDER)).all((1, 2, 3, 4))
    flat = points.reshape(draws, frames, animals * 2, 2)
    i, j = _pairs(animals * 2)
    apart = (_distance(flat[:, :, i], flat[:, :, j]) > 2.2 * RADIUS).all((1, 2))

    crossing = _is_crossing(center)  # (draws, frames)
    share = crossing.mean(1)
    some_crossing = (share > 0) & (share <= 0.5) & ~crossing[:, 0]

    # Extrapolate half of the last motion; there is none to extrapolate in the first frame
    guess = points[:, 1:-1] + 0.5 * (points[:, 1:-1] - points[:, :-2])
    guess = np.concatenate([points[:, :1], guess], 1)
    true = points[:, 1:]  # (draws, frames - 1, animals, 2, 2)
    a, b = _pairs(animals)

    def error(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the error if the animals a go to `first` and the animals b to `second`."""
        return _distance(guess[:, :, a], first).sum(-1) + _distance(guess[:, :, b], second).sum(-1)

    kept = error(true[:, :, a], true[:, :, b])
    exchanged = error(true[:, :, b], true[:, :, a])
    identifiable = (kept < 0.7 * exchanged).all((1, 2))
    return inside & apart & some_crossing & identifiable


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of both members of all pairs of `count` items."""
    first, second = np.triu_indices(count, 1)
    return first, second


def _distance(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return distances between (..., 2) points, (...)."""
    dx, dy = np.moveaxis(p - q, -1, 0)
    distance: np.ndarray = np.hypot(dx, dy)
    return distance
