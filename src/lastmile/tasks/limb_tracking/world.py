"""The world of limb tracking: a walking animal, its key points, and when each can be seen."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from lastmile.screen.widgets import Color
from lastmile.tasks.limb_tracking.picture import Body, make_body, paint, visible_shares
from lastmile.tasks.limb_tracking.pose import Pose, make_pose


class Skeleton(NamedTuple):
    """The key points of a kind of animal, in the order of the tabs.

    Attributes:
        names: What the tabs say.
        words: What the key points are called in the status bar. Left and right are those of the
            animal.
        partner: For each key point the same point on the other side of the body, or None.
        colors: Cold on the left side of the body, warm on the right.
        groups: What the tabs are called together: a title and the number of key points of each.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    partner: tuple[int | None, ...]
    colors: tuple[Color, ...]
    groups: tuple[tuple[str, int], ...]


QUADRUPED = Skeleton(
    names=("Nose", "Tail", "L fore", "R fore", "L hind", "R hind"),
    words=(
        "nose",
        "base of the tail",
        "its left fore paw",
        "its right fore paw",
        "its left hind paw",
        "its right hind paw",
    ),
    partner=(None, None, 3, 2, 5, 4),
    colors=(
        (160, 240, 60),
        (255, 90, 230),
        (70, 130, 255),
        (255, 60, 50),
        (50, 225, 240),
        (255, 165, 20),
    ),
    groups=(("Body", 2), ("Paws", 4)),
)
"""The key points of the animals that are drawn. `Tail` is the base of the tail."""
NAMES = QUADRUPED.names
HIDDEN, EDGE, PARTLY, CLEAR = 0, 1, 2, 3
"""How well a key point can be seen. One that is not clear may be called hidden; one that is not
hidden may be marked. The annotator calls it hidden if no more than an edge shows."""
RADIUS = 5.0
"""Largest distance between a point and the key point that it marks, logical px."""

_CLEAR_SHARE = 0.6  # smallest share of pixels that is seen of a clear key point
_PARTLY_SHARE = 0.3  # smallest share of pixels that is seen of a partly visible one


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How long the video is, and whether left and right legs are always on the same side.

    Attributes:
        frames: Smallest and largest number of frames.
        both_ways: Whether the animal may also walk to the right, with its right legs near the
            camera. In `short` worlds it always walks to the left, so that a small model has less
            to learn about sides.
    """

    frames: tuple[int, int]
    both_ways: bool


DIFFICULTIES = {
    "short": Difficulty(frames=(4, 5), both_ways=False),
    "full": Difficulty(frames=(6, 12), both_ways=True),
}


@dataclass(frozen=True, eq=False)
class LimbTrackingWorld(ABC):
    """Key points of an animal in every frame.

    Attributes:
        skeleton: Which key points there are, k in all.
        facing: 1 if the animal walks to the right, -1 to the left.
        points: (frames, k, 2) canvas positions of the key points.
        seen: (frames, k) int8, HIDDEN, EDGE, PARTLY or CLEAR.
    """

    skeleton: ClassVar[Skeleton] = QUADRUPED

    facing: int
    points: np.ndarray
    seen: np.ndarray

    @property
    @abstractmethod
    def image_frames(self) -> np.ndarray:
        """The video, (frames, 256, 256, 3) uint8."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.points)

    def point(self, frame: int, part: int) -> tuple[float, float]:
        """Return the canvas position of a key point."""
        return float(self.points[frame, part, 0]), float(self.points[frame, part, 1])

    def near(self, frame: int, u: float, v: float) -> tuple[int, ...]:
        """Return the key points within RADIUS of a position, hidden ones too, nearest first."""
        return _near(self, frame, u, v)


@dataclass(frozen=True, eq=False)
class PaintedWorld(LimbTrackingWorld):
    """A walk that is drawn.

    Attributes:
        image_pose: Where the body parts are.
        image_body: What is painted.
        image_rng: Random numbers for the images.
    """

    image_pose: Pose
    image_body: Body
    image_rng: np.random.Generator

    @cached_property
    def image_frames(self) -> np.ndarray:
        """The video, (frames, 256, 256, 3) uint8, painted on first use."""
        # From a copy of the generator: the images must not depend on when they are painted
        return paint(copy.deepcopy(self.image_rng), self.image_pose, self.image_body)


@lru_cache(maxsize=4096)
def _near(world: LimbTrackingWorld, frame: int, u: float, v: float) -> tuple[int, ...]:
    squared = (world.points[frame, :, 0] - u) ** 2 + (world.points[frame, :, 1] - v) ** 2
    return tuple(part for part in squared.argsort().tolist() if squared[part] <= RADIUS**2)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> PaintedWorld:
    """Draw a walk and the look of the animal, and find out which key points can be seen.

    Args:
        rng: The world's own generator; it is kept for the images.
        difficulty: Number of frames and directions.
    """
    frames = int(rng.integers(difficulty.frames[0], difficulty.frames[1] + 1))
    facing = 1 if difficulty.both_ways and rng.random() < 0.5 else -1
    pose = make_pose(rng, frames, facing)
    body = make_body(rng, pose)

    # The pose names legs by near and far, the key points by left and right: an animal that walks
    # to the left has its left legs near the camera
    order = [0, 1, 2, 3, 4, 5] if facing < 0 else [0, 1, 3, 2, 5, 4]
    positions = np.stack([pose.nose, pose.tail[:, 0], *(leg.paw for leg in pose.legs)], axis=1)
    points = positions[:, order]  # (frames, 6, 2)
    shares = visible_shares(pose, body)[:, order]  # (frames, 6)
    levels = [shares >= _CLEAR_SHARE, shares >= _PARTLY_SHARE, shares > 0]
    seen = np.select(levels, [CLEAR, PARTLY, EDGE], HIDDEN).astype(np.int8)
    return PaintedWorld(facing, points, seen, pose, body, rng)
