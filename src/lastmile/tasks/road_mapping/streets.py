"""Real streets: how they are read, and how a crop of them becomes a road network."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.datasets.cache import DataError
from lastmile.tasks.road_mapping.network import Network

_HEADER = 9  # bytes of a line in well-known binary before its points
_MARGIN = 4.0  # a street that leaves the map ends this far from its border, px
_STEP = 2.0  # distance of points along a street, px
_STUB = 34.0  # streets that end nowhere and are shorter are left out, px
_BEND = 3.5  # a straight link stays this close to its street, px
_STRAIGHT = 4.8  # and this close where another bend would be near
_APART = 19.0  # smallest distance between nodes, px
_CLEAR = 17.0  # smallest distance between streets that do not meet, px
_AHEAD = 14.0  # distance from a junction at which the directions of its streets are compared, px
_ANGLE = np.radians(42)  # smallest angle between them
_MOST = 64  # streets near a map; more are too many to map, and to look through
_SHARPEST = np.radians(110)  # largest turn of a street at a node


class Streets(NamedTuple):
    """The streets of a city.

    Attributes:
        points: (p, 2) float64, points along all streets in order, m to the east and north.
        first: (n + 1,) number of the first point of each street, and p.
        low: (n, 2) smallest coordinates of each street.
        high: (n, 2) largest coordinates of each street.
    """

    points: np.ndarray
    first: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_streets(path: Path) -> Streets:
    """Read the column `geometry` of a GeoParquet file, lines in well-known binary.

    Raises:
        DataError: The file is missing, no Parquet file, or holds anything but lines.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # here, since both are slow to import

    try:
        column = pq.read_table(path, columns=["geometry"])["geometry"].combine_chunks()
        lines = pa.concat_arrays([column.cast(pa.large_binary())])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected streets as Parquet") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: has no readable column 'geometry' ({reason})") from None
    if not len(lines) or lines.null_count or lines.offset:
        raise DataError(f"{path}: expected at least one street, and none without a geometry")

    _, offsets, content = lines.buffers()
    ends = np.frombuffer(offsets, np.int64, len(lines) + 1)
    raw = np.frombuffer(content, np.uint8)[: ends[-1]]
    sizes = np.diff(ends)
    refused = DataError(f"{path}: expected lines in two dimensions in well-known binary")
    if ends[0] or (sizes < _HEADER + 32).any() or ((sizes - _HEADER) % 16).any():
        raise refused
    head = ends[:-1, None] + np.arange(_HEADER)
    heads = raw[head]  # (n, 9): order of bytes, kind of geometry, number of points
    counts = np.ascontiguousarray(heads[:, 5:]).view("<u4")[:, 0]
    if (heads[:, :5] != (1, 2, 0, 0, 0)).any() or (counts != (sizes - _HEADER) // 16).any():
        raise refused
    keep = np.ones(len(raw), bool)
    keep[head] = False
    points = np.ascontiguousarray(raw[keep]).view("<f8").reshape(-1, 2)
    if not np.isfinite(points).all():
        raise DataError(f"{path}: expected finite coordinates")
    first = np.r_[0, np.cumsum(counts)].astype(np.int64)
    low, high = (f.reduceat(points, first[:-1]) for f in (np.minimum, np.maximum))
    return Streets(points, first, low, high)


Piece = tuple[int, int, np.ndarray]
"""The numbers of both ends of a street, and its points on the map, (k, 2) px."""


def crop(streets: Streets, middle: np.ndarray, turn: np.ndarray, side: int) -> Network | None:
    """Return the streets of a square as a network.

    Of the streets in the square the largest connected part is kept. Short dead ends are left out.

    Args:
        streets: The streets of a city.
        middle: (2,) middle of the square, m.
        turn: (2, 2) matrix from m to px, with the scale and the direction of the map.
        side: Side of the square map, px.

    Returns:
        The network; None if a person could not map it for sure: nodes, streets or their directions
        at a junction are too close to each other, or there is nothing.
    """
    reach = side / 2 * np.sqrt(2 / abs(np.linalg.det(turn)))  # half the diagonal, m
    near = ((streets.high > middle - reach) & (streets.low < middle + reach)).all(1)
    if not 0 < near.sum() <= _MOST:
        return None
    pieces = _joined(_clipped(streets, np.flatnonzero(near), middle, turn, side))
    if not pieces:
        return None

    nodes: list[np.ndarray] = []
    numbers: dict[int, int] = {}
    links: list[tuple[int, int]] = []
    paths: list[np.ndarray] = []
    for a, b, path in pieces:
        corners = _corners(path)
        for end, place in ((a, path[0]), (b, path[-1])):
            if end not in numbers:
                numbers[end] = len(nodes)
                nodes.append(place)
        inner = list(range(len(nodes), len(nodes) + len(corners) - 2))
        nodes += [path[k] for k in corners[1:-1]]
        along = [numbers[a], *inner, numbers[b]]
        links += list(zip(along, along[1:]))
        paths += [path[k : m + 1] for k, m in zip(corners, corners[1:])]
    network = Network(
        np.stack(nodes), np.array(links), tuple(paths), tuple(path for _, _, path in pieces)
    )
    return network if _clear(network) else None


def _clipped(
    streets: Streets, chosen: np.ndarray, middle: np.ndarray, turn: np.ndarray, side: int
) -> list[Piece]:
    """Return the parts of some streets that are on the map."""
    pieces: list[Piece] = []
    ends: dict[tuple[float, float], int] = {}
    gates = -1  # places where a street leaves the map have negative numbers
    for k in chosen.tolist():
        line = streets.points[streets.first[k] : streets.first[k + 1]]
        here = (line - middle) @ turn.T + side / 2
        if ((here < _MARGIN).all(0) | (here > side - _MARGIN).all(0)).any():
            continue
        run = np.concatenate([[0], np.cumsum(np.hypot(*(here[1:] - here[:-1]).T))])
        at = np.linspace(0, run[-1], max(2, int(run[-1] / _STEP) + 1))
        path = np.stack([np.interp(at, run, here[:, 0]), np.interp(at, run, here[:, 1])], 1)
        inside = ((path >= _MARGIN) & (path <= side - _MARGIN)).all(1)
        bounds = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]])))
        for begin, stop in bounds.reshape(-1, 2).tolist():
            if stop - begin < 2:
                continue
            pair = []
            for whole, point in ((begin == 0, line[0]), (stop == len(path), line[-1])):
                if whole:
                    key = (round(float(point[0]), 2), round(float(point[1]), 2))
                    pair.append(ends.setdefault(key, len(ends)))
                else:
                    pair.append(gates)
                    gates -= 1
            pieces.append((pair[0], pair[1], path[begin:stop]))
    return pieces


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Leave out short dead ends, join streets where just two meet, keep the largest part."""
    while True:
        at: dict[int, list[int]] = {}
        for k, (a, b, _) in enumerate(pieces):
            at.setdefault(a, []).append(k)
            at.setdefault(b, []).append(k)
        short = {
            k
            for k, (a, b, path) in enumerate(pieces)
            if _STEP * len(path) < _STUB and min(len(at[a]), len(at[b])) == 1
        }
        if short:
            pieces = [piece for k, piece in enumerate(pieces) if k not in short]
            continue
        two = (end for end, both in at.items() if len(both) == 2 and both[0] != both[1])
        end = next(two, None)
        if end is None:
            break
        first, second = at[end]
        pieces = _join(pieces, first, second, end)

    # The largest connected part, by length.
    part = {end: end for a, b, _ in pieces for end in (a, b)}
    while any(part[a] != part[b] for a, b, _ in pieces):
        for a, b, _ in pieces:
            part[a] = part[b] = min(part[a], part[b])
    lengths: dict[int, int] = {}
    for a, _, path in pieces:
        lengths[part[a]] = lengths.get(part[a], 0) + len(path)
    if not lengths:
        return []
    largest = max(lengths, key=lambda end: lengths[end])
    return [piece for piece in pieces if part[piece[0]] == largest]


def _join(pieces: list[Piece], i: int, j: int, end: int) -> list[Piece]:
    """Make one street of two that meet at an end."""
    (a, b, path), (c, d, other) = pieces[i], pieces[j]
    if b != end:
        a, path = b, path[::-1]
    if c != end:
        d, other = c, other[::-1]
    rest = [piece for k, piece in enumerate(pieces) if k not in (i, j)]
    return [*rest, (a, d, np.concatenate([path, other[1:]]))]


def _corners(path: np.ndarray) -> list[int]:
    """Return the points at which a street bends, with its ends, as numbers of its points.

    After Douglas and Peucker, Cartographica 1973. Of two bends that are close to each other one is
    left out where the street is still near.
    """
    corners = [0, len(path) - 1]
    waiting = [(0, len(path) - 1)]
    while waiting:
        first, last = waiting.pop()
        farthest, off = _farthest(path, first, last)
        if off > _BEND:
            corners.append(farthest)
            waiting += [(first, farthest), (farthest, last)]
    corners.sort()
    k = 1
    while k < len(corners) - 1:
        before, here, after = corners[k - 1 : k + 2]
        close = _STEP * min(here - before, after - here) < 1.1 * _APART
        if close and _farthest(path, before, after)[1] < _STRAIGHT:
            del corners[k]
        else:
            k += 1
    return corners


def _farthest(path: np.ndarray, first: int, last: int) -> tuple[int, float]:
    """Return the point of a path farthest from the line between two others, and how far it is."""
    x, y = path[first]
    dx, dy = path[last] - path[first]
    xs, ys = path[first : last + 1].T
    t = np.minimum(np.maximum(((xs - x) * dx + (ys - y) * dy) / max(dx * dx + dy * dy, 1e-9), 0), 1)
    squared = (xs - x - t * dx) ** 2 + (ys - y - t * dy) ** 2
    farthest = int(squared.argmax())
    return first + farthest, float(squared[farthest]) ** 0.5


def _clear(network: Network) -> bool:
    """Return whether nodes, links and their directions can be told from each other."""
    nodes, links = network.nodes, network.links
    gaps = np.hypot(*(nodes[:, None] - nodes[None]).transpose(2, 0, 1))
    if gaps[np.triu_indices(len(nodes), 1)].min(initial=np.inf) < _APART:
        return False

    # Directions in which the links leave their nodes.
    ahead = int(_AHEAD / _STEP)
    starts = np.stack([path[min(ahead, len(path) - 1)] - path[0] for path in network.paths])
    stops = np.stack([path[-min(ahead + 1, len(path))] - path[-1] for path in network.paths])
    owner = np.r_[links[:, 0], links[:, 1]]
    heading = np.arctan2(*np.concatenate([starts, stops]).T[::-1])
    for node in range(len(nodes)):
        angles = np.sort(heading[owner == node])
        if len(angles) < 2:
            continue
        between = np.diff(np.r_[angles, angles[0] + 2 * np.pi])
        if between.min() < (_ANGLE if len(angles) > 2 else np.pi - _SHARPEST):
            return False

    # Streets that do not meet: every third point is enough.
    dense = [path[::3] for path in network.paths]
    points = np.concatenate(dense).astype(np.float32)
    link = np.repeat(np.arange(len(dense)), [len(part) for part in dense])
    shared = (links[:, None, :, None] == links[None, :, None, :]).any((2, 3))
    away = cv2.magnitude(
        points[:, None, 0] - points[None, :, 0], points[:, None, 1] - points[None, :, 1]
    )
    return not bool((away[~shared[link[:, None], link[None]]] < _CLEAR).any())
