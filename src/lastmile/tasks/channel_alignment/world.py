"""The world of channel alignment: two stains of the same tissue, the second one deformed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.channel_alignment.registration import (
    GRID,
    GRID_STEP,
    Point,
    first_unpaired,
    registration_error,
    upsample,
)
from lastmile.tasks.task import RIGHT


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How many landmarks there are, and how strongly the second channel is deformed.

    Attributes:
        rows: Possible layouts of the landmarks, each as the number of landmarks in every row.
        elastic: Root mean square of the elastic part of the deformation, px.
    """

    rows: tuple[tuple[int, ...], ...]
    elastic: float


DIFFICULTIES = {
    "short": Difficulty(rows=((3, 3), (2, 2, 2)), elastic=2.5),
    "full": Difficulty(rows=((3, 3, 3), (3, 4, 3), (4, 3, 4), (4, 4, 4)), elastic=3.5),
}

RADIUS = 5.0
"""Largest distance between a point and the landmark or partner that it marks, logical px."""
SPACING = 32.0
"""Preferred smallest distance between a decoy and any other large cell, logical px."""
DECOYS = 2
"""Number of large cells in each channel that the other channel does not show."""

# The landmarks must move enough between the channels that the task cannot be done without looking,
# and not so far that partners are hard to find (px)
_MIN_SHIFT = 5.0
_MIN_MEAN_SHIFT = 10.0
_MAX_SHIFT = 34.0
_MAX_FIT_ERROR = 1.5  # registration error of perfect pairs, px; success needs less than 3 px

_PAD = 44  # px of scene around channel A, so that the deformed channel B has no empty border
_SIDE = CANVAS + 2 * _PAD
_SHIFT_BITS = 4  # sub-pixel bits of the coordinates given to OpenCV's drawing functions
_SUBPIXELS = 1 << _SHIFT_BITS


@dataclass(frozen=True, eq=False)
class ChannelAlignmentWorld:
    """Landmarks, decoys and the true deformation.

    Attributes:
        a: (n, 2) landmarks in A, in reading order.
        b: (n, 2) their partners in B.
        decoys_a: (2, 2) large cells that only A shows.
        decoys_b: (2, 2) large cells that only B shows.
        field: (33, 33, 2) points of B that correspond to the points of `GRID` in A.
        image_back: (33, 33, 2) points of A that correspond to the points of `GRID` in B.
        image_rng: Random numbers for the images.
    """

    a: np.ndarray
    b: np.ndarray
    decoys_a: np.ndarray
    decoys_b: np.ndarray
    field: np.ndarray
    image_back: np.ndarray
    image_rng: np.random.Generator

    @property
    def needed(self) -> int:
        """Number of pairs to place: one for every landmark."""
        return len(self.a)

    @property
    def image_a(self) -> np.ndarray:
        """Channel A, (256, 256, 3) uint8."""
        return self._images[0]

    @property
    def image_b(self) -> np.ndarray:
        """Channel B, (256, 256, 3) uint8."""
        return self._images[1]

    @cached_property
    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        # Drawn on first use, from a copy of the generator: the images must not depend on when
        return _render(
            copy.deepcopy(self.image_rng),
            self.a,
            self.b,
            self.decoys_a,
            self.decoys_b,
            self.image_back,
        )

    def landmark_at(self, u: float, v: float) -> int | None:
        """Return the landmark within RADIUS of a point of A (there is at most one), or None."""
        return _nearest(self.a, u, v)

    def partner(self, u: float, v: float) -> tuple[float, float]:
        """Return the position in B that corresponds to a point of A.

        If the point marks a landmark, this is the landmark's partner; otherwise it is the point
        itself, mapped to B.
        """
        return _partner(self, u, v)

    def next_landmark(self, points: tuple[Point, ...]) -> int | None:
        """Return the first landmark in reading order without a point in A, or None."""
        return _next_landmark(self, points)

    def verdicts(self, points: tuple[Point, ...]) -> tuple[str, ...]:
        """Judge each point, given the earlier ones: `right` or the kind of the mistake."""
        return _verdicts(self, points)


def _nearest(positions: np.ndarray, u: float, v: float) -> int | None:
    squared = (positions[:, 0] - u) ** 2 + (positions[:, 1] - v) ** 2
    nearest = int(squared.argmin())
    return nearest if squared[nearest] <= RADIUS**2 else None


@lru_cache(maxsize=2048)
def _partner(world: ChannelAlignmentWorld, u: float, v: float) -> tuple[float, float]:
    landmark = world.landmark_at(u, v)
    if landmark is not None:
        return float(world.b[landmark, 0]), float(world.b[landmark, 1])
    x, y = interpolate(world.field, np.array([[u, v]]))[0]
    return float(np.clip(x, 0, CANVAS - 1)), float(np.clip(y, 0, CANVAS - 1))


@lru_cache(maxsize=1024)
def _next_landmark(world: ChannelAlignmentWorld, points: tuple[Point, ...]) -> int | None:
    marked = {world.landmark_at(point.u, point.v) for point in points if point.channel == "A"}
    return next((k for k in range(len(world.a)) if k not in marked), None)


@lru_cache(maxsize=1024)
def _verdicts(world: ChannelAlignmentWorld, points: tuple[Point, ...]) -> tuple[str, ...]:
    # Recursive, so that a new point costs one judgment and the rest comes from the cache
    if not points:
        return ()
    earlier = points[:-1]
    return (*_verdicts(world, earlier), _judge(world, earlier, points[-1]))


def _judge(world: ChannelAlignmentWorld, earlier: tuple[Point, ...], point: Point) -> str:
    in_b = sum(other.channel == "B" for other in earlier)
    in_a = len(earlier) - in_b
    if point.channel != ("B" if in_a > in_b else "A") or (point.channel == "A" and in_a != in_b):
        return "lapse"

    if point.channel == "B":
        unpaired = first_unpaired(earlier)
        assert unpaired is not None  # else the point would be a lapse
        x, y = world.partner(unpaired.u, unpaired.v)
        if (x - point.u) ** 2 + (y - point.v) ** 2 <= RADIUS**2:
            return RIGHT
        cells = np.concatenate([world.b, world.decoys_b])
        return "slip" if _nearest(cells, point.u, point.v) is None else "confusion"

    landmark = world.landmark_at(point.u, point.v)
    if landmark is None:
        decoy = _nearest(world.decoys_a, point.u, point.v)
        return "slip" if decoy is None else "confusion"
    marked_before = any(
        other.channel == "A" and world.landmark_at(other.u, other.v) == landmark
        for other in earlier
    )
    return "confusion" if marked_before else RIGHT


def interpolate(grid_map: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (n, 2) points bilinearly with a (33, 33, 2) map, extrapolating beyond its border."""
    scaled = points / GRID_STEP
    corner = np.clip(np.floor(scaled).astype(np.int64), 0, len(grid_map) - 2)
    x, y = (scaled - corner).T[..., None]  # (n, 1) each
    i, j = corner[:, 1], corner[:, 0]
    upper = grid_map[i, j] * (1 - x) + grid_map[i, j + 1] * x
    lower = grid_map[i + 1, j] * (1 - x) + grid_map[i + 1, j + 1] * x
    mapped: np.ndarray = upper * (1 - y) + lower * y
    return mapped


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ChannelAlignmentWorld:
    """Draw landmarks and a deformation, again until the deformation suits the task.

    Args:
        rng: The world's own generator; it is kept for the images.
        difficulty: Layouts of the landmarks and strength of the deformation.
    """
    rows = difficulty.rows[int(rng.integers(len(difficulty.rows)))]
    elastic = difficulty.elastic
    while True:
        a = layout(rng, rows)
        back, field = deformation(rng, elastic)
        b = interpolate(field, a)
        shifts = np.hypot(*(b - a).T)
        inside = (b > 14).all() and (b < CANVAS - 14).all()
        true_pairs = tuple((u, v, x, y) for u, v, x, y in np.concatenate([a, b], 1).tolist())
        if (
            inside
            and shifts.min() > _MIN_SHIFT
            and shifts.mean() > _MIN_MEAN_SHIFT
            and shifts.max() < _MAX_SHIFT
            and registration_error(field, true_pairs) < _MAX_FIT_ERROR
        ):
            break
        elastic *= 0.97  # weaker deformations are accepted more easily

    # Decoys of B also keep away from the places where the decoys of A would be
    decoys_a = _decoys(rng, a)
    decoys_b = _decoys(rng, np.concatenate([b, interpolate(field, decoys_a)]))
    return ChannelAlignmentWorld(a, b, decoys_a, decoys_b, field, back, rng)


def layout(rng: np.random.Generator, rows: tuple[int, ...]) -> np.ndarray:
    """Return (n, 2) positions on a jittered grid: well spread, with an obvious reading order."""
    low = 30.0
    high = CANVAS - 30.0
    positions = []
    for row, count in enumerate(rows):
        v = low + (high - low) * row / (len(rows) - 1)
        for column in range(count):
            positions.append((low + (high - low) * (column + 0.1) / (count - 0.8), v))

    jitter = rng.uniform(-1, 1, (len(positions), 2)) * np.array([9.0, 10.0])
    return np.clip(np.array(positions) + jitter, 26, CANVAS - 26)


def deformation(rng: np.random.Generator, elastic: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw an affine map with a smooth elastic field.

    Returns:
        The map from B to A (by which B is drawn) and the map from A to B, (33, 33, 2) each.
    """
    angle = rng.normal(0, np.radians(4))
    shear = rng.normal(0, 0.025)
    scale = rng.uniform(0.95, 1.05, 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[scale[0], shear], [0, scale[1]]])

    direction = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(9, 17)
    shift = distance * np.array([np.cos(direction), np.sin(direction)])

    # The elastic field is a sum of three plane waves of about one period or less per canvas
    waves = rng.uniform(-1.1, 1.1, (3, 2)) * 2 * np.pi / CANVAS  # (wave, axis)
    phases = rng.uniform(0, 2 * np.pi, (3, 2))
    weights = rng.normal(0, 1, (3, 2))
    weights *= elastic / np.sqrt((weights**2).sum() / 2)
    middle = CANVAS / 2

    def to_a(points: np.ndarray) -> np.ndarray:
        angles = (points @ waves.T)[..., None] + phases  # (..., wave, axis)
        affine = (points - middle) @ matrix.T + middle + shift
        mapped: np.ndarray = affine + (weights * np.sin(angles)).sum(-2)
        return mapped

    # Invert by fixed-point iteration; the elastic part is small enough to converge quickly
    inverse = np.linalg.inv(matrix)
    field = GRID
    for _ in range(6):
        field = field - (to_a(field) - GRID) @ inverse.T
    return to_a(GRID), field


def _decoys(rng: np.random.Generator, occupied: np.ndarray) -> np.ndarray:
    """Place cells that only one channel shows, away from the occupied positions.

    Each is the first random candidate that keeps SPACING, or else the one with the largest gap.

    Args:
        rng: Source of the candidates.
        occupied: (n, 2) positions to keep away from.

    Returns:
        (DECOYS, 2) positions.
    """
    decoys: list[np.ndarray] = []
    for _ in range(DECOYS):
        taken = np.concatenate([occupied, *decoys])
        candidates = rng.uniform(20, CANVAS - 20, (60, 2))
        gaps = np.hypot(*(candidates[:, None] - taken[None]).T).min(0)  # (60,)
        free = gaps >= SPACING
        decoys.append(candidates[free][:1] if free.any() else candidates[gaps.argmax()][None])
    return np.concatenate(decoys)


def _render(
    rng: np.random.Generator,
    a: np.ndarray,
    b: np.ndarray,
    decoys_a: np.ndarray,
    decoys_b: np.ndarray,
    back: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw both channels, (256, 256, 3) uint8 each.

    A shows filled cell bodies, with vessels as dark gaps. B shows the outlines of cells and bright
    vessels. The small background cells differ between the channels.
    """
    tissue = cv2.resize(
        rng.normal(0, 1, (9, 9)).astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC
    )
    scene_a = np.clip(40 + 9 * tissue, 18, 70).astype(np.uint8)
    scene_b = np.clip(30 - 7 * tissue, 12, 60).astype(np.uint8)
    for _ in range(int(rng.integers(2, 4))):
        _draw_vessel(rng, scene_a, scene_b)

    # Small cells: a fifth of them show in both channels
    for u, v, radius, brightness, channel in rng.uniform(
        (0, 0, 1.5, 60, 0), (_SIDE, _SIDE, 3.2, 115, 1), (220, 5)
    ).tolist():
        center = (round(u * _SUBPIXELS), round(v * _SUBPIXELS))
        if channel < 0.7:
            size = round(radius * _SUBPIXELS)
            cv2.circle(scene_a, center, size, brightness, -1, cv2.LINE_AA, _SHIFT_BITS)
        if channel > 0.5:
            size = round((radius + 0.6) * _SUBPIXELS)
            cv2.circle(scene_b, center, size, 0.8 * brightness, 1, cv2.LINE_AA, _SHIFT_BITS)

    # Both scenes are in the coordinates of A: landmarks are drawn before B is deformed
    shapes = rng.permutation(np.arange(len(a)) % len(_SHAPES))
    angles = rng.uniform(0, 360, len(a))
    for (u, v), shape, angle in zip(a + _PAD, shapes, angles):
        _draw_cell(scene_a, u, v, int(shape), angle, 225, 0)
        _draw_cell(scene_b, u, v, int(shape), angle, 95, 235)
    decoy_shapes = rng.permutation(len(_SHAPES))  # no two decoys are alike
    for (u, v), shape in zip(decoys_a + _PAD, decoy_shapes):
        _draw_cell(scene_a, u, v, int(shape), rng.uniform(0, 360), 225, 0)

    sources = upsample(back) + _PAD
    channel_a = scene_a[_PAD:-_PAD, _PAD:-_PAD]
    channel_b = cv2.remap(scene_b, sources[..., 0], sources[..., 1], cv2.INTER_LINEAR)
    for (u, v), shape in zip(decoys_b, decoy_shapes[DECOYS:]):
        _draw_cell(channel_b, u, v, int(shape), rng.uniform(0, 360), 95, 235)

    noise = rng.standard_normal((2, CANVAS, CANVAS), dtype=np.float32)
    return (
        _colorize(channel_a, noise[0], (1.0, 0.35, 1.0)),
        _colorize(channel_b, noise[1], (0.35, 1.0, 0.35)),
    )


def _draw_vessel(rng: np.random.Generator, scene_a: np.ndarray, scene_b: np.ndarray) -> None:
    """Draw a winding vessel across both scenes."""
    t = np.linspace(-0.1, 1.1, 40)
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    bend = rng.normal(0, 22) * np.sin(
        2 * np.pi * (rng.uniform(0.6, 1.4) * t + rng.uniform())
    ) + rng.uniform(-90, 90)
    path = _SIDE / 2 + 1.2 * _SIDE * (t[:, None] - 0.5) * along + bend[:, None] * across  # (40, 2)

    line = (path * _SUBPIXELS).round().astype(np.int32).reshape(-1, 1, 2)
    width = int(rng.integers(5, 9))
    cv2.polylines(scene_a, [line], False, 16, width, cv2.LINE_AA, _SHIFT_BITS)
    cv2.polylines(scene_b, [line], False, 120, width + 2, cv2.LINE_AA, _SHIFT_BITS)
    cv2.polylines(scene_b, [line], False, 70, width - 3, cv2.LINE_AA, _SHIFT_BITS)


_SHAPES = (
    ((0, 0, 7.5, 7.5),),
    ((0, 0, 11, 5),),
    ((-6, 0, 5.5, 5.5), (6, 0, 5.5, 5.5)),
    ((-3, 0, 7, 6), (7, 0, 6, 2.4)),
    ((-6, -3.5, 4.5, 4.5), (6, -3.5, 4.5, 4.5), (0, 6.5, 4.5, 4.5)),
    ((0, 0, 4, 9), (5, -6, 7, 3.5), (5, 6, 7, 3.5)),
)
"""Large cells as unions of ellipses: center (along, across), radius along, radius across, px."""


def _draw_cell(
    scene: np.ndarray, u: float, v: float, shape: int, angle: float, body: float, rim: float
) -> None:
    """Draw a large cell.

    Args:
        scene: Drawn into, (h, w) uint8.
        u, v: Center, px.
        shape: Index into _SHAPES.
        angle: Orientation, degrees.
        body: Brightness of the body.
        rim: Brightness of the outline; 0 for no outline.
    """
    turn = np.radians(angle)
    # All outlines come first, so that bodies cover the outlines inside the union of ellipses
    for thickness, value in ((3, rim), (-1, body)) if rim else ((-1, body),):
        for along, across, radius_along, radius_across in _SHAPES[shape]:
            x = u + along * np.cos(turn) - across * np.sin(turn)
            y = v + along * np.sin(turn) + across * np.cos(turn)
            cv2.ellipse(
                scene,
                (round(x * _SUBPIXELS), round(y * _SUBPIXELS)),
                (round(radius_along * _SUBPIXELS), round(radius_across * _SUBPIXELS)),
                angle,
                0,
                360,
                value,
                thickness,
                cv2.LINE_AA,
                _SHIFT_BITS,
            )


def _colorize(
    channel: np.ndarray, noise: np.ndarray, tint: tuple[float, float, float]
) -> np.ndarray:
    """Add optical blur and shot noise (which grows with the signal), then color the channel."""
    light = cv2.GaussianBlur(channel, (0, 0), 0.9).astype(np.float32)
    gray = np.clip(light + noise * (2 + 0.5 * np.sqrt(light)), 0, 255)
    image = (gray[..., None] * np.array(tint, np.float32)).astype(np.uint8)
    image.flags.writeable = False
    return image
