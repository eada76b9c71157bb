"""Real worlds of limb tracking: one of two courting flies, with the tips of its six legs.

The data are the 70 frames of a video, filmed from above in infrared light, in which people placed
24 key points on each of two flies; in 10 of them from nothing, in the others by mending what a
network had found. Head, tip of the abdomen and the tips of the legs are marked here. How exactly
they can be marked, the 10 frames say: 95 % of the network's points are within 4.1 px of people's,
4.9 px on the canvas at most; the tip of the abdomen is the least certain. What the data do not say
is decided here:

- The labelled frames are about a second apart, and the frames of a world are such frames in their
  order. The picture turns and moves with the fly, so that it stays in place and only poses change.
- Which fly of a frame is which: the nearest of the network's two tracks says it.
- A key point that people called not visible is hidden. The tip of a leg that they placed within
  16.5 px of the middle line of body and wings is beneath them: at most its edge shows, so that it
  may be marked or called hidden. All others are clear.
- Where a tip is more than 10 px beyond that line, legs were mixed up: such frames, and frames
  without a head or an abdomen, are not used.
- The fly in the middle is the one to be marked. What is nearer to the other one is darker.

Splits share no span of time, and have a second between them, but they show the same two flies.
Augmentation: direction, mirror images (with left and right exchanged), place, scale and contrast.
In `short` worlds the fly heads to the left.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from lastmile.datasets import flies
from lastmile.datasets.archives import joint_digest
from lastmile.datasets.cache import DataError
from lastmile.datasets.images import contrast
from lastmile.datasets.video import read_luma
from lastmile.screen import CANVAS
from lastmile.tasks.limb_tracking.world import (
    CLEAR,
    DIFFICULTIES,
    EDGE,
    HIDDEN,
    LimbTrackingWorld,
    Skeleton,
)

ARCHIVES = (flies.ARCHIVE,)

FLY = Skeleton(
    names=("Head", "Rear", "L1", "R1", "L2", "R2", "L3", "R3"),
    words=(
        "front of the head",
        "tip of the abdomen",
        "tip of its left fore leg",
        "tip of its right fore leg",
        "tip of its left mid leg",
        "tip of its right mid leg",
        "tip of its left hind leg",
        "tip of its right hind leg",
    ),
    partner=(None, None, 3, 2, 5, 4, 7, 6),
    colors=(
        (160, 240, 60),
        (255, 90, 230),
        (70, 130, 255),
        (255, 60, 50),
        (170, 130, 255),
        (255, 225, 60),
        (50, 225, 240),
        (255, 165, 20),
    ),
    groups=(("Body", 2), ("Fore legs", 2), ("Mid legs", 2), ("Hind legs", 2)),
)
"""The key points of a fly: front of the head, tip of the abdomen, and the tips of the legs. Those
are numbered from the front, as usual, and a left leg comes before the right one."""
SOURCES = (
    "head",
    "abdomen",
    "forelegL3",
    "forelegR3",
    "midlegL3",
    "midlegR3",
    "hindlegL3",
    "hindlegR3",
)
"""The same key points, as the data call them."""
BONES = (
    ("abdomen", "thorax", "neck", "head"),
    ("thorax", "wingL"),
    ("thorax", "wingR"),
    *(
        ("thorax", *(f"{leg}leg{side}{joint}" for joint in (1, 2, 3)))
        for leg in ("fore", "mid", "hind")
        for side in "LR"
    ),
)
"""Chains of key points along which a fly lies."""
FRAMES = {"short": DIFFICULTIES["short"].frames, "full": (6, 8)}
"""Smallest and largest number of frames by difficulty; eight are all that a split may have."""

_BENEATH = 16.5  # tips closer to the middle line than this are beneath the body, px of the video
_MIXED = 10.0  # tips farther beyond it than this are of another leg, px of the video
_BODY = (-62.0, 25.0)  # where body and wings are on that line, from the middle, px of the video
_SCALE = (0.95, 1.2)  # smallest and largest, logical px per px of the video
_BORDER = 9.0  # smallest distance of a key point from the border, logical px
_DIM = 0.3  # brightness of what is nearer to the other fly
_NOWHERE = -1000.0  # where hidden key points are, far from every click


class Poses(NamedTuple):
    """The data.

    Attributes:
        frames: (n, rows, columns) uint8, brightness; 16 is black.
        numbers: (n,) which frames of the video they are.
        xy: (n, 2, k, 2) all key points of each fly, px from the corner; NaN where there is none.
        placed: (n, 2, k) bool, whether people saw them.
        parts: (8,) which of them are marked.
        seen: (n, 2, 8) int8, how well those can be seen.
        usable: (n, 2) bool, whether the key points of a fly can be used.
        bones: Chains of them along which a fly lies.
        digest: Digest of the data.
    """

    frames: np.ndarray
    numbers: np.ndarray
    xy: np.ndarray
    placed: np.ndarray
    parts: np.ndarray
    seen: np.ndarray
    usable: np.ndarray
    bones: tuple[tuple[int, ...], ...]
    digest: str


@dataclass(frozen=True, eq=False)
class RealLimbTrackingWorld(LimbTrackingWorld):
    """Labelled frames of one fly.

    Attributes:
        data: Digest of the data it was made from.
        pixels: Digest of its frames: how a video is decoded is not ours.
        image_raw: (frames, rows, columns) uint8, the frames of the video.
        image_maps: (frames, 2, 3) from the video to the canvas, px from the corner.
        image_chains: For each frame the chains of both flies, (points, 2) each, on the canvas.
        image_gamma: Exponent of the contrast.
    """

    skeleton: ClassVar[Skeleton] = FLY

    data: str
    pixels: str
    image_raw: np.ndarray
    image_maps: np.ndarray
    image_chains: tuple[tuple[list[np.ndarray], list[np.ndarray]], ...]
    image_gamma: float

    @cached_property
    def image_frames(self) -> np.ndarray:
        """The frames, (frames, 256, 256, 3) uint8."""
        table = contrast(self.image_gamma, flies.BLACK, flies.WHITE)
        frames = []
        for raw, matrix, chains in zip(self.image_raw, self.image_maps, self.image_chains):
            centered = matrix.copy()  # OpenCV counts from the center of the first pixel
            centered[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
            view = cv2.warpAffine(
                raw, centered, (CANVAS, CANVAS), flags=cv2.INTER_CUBIC, borderValue=(16.0,)
            )
            own, other = (_distance(one) for one in chains)
            share = np.clip(0.5 + (other - own) / 12, 0, 1) * (1 - _DIM) + _DIM
            gray = (cv2.LUT(view, table) * share).astype(np.uint8)
            frames.append(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))
        return np.stack(frames)


def _distance(chains: list[np.ndarray]) -> np.ndarray:
    """Return the distance of every pixel from a fly, (256, 256) float32."""
    pad = CANVAS // 2  # the other fly may be outside
    free: np.ndarray = np.full((2 * CANVAS, 2 * CANVAS), 255, np.uint8)
    paths = [np.round(chain + pad).astype(np.int32) for chain in chains]
    cv2.polylines(free, paths, False, 0, 3)
    distance: np.ndarray = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance[pad : pad + CANVAS, pad : pad + CANVAS]


def read(folder: Path) -> Poses:
    """Read the frames that people labelled.

    Raises:
        DataError: A file is missing, damaged or of another kind, or both do not fit together.
    """
    people, tracks = flies.read_people(folder), flies.read_tracks(folder)
    path = folder / flies.LABELS
    wanted = {*SOURCES, *(name for chain in BONES for name in chain)}
    if missing := sorted(wanted - set(people.names)):
        raise DataError(f"{path}: has no key point '{missing[0]}'")
    if not np.isin(people.frames, tracks.frames).all():
        raise DataError(f"{path}: has labels in a frame without tracks")
    number = people.names.index
    ends = [number("head"), number("abdomen")]
    found = tracks.xy[np.searchsorted(tracks.frames, people.frames)][:, :, ends]
    there = people.xy[:, :, ends]

    def away(order: list[int]) -> np.ndarray:
        """Return how far the flies, in an order, are from the tracks, (n,)."""
        total: np.ndarray = np.nansum((there[:, order] - found) ** 2, (1, 2, 3))
        return total

    exchanged = away([1, 0]) < away([0, 1])
    order = np.where(exchanged[:, None], [1, 0], [0, 1])  # (n, 2)
    rows = np.arange(len(order))[:, None]
    parts = np.array([number(name) for name in SOURCES])
    xy, placed = people.xy[rows, order], people.seen[rows, order]
    seen, usable = levels(xy[:, :, parts], placed[:, :, parts])
    return Poses(
        frames=read_luma(folder / flies.VIDEO, people.frames.tolist()),
        numbers=people.frames,
        xy=xy,
        placed=placed,
        parts=parts,
        seen=seen,
        usable=usable,
        bones=tuple(tuple(number(name) for name in chain) for chain in BONES),
        digest=joint_digest(ARCHIVES),
    )


def levels(xy: np.ndarray, placed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Judge how well key points can be seen.

    Args:
        xy: (n, 2, 8, 2) the key points that are marked.
        placed: (n, 2, 8) bool, whether people saw them.

    Returns:
        (n, 2, 8) int8 levels, and (n, 2) bool, whether the key points of a fly can be used.
    """
    head, tail = xy[:, :, 0], xy[:, :, 1]
    ahead = (head - tail) / np.hypot(*np.moveaxis(head - tail, -1, 0))[..., None]  # (n, 2, 2)
    away = xy - ((head + tail) / 2)[:, :, None]  # (n, 2, 8, 2)
    along = (away * ahead[:, :, None]).sum(-1)
    # To the left of the fly: rows count downwards.
    left = away[..., 0] * ahead[:, :, None, 1] - away[..., 1] * ahead[:, :, None, 0]
    side = np.array([0 if b is None else 1 if a < b else -1 for a, b in enumerate(FLY.partner)])
    outward = left * side  # (n, 2, 8), 0 for head and abdomen
    body = (along > _BODY[0]) & (along < _BODY[1]) & (side != 0)
    with np.errstate(invalid="ignore"):
        beneath = body & (np.abs(outward) < _BENEATH)
        mixed = placed & (outward < -_MIXED)
    seen = np.where(placed, np.where(beneath, EDGE, CLEAR), HIDDEN).astype(np.int8)
    usable: np.ndarray = placed[:, :, :2].all(2) & ~mixed.any(2)
    return seen, usable


def make_world(
    data: Poses, rng: np.random.Generator, split: str, difficulty: str
) -> RealLimbTrackingWorld:
    """Make a world of labelled frames of one fly. See `lastmile.tasks.real`.

    Raises:
        DataError: The split has fewer than two labelled frames that can be used.
    """
    begin, stop = np.searchsorted(data.numbers, flies.SPANS[split]).tolist()
    fly = int(rng.integers(flies.FLIES))
    ends = data.parts[:2]
    kept = begin + np.flatnonzero(data.usable[begin:stop, fly])
    fewest, most = FRAMES[difficulty]
    count = min(int(rng.integers(fewest, most + 1)), len(kept))
    if count < 2:
        raise DataError(
            f"the video has {len(kept)} labelled frames for split '{split}': expected 2"
        )
    first = int(rng.integers(len(kept) - count + 1))
    times = kept[first : first + count]

    seen = data.seen[times, fly]  # (frames, 8)
    there = seen != HIDDEN
    xy = data.xy[times]
    head, tail = xy[:, fly, ends[0]], xy[:, fly, ends[1]]
    center = (head + tail) / 2  # (frames, 2)
    reach = np.hypot(*np.moveaxis(xy[:, fly][:, data.parts] - center[:, None], -1, 0))
    place = CANVAS / 2 + rng.uniform(-6, 6, 2)
    room = CANVAS / 2 - np.abs(place - CANVAS / 2).max() - _BORDER
    scale = min(rng.uniform(*_SCALE), room / reach[there].max())
    # 0 heads to the right; the first axis of a fly is from its tail to its head.
    heading = np.pi + rng.uniform(-0.3, 0.3) if difficulty == "short" else rng.uniform(0, 2 * np.pi)
    mirrored = bool(rng.integers(2))

    forward = (head - tail) / np.hypot(*(head - tail).T)[:, None]
    sideways = np.stack([-forward[:, 1], forward[:, 0]], -1) * (-1 if mirrored else 1)
    cos, sin = np.cos(heading) * scale, np.sin(heading) * scale
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.stack([forward, sideways], 1)  # (frames, 2, 2)
    shift = place - np.einsum("tij,tj->ti", turn, center)
    maps = np.concatenate([turn, shift[..., None]], -1)
    canvas = np.einsum("tij,tfkj->tfki", turn, xy) + shift[:, None, None]  # (frames, 2, k, 2)

    points = np.where(there[..., None], canvas[:, fly][:, data.parts], _NOWHERE)
    if mirrored:
        sides = [k if other is None else other for k, other in enumerate(FLY.partner)]
        points, seen = points[:, sides], seen[:, sides]
    raw = data.frames[times]
    return RealLimbTrackingWorld(
        facing=1 if np.cos(heading) > 0 else -1,
        points=points,
        seen=seen,
        data=data.digest,
        pixels=hashlib.blake2b(raw.tobytes(), digest_size=8).hexdigest(),
        image_raw=raw,
        image_maps=maps,
        image_chains=tuple(
            (_chains(data, *one, fly), _chains(data, *one, 1 - fly))
            for one in zip(canvas, data.placed[times])
        ),
        image_gamma=float(rng.uniform(0.45, 0.65)),
    )


def _chains(data: Poses, xy: np.ndarray, placed: np.ndarray, fly: int) -> list[np.ndarray]:
    """Return the chains along which a fly lies in a frame, (points, 2) each.

    Args:
        data: The data.
        xy: (2, k, 2) all key points of both flies.
        placed: (2, k) bool, whether people saw them.
        fly: Which fly.
    """
    chains = [np.array(chain) for chain in data.bones]
    return [xy[fly, chain[placed[fly, chain]]] for chain in chains]
