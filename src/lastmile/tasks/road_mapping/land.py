"""What a map shows besides its roads: fields, woods, a stream, a track, houses, trees and cars."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen.widgets import Color
from lastmile.tasks.road_mapping.network import Network

_BITS = 4  # sub-pixel bits of OpenCV's drawing functions
_ONE = 1 << _BITS

_FIELDS = (
    (104, 128, 72),
    (126, 142, 84),
    (148, 146, 98),
    (92, 118, 70),
    (136, 126, 92),
    (114, 138, 92),
)
_CASING = (96, 94, 90)
_ASPHALT = (186, 184, 180)
_LINE = (214, 212, 206)
_STREAM = (74, 104, 122)
_BANK = (92, 116, 84)
_TRACK = (158, 138, 104)
_ROOFS = ((158, 92, 74), (140, 76, 64), (120, 116, 116), (172, 150, 128))
_CARS = ((190, 40, 40), (40, 60, 150), (240, 240, 240), (40, 40, 44))
_HOUSE_SHADOW = (52, 56, 46)
_TREE_SHADOW = (42, 54, 38)


class Land(NamedTuple):
    """Fields, stream and field track of a map.

    Attributes:
        seeds: (18, 2) middles of the fields.
        slant: Slant of the borders between fields.
        colors: (18, 3) colors of the fields.
        furrows: Direction of the furrows, radians.
        stream: (k, 2) points along the stream.
        track: (k, 2) points along the field track.
    """

    seeds: np.ndarray
    slant: np.float32
    colors: np.ndarray
    furrows: float
    stream: np.ndarray
    track: np.ndarray

    def decoys(self, side: int, samples: np.ndarray) -> np.ndarray:
        """Return the points along stream and track that are on the map and off the roads, (d, 2).

        Args:
            side: Side of the map, px.
            samples: (s, 2) points along the roads.
        """
        from scipy.spatial import cKDTree  # here, since it is slow to import

        both = np.concatenate([self.stream, self.track])
        both = both[((both >= 0) & (both < side)).all(1)]
        return both[cKDTree(samples).query(both)[0] > 14]


def make_land(rng: np.random.Generator, side: int) -> Land:
    """Return random fields, a stream and a field track on a map with the given side."""
    seeds = rng.uniform(0, side, (18, 2))
    slant = np.float32(rng.uniform(-0.5, 0.5))
    colors = np.array(_FIELDS)[rng.integers(0, len(_FIELDS), len(seeds))] + rng.integers(
        -8, 9, (len(seeds), 1)
    )
    return Land(seeds, slant, colors, rng.uniform(0, np.pi), _stream(rng, side), _track(rng, side))


def render(
    rng: np.random.Generator, side: int, land: Land, network: Network, samples: np.ndarray
) -> np.ndarray:
    """Draw the map.

    Args:
        rng: Random numbers for woods, houses, cars, trees and grain.
        side: Side of the map, px.
        land: Fields, stream and field track.
        network: The roads.
        samples: (s, 2) points along the roads.

    Returns:
        (side, side, 3) uint8; read only.
    """
    image = _fields(side, land)
    _line(image, land.stream, _BANK, 8)
    _line(image, land.stream, _STREAM, 5)
    _line(image, land.track, _TRACK, 3)

    gray = rng.standard_normal((side, side), dtype=np.float32)
    grain = cv2.GaussianBlur(gray, (0, 0), 1.0) * 14 + gray * 3
    crowns = _woods(rng, side, samples)

    # Layer by layer over all roads, so that junctions have no casing across them.
    for road in network.roads:
        _line(image, road, _CASING, 12)
    for road in network.roads:
        _line(image, road, _ASPHALT, 9)
    for road in network.roads:
        _line(image, road, _LINE, 1)

    _houses(rng, image, samples)
    _cars(rng, image, network)
    _trees(rng, image, np.concatenate([crowns, _roadside(rng, network)]))
    noise = np.clip(grain, -40, 40).astype(np.int16)
    image = cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)
    image.flags.writeable = False
    return image


def _line(image: np.ndarray, path: np.ndarray, color: Color, width: int) -> None:
    """Draw a line through points (k, 2), in place."""
    points = (path * _ONE).round().astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(image, [points], False, color, width, cv2.LINE_AA, _BITS)


def _disk(image: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    """Draw a filled circle, in place."""
    middle = (round(x * _ONE), round(y * _ONE))
    cv2.circle(image, middle, round(radius * _ONE), color, -1, cv2.LINE_AA, _BITS)


def _box(
    image: np.ndarray,
    middle: tuple[float, float],
    size: tuple[float, float],
    angle: float,
    color: Color,
) -> None:
    """Draw a filled rectangle turned by an angle in degrees, in place."""
    corners = cv2.boxPoints((middle, size, angle))
    points = (corners * _ONE).round().astype(np.int32)
    cv2.fillPoly(image, [points], color, cv2.LINE_AA, _BITS)


def _fields(side: int, land: Land) -> np.ndarray:
    """Return a patchwork of fields, (side, side, 3) uint8; every third field has furrows."""
    # Each point belongs to the nearest seed in the maximum norm of slanted axes, found at a
    # quarter of the resolution; the median filter rounds off the steps.
    seeds = land.seeds
    slant = land.slant
    small = side // 4
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) * 4
    u = x + slant * y
    v = y - slant * x
    at = np.stack([seeds[:, 0] + slant * seeds[:, 1], seeds[:, 1] - slant * seeds[:, 0]], 1).astype(
        np.float32
    )
    best = np.full_like(u, np.inf)
    nearest = np.zeros(u.shape, np.uint8)
    for k, (a, b) in enumerate(at):
        distance = np.maximum(np.abs(u - a), np.abs(v - b))
        nearest[distance < best] = k
        best = np.minimum(best, distance)
    index = cv2.medianBlur(cv2.resize(nearest, (side, side), interpolation=cv2.INTER_NEAREST), 5)

    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(seeds), 0] = land.colors
    image = cv2.LUT(cv2.merge([index] * 3), table)

    turn = land.furrows
    rows = np.arange(side, dtype=np.float32)
    furrows = np.float32(5) * np.sin(
        np.float32(1.1)
        * (rows[None] * np.float32(np.cos(turn)) + rows[:, None] * np.float32(np.sin(turn)))
    )
    furrows[index % 3 > 0] = 0
    return cv2.add(image, cv2.merge([furrows.astype(np.int16)] * 3), dtype=cv2.CV_8U)


def _stream(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return points along a winding stream across the map, at most 3 px apart, (k, 2)."""
    t = np.arange(-0.05, 1.05, 2.0 / side)
    angle = rng.uniform(0, np.pi)
    offset = rng.uniform(-0.25, 0.25)
    bend = (
        0.05 * np.sin(2 * np.pi * (2.2 * t + rng.uniform()))
        + 0.03 * np.sin(2 * np.pi * (5 * t + rng.uniform()))
        + offset
    )
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-np.sin(angle), np.cos(angle)])
    return side * (0.5 + 1.3 * (t[:, None] - 0.5) * along + bend[:, None] * across)


def _track(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return points along a straight field track, 2.5 px apart, (k, 2)."""
    start = rng.uniform(0.2, 0.8, 2) * side
    angle = rng.uniform(0, 2 * np.pi)
    at = np.arange(0, rng.uniform(0.4, 0.6) * side, 2.5)[:, None]
    return start + at * np.array([np.cos(angle), np.sin(angle)])


def _woods(rng: np.random.Generator, side: int, samples: np.ndarray) -> np.ndarray:
    """Return tree crowns (x, y, radius) in a few woods off the roads, (n, 3)."""
    from scipy.spatial import cKDTree  # here, since it is slow to import

    middles = rng.uniform(0, side, (6, 2))
    spread = rng.uniform(12, 30, (6, 1, 2))
    places = (middles[:, None] + rng.normal(0, 1, (6, 26, 2)) * spread).reshape(-1, 2)
    places = places[cKDTree(samples).query(places)[0] > 16]
    return np.concatenate([places, rng.uniform(4, 7.5, (len(places), 1))], 1)


def _roadside(rng: np.random.Generator, network: Network) -> np.ndarray:
    """Return tree crowns (x, y, radius) along roads, a few of them over the road, (n, 3)."""
    crowns = []
    for path in network.paths:
        p, q = path[0], path[-1]
        way = (q - p) / np.hypot(*(q - p))
        for _ in range(int(rng.integers(0, 4))):
            # The nearer trees hide a part of the road.
            off = rng.choice([-1, 1]) * (
                rng.uniform(3, 6) if rng.random() < 0.4 else rng.uniform(11, 15)
            )
            x, y = p + (q - p) * rng.uniform(0.25, 0.75) + off * np.array([-way[1], way[0]])
            crowns.append((x, y, rng.uniform(4.5, 7)))
    return np.array(crowns).reshape(-1, 3)


def _trees(rng: np.random.Generator, image: np.ndarray, crowns: np.ndarray) -> None:
    """Draw crowns (n, 3), with a shadow to the lower right and light on the upper left."""
    tones = rng.integers(-10, 11, len(crowns)).tolist()
    trees = crowns.tolist()
    for x, y, radius in trees:
        _disk(image, x + 2, y + 2, radius, _TREE_SHADOW)
    for (x, y, radius), tone in zip(trees, tones):
        _disk(image, x, y, radius, (58 + tone, 88 + tone, 50 + tone))
        _disk(image, x - 1.5, y - 1.5, 0.55 * radius, (76 + tone, 108 + tone, 62 + tone))


def _houses(rng: np.random.Generator, image: np.ndarray, samples: np.ndarray) -> None:
    """Draw houses with shadows beside the roads, none on a road."""
    for _ in range(26):
        x, y = samples[int(rng.integers(len(samples)))] + rng.choice([-1, 1], 2) * rng.uniform(
            14, 26, 2
        )
        if ((samples - (x, y)) ** 2).sum(1).min() < 19**2:
            continue
        width, height = rng.uniform(7, 15, 2).tolist()
        angle = rng.uniform(0, 90)
        roof = _ROOFS[int(rng.integers(len(_ROOFS)))]
        _box(image, (x + 2, y + 2), (width, height), angle, _HOUSE_SHADOW)
        _box(image, (x, y), (width, height), angle, roof)


def _cars(rng: np.random.Generator, image: np.ndarray, network: Network) -> None:
    """Draw a car on about every third link."""
    for path in network.paths:
        if rng.random() < 0.35:
            p, q = path[0], path[-1]
            angle = np.degrees(np.arctan2(*(q - p)[::-1]))
            x, y = (p + (q - p) * rng.uniform(0.3, 0.7)).tolist()
            color = _CARS[int(rng.integers(len(_CARS)))]
            _box(image, (x, y), (5.5, 3.0), angle, color)
