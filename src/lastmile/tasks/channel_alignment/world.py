"""The world of channel alignment: two stainings of one tissue, the second deformed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.channel_alignment.registration import GRID, STEP, Point, dense, error
from lastmile.tasks.task import RIGHT


@dataclass(frozen=True, slots=True)
class Difficulty:
    """rows: the numbers of landmarks in each row, one of these. elastic: root mean square of the elastic part of the deformation, px."""

    rows: tuple[tuple[int, ...], ...]
    elastic: float


DIFFICULTIES = {
    "short": Difficulty(rows=((3, 3), (2, 2, 2)), elastic=2.5),
    "full": Difficulty(rows=((3, 3, 3), (3, 4, 3), (4, 3, 4), (4, 4, 4)), elastic=3.5),
}

RADIUS = 5.0
"""A point belongs to a landmark, or to its partner, within this many logical px."""
SPACING = 32.0
"""Smallest distance of two large cells in a channel, logical px."""
DECOYS = 2
"""Large cells in each channel that the other does not show."""
_PAD = 44  # of the scene beyond channel A, so that B has something to show there
_SIDE = CANVAS + 2 * _PAD
_LEAST, _MEAN, _MOST = 5.0, 10.0, 34.0  # displacement of the landmarks between the channels, px
_BITS, _ONE = 4, 16  # sub-pixel bits of OpenCV's drawing functions


@dataclass(frozen=True, eq=False)
class ChannelAlignmentWorld:
    """a, b: (n, 2) landmarks in reading order, and their partners in B. decoys_a, decoys_b: (2, 2) large cells of one channel only. field:
    (33, 33, 2) points of B that belong to the points of `GRID` in A. image_back: (33, 33, 2) points of A that belong to the points of `GRID`
    in B. image_rng: random numbers for the picture."""

    a: np.ndarray
    b: np.ndarray
    decoys_a: np.ndarray
    decoys_b: np.ndarray
    field: np.ndarray
    image_back: np.ndarray
    image_rng: np.random.Generator

    @property
    def image_a(self) -> np.ndarray:
        """(256, 256, 3) uint8"""
        return self._images[0]

    @property
    def image_b(self) -> np.ndarray:
        """(256, 256, 3) uint8"""
        return self._images[1]

    @cached_property
    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        """Both channels, drawn when first asked for."""
        return _render(
            copy.deepcopy(self.image_rng),
            self.a,
            self.b,
            self.decoys_a,
            self.decoys_b,
            self.image_back,
        )

    def near(self, u: float, v: float) -> int:
        """The landmark within RADIUS of a point of A (there is at most one), or -1."""
        return _nearest(self.a, u, v)

    def partner(self, u: float, v: float) -> tuple[float, float]:
        """The point of B that belongs to a point of A: that of the landmark if it marks one, else that of the very point."""
        return _partner(self, u, v)

    def waiting(self, points: tuple[Point, ...]) -> Point | None:
        """The first point of A that has no partner yet."""
        return _waiting(points)

    def following(self, points: tuple[Point, ...]) -> int:
        """The first landmark in reading order that has no point in A yet, or -1."""
        return _following(self, points)

    def verdicts(self, points: tuple[Point, ...]) -> tuple[str, ...]:
        """What is to be said of each point in turn: `right` or the kind of the mistake."""
        return _verdicts(self, points)


def _nearest(places: np.ndarray, u: float, v: float) -> int:
    squared = (places[:, 0] - u) ** 2 + (places[:, 1] - v) ** 2
    nearest = int(squared.argmin())
    return nearest if squared[nearest] <= RADIUS**2 else -1


@lru_cache(maxsize=2048)
def _partner(world: ChannelAlignmentWorld, u: float, v: float) -> tuple[float, float]:
    landmark = world.near(u, v)
    if landmark >= 0:
        return float(world.b[landmark, 0]), float(world.b[landmark, 1])
    x, y = _at(world.field, np.array([[u, v]]))[0]
    return float(np.clip(x, 0, CANVAS - 1)), float(np.clip(y, 0, CANVAS - 1))


@lru_cache(maxsize=1024)
def _waiting(points: tuple[Point, ...]) -> Point | None:
    count = sum(point.channel == "B" for point in points)
    of_a = [point for point in points if point.channel == "A"]
    return of_a[count] if len(of_a) > count else None


@lru_cache(maxsize=1024)
def _following(world: ChannelAlignmentWorld, points: tuple[Point, ...]) -> int:
    marked = {world.near(point.u, point.v) for point in points if point.channel == "A"}
    return next((k for k in range(len(world.a)) if k not in marked), -1)


@lru_cache(maxsize=1024)
def _verdicts(world: ChannelAlignmentWorld, points: tuple[Point, ...]) -> tuple[str, ...]:
    if not points:
        return ()
    earlier, last = points[:-1], points[-1]
    in_b = sum(point.channel == "B" for point in earlier)
    waiting = len(earlier) - in_b > in_b
    if waiting != (last.channel == "B") or (last.channel == "A" and len(earlier) != 2 * in_b):
        verdict = "lapse"
    elif last.channel == "B":
        x, y = world.partner(*_waiting(earlier)[1:])
        others = np.concatenate([world.b, world.decoys_b])
        if (x - last.u) ** 2 + (y - last.v) ** 2 <= RADIUS**2:
            verdict = RIGHT
        else:
            verdict = "confusion" if _nearest(others, last.u, last.v) >= 0 else "slip"
    else:
        landmark = world.near(last.u, last.v)
        if landmark >= 0 and all(
            point.channel == "B" or world.near(point.u, point.v) != landmark for point in earlier
        ):
            verdict = RIGHT
        else:
            verdict = (
                "confusion"
                if landmark >= 0 or _nearest(world.decoys_a, last.u, last.v) >= 0
                else "slip"
            )
    return (*_verdicts(world, earlier), verdict)


def _at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A map kept on GRID (33, 33, 2) at (n, 2) points, bilinear, continued beyond its border."""
    scaled = points / STEP
    corner = np.clip(np.floor(scaled).astype(np.int64), 0, len(field) - 2)
    x, y = (scaled - corner).T[..., None]
    i, j = corner[:, 1], corner[:, 0]
    upper = field[i, j] * (1 - x) + field[i, j + 1] * x
    lower = field[i + 1, j] * (1 - x) + field[i + 1, j + 1] * x
    return upper * (1 - y) + lower * y


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ChannelAlignmentWorld:
    rows = difficulty.rows[int(rng.integers(len(difficulty.rows)))]
    elastic = difficulty.elastic
    while True:
        a = _landmarks(rng, rows)
        back, field = _deformation(rng, elastic)
        b = _at(field, a)
        moved = np.hypot(*(b - a).T)
        inside = (b > 14).all() and (b < CANVAS - 14).all()
        matched = tuple(map(tuple, np.concatenate([a, b], 1).tolist()))
        if (
            inside
            and moved.min() > _LEAST
            and moved.mean() > _MEAN
            and moved.max() < _MOST
            and error(field, matched) < 1.5
        ):
            break
        elastic *= 0.97
    decoys_a = _apart(rng, a)
    decoys_b = _apart(rng, np.concatenate([b, _at(field, decoys_a)]))
    return ChannelAlignmentWorld(a, b, decoys_a, decoys_b, field, back, rng)


def _landmarks(rng: np.random.Generator, rows: tuple[int, ...]) -> np.ndarray:
    """(n, 2) positions on a jittered grid of rows: well spread, and their reading order is plain."""
    low, high = 30.0, CANVAS - 30.0
    places = []
    for row, count in enumerate(rows):
        y = low + (high - low) * row / (len(rows) - 1)
        for column in range(count):
            places.append((low + (high - low) * (column + 0.1) / (count - 0.8), y))
    room = np.array([9.0, 10.0])
    return np.clip(np.array(places) + rng.uniform(-1, 1, (len(places), 2)) * room, 26, CANVAS - 26)


def _deformation(rng: np.random.Generator, elastic: float) -> tuple[np.ndarray, np.ndarray]:
    """An affine map with a smooth elastic field, both ways on GRID, (33, 33, 2) each: from B back to A (by which B is drawn), and from
    A to B."""
    turn, shear = rng.normal(0, np.radians(4)), rng.normal(0, 0.025)
    scale = rng.uniform(0.95, 1.05, 2)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array(
        [[scale[0], shear], [0, scale[1]]]
    )
    heading, far = rng.uniform(0, 2 * np.pi), rng.uniform(9, 17)
    shift = far * np.array([np.cos(heading), np.sin(heading)])
    waves = rng.uniform(-1.1, 1.1, (3, 2)) * 2 * np.pi / CANVAS
    phases = rng.uniform(0, 2 * np.pi, (3, 2))
    weights = rng.normal(0, 1, (3, 2))
    weights *= elastic / np.sqrt((weights**2).sum() / 2)
    middle = CANVAS / 2

    def to_a(points: np.ndarray) -> np.ndarray:
        angles = (points @ waves.T)[..., None] + phases
        return (points - middle) @ matrix.T + middle + shift + (weights * np.sin(angles)).sum(-2)

    inverse, field = np.linalg.inv(matrix), GRID
    for _ in range(6):
        field = field - (to_a(field) - GRID) @ inverse.T
    return to_a(GRID), field


def _apart(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """(2, 2) positions for large cells that only one channel shows, as far from the others as chance candidates allow."""
    found: list[np.ndarray] = []
    for _ in range(DECOYS):
        taken = np.concatenate([places, *found])
        candidates = rng.uniform(20, CANVAS - 20, (60, 2))
        gaps = np.hypot(*(candidates[:, None] - taken[None]).T).min(0)
        fit = gaps >= SPACING
        found.append(candidates[fit][:1] if fit.any() else candidates[gaps.argmax()][None])
    return np.concatenate(found)


def _render(rng, a, b, decoys_a, decoys_b, back) -> tuple[np.ndarray, np.ndarray]:
    """Both channels, (256, 256, 3) uint8. A: cell bodies filled, vessels as dark gaps. B: rims of cells, vessels bright. Small cells
    differ."""
    tissue = cv2.resize(
        rng.normal(0, 1, (9, 9)).astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC
    )
    scene_a = np.clip(40 + 9 * tissue, 18, 70).astype(np.uint8)
    scene_b = np.clip(30 - 7 * tissue, 12, 60).astype(np.uint8)
    for _ in range(int(rng.integers(2, 4))):
        _vessel(rng, scene_a, scene_b)
    for u, v, size, bright, only in rng.uniform(
        (0, 0, 1.5, 60, 0), (_SIDE, _SIDE, 3.2, 115, 1), (220, 5)
    ).tolist():
        at = (round(u * _ONE), round(v * _ONE))
        if only < 0.7:
            cv2.circle(scene_a, at, round(size * _ONE), bright, -1, cv2.LINE_AA, _BITS)
        if only > 0.5:
            cv2.circle(scene_b, at, round((size + 0.6) * _ONE), 0.8 * bright, 1, cv2.LINE_AA, _BITS)
    where = dense(back) + _PAD
    shapes = rng.permutation(np.arange(len(a)) % len(_SHAPES))
    angles = rng.uniform(0, 360, len(a))
    for (u, v), shape, angle in zip(a + _PAD, shapes, angles):
        _cell(scene_a, u, v, int(shape), angle, 225, 0)
        _cell(scene_b, u, v, int(shape), angle, 95, 235)
    odd = rng.permutation(len(_SHAPES))  # no two cells of one channel only are alike
    for (u, v), shape in zip(decoys_a + _PAD, odd):
        _cell(scene_a, u, v, int(shape), rng.uniform(0, 360), 225, 0)
    warped = cv2.remap(scene_b, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
    for (u, v), shape in zip(decoys_b, odd[DECOYS:]):
        _cell(warped, u, v, int(shape), rng.uniform(0, 360), 95, 235)
    noise = rng.standard_normal((2, CANVAS, CANVAS), dtype=np.float32)
    return tuple(
        _tinted(channel, noise[k], tint)
        for k, (channel, tint) in enumerate(
            ((scene_a[_PAD:-_PAD, _PAD:-_PAD], (1.0, 0.35, 1.0)), (warped, (0.35, 1.0, 0.35)))
        )
    )


def _vessel(rng: np.random.Generator, scene_a: np.ndarray, scene_b: np.ndarray) -> None:
    """A winding vessel across the scene."""
    t = np.linspace(-0.1, 1.1, 40)
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    bend = rng.normal(0, 22) * np.sin(
        2 * np.pi * (rng.uniform(0.6, 1.4) * t + rng.uniform())
    ) + rng.uniform(-90, 90)
    path = _SIDE / 2 + 1.2 * _SIDE * (t[:, None] - 0.5) * along + bend[:, None] * across
    line = (path * _ONE).round().astype(np.int32).reshape(-1, 1, 2)
    width = int(rng.integers(5, 9))
    cv2.polylines(scene_a, [line], False, 16, width, cv2.LINE_AA, _BITS)
    cv2.polylines(scene_b, [line], False, 120, width + 2, cv2.LINE_AA, _BITS)
    cv2.polylines(scene_b, [line], False, 70, width - 3, cv2.LINE_AA, _BITS)


# Parts of a large cell: (along, across, radius along, radius across), px.
_SHAPES = (
    ((0, 0, 7.5, 7.5),),
    ((0, 0, 11, 5),),
    ((-6, 0, 5.5, 5.5), (6, 0, 5.5, 5.5)),
    ((0, 0, 11, 3.5), (0, 0, 3.5, 11)),
    ((-6, -3.5, 4.5, 4.5), (6, -3.5, 4.5, 4.5), (0, 6.5, 4.5, 4.5)),
    ((0, 0, 4, 9), (5, -6, 7, 3.5), (5, 6, 7, 3.5)),
)


def _cell(
    scene: np.ndarray, u: float, v: float, shape: int, angle: float, body: float, rim: float
) -> None:
    """A large cell, with a rim if its brightness is not 0."""
    turn = np.radians(angle)
    for thickness, value in ((3, rim), (-1, body)) if rim else ((-1, body),):
        for along, across, wide, high in _SHAPES[shape]:
            x, y = (
                u + along * np.cos(turn) - across * np.sin(turn),
                v + along * np.sin(turn) + across * np.cos(turn),
            )
            axes = (round(wide * _ONE), round(high * _ONE))
            cv2.ellipse(
                scene,
                (round(x * _ONE), round(y * _ONE)),
                axes,
                angle,
                0,
                360,
                value,
                thickness,
                cv2.LINE_AA,
                _BITS,
            )


def _tinted(channel: np.ndarray, noise: np.ndarray, tint: tuple[float, float, float]) -> np.ndarray:
    """Optical blur, shot noise (it grows with the signal) and the look-up color."""
    light = cv2.GaussianBlur(channel, (0, 0), 0.9).astype(np.float32)
    gray = np.clip(light + noise * (2 + 0.5 * np.sqrt(light)), 0, 255)
    image = (gray[..., None] * np.float32(tint)).astype(np.uint8)
    image.flags.writeable = False
    return image
