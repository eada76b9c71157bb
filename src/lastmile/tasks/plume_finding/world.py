"""The world of plume finding: a hyperspectral cube over textured ground, with a gas plume that absorbs in a few neighboring bands."""

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
    """A vertex of the polygon at canvas position (u, v), set while a band was shown."""

    u: float
    v: float
    band: int


class Close(NamedTuple):
    """The polygon was closed while a band was shown."""

    band: int


class Walk(NamedTuple):
    """A way along the outline: where the last vertex is (share of the outline's length, from 0 to 1), how far it has gone round from the
    first (share), in which direction (1 or -1), and the verdict on the last vertex."""

    at: float = 0.0
    progress: float = 0.0
    turn: int = 1
    verdict: str = RIGHT


class Overlap(NamedTuple):
    """Polygon against plume."""

    iou: float
    precision: float
    recall: float


class Images(NamedTuple):
    """Bands as they are shown and their ratios to the background, (bands, 128, 128) uint8 each, and the grain of the detector, (256, 256) int8."""

    bands: np.ndarray
    ratios: np.ndarray
    grain: np.ndarray


@dataclass(frozen=True, slots=True)
class Difficulty:
    """bands: smallest and largest number."""

    bands: tuple[int, int]


DIFFICULTIES = {"short": Difficulty(bands=(10, 14)), "full": Difficulty(bands=(22, 32))}

TOLERANCE = 8.0
"""A vertex is on the outline within this many logical px: the rim of a plume is not sharper."""
NEAR = 1
"""A band counts as the plume's if it is at most this far from the best."""
MAX_GAP = 0.22
"""Largest share of the outline between two neighboring vertices; a part that is longer is left out."""
REACH = 50.0
"""The rim of a shadow may be mistaken for that of the plume within this many logical px."""
_POINTS = 240


@dataclass(frozen=True, eq=False)
class PlumeFindingWorld:
    """best: the band with the strongest absorption. outline: (240, 2) the plume's border, evenly spaced, clockwise as seen, canvas coordinates.
    top: share of the outline at its topmost point. shadows: (shadows, 72, 2) borders of cloud shadows. mask: (256, 256) uint8, 1 in the
    plume. image_rng: random numbers for the picture."""

    bands: int
    best: int
    outline: np.ndarray
    top: float
    shadows: np.ndarray
    mask: np.ndarray
    image_rng: np.random.Generator

    @cached_property
    def images(self) -> Images:
        """What there is to see, made when first asked for."""
        rng = copy.deepcopy(self.image_rng)
        cube = _cube(rng, self.bands, self.best, self.mask, self.shadows)
        grain = (
            (6 * rng.standard_normal((CANVAS, CANVAS), dtype=np.float32))
            .clip(-30, 30)
            .astype(np.int8)
        )
        return Images(_shown(cube), _ratios(cube), grain)

    def picture(self, band: int, ratio: bool) -> np.ndarray:
        """A band (gray) or its ratio to the background (colors) as it is shown, (256, 256, 3) uint8."""
        return _picture(self, band, ratio)

    def at(self, share: float) -> tuple[float, float]:
        """The point of the outline at a share of its length."""
        u, v = self.outline[round(share * _POINTS) % _POINTS]
        return float(u), float(v)

    def nearest(self, u: float, v: float) -> tuple[float, float]:
        """Distance of a point to the outline, logical px, and where on the outline that is."""
        squared = (self.outline[:, 0] - u) ** 2 + (self.outline[:, 1] - v) ** 2
        nearest = int(squared.argmin())
        return float(squared[nearest]) ** 0.5, nearest / _POINTS

    def rim(self, u: float, v: float) -> tuple[float, float] | None:
        """The point on the rim of a cloud shadow next to (u, v) that is clearly not on the plume's outline, if there is one in reach."""
        best, found = REACH, None
        for x, y in self.shadows.reshape(-1, 2).tolist():
            away = ((x - u) ** 2 + (y - v) ** 2) ** 0.5
            if (
                away < best
                and 4 < x < CANVAS - 4
                and 4 < y < CANVAS - 14
                and self.nearest(x, y)[0] > TOLERANCE + 4
            ):
                best, found = away, (x, y)
        return found

    def verdict(self, vertex: Vertex, margin: float = 0.0) -> str:
        """What is to be said of a vertex by itself: `right`, `slip`, `confusion` (rim of a shadow) or `lapse` (wrong band).

        margin: logical px by which the tolerances are widened.
        """
        if self.nearest(vertex.u, vertex.v)[0] > TOLERANCE + margin:
            squared = (self.shadows[..., 0] - vertex.u) ** 2 + (
                self.shadows[..., 1] - vertex.v
            ) ** 2
            return (
                "confusion"
                if squared.size and squared.min() <= (TOLERANCE + margin) ** 2
                else "slip"
            )
        return RIGHT if abs(vertex.band - self.best) <= NEAR else "lapse"

    def walk(self, vertices: tuple[Vertex | Close, ...]) -> Walk:
        """The way along the outline that some vertices make."""
        return _walk(self, vertices)

    def round(self, vertices: tuple[Vertex | Close, ...]) -> bool:
        """Whether vertices go all round the outline."""
        return 1 - self.walk(vertices).progress <= MAX_GAP

    def overlap(self, vertices: tuple[Vertex | Close, ...]) -> Overlap:
        """The polygon of some vertices against the plume."""
        return _overlap(self, vertices)


@lru_cache(maxsize=64)
def _picture(world: PlumeFindingWorld, band: int, ratio: bool) -> np.ndarray:
    half = (world.images.ratios if ratio else world.images.bands)[band]
    whole = cv2.resize(half, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    if ratio:
        picture = cv2.LUT(cv2.cvtColor(whole, cv2.COLOR_GRAY2RGB), _HEAT)
    else:
        picture = cv2.cvtColor(
            cv2.add(whole, world.images.grain, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB
        )
    picture.flags.writeable = False
    return picture


@lru_cache(maxsize=256)
def _walk(world: PlumeFindingWorld, vertices: tuple[Vertex | Close, ...]) -> Walk:
    if not vertices:
        return Walk()
    before, last = _walk(world, vertices[:-1]), vertices[-1]
    if isinstance(last, Close):
        return before
    at, verdict = world.nearest(last.u, last.v)[1], world.verdict(last)
    if len(vertices) == 1:
        return Walk(at, 0.0, 1, verdict)
    step = (at - before.at + 0.5) % 1 - 0.5
    turn = before.turn
    if len(vertices) == 2 and -MAX_GAP <= step < 0:
        turn = -1
    step *= turn
    low, high = (0.0, MAX_GAP) if before.verdict == RIGHT else (-0.15, 0.37)
    if verdict == RIGHT and (not low < step <= high or before.progress + step >= 1):
        verdict = "lapse"
    return Walk(at, before.progress + step, turn, verdict)


@lru_cache(maxsize=64)
def _overlap(world: PlumeFindingWorld, vertices: tuple[Vertex | Close, ...]) -> Overlap:
    points = np.array(
        [(vertex.u, vertex.v) for vertex in vertices if isinstance(vertex, Vertex)]
    ).reshape(-1, 2)
    if len(points) < 3:
        return Overlap(0.0, 0.0, 0.0)
    polygon = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(polygon, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    both, drawn, true = (
        cv2.countNonZero(polygon & world.mask),
        cv2.countNonZero(polygon),
        cv2.countNonZero(world.mask),
    )
    return Overlap(both / (drawn + true - both), both / drawn if drawn else 0.0, both / true)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> PlumeFindingWorld:
    bands = int(rng.integers(difficulty.bands[0], difficulty.bands[1] + 1))
    best = int(rng.integers(max(3, bands // 5), bands - 3))
    outline = _outline(rng)
    top = int(outline[:, 1].argmin()) / _POINTS
    shadows = _shadows(rng, outline)
    mask = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    return PlumeFindingWorld(bands, best, outline, top, shadows, mask, rng)


def _even(points: np.ndarray, count: int) -> np.ndarray:
    """A closed path through points, (count, 2), evenly spaced."""
    ring = np.concatenate([points, points[:1]])
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    stops = np.arange(count) / count * length[-1]
    return np.stack([np.interp(stops, length, ring[:, k]) for k in range(2)], 1)


def _outline(rng: np.random.Generator) -> np.ndarray:
    """(240, 2) border of a plume: narrow at its source, wider and lumpy downwind, bent, rounded at its end; clockwise on the canvas."""
    while True:
        long, narrow, wide, bend = (
            rng.uniform(95, 150),
            rng.uniform(9, 13),
            rng.uniform(24, 36),
            rng.uniform(-0.9, 0.9),
        )
        s = np.linspace(0, 1, 60)
        heading = (
            rng.uniform(0, 2 * np.pi)
            + bend * s
            + 0.25 * np.sin(2 * np.pi * (s * rng.uniform(0.8, 1.5) + rng.random()))
        )
        step = long / len(s)
        middle = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], 1) * step
        lumps = [
            1 + 0.13 * np.sin(2 * np.pi * (s * rng.uniform(1.2, 2.6) + rng.random()))
            for _ in range(2)
        ]
        ends = np.sqrt(np.clip(1 - (2 * s - 1) ** 12, 0, 1))
        half = (narrow + (wide - narrow) * s**0.8) * ends
        across = np.stack([-np.sin(heading), np.cos(heading)], 1)
        left, right = (
            middle + across * (half * lumps[0])[:, None],
            middle - across * (half * lumps[1])[:, None],
        )
        points = _even(np.concatenate([left, right[::-1]]), _POINTS)
        x, y = points.T
        if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
            points = points[::-1]
        low, high = points.min(0), points.max(0)
        room = np.array([CANVAS - 28, CANVAS - 42]) - (high - low)
        if room.min() > 0:
            return points - low + 14 + rng.uniform(0, 1, 2) * room


def _shadows(rng: np.random.Generator, outline: np.ndarray) -> np.ndarray:
    """(2, 72, 2) borders of shadows of clouds: one that touches the plume, one elsewhere."""
    angle = np.arange(72) / 72 * 2 * np.pi
    found = []
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
        found.append(
            middle + shape[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) * (1.25, 0.85)
        )
    return np.stack(found)


def _cube(
    rng: np.random.Generator, bands: int, best: int, mask: np.ndarray, shadows: np.ndarray
) -> np.ndarray:
    """(bands, 128, 128) float32 radiance: ground times light times what the gas lets through (law of Beer and Lambert)."""
    away = [band for band in range(1, bands - 1) if abs(band - best) >= 5]
    feature = away[int(rng.integers(len(away)))] if away else -9.0
    ground = surfaces(rng)
    light = texture(rng, ground)
    for shadow in shadows:
        shade = np.zeros((SIDE, SIDE), np.float32)
        cv2.fillPoly(shade, [np.round(shadow * 8).astype(np.int32)], 1.0, shift=4)
        light *= 1 - np.float32(rng.uniform(0.3, 0.4)) * cv2.GaussianBlur(shade, (0, 0), 2.2)
    cube = np.take(spectra(rng, bands, feature).T, ground, axis=1) * light
    cube *= 1 + np.float32(0.008) * rng.standard_normal(
        (bands, 1, SIDE), dtype=np.float32
    )  # stripes of the sensor's columns
    density = cv2.GaussianBlur(
        cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA), (0, 0), 2.4
    )
    density *= np.clip(1 + 0.13 * smooth(rng, 5), 0.65, 1.25)
    strength, width, middle = (
        rng.uniform(0.75, 1.0),
        rng.uniform(0.95, 1.25),
        best + rng.uniform(-0.25, 0.25),
    )
    for band in range(max(best - 4, 0), min(best + 5, bands)):
        cube[band] *= np.exp(
            np.float32(-strength * np.exp(-0.5 * ((band - middle) / width) ** 2)) * density
        )
    return cube


def _shown(cube: np.ndarray) -> np.ndarray:
    """(bands, 128, 128) uint8: each band stretched around its median."""
    middle = np.median(cube[:, ::4, ::4], axis=(1, 2))
    return np.clip(cube * (138 / middle)[:, None, None].astype(np.float32), 20, 235).astype(
        np.uint8
    )


def _ratios(cube: np.ndarray) -> np.ndarray:
    """(bands, 128, 128) uint8: how much darker each band is than its background, the mean of the bands three and four away on either side."""
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
    """(256, 3) colors of the ratio: dark violet to yellow."""
    ramp = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    return np.ascontiguousarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[..., ::-1])


_HEAT = _heat()
