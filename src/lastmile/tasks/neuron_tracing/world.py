"""The world of neuron tracing: a stack of electron micrographs of densely packed cell processes.

Everything is made at half the resolution of the canvas (1 half px = 2 logical px).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.neuron_tracing.picture import Stain, draw_slice, make_stain
from lastmile.tasks.neuron_tracing.tissue import (
    PAD,
    SIDE,
    Tissue,
    assign_labels,
    random_deformation,
    random_drift,
    random_midlines,
)
from lastmile.tasks.task import RIGHT, Mistake


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        slices: Smallest and largest number of slices.
    """

    slices: tuple[int, int]


DIFFICULTIES = {"short": Difficulty(slices=(10, 16)), "full": Difficulty(slices=(24, 50))}

_REACH = 3  # how far outside the target a node is a slip, half px
_STEP = 9.0  # how far the target's point may move from slice to slice, half px
_DEEP = 2.8  # smallest radius of the target's cross-section, half px
_LARGE = 42  # smallest area of the target's cross-section, half px squared


class Node(NamedTuple):
    """An annotation: the traced cell is at (u, v) in slice z. It replaces the node of the slice.

    Attributes:
        u: Canvas coordinate, logical px to the right.
        v: Canvas coordinate, logical px down.
        z: The slice.
    """

    u: float
    v: float
    z: int


@dataclass(frozen=True, eq=False)
class NeuronTracingWorld:
    """A stack of cells, one of which is the target.

    Attributes:
        slices: Number of slices.
        target: Label of the target.
        center: (slices, 2) float32, a point deep inside the target, canvas coordinates.
        labels: (slices, 128, 128) uint8, the cell at each half px.
        image_tissue: The geometry behind the images.
        image_rng: Source of the randomness of the images.
    """

    slices: int
    target: int
    center: np.ndarray
    labels: np.ndarray
    image_tissue: Tissue
    image_rng: np.random.Generator

    @cached_property
    def image_stain(self) -> Stain:
        """The look of the tissue, made when the first image is drawn."""
        # A copy of the generator, so that the images do not depend on when they are drawn.
        return make_stain(copy.deepcopy(self.image_rng), self.image_tissue)

    def picture(self, z: int) -> np.ndarray:
        """Return the image of a slice, (256, 256, 3) uint8, read-only."""
        return _picture(self, z)

    def point(self, z: int) -> tuple[float, float]:
        """Return a point deep inside the target's cross-section, canvas coordinates."""
        return float(self.center[z, 0]), float(self.center[z, 1])

    def cell(self, node: Node) -> int:
        """Return the label of the cell that a node is in."""
        return int(self.labels[node.z, int(node.v) >> 1, int(node.u) >> 1])

    def inside(self, z: int, u: float, v: float) -> bool:
        """Return whether a point is inside the target's cross-section."""
        return (
            0 <= u < CANVAS
            and 0 <= v < CANVAS
            and int(self.labels[z, int(v) >> 1, int(u) >> 1]) == self.target
        )

    def verdict(self, node: Node) -> str:
        """Judge where a node is.

        Returns:
            `RIGHT` inside the target, "slip" up to 6 px outside it, "confusion" farther away.
        """
        return _verdict(self, node)

    def mistakes(self, edits: tuple[Node, ...]) -> tuple[Mistake, ...]:
        """Return the misplaced nodes, and the slices left out before the last one with a node."""
        return _mistakes(self, edits)

    def middle(self, z: int, cell: int) -> tuple[float, float] | None:
        """Return a point deep inside the cross-section of any cell, canvas coordinates.

        Returns:
            The point; None if the cell is not in the slice or too small to be clicked.
        """
        return _middle(self, z, cell)

    def neighbor(self, z: int, u: float, v: float, reach: float) -> tuple[float, float] | None:
        """Return a point deep inside the cell closest to (u, v) that is not the target.

        Args:
            z: The slice.
            u: Canvas coordinate, logical px to the right.
            v: Canvas coordinate, logical px down.
            reach: Largest distance of the point from the target's point, logical px.

        Returns:
            The point, canvas coordinates; None if it is out of reach or a node there would not be a
            confusion.
        """
        mask = (self.labels[z] != self.target).view(np.uint8)
        ys, xs = np.nonzero(mask)
        nearest = ((2 * xs - u) ** 2 + (2 * ys - v) ** 2).argmin()
        point = self.middle(z, int(self.labels[z, ys[nearest], xs[nearest]]))
        if (
            point is None
            or np.hypot(point[0] - self.center[z, 0], point[1] - self.center[z, 1]) > reach
        ):
            return None
        return point if _verdict(self, Node(*point, z)) == "confusion" else None


@lru_cache(maxsize=512)
def nodes_by_slice(slices: int, edits: tuple[Node, ...]) -> tuple[int, ...]:
    """Return, for each slice, the index in `edits` of its last node, or -1."""
    nodes = [-1] * slices
    for index, node in enumerate(edits):
        nodes[node.z] = index
    return tuple(nodes)


# Worlds hash by identity (eq=False), so they can be keys of these caches. The caches are small,
# because they keep their worlds alive.


@lru_cache(maxsize=64)
def _picture(world: NeuronTracingWorld, z: int) -> np.ndarray:
    return draw_slice(world.labels[z], z, world.image_tissue, world.image_stain)


@lru_cache(maxsize=1024)
def _verdict(world: NeuronTracingWorld, node: Node) -> str:
    x = int(node.u) >> 1
    y = int(node.v) >> 1
    if world.labels[node.z, y, x] == world.target:
        return RIGHT
    around = world.labels[
        node.z, max(y - _REACH, 0) : y + _REACH + 1, max(x - _REACH, 0) : x + _REACH + 1
    ]
    return "slip" if (around == world.target).any() else "confusion"


@lru_cache(maxsize=256)
def _mistakes(world: NeuronTracingWorld, edits: tuple[Node, ...]) -> tuple[Mistake, ...]:
    nodes = nodes_by_slice(world.slices, edits)
    last = max((z for z, index in enumerate(nodes) if index >= 0), default=-1)
    mistakes = []
    for z, index in enumerate(nodes[: last + 1]):
        verdict = _verdict(world, edits[index]) if index >= 0 else "lapse"
        if verdict != RIGHT:
            mistakes.append(Mistake(verdict, index) if index >= 0 else Mistake(verdict, omitted=z))
    return tuple(mistakes)


@lru_cache(maxsize=32)
def _middle(world: NeuronTracingWorld, z: int, cell: int) -> tuple[float, float] | None:
    mask = np.zeros((SIDE + 2, SIDE + 2), np.uint8)
    mask[1:-1, 1:-1] = world.labels[z] == cell
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)[1:-1, 1:-1]
    if depth.max() < 2.5:
        return None
    x, y = _deepest(depth[None])[0]
    return float(2 * x + 0.5), float(2 * y + 0.5)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> NeuronTracingWorld:
    """Make a stack with a cell that can be traced through all slices. See `Task.make_world`."""
    slices = int(rng.integers(difficulty.slices[0], difficulty.slices[1] + 1))
    while True:
        drift = random_drift(rng, slices)
        seeds = random_midlines(rng, slices) + drift[:, None, None]
        maps = random_deformation(rng, slices)
        labels = assign_labels(seeds, maps)

        # Membranes are where the label changes.
        edges = np.zeros(labels.shape, np.bool_)
        edges[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
        edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
        depth = np.stack(
            [cv2.distanceTransform(plane, cv2.DIST_L2, 3) for plane in (~edges).view(np.uint8)]
        )

        traceable = _target(rng, labels, depth, seeds[:, :, 3] - PAD)
        if traceable is not None:
            break
    target, center = traceable
    return NeuronTracingWorld(
        slices, target, center, labels, Tissue(depth, seeds, maps, drift), rng
    )


def _deepest(depth: np.ndarray) -> np.ndarray:
    """Return a point well inside each cross-section.

    It is the mean weighted by the depth, or the deepest pixel where the mean is near the border, as
    in a crescent. The sums are of whole numbers: exact.

    Args:
        depth: (slices, height, width) distance to the border, half px, 0 outside.

    Returns:
        (slices, 2) points (x, y), half px.
    """
    weight = np.floor(8 * depth.astype(np.float64)) ** 3
    total = weight.sum((1, 2))
    points = np.stack(
        [
            weight.sum(1) @ np.arange(depth.shape[2]) / total,
            weight.sum(2) @ np.arange(depth.shape[1]) / total,
        ],
        1,
    )
    for z, (x, y) in enumerate(points):
        if depth[z, int(y + 0.5), int(x + 0.5)] < 0.7 * depth[z].max():
            points[z] = np.unravel_index(int(depth[z].argmax()), depth[z].shape)[::-1]
    return points


def _target(
    rng: np.random.Generator, labels: np.ndarray, depth: np.ndarray, middle: np.ndarray
) -> tuple[int, np.ndarray] | None:
    """Choose a cell that can be traced from the first slice to the last.

    Args:
        rng: The source of randomness.
        labels: (slices, 128, 128) the cell at each half px.
        depth: (slices, 128, 128) distance to the nearest membrane, half px.
        middle: (slices, cells, 2) the middle of each cell before the deformation, half px.

    Returns:
        The cell and its (slices, 2) points, canvas coordinates; None if no cell will do.
    """
    # Cheap test first: the cell stays inside the slices and begins well inside.
    stays = (
        (middle.min((0, 2)) > 12)
        & (middle.max((0, 2)) < SIDE - 14)
        & (abs(middle[0] - SIDE / 2).max(1) < SIDE / 2 - 22)
    )
    for label in rng.permutation(np.nonzero(stays)[0]):
        mask = labels == label
        if mask.sum((1, 2)).min() < _LARGE:
            continue

        # The rest works on the bounding box of the cell.
        (y0, y1), (x0, x1) = (np.nonzero(mask.any(axes))[0][[0, -1]] for axes in ((0, 2), (0, 1)))
        mask = mask[:, y0 : y1 + 1, x0 : x1 + 1]
        inner = depth[:, y0 : y1 + 1, x0 : x1 + 1] * mask
        if inner.max((1, 2)).min() < _DEEP:
            continue

        points = _deepest(inner) + (x0, y0)
        if (
            points.min() < 9
            or points.max() > SIDE - 11
            or np.hypot(*np.diff(points, axis=0).T).max() > _STEP
        ):
            continue
        if all(map(_whole, np.ascontiguousarray(mask).view(np.uint8))):
            return int(label), (2 * points + 0.5).astype(np.float32)
    return None


def _whole(mask: np.ndarray) -> bool:
    """Return whether a cross-section is one piece, apart from crumbs of up to 6 half px squared."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return count == 2 or sorted(stats[1:, cv2.CC_STAT_AREA])[-2] <= 6
