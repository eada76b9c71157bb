"""Real worlds of behavior tracking: two courting flies, filmed from above in infrared light.

The data are 1,100 frames at 15 per second. The camera follows the pair, so that the ground moves.
What the data do not say is decided here:

- Front and back are the head and the tip of the abdomen, where a network found them and told the
  flies apart; no person has placed them in every frame. In the 10 frames in which people placed
  every point themselves, half of these points are within 1.9 px of the network's and 95 % within
  5.2 px of the video, which is 4.4 px on the canvas at most. The abdomen ends beneath the wings,
  which are longer. Frames in which the network found no head or no abdomen are not used.
- The flies touch, but do not cover each other. They are crossing while any end of one is within
  25 px of an end of the other.
- Worlds in which a fly moves more than half its distance to the other from one frame to the next
  are not used, as identities could not be told.

Splits share no span of time, and have a second between them, but they show the same two flies.
Augmentation: crop and scale, flips and quarter turns, time step, which fly is the first, and
contrast.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lastmile.datasets import flies
from lastmile.datasets.archives import joint_digest
from lastmile.datasets.cache import DataError
from lastmile.datasets.images import contrast, shown
from lastmile.datasets.video import read_luma
from lastmile.screen import CANVAS
from lastmile.tasks.behavior_tracking.painting import SPECIES
from lastmile.tasks.behavior_tracking.world import DIFFICULTIES, RADIUS, BehaviorTrackingWorld

ARCHIVES = (flies.ARCHIVE,)

ENDS = ("head", "abdomen")
"""Front and back, as the data call them."""
THINNED = 3
"""Frames of the video for one that is kept."""
STEPS = (1, 4)
"""Smallest and largest number of kept frames from one frame of a world to the next."""
LEAST_SIDE = 300.0
"""Smallest side of a crop, px of the video."""

_BORDER = 10.0  # smallest distance of any point from the border, logical px
_CLOSE = 25.0  # ends closer than this make a crossing, logical px
_HOP = 0.5  # largest motion, as a share of the distance to the other fly
_TRAVEL = 30.0  # one fly moves at least this far in all, unless there is no such world, logical px


class Pair(NamedTuple):
    """The data.

    Attributes:
        frames: (n, rows, columns) uint8, brightness; 16 is black.
        numbers: (n,) which frames of the video they are.
        ends: (n, 2, 2, 2) front and back of each fly, px from the corner; NaN if unknown.
        digest: Digest of the data.
    """

    frames: np.ndarray
    numbers: np.ndarray
    ends: np.ndarray
    digest: str


@dataclass(frozen=True, eq=False)
class RealBehaviorTrackingWorld(BehaviorTrackingWorld):
    """A crop of the video.

    Attributes:
        data: Digest of the data it was made from.
        pixels: Digest of its frames: how a video is decoded is not ours.
        image_crop: (frames, side, side) uint8, brightness at the resolution of the data.
        image_gamma: Exponent of the contrast.
    """

    data: str
    pixels: str
    image_crop: np.ndarray
    image_gamma: float

    @cached_property
    def image_frames(self) -> np.ndarray:
        """The frames, (frames, 256, 256, 3) uint8."""
        table = contrast(self.image_gamma, flies.BLACK, flies.WHITE)
        return shown(self.image_crop, table, CANVAS)


def read(folder: Path) -> Pair:
    """Read every third frame of the video, and where heads and abdomens are.

    Raises:
        DataError: A file is missing, damaged or of another kind, or both do not fit together.
    """
    tracks = flies.read_tracks(folder)
    missing = [name for name in ENDS if name not in tracks.names]
    if missing:
        raise DataError(f"{folder / flies.LABELS}: has no key point '{missing[0]}'")
    kept = np.flatnonzero(tracks.frames % THINNED == 0)
    numbers = tracks.frames[kept]
    parts = [tracks.names.index(name) for name in ENDS]
    frames = read_luma(folder / flies.VIDEO, numbers.tolist())
    return Pair(frames, numbers, tracks.xy[kept][:, :, parts], joint_digest(ARCHIVES))


def make_world(
    data: Pair, rng: np.random.Generator, split: str, difficulty: str
) -> RealBehaviorTrackingWorld:
    """Make a world of a crop of the video. See `lastmile.tasks.real`.

    Raises:
        DataError: The data are too short for the split, or no crop of them suits the task.
    """
    begin, stop = np.searchsorted(data.numbers, flies.SPANS[split]).tolist()
    fewest, most = dict(DIFFICULTIES[difficulty].frames)[flies.FLIES]
    count = int(rng.integers(fewest, most + 1))
    longest = (stop - begin - 1) // (count - 1)
    if longest < STEPS[0]:
        raise DataError(f"the video has {stop - begin} frames for split '{split}': expected more")
    for attempt in range(400):
        step = min(int(rng.integers(STEPS[0], STEPS[1] + 1)), longest)
        first = begin + int(rng.integers(stop - begin - step * (count - 1)))
        times = first + step * np.arange(count)
        crop, points = _crop(data, times, rng)
        if crop is not None and _is_suitable(points, still=attempt >= 200):
            break
    else:
        raise DataError(f"no crop of the video suits the task in split '{split}'")

    pixels = hashlib.blake2b(np.ascontiguousarray(crop).tobytes(), digest_size=8).hexdigest()
    unused = np.zeros((count, flies.FLIES))
    return RealBehaviorTrackingWorld(
        points=points,
        center=points.mean(2),
        crossing=_between(points).min((1, 2)) < _CLOSE,
        species=SPECIES.index("fly"),
        image_poses=(unused, unused, unused),
        image_rng=rng,
        data=data.digest,
        pixels=pixels,
        image_crop=crop,
        image_gamma=float(rng.uniform(0.6, 0.9)),
    )


def _crop(
    data: Pair, times: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray | None, np.ndarray]:
    """Draw a crop that holds both flies in all frames, turned and flipped.

    Returns:
        (frames, side, side) uint8, or None if there is none; and the points on the canvas,
        (frames, 2, 2, 2).
    """
    ends = data.ends[times]
    size = np.array(data.frames.shape[:0:-1])  # columns, rows
    side = int(rng.uniform(min(LEAST_SIDE, *size), min(size)))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    order, places = rng.permutation(flies.FLIES), rng.random(2)
    if np.isnan(ends).any():
        return None, ends
    border = _BORDER * side / CANVAS
    least = np.maximum(np.ceil(ends.max((0, 1, 2)) + border - side), 0)
    most = np.minimum(np.floor(ends.min((0, 1, 2)) - border), size - side)
    if (least > most).any():
        return None, ends
    left, top = (least + np.floor(places * (most - least + 1))).astype(int).tolist()

    crop = data.frames[times, top : top + side, left : left + side]
    xy = (ends[:, order] - (left, top)) * (CANVAS / side)
    if flip:
        crop, xy = crop[:, :, ::-1], np.stack([CANVAS - xy[..., 0], xy[..., 1]], -1)
    for _ in range(turns):  # a quarter turn against the clock, as np.rot90
        xy = np.stack([xy[..., 1], CANVAS - xy[..., 0]], -1)
    return np.rot90(crop, turns, (1, 2)), xy


def _between(points: np.ndarray) -> np.ndarray:
    """Return the distances of the ends of one fly from those of the other, (frames, 2, 2)."""
    gaps = points[:, 0, :, None] - points[:, 1, None]
    distances: np.ndarray = np.hypot(gaps[..., 0], gaps[..., 1])
    return distances


def _is_suitable(points: np.ndarray, still: bool) -> bool:
    """Return whether a person can tell ends and flies, and, unless `still`, there is motion."""
    center = points.mean(2)  # (frames, 2, 2)
    hops = np.hypot(*np.moveaxis(np.diff(center, axis=0), -1, 0))  # (frames - 1, 2)
    apart = np.hypot(*np.moveaxis(center[:, 0] - center[:, 1], -1, 0))  # (frames,)
    told = (hops <= _HOP * apart[:-1, None]).all() and (hops <= _HOP * apart[1:, None]).all()
    moves = bool(still or hops.sum(0).max() >= _TRAVEL)
    return bool(told and moves and _between(points).min() > 2.2 * RADIUS)
