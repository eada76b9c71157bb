"""The world of cell lineage: a fluorescence time-lapse of nuclei that move, change, and divide, among debris."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from lastmile.screen import CANVAS


@dataclass(frozen=True, slots=True)
class Difficulty:
    """frames: smallest and largest number. tracks: pairs of (founders, divisions) to choose from. debris: smallest and largest number."""

    frames: tuple[int, int]
    tracks: tuple[tuple[int, int], ...]
    debris: tuple[int, int]


DIFFICULTIES = {
    "short": Difficulty(frames=(6, 7), tracks=((1, 1), (1, 1), (1, 2), (2, 1)), debris=(2, 4)),
    "full": Difficulty(
        frames=(8, 16),
        tracks=((1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)),
        debris=(4, 7),
    ),
}
"""Founders and divisions are paired so that no more than eight tracks are ever opened; fewer than six frames leave no room for a
daughter that divides."""

MARGIN = 1.1
"""A point belongs to a nucleus within its outline widened by this factor, ..."""
SMALLEST = 7.0
"""... with semi-axes of at least this many logical px, since a condensed one is thin."""
_EDGE, _APART, _SEPARATION = 22.0, 24.0, 19.0
_TILE, _DISC = 64, 24.0


@dataclass(frozen=True, eq=False)
class CellLineageWorld:
    """Cells are numbered, the founders first. parent, birth, end: (n,) parent (-1 for founders), first frame, and frame after the last.
    children: (n, 2) daughters, the left one in the frame of birth first, -1 without. xy, axes: (frames, n, 2) centers and semi-axes, 0
    where a cell is not. angle: (frames, n) of the first axis, radians. debris: (frames, m, 2) centers. image_bright: (frames, n) brightness.
    image_rng: random numbers for the picture.
    """

    frames: int
    founders: int
    parent: np.ndarray
    birth: np.ndarray
    end: np.ndarray
    children: np.ndarray
    xy: np.ndarray
    axes: np.ndarray
    angle: np.ndarray
    debris: np.ndarray
    image_bright: np.ndarray
    image_rng: np.random.Generator

    @cached_property
    def image_frames(self) -> np.ndarray:
        """(frames, 256, 256, 3) uint8, drawn when first asked for."""
        rng = copy.deepcopy(self.image_rng)
        return _render(
            rng,
            self.frames,
            self.birth,
            self.end,
            self.xy,
            self.axes,
            self.angle,
            self.image_bright,
            self.debris,
        )

    @cached_property
    def image_cells(self) -> np.ndarray:
        """(frames, 256, 256) int8, the cell that a point belongs to, or -1."""
        return _cells(self.frames, self.birth, self.end, self.xy, self.axes, self.angle)

    def at(self, t: int, u: float, v: float) -> int:
        """The cell that a point of a frame belongs to, or -1."""
        return int(self.image_cells[t, int(v), int(u)])

    def center(self, cell: int, t: int) -> tuple[float, float]:
        return float(self.xy[t, cell, 0]), float(self.xy[t, cell, 1])

    def there(self, cell: int, t: int) -> bool:
        return bool(self.birth[cell] <= t < self.end[cell])

    def divides(self, cell: int) -> bool:
        return bool(self.children[cell, 0] >= 0)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> CellLineageWorld:
    frames = int(rng.integers(difficulty.frames[0], difficulty.frames[1] + 1))
    founders, divisions = difficulty.tracks[int(rng.integers(len(difficulty.tracks)))]
    pieces = int(rng.integers(difficulty.debris[0], difficulty.debris[1] + 1))
    while True:
        family = _family(rng, frames, founders, divisions)
        if family is None:
            continue
        parent, birth, end = family
        moved = _move(rng, frames, parent, birth, end, pieces)
        if moved is not None:
            break
    xy, heading, debris = moved
    children = np.full((len(parent), 2), -1, np.int64)
    for k in range(len(parent)):
        pair = np.flatnonzero(parent == k)
        if len(pair):
            children[k] = pair[np.argsort(xy[birth[pair[0]], pair, 0], kind="stable")]
    axes, angle, bright = _shapes(rng, frames, parent, birth, end, children, heading)
    return CellLineageWorld(
        frames, founders, parent, birth, end, children, xy, axes, angle, debris, bright, rng
    )


def _family(
    rng: np.random.Generator, frames: int, founders: int, divisions: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Who descends from whom and when; None if a division finds no cell old enough."""
    parent, birth, end = [-1] * founders, [0] * founders, [frames] * founders
    age = 3 if frames > 7 else 2
    times = np.sort(rng.choice(np.arange(2, frames - 1), divisions, replace=False))
    for t in times.tolist():
        ready = [
            k
            for k in range(len(parent))
            if end[k] == frames and (birth[k] + age <= t or birth[k] == 0)
        ]
        if not ready:
            return None
        mother = int(rng.choice(ready))
        end[mother] = t
        parent += [mother, mother]
        birth += [t, t]
        end += [frames, frames]
    return np.array(parent), np.array(birth), np.array(end)


def _move(
    rng: np.random.Generator, frames: int, parent, birth, end, pieces: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Centers of cells (frames, n, 2), division axes (n,), and debris (frames, m, 2).

    Cells walk with persistence and keep their distance; debris drifts with the medium, all of it alike. None if somebody came too close or
    could be taken for another from one frame to the next.
    """
    count, founders = len(parent), int((parent < 0).sum())
    xy = np.zeros((frames, count, 2))
    heading = rng.uniform(0, np.pi, count)
    place = np.zeros((count, 2))
    speed = np.zeros((count, 2))
    place[:founders] = rng.uniform(55, CANVAS - 55, (founders, 2))
    flow = rng.normal(0, 0.5, 2)
    start = rng.uniform(14, CANVAS - 14, (pieces, 2))
    debris = start[None] + np.arange(frames)[:, None, None] * flow
    pace = rng.uniform(4.0, 7.0)
    speed[:founders] = rng.normal(0, pace, (founders, 2))
    substeps = 3
    for t in range(frames):
        for k in np.flatnonzero((birth == t) & (parent >= 0)).tolist():
            mother = int(parent[k])
            side = 1 if k == int(np.flatnonzero(parent == mother)[0]) else -1
            axis = np.array([np.cos(heading[mother]), np.sin(heading[mother])])
            place[k] = place[mother] + side * 10.5 * axis
            speed[k] = 0.3 * speed[mother] + side * 5.0 * axis
        alive = np.flatnonzero((birth <= t) & (t < end))
        xy[t, alive] = place[alive]
        p, v = place[alive], speed[alive]
        for _ in range(substeps):
            v = 0.85 * v + rng.normal(0, 0.5 * pace, p.shape)
            v *= np.minimum(1, 1.5 * pace / (np.hypot(v[:, 0], v[:, 1])[:, None] + 1e-9))
            p = p + v / substeps
            others = np.concatenate([p, debris[t]])
            gap = p[:, None] - others[None]
            far = np.hypot(gap[..., 0], gap[..., 1]) + 1e-9
            push = np.where(far < _APART, (_APART - far) / far * 0.5, 0.0)
            p = p + (gap * push[..., None]).sum(1)
            low, high = p < _EDGE, p > CANVAS - _EDGE
            v = np.where(low, np.abs(v), np.where(high, -np.abs(v), v))
            p = np.clip(p, _EDGE, CANVAS - _EDGE)
        place[alive], speed[alive] = p, v
    return (xy, heading, debris) if _clear(frames, parent, birth, end, xy, debris) else None


def _clear(frames: int, parent, birth, end, xy: np.ndarray, debris: np.ndarray) -> bool:
    """Whether all keep apart and each cell's next position is clearly nearest to where it was."""
    for t in range(frames):
        alive = np.flatnonzero((birth <= t) & (t < end))
        p = xy[t, alive]
        others = np.concatenate([p, debris[t]])
        far = (
            np.hypot(*(p[:, None] - others[None]).transpose(2, 0, 1))
            + np.eye(len(p), len(others)) * CANVAS
        )
        if far.min() < _SEPARATION:
            return False
        if t:
            old = [int(k) if birth[k] < t else int(parent[k]) for k in alive]
            hops = np.hypot(*(xy[t - 1, old][:, None] - others[None]).transpose(2, 0, 1))
            for i, k in enumerate(alive):
                rivals = [
                    j
                    for j in range(len(others))
                    if j != i and not (j < len(alive) and birth[k] == t and old[j] == old[i])
                ]
                if hops[i, i] > 17 or (rivals and hops[i, i] > 0.75 * hops[i, rivals].min()):
                    return False
    return True


def _shapes(rng: np.random.Generator, frames: int, parent, birth, end, children, heading):
    """Semi-axes (frames, n, 2), angles (frames, n) and brightness (frames, n). Newborn cells are small and bright and grow; a cell about
    to divide rounds up, then condenses to a bright plate across the axis of its division."""
    count = len(parent)
    t = np.arange(frames)[:, None]
    size = np.stack([rng.uniform(11.0, 13.0, count), rng.uniform(8.3, 9.8, count)], 1)
    wobble = 0.8 * np.sin(rng.uniform(0.3, 0.9, count) * t + rng.uniform(0, 6, count))
    axes = size[None] + np.stack([wobble, -wobble], 2)
    grown = np.where(parent[None] >= 0, np.clip(0.72 + 0.07 * (t - birth), 0, 1), 1.0)
    axes = axes * grown[..., None]
    angle = (
        rng.uniform(0, np.pi, count)
        + rng.normal(0, 0.12, count) * t
        + 0.2 * np.sin(rng.uniform(0.3, 0.8, count) * t)
    )
    bright = rng.uniform(0.78, 1.0, count) + np.where(
        parent[None] >= 0, 0.3 * np.clip(1 - (t - birth) / 3, 0, 1), 0.0
    )
    for k in range(count):
        if parent[k] >= 0:
            angle[:, k] += -angle[birth[k], k] + heading[parent[k]] + np.pi / 2
        if children[k, 0] < 0:
            continue
        last = int(end[k]) - 1
        axes[last, k], angle[last, k], bright[last, k] = (11.5, 5.0), heading[k] + np.pi / 2, 1.35
        if last - 1 > birth[k]:
            axes[last - 1, k], bright[last - 1, k] = 9.5, 1.1
    there = (birth <= t) & (t < end)
    return axes * there[..., None], angle * there, bright


_AXIS = np.arange(_TILE, dtype=np.float32) - (_TILE - 1) / 2
_AROUND, _RADIUS = (
    np.arctan2(_AXIS[:, None], _AXIS[None]),
    np.hypot(_AXIS[:, None], _AXIS[None]) / _DISC,
)


def _tile(rng: np.random.Generator) -> np.ndarray:
    """A nucleus as a disc of radius 24 in a 64 x 64 tile: uneven outline, mottled chromatin, one or two dark nucleoli."""
    radius = _RADIUS
    for waves in (2, 3, 5):
        radius = radius * (1 + rng.normal(0, 0.022) * np.sin(waves * _AROUND + rng.uniform(0, 6)))
    mottle = cv2.resize(
        rng.standard_normal((11, 11), dtype=np.float32),
        (_TILE, _TILE),
        interpolation=cv2.INTER_CUBIC,
    )
    value = (0.82 + 0.14 * mottle) * (1 - 0.25 * radius**2)
    for _ in range(int(rng.integers(1, 3))):
        cx, cy = rng.uniform(-10, 10, 2)
        value = value * (
            1 - 0.4 * np.exp(-((_AXIS - cy) ** 2) / 20)[:, None] * np.exp(-((_AXIS - cx) ** 2) / 20)
        )
    return (value / (1 + np.exp((radius - 1) * 14))).astype(np.float32)


def _ground(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What does not change: background light with the second channel's bleed-through, (256, 256, 3) uint8; the noise field, (256, 256);
    and the tint of the nuclei, (3,)."""
    noise = rng.standard_normal((CANVAS, CANVAS), dtype=np.float32)
    coarse = rng.standard_normal((9, 9), dtype=np.float32)
    fine = rng.standard_normal((26, 26), dtype=np.float32)
    haze = cv2.resize(coarse, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    fibers = cv2.resize(fine, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    fibers = cv2.exp(-(fibers * fibers) / np.float32(0.09)) * np.clip(haze + 0.6, 0, 1.2)
    fibers = cv2.GaussianBlur(fibers, (0, 0), 1.6) * rng.uniform(10, 18)
    bleed = np.array(
        [(1.0, 0.55, 0.5), (0.5, 0.75, 1.0), (0.9, 0.5, 0.9)][int(rng.integers(3))], np.float32
    )
    tint = np.array(
        [(0.92, 1.0, 0.95), (1.0, 1.0, 1.0), (0.9, 0.96, 1.0)][int(rng.integers(3))], np.float32
    )
    light = 24 + 5 * haze
    grain = noise * np.sqrt(np.maximum(light, 4)) * 0.9
    ground = cv2.merge(
        [light * t + fibers * b + grain for t, b in zip(tint.tolist(), bleed.tolist())]
    )
    return cv2.convertScaleAbs(np.maximum(ground, 0)), noise, tint


def _render(
    rng: np.random.Generator, frames: int, birth, end, xy, axes, angle, bright, debris
) -> np.ndarray:
    """The frames. Noise of the camera stands still, shot noise grows with the root of the light."""
    ground, noise, tint = _ground(rng)
    tiles = [_tile(rng) for _ in birth]
    lumps = [
        (
            _tile(rng),
            rng.uniform(2.6, 5.0),
            rng.uniform(1.0, 1.7),
            rng.uniform(0, np.pi),
            rng.uniform(0.7, 1.2),
        )
        for _ in range(debris.shape[1])
    ]
    image = np.empty((frames, CANVAS, CANVAS, 3), np.uint8)
    for t in range(frames):
        image[t] = ground
        spots = [
            (tiles[k], xy[t, k], axes[t, k], angle[t, k], bright[t, k])
            for k in np.flatnonzero((birth <= t) & (t < end))
        ]
        spots += [
            (tile, debris[t, i], (long * r, r), turn, light)
            for i, (tile, r, long, turn, light) in enumerate(lumps)
        ]
        for tile, center, (a, b), turn, light in spots:
            half = 18
            x0, y0 = int(center[0]) - half, int(center[1]) - half
            cos, sin = np.cos(turn), np.sin(turn)
            scale = np.array([[cos * a, -sin * b], [sin * a, cos * b]]) / _DISC
            shift = np.array(center) - (x0, y0) - scale @ np.full(2, (_TILE - 1) / 2)
            spot = cv2.warpAffine(
                tile, np.column_stack([scale, shift]), (2 * half, 2 * half), flags=cv2.INTER_LINEAR
            )
            cut = (
                slice(max(y0, 0), min(y0 + 2 * half, CANVAS)),
                slice(max(x0, 0), min(x0 + 2 * half, CANVAS)),
            )
            if cut[0].start >= cut[0].stop or cut[1].start >= cut[1].stop:
                continue
            spot = spot[
                cut[0].start - y0 : cut[0].stop - y0, cut[1].start - x0 : cut[1].stop - x0
            ] * (190 * light)
            spot = spot + noise[cut] * np.sqrt(np.maximum(spot, 0)) * 0.8
            part = image[t][cut]
            cv2.add(
                part,
                cv2.merge([spot * shade for shade in tint.tolist()]),
                dst=part,
                dtype=cv2.CV_8U,
            )
    return image


def _cells(frames: int, birth, end, xy, axes, angle) -> np.ndarray:
    """The cell that each point of each frame belongs to: within MARGIN of its outline, the nearest where two overlap."""
    owner = np.full((frames, CANVAS, CANVAS), -1, np.int8)
    grid = np.arange(CANVAS) + 0.5
    for t in range(frames):
        depth: dict[int, tuple] = {}
        for k in np.flatnonzero((birth <= t) & (t < end)).tolist():
            (x, y), (a, b), turn = xy[t, k], np.maximum(axes[t, k] * MARGIN, SMALLEST), angle[t, k]
            rows, columns = (
                slice(max(int(y) - 16, 0), int(y) + 17),
                slice(max(int(x) - 16, 0), int(x) + 17),
            )
            dx, dy = grid[columns][None, :] - x, grid[rows][:, None] - y
            cos, sin = np.cos(turn), np.sin(turn)
            inside = ((dx * cos + dy * sin) / a) ** 2 + ((dy * cos - dx * sin) / b) ** 2 <= 1
            part = owner[t, rows, columns]
            rival = inside & (part >= 0)
            for j in np.unique(part[rival]).tolist():
                xj, yj = depth[j]
                nearer = (grid[columns][None, :] - xj) ** 2 + (
                    grid[rows][:, None] - yj
                ) ** 2 < dx**2 + dy**2
                inside &= ~((part == j) & nearer)
            part[inside] = k
            depth[k] = (x, y)
    return owner
