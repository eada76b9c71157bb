"""The world of cell lineage: a time-lapse of nuclei that move, change and divide, among debris."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.cell_lineage.picture import draw_frames


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        frames: Smallest and largest number of frames.
        tracks: Pairs of (founders, divisions) to choose from.
        debris: Smallest and largest number of pieces of debris.
    """

    frames: tuple[int, int]
    tracks: tuple[tuple[int, int], ...]
    debris: tuple[int, int]


# Founders and divisions are paired so that never more than eight tracks are opened. Fewer than six
# frames would leave no time for a daughter to divide.
DIFFICULTIES = {
    "short": Difficulty(frames=(6, 7), tracks=((1, 1), (1, 1), (1, 2), (2, 1)), debris=(2, 4)),
    "full": Difficulty(
        frames=(8, 16),
        tracks=((1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)),
        debris=(4, 7),
    ),
}

MARGIN = 1.1
"""A point belongs to a nucleus if it is inside its outline, enlarged by this factor."""
SMALLEST = 7.0
"""Smallest semi-axis of the enlarged outline, logical px: a nucleus about to divide is thin."""

_EDGE = 22.0  # cells stay this far from the border of the canvas, logical px
_APART = 24.0  # cells closer than this push each other away, logical px
_SEPARATION = 19.0  # movies in which cells come closer than this are rejected, logical px
_SUBSTEPS = 3  # steps of the simulation per frame


@dataclass(frozen=True, eq=False)
class CellLineageWorld:
    """A movie of n cells, numbered with the founders first, and m pieces of debris.

    Attributes:
        frames: Number of frames.
        founders: Number of founders: cells in the first frame.
        parent: (n,) the parent of each cell, -1 for founders.
        birth: (n,) its first frame.
        end: (n,) the frame after its last.
        children: (n, 2) its daughters, the left one in the frame of their birth first; -1 without.
        xy: (frames, n, 2) its center, canvas coordinates; 0 where it does not exist.
        axes: (frames, n, 2) its semi-axes, logical px; 0 where it does not exist.
        angle: (frames, n) the angle of its first axis, radians.
        debris: (frames, m, 2) centers of the debris, canvas coordinates.
        image_bright: (frames, n) its brightness, about 1.
        image_rng: Source of the randomness of the images.
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
        """The frames, (frames, 256, 256, 3) uint8, drawn at the first access."""
        # A copy of the generator, so that the images do not depend on when they are drawn.
        return draw_frames(
            copy.deepcopy(self.image_rng),
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
        """The cell that each point belongs to, or -1, (frames, 256, 256) int8."""
        return _cells(self.birth, self.end, self.xy, self.axes, self.angle)

    def at(self, t: int, u: float, v: float) -> int:
        """Return the cell that a point of a frame belongs to, or -1."""
        return int(self.image_cells[t, int(v), int(u)])

    def center(self, cell: int, t: int) -> tuple[float, float]:
        """Return the center of a cell in a frame, canvas coordinates."""
        return float(self.xy[t, cell, 0]), float(self.xy[t, cell, 1])

    def exists(self, cell: int, t: int) -> bool:
        """Return whether a cell exists in a frame: it is born and has not divided."""
        return bool(self.birth[cell] <= t < self.end[cell])

    def divides(self, cell: int) -> bool:
        """Return whether a cell divides before the movie ends."""
        return bool(self.children[cell, 0] >= 0)


class _Family(NamedTuple):
    """Who descends from whom, and when: `parent`, `birth` and `end` of the world."""

    parent: np.ndarray
    birth: np.ndarray
    end: np.ndarray

    def alive(self, t: int) -> np.ndarray:
        """Return the cells that exist in a frame."""
        return np.flatnonzero((self.birth <= t) & (t < self.end))


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> CellLineageWorld:
    """Make a movie of dividing cells. See `Task.make_world`."""
    frames = int(rng.integers(difficulty.frames[0], difficulty.frames[1] + 1))
    founders, divisions = difficulty.tracks[int(rng.integers(len(difficulty.tracks)))]
    pieces = int(rng.integers(difficulty.debris[0], difficulty.debris[1] + 1))
    while True:
        family = _family(rng, frames, founders, divisions)
        if family is None:
            continue
        movement = _move(rng, frames, family, pieces)
        if movement is not None:
            break
    xy, heading, debris = movement

    # Daughters are ordered from left to right, as they are marked.
    parent, birth, end = family
    children = np.full((len(parent), 2), -1, np.int64)
    for k in range(len(parent)):
        pair = np.flatnonzero(parent == k)
        if len(pair):
            children[k] = pair[np.argsort(xy[birth[pair[0]], pair, 0], kind="stable")]

    axes, angle, bright = _shapes(rng, frames, family, children, heading)
    return CellLineageWorld(
        frames, founders, parent, birth, end, children, xy, axes, angle, debris, bright, rng
    )


def _family(rng: np.random.Generator, frames: int, founders: int, divisions: int) -> _Family | None:
    """Draw a family with the given number of divisions, at most one per frame.

    Returns:
        The family; None if no cell is old enough for a division.
    """
    parent = [-1] * founders
    birth = [0] * founders
    end = [frames] * founders
    age = 3 if frames > 7 else 2  # of a daughter that divides, frames

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
    return _Family(np.array(parent), np.array(birth), np.array(end))


def _move(
    rng: np.random.Generator, frames: int, family: _Family, pieces: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Simulate the movement of cells and debris.

    Cells walk with persistence and push each other away; all debris drifts with the medium.

    Returns:
        Centers of cells, (frames, n, 2); the axes of their divisions, (n,) radians; centers of
        debris, (frames, m, 2). None if the movie is not clear (see `_clear`).
    """
    parent, birth, _ = family
    count = len(parent)
    founders = int((parent < 0).sum())
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

    for t in range(frames):
        # Newborn daughters move apart along the axis of the division.
        for k in np.flatnonzero((birth == t) & (parent >= 0)).tolist():
            mother = int(parent[k])
            side = 1 if k == int(np.flatnonzero(parent == mother)[0]) else -1
            axis = np.array([np.cos(heading[mother]), np.sin(heading[mother])])
            place[k] = place[mother] + side * 10.5 * axis
            speed[k] = 0.3 * speed[mother] + side * 5.0 * axis

        alive = family.alive(t)
        xy[t, alive] = place[alive]

        # From this frame to the next; p and v are (cells, 2).
        p = place[alive]
        v = speed[alive]
        for _ in range(_SUBSTEPS):
            v = 0.85 * v + rng.normal(0, 0.5 * pace, p.shape)
            v *= np.minimum(1, 1.5 * pace / (np.hypot(v[:, 0], v[:, 1])[:, None] + 1e-9))
            p = p + v / _SUBSTEPS

            others = np.concatenate([p, debris[t]])
            gap = p[:, None] - others[None]  # (cells, cells + debris, 2)
            far = np.hypot(gap[..., 0], gap[..., 1]) + 1e-9
            push = np.where(far < _APART, (_APART - far) / far * 0.5, 0.0)
            p = p + (gap * push[..., None]).sum(1)

            # Cells turn around at the border.
            low = p < _EDGE
            high = p > CANVAS - _EDGE
            v = np.where(low, np.abs(v), np.where(high, -np.abs(v), v))
            p = np.clip(p, _EDGE, CANVAS - _EDGE)
        place[alive] = p
        speed[alive] = v

    return (xy, heading, debris) if _clear(frames, family, xy, debris) else None


def _clear(frames: int, family: _Family, xy: np.ndarray, debris: np.ndarray) -> bool:
    """Return whether a person could follow every cell.

    Cells keep apart, and the next position of each is clearly the closest to its last one.
    """
    parent, birth, _ = family
    for t in range(frames):
        alive = family.alive(t)
        p = xy[t, alive]
        others = np.concatenate([p, debris[t]])
        far = (
            np.hypot(*(p[:, None] - others[None]).transpose(2, 0, 1))
            + np.eye(len(p), len(others)) * CANVAS
        )
        if far.min() < _SEPARATION:
            return False
        if t == 0:
            continue

        # A daughter comes from where its mother was; its sister is no rival.
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


def _shapes(
    rng: np.random.Generator,
    frames: int,
    family: _Family,
    children: np.ndarray,
    heading: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the shapes of the cells.

    Newborn cells are small and bright, and grow. A cell about to divide rounds up, then condenses
    to a bright plate across the axis of its division.

    Returns:
        Semi-axes, (frames, n, 2); angles, (frames, n); brightness, (frames, n).
    """
    parent, birth, end = family
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
        # A daughter begins as half of its mother's plate.
        if parent[k] >= 0:
            angle[:, k] += -angle[birth[k], k] + heading[parent[k]] + np.pi / 2
        if children[k, 0] < 0:
            continue
        last = int(end[k]) - 1
        axes[last, k] = (11.5, 5.0)
        angle[last, k] = heading[k] + np.pi / 2
        bright[last, k] = 1.35
        if last - 1 > birth[k]:
            axes[last - 1, k] = 9.5
            bright[last - 1, k] = 1.1

    exists = (birth <= t) & (t < end)  # (frames, n)
    return axes * exists[..., None], angle * exists, bright


def _cells(
    birth: np.ndarray, end: np.ndarray, xy: np.ndarray, axes: np.ndarray, angle: np.ndarray
) -> np.ndarray:
    """Return the cell that each point of each frame belongs to, or -1.

    A point belongs to a cell if it is inside its enlarged outline (see `MARGIN`), and to the cell
    with the closest center where two overlap.

    Returns:
        (frames, 256, 256) int8.
    """
    frames = len(xy)
    owner = np.full((frames, CANVAS, CANVAS), -1, np.int8)
    grid = np.arange(CANVAS) + 0.5
    for t in range(frames):
        centers: dict[int, tuple[float, float]] = {}
        for k in np.flatnonzero((birth <= t) & (t < end)).tolist():
            x, y = xy[t, k]
            a, b = np.maximum(axes[t, k] * MARGIN, SMALLEST)
            turn = angle[t, k]
            rows = slice(max(int(y) - 16, 0), int(y) + 17)
            columns = slice(max(int(x) - 16, 0), int(x) + 17)
            dx = grid[columns][None, :] - x
            dy = grid[rows][:, None] - y
            cos = np.cos(turn)
            sin = np.sin(turn)
            inside = ((dx * cos + dy * sin) / a) ** 2 + ((dy * cos - dx * sin) / b) ** 2 <= 1

            # Points of earlier cells that are closer to those stay with them.
            part = owner[t, rows, columns]
            rival = inside & (part >= 0)
            for j in np.unique(part[rival]).tolist():
                xj, yj = centers[j]
                nearer = (grid[columns][None, :] - xj) ** 2 + (
                    grid[rows][:, None] - yj
                ) ** 2 < dx**2 + dy**2
                inside &= ~((part == j) & nearer)
            part[inside] = k
            centers[k] = (x, y)
    return owner
