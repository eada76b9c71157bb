"""The world of neuron tracing: a stack of electron micrographs of densely packed cell processes.

All is made on a grid of half the canvas' resolution (1 half px = 2 logical px) and drawn larger when it is shown.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.task import RIGHT, Mistake


class Node(NamedTuple):
    """A node at canvas position (u, v) in slice z."""

    u: float
    v: float
    z: int


@dataclass(frozen=True, slots=True)
class Difficulty:
    """slices: smallest and largest number."""

    slices: tuple[int, int]


DIFFICULTIES = {"short": Difficulty(slices=(10, 16)), "full": Difficulty(slices=(24, 50))}

_SIDE = CANVAS // 2
_PAD = 10  # half px round the visible part, so that cells do not begin at its border
_GRID = _SIDE + 2 * _PAD
_SPACING = 17.0  # half px from cell to cell
_REACH = 3  # half px outside the target that still count as beside it
_STEP = 9.0  # half px that the target's middle may move from slice to slice
_DEEP, _LARGE = (
    2.8,
    42,
)  # smallest radius (half px) and area (half px squared) of the target's cross-section
_NOISE = CANVAS + 32


class Tissue(NamedTuple):
    """What the picture is made of. depth: (slices, 128, 128) distance to the nearest membrane, half px. seeds: (slices, cells, 7, 2) middle lines
    of the cells. maps: (slices, 128, 128, 2) the deformation. drift: (slices, 2) of the whole tissue."""

    depth: np.ndarray
    seeds: np.ndarray
    maps: np.ndarray
    drift: np.ndarray


class Stain(NamedTuple):
    """How the tissue is stained. tone: (256,) of the cells. shade, owner: (slices, 160, 160) uint8, how dark mitochondria and vesicles are, and
    the cell that they belong to. grain: (256, 256) texture. light: (128, 128) and gain, offset: (slices,) unevenness. noise: (288, 288) int8 of
    the detector."""

    tone: np.ndarray
    shade: np.ndarray
    owner: np.ndarray
    grain: np.ndarray
    light: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False)
class NeuronTracingWorld:
    """labels: (slices, 128, 128) uint8, the cell at each half px. target: its label. center: (slices, 2) float32, a point deep inside the
    target, canvas coordinates. image_tissue: what the picture is made of. image_rng: random numbers for it."""

    slices: int
    target: int
    center: np.ndarray
    labels: np.ndarray
    image_tissue: Tissue
    image_rng: np.random.Generator

    @cached_property
    def image_stain(self) -> Stain:
        """How the tissue is stained, made when a picture is first asked for."""
        return _stain(copy.deepcopy(self.image_rng), self.image_tissue)

    def picture(self, z: int) -> np.ndarray:
        """A slice as it is shown, (256, 256, 3) uint8."""
        return _picture(self, z)

    def point(self, z: int) -> tuple[float, float]:
        """A point deep inside the target's cross-section."""
        return float(self.center[z, 0]), float(self.center[z, 1])

    def cell(self, node: Node) -> int:
        """Label of the cell that a node lies in."""
        return int(self.labels[node.z, int(node.v) >> 1, int(node.u) >> 1])

    def inside(self, z: int, u: float, v: float) -> bool:
        """Whether a point lies in the target's cross-section."""
        return (
            0 <= u < CANVAS
            and 0 <= v < CANVAS
            and int(self.labels[z, int(v) >> 1, int(u) >> 1]) == self.target
        )

    def verdict(self, node: Node) -> str:
        """`right` in the target, `slip` up to 6 px outside, `confusion` farther away."""
        return _verdict(self, node)

    def mistakes(self, edits: tuple[Node, ...]) -> tuple[Mistake, ...]:
        """Standing nodes in a wrong place, and slices left out before the last one with a node (index -1 - slice)."""
        return _mistakes(self, edits)

    def middle(self, z: int, cell: int) -> tuple[float, float] | None:
        """A point deep inside the cross-section of any cell; None if it is not in the slice or too small to be clicked."""
        return _middle(self, z, cell)

    def neighbor(self, z: int, u: float, v: float, reach: float) -> tuple[float, float] | None:
        """A point deep inside the cell (not the target) that comes nearest to (u, v), if that is within `reach` px of the target's point."""
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
def standing(slices: int, edits: tuple[Node, ...]) -> tuple[int, ...]:
    """For each slice the index of the node that stands there, the last one that was set, or -1."""
    nodes = [-1] * slices
    for index, node in enumerate(edits):
        nodes[node.z] = index
    return tuple(nodes)


@lru_cache(maxsize=64)
def _picture(world: NeuronTracingWorld, z: int) -> np.ndarray:
    soft = cv2.GaussianBlur(
        _render(world.labels[z], z, world.image_tissue, world.image_stain), (3, 3), 0.55
    )
    large = cv2.resize(soft, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    x, y = z * 13 % 32, z * 7 % 32
    noise = world.image_stain.noise[y : y + CANVAS, x : x + CANVAS]
    picture = cv2.cvtColor(cv2.add(large, noise, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB)
    picture.flags.writeable = False
    return picture


@lru_cache(maxsize=1024)
def _verdict(world: NeuronTracingWorld, node: Node) -> str:
    x, y = int(node.u) >> 1, int(node.v) >> 1
    if world.labels[node.z, y, x] == world.target:
        return RIGHT
    around = world.labels[
        node.z, max(y - _REACH, 0) : y + _REACH + 1, max(x - _REACH, 0) : x + _REACH + 1
    ]
    return "slip" if (around == world.target).any() else "confusion"


@lru_cache(maxsize=256)
def _mistakes(world: NeuronTracingWorld, edits: tuple[Node, ...]) -> tuple[Mistake, ...]:
    nodes = standing(world.slices, edits)
    last = max((z for z, index in enumerate(nodes) if index >= 0), default=-1)
    found = []
    for z, index in enumerate(nodes[: last + 1]):
        verdict = _verdict(world, edits[index]) if index >= 0 else "lapse"
        if verdict != RIGHT:
            found.append(Mistake(verdict, index) if index >= 0 else Mistake(verdict, omitted=z))
    return tuple(found)


@lru_cache(maxsize=32)
def _middle(world: NeuronTracingWorld, z: int, cell: int) -> tuple[float, float] | None:
    mask = np.zeros((_SIDE + 2, _SIDE + 2), np.uint8)
    mask[1:-1, 1:-1] = world.labels[z] == cell
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)[1:-1, 1:-1]
    if depth.max() < 2.5:
        return None
    x, y = _deepest(depth[None])[0]
    return float(2 * x + 0.5), float(2 * y + 0.5)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> NeuronTracingWorld:
    slices = int(rng.integers(difficulty.slices[0], difficulty.slices[1] + 1))
    while True:
        drift = _drift(rng, slices)
        seeds = _seeds(rng, slices) + drift[:, None, None]
        maps = _maps(rng, slices)
        labels = _labels(seeds, maps)
        edges = np.zeros(labels.shape, np.bool_)
        edges[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
        edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
        depth = np.stack(
            [cv2.distanceTransform(plane, cv2.DIST_L2, 3) for plane in (~edges).view(np.uint8)]
        )
        found = _target(rng, labels, depth, seeds[:, :, 3] - _PAD)
        if found is not None:
            break
    target, center = found
    return NeuronTracingWorld(
        slices, target, center, labels, Tissue(depth, seeds, maps, drift), rng
    )


def _waves(
    rng: np.random.Generator,
    slices: int,
    count: int,
    size: tuple[float, float],
    period: tuple[float, float],
) -> np.ndarray:
    """(slices, count, 2) smooth movements of given amplitudes (half px) and periods (slices)."""
    z = np.arange(slices)[:, None, None]
    return rng.uniform(*size, (count, 2)) * np.sin(
        2 * np.pi * (z / rng.uniform(*period, (count, 2)) + rng.uniform(0, 1, (count, 2)))
    )


def _drift(rng: np.random.Generator, slices: int) -> np.ndarray:
    """(slices, 2) movement of the whole tissue: slow and faster drift, imperfect alignment, now and then a jump."""
    drift = (
        _waves(rng, slices, 1, (6, 12), (26, 60))[:, 0]
        + _waves(rng, slices, 1, (1.5, 3.5), (9, 16))[:, 0]
    )
    jumps = rng.normal(0, 2.0, (slices, 2)) * (rng.random((slices, 1)) < 0.06)
    return drift + rng.normal(0, 0.5, (slices, 2)) + np.cumsum(jumps, 0)


def _seeds(rng: np.random.Generator, slices: int) -> np.ndarray:
    """(slices, cells, 7, 2) points (x, y) along the middle line of each cell on the padded grid, half px; a third of the cells is long."""
    side = np.arange(-34, _GRID + 34, _SPACING)
    x, y = np.meshgrid(side, side)
    x[1::2] += _SPACING / 2
    middle = np.stack([x.ravel(), y.ravel()], 1)
    middle += rng.uniform(-0.36, 0.36, middle.shape) * _SPACING
    middle = middle[rng.random(len(middle)) > 0.12]
    count = len(middle)
    length = np.where(rng.random(count) < 0.35, rng.uniform(9, 22, count), rng.uniform(0, 5, count))
    z = np.arange(slices)[:, None]
    angle = rng.uniform(0, np.pi, count) + rng.uniform(-0.03, 0.03, count) * z  # (slices, cells)
    along = (
        np.linspace(-0.5, 0.5, 7) * length[:, None] * np.ones((slices, 1, 1))
    )  # (slices, cells, 7)
    bend = rng.uniform(-0.03, 0.03, count)[:, None] * along**2
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    points = np.stack([along * cos - bend * sin, along * sin + bend * cos], -1)
    return points + (middle + _waves(rng, slices, count, (1.5, 4.5), (18, 44)))[:, :, None]


def _smooth(rng: np.random.Generator, sigma: float, channels: int, side: int = _SIDE) -> np.ndarray:
    """(side, side, channels) smooth noise of unit variance; coarse noise is made small and enlarged."""
    coarse = max(1, int(sigma / 2))
    small = -(-side // coarse) + 4
    field = cv2.GaussianBlur(rng.standard_normal((small, small, channels)), (0, 0), sigma / coarse)
    if coarse > 1:
        field = cv2.resize(field, (small * coarse, small * coarse), interpolation=cv2.INTER_CUBIC)
    field = field.reshape(*field.shape[:2], channels)[:side, :side]
    return field / field.std()


def _maps(rng: np.random.Generator, slices: int) -> np.ndarray:
    """(slices, 128, 128, 2) float32: where on the padded grid each visible half px comes from; an elastic deformation that changes
    slowly with z. Fields and turns are rounded, so that all that follows is exact and the same on every machine."""
    first, second = (
        np.float32(np.round(64 * (2.6 * _smooth(rng, 11, 2) + 0.9 * _smooth(rng, 3.5, 2))) / 64)
        for _ in range(2)
    )
    turn = 2 * np.pi * (np.arange(slices) / rng.uniform(30, 45) + rng.random())
    base = np.stack(np.meshgrid(np.arange(_SIDE), np.arange(_SIDE)), -1).astype(np.float32) + _PAD
    maps = np.empty((slices, *base.shape), np.float32)
    for z, (cos, sin) in enumerate(
        zip(*((np.round(256 * f(turn)) / 256).tolist() for f in (np.cos, np.sin)))
    ):
        np.add(base, cos * first + sin * second, out=maps[z])
    return maps


def _labels(seeds: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """(slices, 128, 128) uint8: the cell whose middle line is nearest, seen through the deformation."""
    slices, count = seeds.shape[:2]
    x, y = np.floor(seeds + 0.5).astype(np.int64).reshape(slices, -1, 2).transpose(2, 0, 1)
    owner = np.full((slices, _GRID, _GRID), 255, np.uint8)
    z, k = np.nonzero((x >= 0) & (x < _GRID) & (y >= 0) & (y < _GRID))
    owner[z, y[z, k], x[z, k]] = k // seeds.shape[2]
    labels = np.empty((slices, _SIDE, _SIDE), np.uint8)
    for z, plane in enumerate(owner):
        free = plane == 255
        nearest = cv2.distanceTransformWithLabels(
            free.view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )[1]
        table = np.zeros(int(nearest.max()) + 1, np.uint8)
        table[nearest[~free]] = plane[~free]
        labels[z] = cv2.remap(table[nearest], maps[z], None, cv2.INTER_NEAREST)
    return labels


def _deepest(depth: np.ndarray) -> np.ndarray:
    """(slices, 2) points (x, y) well inside a cross-section, half px: the mean weighted by the depth, or the deepest pixel where the mean
    lies near the border. depth: (slices, height, width), distance to the border, 0 outside. The sums are of whole numbers: exact."""
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
    """A cell that can be followed from the first slice to the last, and its points; None if there is none.

    middle: (slices, cells, 2) where each cell's middle lies, but for the deformation.
    """
    stays = (
        (middle.min((0, 2)) > 12)
        & (middle.max((0, 2)) < _SIDE - 14)
        & (abs(middle[0] - _SIDE / 2).max(1) < _SIDE / 2 - 22)
    )
    for label in rng.permutation(np.nonzero(stays)[0]):
        mask = labels == label
        if mask.sum((1, 2)).min() < _LARGE:
            continue
        (y0, y1), (x0, x1) = (np.nonzero(mask.any(axes))[0][[0, -1]] for axes in ((0, 2), (0, 1)))
        mask = mask[:, y0 : y1 + 1, x0 : x1 + 1]
        inner = depth[:, y0 : y1 + 1, x0 : x1 + 1] * mask
        if inner.max((1, 2)).min() < _DEEP:
            continue
        points = _deepest(inner) + (x0, y0)
        if (
            points.min() < 9
            or points.max() > _SIDE - 11
            or np.hypot(*np.diff(points, axis=0).T).max() > _STEP
        ):
            continue
        if all(map(_whole, np.ascontiguousarray(mask).view(np.uint8))):
            return int(label), (2 * points + 0.5).astype(np.float32)
    return None


def _whole(mask: np.ndarray) -> bool:
    """Whether a cross-section is in one piece, but for crumbs."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return count == 2 or sorted(stats[1:, cv2.CC_STAT_AREA])[-2] <= 6


def _stain(rng: np.random.Generator, tissue: Tissue) -> Stain:
    """Cytoplasm of various tones, mitochondria, vesicles, uneven staining, noise."""
    slices = len(tissue.depth)
    tone = np.clip(rng.normal(172, 11, 256), 140, 200).astype(np.float32)
    shade, owner = _organelles(rng, tissue.seeds)
    grain = (6 * _smooth(rng, 1.1, 1, 2 * _SIDE) + 5 * _smooth(rng, 4.0, 1, 2 * _SIDE))[
        ..., 0
    ].astype(np.float32)
    light = 1 + 0.05 * _smooth(rng, 30, 1)[..., 0].astype(np.float32)
    gain, offset = (
        rng.normal(1, 0.025, slices).astype(np.float32),
        rng.normal(0, 2, slices).astype(np.float32),
    )
    noise = (
        (11 * rng.standard_normal((_NOISE, _NOISE), dtype=np.float32)).clip(-60, 60).astype(np.int8)
    )
    return Stain(tone, shade, owner, grain, light, gain, offset, noise)


def _render(labels: np.ndarray, z: int, tissue: Tissue, stain: Stain) -> np.ndarray:
    """A slice, (128, 128) uint8, with dark membranes; its texture drifts with the tissue."""
    depth, maps = tissue.depth[z], tissue.maps[z]
    dark = cv2.remap(stain.shade[z], maps, None, cv2.INTER_LINEAR) * (
        cv2.remap(stain.owner[z], maps, None, cv2.INTER_NEAREST) == labels
    )
    x, y = np.clip(np.floor(_SIDE / 2 - tissue.drift[z] + 0.5), 0, _SIDE).astype(int)
    plane = stain.tone[labels] + stain.grain[y : y + _SIDE, x : x + _SIDE]
    plane -= dark * np.clip(depth - 1, 0, 1)
    plane -= (plane - 42) * np.exp(depth**2 * np.float32(-0.9))
    plane *= stain.light * stain.gain[z]
    return np.clip(plane + stain.offset[z], 0, 255).astype(np.uint8)


def _organelles(rng: np.random.Generator, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slices, 160, 160) uint8 twice: how dark mitochondria and vesicles are, and the cell that they belong to."""
    slices, count = seeds.shape[:2]
    shade = np.zeros((slices, _GRID, _GRID), np.uint8)
    owner = np.full((slices, _GRID, _GRID), 255, np.uint8)
    middle = seeds[:, :, 3]
    synaptic = np.nonzero(rng.random(count) < 0.3)[0]
    spots = middle[:, synaptic, None] + rng.normal(
        0, 3.6, (slices, len(synaptic), 14, 2)
    )  # (slices, cells, vesicles, 2)
    x, y = np.floor(spots + 0.5).astype(np.int64).transpose(3, 0, 1, 2)
    z, k, s = np.nonzero((x >= 0) & (x < _GRID) & (y >= 0) & (y < _GRID))
    shade[z, y[z, k, s], x[z, k, s]] = 62
    owner[z, y[z, k, s], x[z, k, s]] = synaptic[k]
    for cell in np.nonzero(rng.random(count) < 0.45)[0].tolist():
        first, last = int(rng.integers(-8, slices)), int(rng.integers(7, 22))
        (long, wide), angle, spin = (
            (16 * rng.uniform((2.4, 1.7), (4.4, 2.7))).tolist(),
            rng.uniform(0, 180),
            rng.uniform(-6, 6),
        )
        path = (middle[:, cell] + rng.normal(0, 2.2, 2)).tolist()
        for z in range(max(first, 0), min(first + last, slices)):
            x, y = path[z]
            if 4 < x < _GRID - 4 and 4 < y < _GRID - 4:
                fade = min(1.0, 0.45 + 0.3 * min(z - first, first + last - 1 - z))
                spot, size = (
                    (round(x * 16), round(y * 16)),
                    (round(long * fade), round(wide * fade)),
                )
                turn = angle + spin * (z - first)
                cv2.ellipse(
                    owner[z],
                    spot,
                    (size[0] + 16, size[1] + 16),
                    turn,
                    0,
                    360,
                    cell,
                    -1,
                    cv2.LINE_8,
                    4,
                )
                cv2.ellipse(shade[z], spot, size, turn, 0, 360, 58, -1, cv2.LINE_AA, 4)
                cv2.ellipse(shade[z], spot, size, turn, 0, 360, 92, 1, cv2.LINE_AA, 4)
    return shade, owner
