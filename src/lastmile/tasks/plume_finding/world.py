"""The world of plume finding: a hyperspectral cube with a gas plume over textured ground.

The gas absorbs in a few neighboring bands.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.plume_finding.ground import SIDE, smooth, spectra, surfaces, texture
from lastmile.tasks.task import RIGHT


class Vertex(NamedTuple):
    """A vertex of the polygon.

    Attributes:
        u: Canvas coordinate, logical px to the right.
        v: Canvas coordinate, logical px down.
        band: The band in which it was placed.
    """

    u: float
    v: float
    band: int


class Close(NamedTuple):
    """The closing of the polygon.

    Attributes:
        band: The band in which it was closed.
    """

    band: int


Edits = tuple[Vertex | Close, ...]
"""The annotation: vertices in order, and the closing as the last one."""


class Walk(NamedTuple):
    """The way along the outline that the vertices make.

    Attributes:
        at: Position of the last vertex, as a share of the outline's length, from 0 to 1.
        progress: Way from the first vertex to the last, as a share of the outline's length.
        turn: Direction of the way: 1 clockwise, -1 counterclockwise.
        verdict: Verdict on the last vertex.
    """

    at: float = 0.0
    progress: float = 0.0
    turn: int = 1
    verdict: str = RIGHT


class Overlap(NamedTuple):
    """The polygon compared with the plume, each measure from 0 to 1."""

    iou: float
    precision: float
    recall: float


class Images(NamedTuple):
    """What can be seen of the cube.

    Attributes:
        bands: (bands, 128, 128) uint8, each band stretched to gray.
        ratios: (bands, 128, 128) uint8, each band relative to its background.
        grain: (256, 256) int8, the noise of the detector.
    """

    bands: np.ndarray
    ratios: np.ndarray
    grain: np.ndarray


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        bands: Smallest and largest number of bands.
    """

    bands: tuple[int, int]


DIFFICULTIES = {"short": Difficulty(bands=(10, 14)), "full": Difficulty(bands=(22, 32))}

TOLERANCE = 8.0
"""A vertex is on the outline within this distance, logical px: a plume has no sharper border."""
NEAR = 1
"""A band counts as the band of the plume if it is at most this far from the best."""
MAX_GAP = 0.22
"""Largest share of the outline between two consecutive vertices; a longer part is left out."""
REACH = 50.0
"""The border of a shadow can be mistaken for the plume's within this distance, logical px."""

_POINTS = 240  # of the outline
_FULL_TURN = 72  # points of the border of a shadow


@dataclass(frozen=True, eq=False)
class PlumeFindingWorld:
    """A hyperspectral cube with a plume and two cloud shadows.

    Attributes:
        bands: Number of bands.
        best: The band with the strongest absorption.
        outline: (240, 2) border of the plume, evenly spaced, clockwise, canvas coordinates.
        top: Share of the outline's length at its topmost point.
        shadows: (2, 72, 2) borders of the cloud shadows, canvas coordinates.
        mask: (256, 256) uint8, 1 in the plume.
        image_rng: Random numbers for the images.
    """

    bands: int
    best: int
    outline: np.ndarray
    top: float
    shadows: np.ndarray
    mask: np.ndarray
    image_rng: np.random.Generator

    @cached_property
    def images(self) -> Images:
        """What can be seen; made on first use."""
        # The generator is copied, so the images do not depend on when they are made.
        rng = copy.deepcopy(self.image_rng)
        cube = _cube(rng, self.bands, self.best, self.mask, self.shadows)
        noise = 6 * rng.standard_normal((CANVAS, CANVAS), dtype=np.float32)
        return Images(_shown(cube), _ratios(cube), noise.clip(-30, 30).astype(np.int8))

    def picture(self, band: int, ratio: bool) -> np.ndarray:
        """Return a band (gray) or its ratio to the background (colors), (256, 256, 3) uint8."""
        return _picture(self, band, ratio)

    def at(self, share: float) -> tuple[float, float]:
        """Return the point of the outline at a share of its length."""
        u, v = self.outline[round(share * _POINTS) % _POINTS]
        return float(u), float(v)

    def nearest(self, u: float, v: float) -> tuple[float, float]:
        """Return the distance of a point from the outline and the share of the nearest point."""
        squared = (self.outline[:, 0] - u) ** 2 + (self.outline[:, 1] - v) ** 2
        nearest = int(squared.argmin())
        return float(squared[nearest]) ** 0.5, nearest / _POINTS

    def rim(self, u: float, v: float) -> tuple[float, float] | None:
        """Return the nearest point on the border of a shadow that is clearly off the outline.

        Points farther than `REACH` do not count; None if no point is left.
        """
        best = REACH
        point = None
        for x, y in self.shadows.reshape(-1, 2).tolist():
            away = ((x - u) ** 2 + (y - v) ** 2) ** 0.5
            if (
                away < best
                and 4 < x < CANVAS - 4
                and 4 < y < CANVAS - 14  # above the bar that shows the band
                and self.nearest(x, y)[0] > TOLERANCE + 4
            ):
                best = away
                point = (x, y)
        return point

    def verdict(self, vertex: Vertex, margin: float = 0.0) -> str:
        """Return the verdict on a vertex by itself, whatever came before it.

        Args:
            vertex: The vertex.
            margin: Distance by which the tolerances are widened, logical px.

        Returns:
            `right`, `slip`, `confusion` (border of a shadow) or `lapse` (wrong band).
        """
        limit = TOLERANCE + margin
        if self.nearest(vertex.u, vertex.v)[0] > limit:
            squared = (self.shadows[..., 0] - vertex.u) ** 2 + (
                self.shadows[..., 1] - vertex.v
            ) ** 2
            return "confusion" if squared.size and squared.min() <= limit**2 else "slip"
        return RIGHT if abs(vertex.band - self.best) <= NEAR else "lapse"

    def walk(self, edits: Edits) -> Walk:
        """Return the way along the outline that some vertices make."""
        return _walk(self, edits)

    def round(self, edits: Edits) -> bool:
        """Return whether vertices go all the way around the outline."""
        return 1 - self.walk(edits).progress <= MAX_GAP

    def overlap(self, edits: Edits) -> Overlap:
        """Compare the polygon of some vertices with the plume."""
        return _overlap(self, edits)


@lru_cache(maxsize=64)
def _picture(world: PlumeFindingWorld, band: int, ratio: bool) -> np.ndarray:
    half = (world.images.ratios if ratio else world.images.bands)[band]
    whole = cv2.resize(half, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    if ratio:
        picture = cv2.LUT(cv2.cvtColor(whole, cv2.COLOR_GRAY2RGB), _HEAT)
    else:
        grainy = cv2.add(whole, world.images.grain, dtype=cv2.CV_8U)
        picture = cv2.cvtColor(grainy, cv2.COLOR_GRAY2RGB)
    picture.flags.writeable = False
    return picture


@lru_cache(maxsize=256)
def _walk(world: PlumeFindingWorld, edits: Edits) -> Walk:
    if not edits:
        return Walk()
    before = _walk(world, edits[:-1])
    last = edits[-1]
    if isinstance(last, Close):
        return before

    at = world.nearest(last.u, last.v)[1]
    verdict = world.verdict(last)
    if len(edits) == 1:
        return Walk(at, 0.0, 1, verdict)

    # The step to the last vertex, the shorter way around; the second vertex gives the direction.
    step = (at - before.at + 0.5) % 1 - 0.5
    turn = before.turn
    if len(edits) == 2 and -MAX_GAP <= step < 0:
        turn = -1
    step *= turn

    # After a wrong vertex the step is unreliable, so a wider range of steps is accepted.
    low, high = (0.0, MAX_GAP) if before.verdict == RIGHT else (-0.15, 0.37)
    if verdict == RIGHT and (not low < step <= high or before.progress + step >= 1):
        verdict = "lapse"
    return Walk(at, before.progress + step, turn, verdict)


@lru_cache(maxsize=64)
def _overlap(world: PlumeFindingWorld, edits: Edits) -> Overlap:
    points = np.array([(edit.u, edit.v) for edit in edits if isinstance(edit, Vertex)])
    points = points.reshape(-1, 2)
    if len(points) < 3:
        return Overlap(0.0, 0.0, 0.0)

    polygon = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(polygon, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    both = cv2.countNonZero(polygon & world.mask)
    drawn = cv2.countNonZero(polygon)
    true = cv2.countNonZero(world.mask)
    return Overlap(both / (drawn + true - both), both / drawn if drawn else 0.0, both / true)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> PlumeFindingWorld:
    """Return a random world; the generator belongs to it from then on."""
    bands = int(rng.integers(difficulty.bands[0], difficulty.bands[1] + 1))
    best = int(rng.integers(max(3, bands // 5), bands - 3))
    outline = _outline(rng)
    shadows = _shadows(rng, outline)
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    return PlumeFindingWorld(
        bands=bands,
        best=best,
        outline=outline,
        top=int(outline[:, 1].argmin()) / _POINTS,
        shadows=shadows,
        mask=mask,
        image_rng=rng,
    )


def _even(points: np.ndarray, count: int) -> np.ndarray:
    """Return evenly spaced points on the closed path through points (n, 2), (count, 2)."""
    ring = np.concatenate([points, points[:1]])
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    stops = np.arange(count) / count * length[-1]
    return np.stack([np.interp(stops, length, ring[:, k]) for k in range(2)], 1)


def _outline(rng: np.random.Generator) -> np.ndarray:
    """Return the border of a random plume, clockwise on the canvas, (240, 2).

    A plume is narrow at its source, wider and lumpy downwind, bent, and round at its end.
    """
    while True:
        long = rng.uniform(95, 150)
        narrow = rng.uniform(9, 13)
        wide = rng.uniform(24, 36)
        bend = rng.uniform(-0.9, 0.9)

        # The center line from source to end.
        s = np.linspace(0, 1, 60)
        heading = (
            rng.uniform(0, 2 * np.pi)
            + bend * s
            + 0.25 * np.sin(2 * np.pi * (s * rng.uniform(0.8, 1.5) + rng.random()))
        )
        step = long / len(s)
        middle = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], 1) * step

        # Both sides, with lumps of their own.
        lumps = [
            1 + 0.13 * np.sin(2 * np.pi * (s * rng.uniform(1.2, 2.6) + rng.random()))
            for _ in range(2)
        ]
        ends = np.sqrt(np.clip(1 - (2 * s - 1) ** 12, 0, 1))
        half = (narrow + (wide - narrow) * s**0.8) * ends
        across = np.stack([-np.sin(heading), np.cos(heading)], 1)
        left = middle + across * (half * lumps[0])[:, None]
        right = middle - across * (half * lumps[1])[:, None]
        points = _even(np.concatenate([left, right[::-1]]), _POINTS)

        x, y = points.T
        if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:  # counterclockwise
            points = points[::-1]

        # Move it to a random place on the canvas, above the bar that shows the band.
        low = points.min(0)
        high = points.max(0)
        room = np.array([CANVAS - 28, CANVAS - 42]) - (high - low)
        if room.min() > 0:
            return points - low + 14 + rng.uniform(0, 1, 2) * room


def _shadows(rng: np.random.Generator, outline: np.ndarray) -> np.ndarray:
    """Return the borders of a cloud shadow that touches the plume and of another, (2, 72, 2)."""
    angle = np.arange(_FULL_TURN) / _FULL_TURN * 2 * np.pi
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    borders = []
    for touching in (True, False):
        radius = rng.uniform(19, 28)
        shape = radius * (
            1
            + 0.16 * np.sin(2 * angle + rng.uniform(0, 6.3))
            + 0.1 * np.sin(3 * angle + rng.uniform(0, 6.3))
        )
        if touching:
            start = int(rng.integers(_POINTS))
            out = outline[start] - outline.mean(0)
            middle = outline[start] + out / np.hypot(*out) * radius * 0.75
        else:
            middle = rng.uniform(25, CANVAS - 25, 2)
        borders.append(middle + shape[:, None] * circle * (1.25, 0.85))
    return np.stack(borders)


def _cube(
    rng: np.random.Generator, bands: int, best: int, mask: np.ndarray, shadows: np.ndarray
) -> np.ndarray:
    """Return the radiance, (bands, 128, 128) float32.

    It is the product of the reflectance of the ground, the light on it, and the transmission of the
    gas by the law of Beer and Lambert.

    Args:
        rng: Random numbers.
        bands: Number of bands.
        best: The band with the strongest absorption.
        mask: (256, 256) uint8, 1 in the plume.
        shadows: (2, 72, 2) borders of the cloud shadows.
    """
    # Clay absorbs too, but in bands that the gas lets through.
    away = [band for band in range(1, bands - 1) if abs(band - best) >= 5]
    feature = away[int(rng.integers(len(away)))] if away else -9.0
    ground = surfaces(rng)
    light = texture(rng, ground)
    for shadow in shadows:
        shade = np.zeros((SIDE, SIDE), np.float32)
        # 8 = 16 sub-pixels per half px
        cv2.fillPoly(shade, [np.round(shadow * 8).astype(np.int32)], 1.0, shift=4)
        light *= 1 - np.float32(rng.uniform(0.3, 0.4)) * cv2.GaussianBlur(shade, (0, 0), 2.2)
    cube = np.take(spectra(rng, bands, feature).T, ground, axis=1) * light

    # Each column of a pushbroom sensor has its own gain in each band, which shows as stripes.
    stripes = rng.standard_normal((bands, 1, SIDE), dtype=np.float32)
    cube *= 1 + np.float32(0.008) * stripes

    density = cv2.GaussianBlur(
        cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA), (0, 0), 2.4
    )
    density *= np.clip(1 + 0.13 * smooth(rng, 5), 0.65, 1.25)
    strength = rng.uniform(0.75, 1.0)
    width = rng.uniform(0.95, 1.25)
    middle = best + rng.uniform(-0.25, 0.25)
    for band in range(max(best - 4, 0), min(best + 5, bands)):
        absorption = strength * np.exp(-0.5 * ((band - middle) / width) ** 2)
        cube[band] *= np.exp(np.float32(-absorption) * density)
    return cube


def _shown(cube: np.ndarray) -> np.ndarray:
    """Return each band as gray, stretched around its median, (bands, 128, 128) uint8."""
    middle = np.median(cube[:, ::4, ::4], axis=(1, 2))
    stretched = cube * (138 / middle)[:, None, None].astype(np.float32)
    return np.clip(stretched, 20, 235).astype(np.uint8)


def _ratios(cube: np.ndarray) -> np.ndarray:
    """Return how much darker each band is than its background, (bands, 128, 128) uint8.

    The background is the mean of the bands three and four away on either side.
    """
    bands = len(cube)
    shown = np.empty(cube.shape, np.uint8)
    for band in range(bands):
        sides = [
            [k for k in pair if 0 <= k < bands]
            for pair in ((band - 3, band - 4), (band + 3, band + 4))
        ]
        around = sum(sum(cube[k] for k in side) / len(side) for side in sides if side) / sum(
            map(bool, sides)
        )
        ratio = cube[band] / around
        shown[band] = np.clip((1 - ratio / np.median(ratio[::4, ::4])) * 360 + 50, 0, 255)
    return shown


def _heat() -> np.ndarray:
    """Return the colors of ratios, from dark violet to yellow, (256, 1, 3) uint8."""
    ramp = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    return np.ascontiguousarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[..., ::-1])


_HEAT = _heat()
