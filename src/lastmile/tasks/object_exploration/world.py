"""The world of object exploration: a star-shaped solid with knobs, pits and patches of bars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

YAWS = 12
"""Number of steps of 30 degrees around the object."""
FACING = 32.0
"""A feature is seen well from sides within this angle of it, degrees: there it is bright."""
KNOB = 1
"""Kind of feature, as a bit: a bump."""
PIT = 2
"""Kind of feature, as a bit: a hollow."""
BARS = 4
"""Kind of feature, as a bit: a patch of parallel bars."""


class Class(NamedTuple):
    """A class of objects.

    Attributes:
        label: Label of its button.
        beside: The class whose button is next to its own, a key of `CLASSES`.
    """

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
"""The classes by the kinds of features that their objects have, in the order of their buttons."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        levels: Steps of pitch up and down.
        common: Smallest and largest number of features of the common kind.
        rare: Smallest and largest number of features of the rare kind.
        stains: Smallest and largest number of flat dark spots.
    """

    levels: int
    common: tuple[int, int]
    rare: tuple[int, int]
    stains: tuple[int, int]


DIFFICULTIES = {
    "short": Difficulty(levels=1, common=(8, 10), rare=(1, 1), stains=(2, 4)),
    "full": Difficulty(levels=2, common=(11, 14), rare=(1, 1), stains=(4, 6)),
}

_ROWS = 160  # of the maps over latitude
_COLUMNS = 320  # of the maps over longitude
_MARGIN = 2  # columns repeated at both ends of the maps, so that interpolation wraps around
_RADIUS = np.radians(10.5)  # of knobs and pits
_PATCH = np.radians(13.0)  # radius of a patch of bars
_BAR = np.radians(8.6)  # distance from bar to bar
_HIDDEN = 65.0  # smallest angle between a rare feature and the first line of sight, degrees


@dataclass(frozen=True, eq=False)
class ObjectExplorationWorld:
    """A solid object with n features.

    The maps of its surface are over latitude (rows, from the upper pole) and longitude (columns,
    with `margin` columns repeated at both ends).

    Attributes:
        levels: Steps of pitch up and down.
        kinds: The kinds of features of the object, a key of `CLASSES`.
        yaw: Yaw of the side that is seen first.
        directions: (n, 3) directions of the features from the middle of the object.
        feature_kinds: (n,) their kinds; 0 is a stain.
        evidence: (sides,) kinds that are seen well from each side, a bit each.
        image_radius: (160, 324) float32 radius of the surface.
        image_skin: (160, 324, 4) float32 normal (3) and albedo (1) of the surface.
        image_tint: (3,) float32 color of the surface.
        image_grain: (256, 256, 3) uint8 noise of the camera.
        margin: Columns repeated at both ends of the maps.
    """

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
        """Number of sides that the object can be seen from."""
        return YAWS * (2 * self.levels + 1)

    def side(self, yaw: int, pitch: int) -> int:
        """Return the number of a side, given in steps of 30 degrees."""
        return YAWS * (pitch + self.levels) + yaw

    def evident(self, seen: int) -> int:
        """Return the kinds of features that are seen well from any of some sides.

        Args:
            seen: The sides, a bit each.

        Returns:
            The kinds, a bit each.
        """
        return _evident(self, seen)


@lru_cache(maxsize=4096)
def _evident(world: ObjectExplorationWorld, seen: int) -> int:
    kinds = 0
    for side, shown in enumerate(world.evidence):
        if seen >> side & 1:
            kinds |= shown
    return kinds


def axes(yaw: int, pitch: int) -> np.ndarray:
    """Return the axes of the view from one side, in coordinates of the object.

    Args:
        yaw: Steps of 30 degrees.
        pitch: Steps of 30 degrees.

    Returns:
        The directions to the right, up, and towards the viewer, (3, 3) float32.
    """
    a = yaw * np.pi / 6
    b = pitch * np.pi / 6
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    out = np.array([np.cos(b) * np.sin(a), np.sin(b), np.cos(b) * np.cos(a)])
    return np.stack([right, np.cross(out, right), out]).astype(np.float32)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ObjectExplorationWorld:
    """Return a random world."""
    levels = difficulty.levels
    kinds = list(CLASSES)[int(rng.integers(len(CLASSES)))]
    parts = [kind for kind in (KNOB, PIT, BARS) if kind & kinds]
    common = parts[int(rng.integers(len(parts)))]
    rare = kinds & ~common  # 0 if the object has one kind only
    yaw = int(rng.integers(YAWS))

    # Drawn in any case, so that objects of one kind and of two use the same random numbers.
    few = int(rng.integers(difficulty.rare[0], difficulty.rare[1] + 1))
    many = int(rng.integers(difficulty.common[0], difficulty.common[1] + 1))
    hidden = few if rare else 0
    others = many + int(rng.integers(difficulty.stains[0], difficulty.stains[1] + 1))
    directions = _scatter(rng, levels, yaw, hidden, others)
    feature_kinds = np.zeros(len(directions), np.int64)
    feature_kinds[:hidden] = rare
    feature_kinds[hidden : hidden + many] = common

    sides = np.array(
        [axes(side % YAWS, side // YAWS - levels)[2] for side in range(YAWS * (2 * levels + 1))]
    )
    angles = np.degrees(np.arccos(np.clip(sides @ directions.T, -1, 1)))  # (sides, features)
    evidence = tuple(
        int(np.bitwise_or.reduce(feature_kinds[row <= FACING], initial=0)) for row in angles
    )

    radius, skin = _surface(rng, directions, feature_kinds)
    tint = 222 * np.array([1.0, rng.uniform(0.95, 1.0), rng.uniform(0.86, 0.96)], np.float32)
    if rng.random() < 0.4:  # bluish instead of reddish
        tint = tint[::-1].copy()
    grain = rng.integers(0, 9, (CANVAS, CANVAS), dtype=np.uint8)
    return ObjectExplorationWorld(
        levels=levels,
        kinds=kinds,
        yaw=yaw,
        directions=directions,
        feature_kinds=feature_kinds,
        evidence=evidence,
        image_radius=radius,
        image_skin=skin,
        image_tint=tint,
        image_grain=np.repeat(grain[..., None], 3, 2),
    )


def example(kind: int) -> ObjectExplorationWorld:
    """Return a world whose object has one feature of a kind, in the middle of side (0, 0)."""
    directions = axes(0, 0)[2:].astype(np.float64)
    kinds = np.array([kind])
    radius, skin = _surface(np.random.default_rng(2), directions, kinds)
    tint = np.full(3, 222, np.float32)
    grain = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    evidence = (0,) * (3 * YAWS)
    return ObjectExplorationWorld(
        1, kind, 0, directions, kinds, evidence, radius, skin, tint, grain
    )


def _scatter(
    rng: np.random.Generator, levels: int, yaw: int, hidden: int, others: int
) -> np.ndarray:
    """Return directions of features that are well apart, (hidden + others, 3).

    All can be seen well from some side. The directions are spread evenly, and consecutive ones are
    far from each other, so any part of the sequence is spread evenly too.

    Args:
        rng: Random numbers.
        levels: Steps of pitch up and down.
        yaw: Yaw of the side that is seen first.
        hidden: Number of features hidden from the side that is seen first; they come first.
        others: Number of other features.
    """
    top = np.sin(np.radians(30 * levels + 16))
    apart = np.cos(np.radians(27.0))
    front = axes(yaw, 0)[2]

    height = rng.uniform(-top, top, 600)
    turn = rng.uniform(0, 2 * np.pi, 600)
    flat = np.sqrt(1 - height**2)
    candidates = np.stack([flat * np.sin(turn), height, flat * np.cos(turn)], 1)
    unseen = candidates[candidates @ front < np.cos(np.radians(_HIDDEN))]
    directions = list(unseen[:1]) if hidden else [candidates[0]]

    closest = candidates @ directions[0]  # cosine of the angle to the closest direction so far
    while len(directions) < hidden + others:
        # The farthest of a few candidates: the result is even, but never a lattice.
        pool = rng.integers(0, len(candidates), 60)
        best = int(pool[closest[pool].argmin()])
        if closest[best] > apart:
            best = int(closest.argmin())
        directions.append(candidates[best])
        closest = np.maximum(closest, candidates @ candidates[best])
    return np.array(directions)


def _surface(
    rng: np.random.Generator, directions: np.ndarray, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps of radius and of skin of a random object with given features.

    Args:
        rng: Random numbers.
        directions: (n, 3) directions of the features.
        kinds: (n,) their kinds.

    Returns:
        (rows, columns + 2 margins) float32 and (rows, columns + 2 margins, 4) float32.
    """
    latitude = (np.pi / 2 - (np.arange(_ROWS) + 0.5) * np.pi / _ROWS).astype(np.float32)
    longitude = ((np.arange(_COLUMNS) + 0.5) * 2 * np.pi / _COLUMNS).astype(np.float32)
    flat = np.cos(latitude)[:, None]
    height = np.sin(latitude)[:, None]
    out = np.stack(
        [
            flat * np.sin(longitude),
            np.broadcast_to(height, (_ROWS, _COLUMNS)),
            flat * np.cos(longitude),
        ],
        2,
    )  # (rows, columns, 3), the direction of each point

    # The lumpy body, then the features as relief and albedo.
    lumps = _waves(rng, out, 6, (1.5, 3.0))
    mottle = _waves(rng, out, 8, (5.0, 9.0))
    stretch = 1 + rng.uniform(-0.07, 0.07, 3).astype(np.float32)
    radius = 0.97 * (1 + 0.028 * lumps) / np.sqrt(((out / stretch) ** 2).sum(2))
    albedo = 0.80 + 0.05 * mottle
    relief = 0.003 * _granules(rng)
    for direction, kind in zip(directions.astype(np.float32), kinds):
        _add_feature(rng, relief, albedo, out, latitude, direction, int(kind))
    radius = (radius + relief).astype(np.float32)

    wrapped = np.pad(radius, ((0, 0), (_MARGIN, _MARGIN)), mode="wrap")
    normal = _normals(radius, wrapped, out, longitude, flat, height)
    skin = np.concatenate([normal, np.clip(albedo, 0.12, 1.0)[..., None]], 2).astype(np.float32)
    return wrapped, np.pad(skin, ((0, 0), (_MARGIN, _MARGIN), (0, 0)), mode="wrap")


def _add_feature(
    rng: np.random.Generator,
    relief: np.ndarray,
    albedo: np.ndarray,
    out: np.ndarray,
    latitude: np.ndarray,
    direction: np.ndarray,
    kind: int,
) -> None:
    """Add a feature to the maps of relief and albedo, in place.

    Args:
        rng: Random numbers.
        relief: (rows, columns) height above the body.
        albedo: (rows, columns) albedo.
        out: (rows, columns, 3) direction of each point.
        latitude: (rows,) latitude of each row.
        direction: (3,) direction of the feature.
        kind: Its kind; 0 is a stain.
    """
    # Only the rows that the feature can reach are touched, which saves most of the time.
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
        bars = np.cos(out[part] @ across.astype(np.float32) * np.float32(2 * np.pi / _BAR))
        inside = np.clip((_PATCH - angle) * 40 + 0.5, 0, 1)
        albedo[part] -= inside * (0.24 + 0.36 * np.clip(2.0 * bars, -1, 1) - 0.1)
    else:
        albedo[part] -= rng.uniform(0.14, 0.22) * np.clip(
            (_RADIUS * rng.uniform(0.7, 1.1) - angle) * 12 + 0.5, 0, 1
        )


def _normals(
    radius: np.ndarray,
    wrapped: np.ndarray,
    out: np.ndarray,
    longitude: np.ndarray,
    flat: np.ndarray,
    height: np.ndarray,
) -> np.ndarray:
    """Return the normals of a star-shaped surface, (rows, columns, 3).

    For radius r over directions `out`, the normal is parallel to r out - dr/d(east) - dr/d(north).

    Args:
        radius: (rows, columns) radius.
        wrapped: (rows, columns + 2 margins) the same, wrapped around.
        out: (rows, columns, 3) direction of each point.
        longitude: (columns,) longitude of each column.
        flat: (rows, 1) cosine of the latitude.
        height: (rows, 1) sine of the latitude.
    """
    # Derivatives of the radius per radian; a degree of longitude is shorter near the poles.
    east = (
        (wrapped[:, _MARGIN + 1 : -_MARGIN + 1] - wrapped[:, _MARGIN - 1 : -_MARGIN - 1])
        * np.float32(_COLUMNS / (4 * np.pi))
        / flat
    )
    north = -np.gradient(radius, axis=0) * np.float32(_ROWS / np.pi)

    to_east = np.stack([np.cos(longitude), np.zeros_like(longitude), -np.sin(longitude)], 1)[None]
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
    return normal


def _granules(rng: np.random.Generator) -> np.ndarray:
    """Return the fine roughness of the surface, (rows, columns), standard deviation near 1."""
    noise = rng.standard_normal((_ROWS, _COLUMNS), dtype=np.float32)
    noise = np.pad(noise, ((0, 0), (8, 8)), mode="wrap")
    return 3.2 * cv2.GaussianBlur(noise, (0, 0), 0.9)[:, 8:-8]


def _waves(
    rng: np.random.Generator, out: np.ndarray, count: int, frequency: tuple[float, float]
) -> np.ndarray:
    """Return a smooth random field over directions, (rows, columns), standard deviation near 1.

    The field is a sum of plane waves, computed at a quarter of the resolution.

    Args:
        rng: Random numbers.
        out: (rows, columns, 3) direction of each point.
        count: Number of waves.
        frequency: Smallest and largest frequency, radians per radius.
    """
    vectors = rng.standard_normal((count, 3))
    vectors *= (rng.uniform(*frequency, count) / np.linalg.norm(vectors, axis=1))[:, None]
    phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    # Means over blocks of 4 x 4.
    coarse = cv2.resize(out, (_COLUMNS // 4, _ROWS // 4), interpolation=cv2.INTER_AREA)
    field = (
        np.sin(coarse @ vectors.T.astype(np.float32) + phase).sum(-1) * np.sqrt(2 / count)
    ).astype(np.float32)
    field = np.pad(field, ((0, 0), (1, 1)), mode="wrap")
    return cv2.resize(field, (_COLUMNS + 8, _ROWS), interpolation=cv2.INTER_CUBIC)[:, 4:-4]
