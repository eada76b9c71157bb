"""The world of object exploration: a star-shaped solid with knobs, pits and patches of bars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.object_exploration.render import axes

YAWS = 12
"""Steps of 30 degrees round the object."""
FACING = 32.0
"""A feature is seen well from sides within this many degrees of it: where the lamp lights it fully."""
KNOB, PIT, BARS = 1, 2, 4
"""Kinds of features, as bits."""


class Class(NamedTuple):
    """label: of its button. beside: the class whose button stands next to it."""

    label: str
    beside: int


CLASSES = {
    KNOB: Class("Knobs", PIT),
    PIT: Class("Pits", KNOB),
    BARS: Class("Bars", PIT),
    KNOB | PIT: Class("Knob+pit", KNOB | BARS),
    KNOB | BARS: Class("Knob+bar", KNOB | PIT),
    PIT | BARS: Class("Pit+bar", KNOB | BARS),
}
"""The classes by the kinds of features that an object of the class has, in the order of their buttons."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """levels: steps of pitch up and down. common, rare: smallest and largest number of features of the common and of the rare kind.
    stains: flat dark spots."""

    levels: int
    common: tuple[int, int]
    rare: tuple[int, int]
    stains: tuple[int, int]


DIFFICULTIES = {
    "short": Difficulty(levels=1, common=(8, 10), rare=(1, 1), stains=(2, 4)),
    "full": Difficulty(levels=2, common=(11, 14), rare=(1, 1), stains=(4, 6)),
}

_ROWS, _COLUMNS, _MARGIN = 160, 320, 2
_RADIUS = np.radians(10.5)  # of knobs and pits
_PATCH = np.radians(13.0)  # of a patch of bars
_HIDDEN = 65.0  # the rare features are at least this many degrees off the first line of sight


@dataclass(frozen=True, eq=False)
class ObjectExplorationWorld:
    """kinds: the kinds of features of the object, a key of CLASSES. yaw: of the first side. directions: (n, 3) of features, feature_kinds: (n,).
    evidence: (sides,) kinds seen well from each side. image_*: radius (rows, columns), skin = normal and albedo (rows, columns, 4) over latitude
    and longitude with `margin` columns repeated at both ends, tint (3,), grain (256, 256, 3)."""

    levels: int
    kinds: int
    yaw: int
    directions: np.ndarray
    feature_kinds: np.ndarray
    evidence: tuple[int, ...]
    image_radius: np.ndarray
    image_skin: np.ndarray
    image_tint: np.ndarray
    image_grain: np.ndarray
    margin: int = _MARGIN

    @property
    def sides(self) -> int:
        return YAWS * (2 * self.levels + 1)

    def side(self, yaw: int, pitch: int) -> int:
        """Number of a side."""
        return YAWS * (pitch + self.levels) + yaw

    def evident(self, seen: int) -> int:
        """The kinds of features that are seen well from any of these sides (a bit each)."""
        return _evident(self, seen)


@lru_cache(maxsize=4096)
def _evident(world: ObjectExplorationWorld, seen: int) -> int:
    kinds = 0
    for side, shown in enumerate(world.evidence):
        if seen >> side & 1:
            kinds |= shown
    return kinds


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ObjectExplorationWorld:
    levels = difficulty.levels
    kinds = list(CLASSES)[int(rng.integers(len(CLASSES)))]
    parts = [kind for kind in (KNOB, PIT, BARS) if kind & kinds]
    common = parts[int(rng.integers(len(parts)))]
    rare = kinds & ~common
    yaw = int(rng.integers(YAWS))
    few, many = (
        int(rng.integers(low, high + 1)) for low, high in (difficulty.rare, difficulty.common)
    )
    directions = _scatter(
        rng,
        levels,
        yaw,
        few if rare else 0,
        many + int(rng.integers(difficulty.stains[0], difficulty.stains[1] + 1)),
    )
    feature_kinds = np.zeros(len(directions), np.int64)  # 0: a stain
    first = few if rare else 0
    feature_kinds[:first] = rare
    feature_kinds[first : first + many] = common
    sides = np.array(
        [axes(side % YAWS, side // YAWS - levels)[2] for side in range(YAWS * (2 * levels + 1))]
    )
    angles = np.degrees(np.arccos(np.clip(sides @ directions.T, -1, 1)))  # (sides, features)
    evidence = tuple(
        int(np.bitwise_or.reduce(feature_kinds[row <= FACING], initial=0)) for row in angles
    )
    radius, skin = _surface(rng, directions, feature_kinds)
    tint = 232 * np.array([1.0, rng.uniform(0.80, 0.95), rng.uniform(0.60, 0.85)], np.float32)
    if rng.random() < 0.4:
        tint = tint[::-1].copy()
    grain = rng.integers(0, 9, (CANVAS, CANVAS), dtype=np.uint8)
    return ObjectExplorationWorld(
        levels,
        kinds,
        yaw,
        directions,
        feature_kinds,
        evidence,
        radius,
        skin,
        tint,
        np.repeat(grain[..., None], 3, 2),
    )


def _scatter(
    rng: np.random.Generator, levels: int, yaw: int, hidden: int, others: int
) -> np.ndarray:
    """Directions of features, (hidden + others, 3), well apart; the hidden ones first, the rest as even as they come, in an order in which
    neighbors are far from each other. All can be seen well from some side."""
    top = np.sin(np.radians(30 * levels + 16))
    apart = np.cos(np.radians(27.0))
    front = axes(yaw, 0)[2]
    height = rng.uniform(-top, top, 600)
    turn = rng.uniform(0, 2 * np.pi, 600)
    flat = np.sqrt(1 - height**2)
    candidates = np.stack([flat * np.sin(turn), height, flat * np.cos(turn)], 1)
    unseen = candidates[candidates @ front < np.cos(np.radians(_HIDDEN))]
    chosen = list(unseen[:1]) if hidden else [candidates[0]]
    closest = candidates @ chosen[0]
    while len(chosen) < hidden + others:
        # the farthest of a few candidates from all that stand: even, yet never a lattice
        pool = rng.integers(0, len(candidates), 60)
        best = int(pool[closest[pool].argmin()])
        if closest[best] > apart:
            best = int(closest.argmin())
        chosen.append(candidates[best])
        closest = np.maximum(closest, candidates @ candidates[best])
    return np.array(chosen)


def _surface(
    rng: np.random.Generator, directions: np.ndarray, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Radius (rows, columns + 2 margins) and skin, normal and albedo (rows, columns + 2 margins, 4), over latitude (from the top) and longitude."""
    latitude = (np.pi / 2 - (np.arange(_ROWS) + 0.5) * np.pi / _ROWS).astype(np.float32)
    longitude = ((np.arange(_COLUMNS) + 0.5) * 2 * np.pi / _COLUMNS).astype(np.float32)
    flat, height = np.cos(latitude)[:, None], np.sin(latitude)[:, None]
    out = np.stack(
        [
            flat * np.sin(longitude),
            np.broadcast_to(height, (_ROWS, _COLUMNS)),
            flat * np.cos(longitude),
        ],
        2,
    )  # (rows, columns, 3)
    lumps, mottle = _waves(rng, out, 6, (1.5, 3.0)), _waves(rng, out, 8, (5.0, 9.0))
    stretch = 1 + rng.uniform(-0.07, 0.07, 3).astype(np.float32)
    radius = 0.97 * (1 + 0.028 * lumps) / np.sqrt(((out / stretch) ** 2).sum(2))
    albedo = 0.80 + 0.05 * mottle
    relief = np.zeros_like(radius)
    for direction, kind in zip(directions.astype(np.float32), kinds):
        away = float(np.arcsin(direction[1]))
        rows = np.flatnonzero(np.abs(latitude - away) < 0.36)
        part = slice(rows[0], rows[-1] + 1)
        angle = np.arccos(np.clip(out[part] @ direction, -1, 1))
        if kind in (KNOB, PIT):
            wide = _RADIUS * rng.uniform(0.92, 1.1)
            dome = np.exp(-((angle / wide) ** 4))
            relief[part] += (0.15 if kind == KNOB else -0.15) * dome
            albedo[part] += (0.10 if kind == KNOB else -0.16) * dome
        elif kind == BARS:
            tilt = rng.uniform(0, np.pi)
            east = np.cross([0, 1, 0], direction)
            east /= np.linalg.norm(east)
            across = np.cos(tilt) * east + np.sin(tilt) * np.cross(direction, east)
            bars = np.cos(
                out[part] @ across.astype(np.float32) * np.float32(2 * np.pi / np.radians(8.6))
            )
            inside = np.clip((_PATCH - angle) * 40 + 0.5, 0, 1)
            albedo[part] -= inside * (0.24 + 0.36 * np.clip(2.0 * bars, -1, 1) - 0.1)
        else:
            albedo[part] -= rng.uniform(0.14, 0.22) * np.clip(
                (_RADIUS * rng.uniform(0.7, 1.1) - angle) * 12 + 0.5, 0, 1
            )
    radius = (radius + relief).astype(np.float32)
    wrapped = np.pad(radius, ((0, 0), (_MARGIN, _MARGIN)), mode="wrap")
    east = (
        (wrapped[:, _MARGIN + 1 : -_MARGIN + 1] - wrapped[:, _MARGIN - 1 : -_MARGIN - 1])
        * np.float32(_COLUMNS / (4 * np.pi))
        / flat
    )
    north = -np.gradient(radius, axis=0) * np.float32(_ROWS / np.pi)
    to_east = np.stack([np.cos(longitude), np.zeros_like(longitude), -np.sin(longitude)], 1)[
        None
    ]  # (1, columns, 3)
    to_north = np.stack(
        [
            -height * np.sin(longitude),
            np.broadcast_to(flat, (_ROWS, _COLUMNS)),
            -height * np.cos(longitude),
        ],
        2,
    )
    normal = radius[..., None] * out - east[..., None] * to_east - north[..., None] * to_north
    normal /= np.sqrt((normal**2).sum(2, keepdims=True))
    skin = np.concatenate([normal, np.clip(albedo, 0.12, 1.0)[..., None]], 2).astype(np.float32)
    return wrapped, np.pad(skin, ((0, 0), (_MARGIN, _MARGIN), (0, 0)), mode="wrap")


def _waves(
    rng: np.random.Generator, out: np.ndarray, count: int, frequency: tuple[float, float]
) -> np.ndarray:
    """A smooth random field over directions (rows, columns, 3): plane waves of random directions, of standard deviation near 1."""
    ways = rng.standard_normal((count, 3))
    ways *= (rng.uniform(*frequency, count) / np.linalg.norm(ways, axis=1))[:, None]
    phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    coarse = cv2.resize(
        out, (_COLUMNS // 4, _ROWS // 4), interpolation=cv2.INTER_AREA
    )  # the middles of blocks of 4 x 4
    field = (
        np.sin(coarse @ ways.T.astype(np.float32) + phase).sum(-1) * np.sqrt(2 / count)
    ).astype(np.float32)
    field = np.pad(field, ((0, 0), (1, 1)), mode="wrap")
    return cv2.resize(field, (_COLUMNS + 8, _ROWS), interpolation=cv2.INTER_CUBIC)[:, 4:-4]
