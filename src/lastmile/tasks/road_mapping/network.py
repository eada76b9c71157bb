"""How a road network grows: one road across the map, then branches.

A branch ends in the fields, at the border of the map, or at another road.
"""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_STEP = 4.0  # distance of the points at which a new road is compared with the others, px
_CLEAR = 34.0  # smallest distance between roads that do not meet, px
_APART = 48.0  # smallest distance between two junctions, px
_CROSS = np.radians(50)  # smallest angle at which roads meet
_CORNER = 16.0  # a bend is rounded over this distance to each side, px
_MARGIN = 4.0  # a road that leaves the map ends this far from its border, px
_KEEP = _CORNER + 8  # smallest distance between a junction and the corners of its road, px


class Network(NamedTuple):
    """A road network.

    Attributes:
        nodes: (n, 2) map positions of road ends, bends and junctions.
        links: (m, 2) pairs of nodes.
        paths: The center line of each link, (k, 2).
        roads: The center line of each road from end to end, (k, 2).
    """

    nodes: np.ndarray
    links: np.ndarray
    paths: tuple[np.ndarray, ...]
    roads: tuple[np.ndarray, ...]


# While the network grows, a road is the array of its corners (ends, bends and junctions), (k, 2).


def grow(rng: np.random.Generator, side: int, count: int) -> Network:
    """Return a connected network of roads.

    Args:
        rng: Random numbers.
        side: Side of the square map, px.
        count: Number of roads.
    """
    while True:
        first = _walk(rng, side, *_gate(rng, side), 99, [])
        if first is None or _length(first) < 0.85 * side or not _leaves(first[-1], side):
            continue

        roads = [first]
        for attempt in range(16 * count):
            if len(roads) == count:
                return _linked(roads)
            # At first insist on branches that lead to another road, so that there are loops.
            _branch(rng, side, roads, through=1 < len(roads) and attempt < 5 * count)


def _gate(rng: np.random.Generator, side: int) -> tuple[np.ndarray, float]:
    """Return where the first road enters the map, and its heading in radians.

    It enters at the left or upper border within the first window.
    """
    along = rng.uniform(60, 190)
    start = np.array([_MARGIN, along]) if rng.random() < 0.5 else np.array([along, _MARGIN])
    to = rng.uniform(0.4, 0.65, 2) * side - start
    return start, float(np.arctan2(to[1], to[0]))


def _walk(
    rng: np.random.Generator,
    side: int,
    start: np.ndarray,
    heading: float,
    steps: int,
    roads: list[np.ndarray],
) -> np.ndarray | None:
    """Return a new road, (k, 2); None if it does not fit.

    The road ends where it leaves the map, where it comes to another road, or after `steps` straight
    parts. If it can be joined to the other road, that one gets a corner there, in `roads`.
    """
    from scipy.spatial import cKDTree  # here, since it is slow to import

    corners = [start]
    ahead = heading
    others = cKDTree(np.concatenate([_dense(road) for road in roads])) if roads else None
    for step in range(steps):
        if step:
            turn = (
                rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.75)
                if rng.random() < 0.75
                else rng.normal(0, 0.08)
            )
            ahead = float(np.clip(ahead + turn, heading - 1.0, heading + 1.0))
        way = np.array([np.cos(ahead), np.sin(ahead)])
        end = corners[-1] + rng.uniform(58, 92) * way
        outside = not (18 < end[0] < side - 18 and 18 < end[1] < side - 18)
        if outside:
            end = _border(corners[-1], way, side)

        if others:
            # Near its start a branch is necessarily close to the road that it leaves.
            piece = _dense(np.stack([corners[-1], end]))
            gone = _length(np.stack(corners)) + _STEP * np.arange(len(piece))
            if (others.query(piece)[0] < np.minimum(_CLEAR, 0.7 * gone)).any():
                return _joined(corners, roads, others)

        if outside and np.hypot(*(end - corners[-1])) < 28:
            return None
        corners.append(end)
        if outside:
            break
    return np.stack(corners)


def _joined(
    corners: list[np.ndarray], roads: list[np.ndarray], others: cKDTree
) -> np.ndarray | None:
    """Return a road that has come to another one.

    It is led to the nearest straight part of another road if they meet at a large angle there,
    which adds a corner to that road in `roads`. Otherwise it ends before it.

    Args:
        corners: Corners of the road so far.
        roads: The other roads.
        others: Points along the other roads.

    Returns:
        The road, (k, 2); None if it is too short.
    """
    start = corners[-1]
    best = None
    for number, road in enumerate(roads):
        for part in range(len(road) - 1):
            p, q = road[part], road[part + 1]
            length = hypot(*(q - p))
            if length < 2 * _KEEP:
                continue
            t = np.clip((start - p) @ (q - p) / length**2, _KEEP / length, 1 - _KEEP / length)
            meeting = p + t * (q - p)
            away = hypot(*(meeting - start))
            if 30 < away < 105 and (best is None or away < best[0]):
                best = (away, number, part, meeting)

    if best is not None and len(corners) > 1:
        away, number, part, meeting = best
        along = roads[number][part + 1] - roads[number][part]
        way = (meeting - start) / away
        back = corners[-2] - start
        square = abs(_cross(along, way)) / np.hypot(*along) > np.sin(_CROSS)
        gentle = back @ way / np.hypot(*back) < -0.5

        piece = _dense(np.stack([start, meeting]))[:-1]
        left = away - _STEP * np.arange(len(piece))
        clear = (others.query(piece)[0] > 0.7 * np.minimum(left, _CLEAR)).all()
        if square and gentle and clear and _free(meeting, roads):
            roads[number] = np.insert(roads[number], part + 1, meeting, 0)
            return np.stack([*corners, meeting])
    return np.stack(corners) if len(corners) > 2 else None


def _branch(rng: np.random.Generator, side: int, roads: list[np.ndarray], through: bool) -> None:
    """Add a branch at a random place of a random road, if it fits there.

    Args:
        rng: Random numbers.
        side: Side of the map, px.
        roads: The roads, changed in place.
        through: Whether to add only a branch that leads to another road.
    """
    number = int(rng.integers(len(roads)))
    road = roads[number]
    part = int(rng.integers(len(road) - 1))
    way = road[part + 1] - road[part]
    length = hypot(*way)
    if length < 2 * _KEEP:
        return
    start = road[part] + way * rng.uniform(_KEEP / length, 1 - _KEEP / length)
    if not _free(start, roads) or not (50 < start[0] < side - 50 and 50 < start[1] < side - 50):
        return

    angle = np.arctan2(way[1], way[0]) + rng.choice([-1, 1]) * rng.uniform(
        _CROSS + 0.15, np.pi - _CROSS - 0.15
    )
    before = [road.copy() for road in roads]
    branch = _walk(rng, side, start, float(angle), int(rng.integers(2, 9)), roads)
    joined = sum(map(len, roads)) > sum(map(len, before))  # a junction was added at its far end
    if branch is None or _length(branch) < 75 or _crosses(branch) or (through and not joined):
        roads[:] = before
        return

    # The branch may have joined its own road, so the part that holds the start is found again.
    road = roads[number]
    after = int(np.argmin([_off(road[k], road[k + 1], start) for k in range(len(road) - 1)]))
    roads[number] = np.insert(road, after + 1, start, 0)
    roads.append(branch)


def _free(place: np.ndarray, roads: list[np.ndarray]) -> bool:
    """Return whether there is room for a junction: no end of a road within `_APART`."""
    taken = [road[[0, -1]] for road in roads]
    return bool((np.hypot(*(np.concatenate(taken) - place).T) > _APART).all())


def _crosses(road: np.ndarray) -> bool:
    """Return whether a road comes close to itself."""
    dense = _dense(road)
    gaps = np.hypot(*(dense[:, None] - dense[None]).T)
    far = (
        np.abs(np.subtract.outer(np.arange(len(dense)), np.arange(len(dense)))) * _STEP > 2 * _CLEAR
    )
    return bool((gaps[far] < _CLEAR).any())


def _off(p: np.ndarray, q: np.ndarray, place: np.ndarray) -> float:
    """Return the distance of a place from the line between `p` and `q`, px."""
    way = q - p
    t = np.clip((place - p) @ way / (way @ way), 0, 1)
    return float(np.hypot(*(p + t * way - place)))


def _cross(p: np.ndarray, q: np.ndarray) -> float:
    return float(p[0] * q[1] - p[1] * q[0])


def _border(start: np.ndarray, way: np.ndarray, side: int) -> np.ndarray:
    """Return where a straight way from inside the map comes to its margin."""
    room = np.where(way > 0, side - _MARGIN - start, _MARGIN - start)
    return start + way * min(room[k] / way[k] for k in range(2) if abs(way[k]) > 1e-9)


def _leaves(place: np.ndarray, side: int) -> bool:
    """Return whether a place is at the margin of the map."""
    return bool((place < _MARGIN + 1).any() or (place > side - _MARGIN - 1).any())


def _length(corners: np.ndarray) -> float:
    return float(np.hypot(*np.diff(corners, axis=0).T).sum())


def _dense(corners: np.ndarray) -> np.ndarray:
    """Return points about `_STEP` px apart along a road, (k, 2)."""
    parts = [
        p + np.arange(0, 1, min(1.0, _STEP / max(1e-9, np.hypot(*(q - p)))))[:, None] * (q - p)
        for p, q in zip(corners, corners[1:])
    ]
    return np.concatenate([*parts, corners[-1:]])


def _linked(roads: list[np.ndarray]) -> Network:
    """Return the finished network: bends rounded, and roads cut into links at their corners.

    Corners that several roads have in common become one node.
    """
    nodes: list[np.ndarray] = []
    links = []
    paths = []
    lines = []
    for road in roads:
        curves = [_rounded(road, k) for k in range(len(road))]
        ids = []
        for place in (curve[len(curve) // 2] for curve in curves):
            same = [i for i, other in enumerate(nodes) if np.hypot(*(other - place)) < 1e-6]
            if not same:
                nodes.append(place)
            ids.append(same[0] if same else len(nodes) - 1)

        for k in range(len(road) - 1):
            half = len(curves[k]) // 2
            next_half = len(curves[k + 1]) // 2
            links.append((ids[k], ids[k + 1]))
            paths.append(np.concatenate([curves[k][half:], curves[k + 1][: next_half + 1]]))
        lines.append(np.concatenate(curves))
    return Network(np.stack(nodes), np.array(links), tuple(paths), tuple(lines))


def _rounded(road: np.ndarray, k: int) -> np.ndarray:
    """Return a corner of a road as a curve, (9, 2); an end or a straight corner as (1, 2)."""
    if k in (0, len(road) - 1):
        return road[k][None]
    before = road[k - 1] - road[k]
    after = road[k + 1] - road[k]
    to_before = np.hypot(*before)
    to_after = np.hypot(*after)
    if abs(_cross(before, after)) < 1e-6 * to_before * to_after:
        return road[k][None]

    # A quadratic Bezier curve with the corner as its control point.
    reach = min(_CORNER, 0.45 * to_before, 0.45 * to_after)
    p = road[k] + before * reach / to_before
    q = road[k] + after * reach / to_after
    t = np.linspace(0, 1, 9)[:, None]
    return (1 - t) ** 2 * p + 2 * t * (1 - t) * road[k] + t**2 * q
