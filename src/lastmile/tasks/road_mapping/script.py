"""Road mapping by script: the tint of `Check`, thinned to a graph, clicked branch by branch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial import cKDTree

from lastmile.screen import CANVAS
from lastmile.tasks.script import SIDE, Clicks, Script, logical

PAN = CANVAS // 2
"""By how much the window pans, logical px."""
KEY = 13
"""Side of the corner that the key to the position covers, px of the small canvas."""
LEAST_PINK = 70
"""Least pinkness of a road that has no links yet, of 255."""
ZOOM = 3
"""The tint is enlarged before it is thinned."""
SPUR = 7.0
"""Branches up to this length that end nowhere come from the width of the tint, small px."""
JOINED = 4.0
"""Junctions up to this distance from each other are one, px of the small canvas."""
STRAIGHT = (2, 8)
"""Distances from a crossing between which roads show their directions, px of the small canvas."""
BEND = 1.0
"""By how much a link may miss the middle of the road, px of the small canvas."""
PICK = 7.0
"""A click within this distance of a node selects it, logical px."""
APART = 10.0
"""Least distance of two nodes of a branch, logical px."""

EIGHT = np.ones((3, 3))
"""A pixel has eight neighbors."""


class RoadMappingScript(Script):
    """Take the map of all roads from the view `Check`, and draw it.

    It does not look at the map itself: the tint shows every road, under trees too. It does not see
    the corner of the map under the key, and takes two junctions close to each other for one.
    """

    GROUPS = (
        ("Pan", ("up", "down", "left", "right"), 2),
        ("Tool", ("node", "link"), 2),
        ("View", ("check",), 1),
    )

    def work(self) -> Clicks:
        """Scan the tint window by window, thin it to a graph, and click its branches."""
        yield from self.press("check")
        self._x = self._y = self._last = 0
        windows = {}
        across = "right"
        while True:
            windows[self._y, self._x] = tinted(self.canvas())
            if self.enabled(across):
                yield from self._pan(across)
            elif self.enabled("down"):
                across = "left" if across == "right" else "right"
                yield from self._pan("down")
            else:
                break
        yield from self.press("check")

        self._placed: list[np.ndarray] = []
        self._selected = -1
        for branch in ordered(graph(mosaic(windows, self._last + 1))):
            yield from self._draw(branch)

    def _pan(self, button: str) -> Clicks:
        yield from self.press(button)
        dx, dy = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}[button]
        self._x += dx
        self._y += dy
        self._last = max(self._last, self._x, self._y)

    def _draw(self, branch: np.ndarray) -> Clicks:
        """Click the nodes of a branch, (n, 2) logical px of the map."""
        for k, point in enumerate(branch):
            distances = [np.hypot(*(other - point)) for other in self._placed]
            nearest = int(np.argmin(distances)) if distances else -1
            if nearest < 0 or distances[nearest] > PICK:
                yield from self._click(point)
                self._placed.append(point)
                self._selected = len(self._placed) - 1
            elif nearest != self._selected:
                if k:  # the end of a loop
                    yield from self.press("link")
                yield from self._click(self._placed[nearest])
                if k:
                    yield from self.press("node")
                self._selected = nearest

    def _show(self, point: np.ndarray) -> Clicks:
        """Pan until a point is well inside the window."""
        for axis, less, more in ((0, "left", "right"), (1, "up", "down")):
            while True:
                inside = point[axis] - PAN * (self._x, self._y)[axis]
                button = less if inside < 3 else more
                if 3 <= inside <= CANVAS - 4 or not self.enabled(button):
                    break
                yield from self._pan(button)

    def _click(self, point: np.ndarray) -> Clicks:
        yield from self._show(point)
        yield from self.place(point - PAN * np.array([self._x, self._y]))


def tinted(canvas: np.ndarray) -> np.ndarray:
    """Return how pink the canvas is, (96, 96) from 0 to 255; 0 under the key."""
    pink = np.minimum(canvas[..., 0], canvas[..., 2]) - canvas[..., 1]
    pink[-KEY:, -KEY:] = 0
    return np.clip(pink, 0, 255)


def mosaic(windows: dict[tuple[int, int], np.ndarray], across: int) -> np.ndarray:
    """Return the map from its windows, which overlap by half: the pinkest of what was seen."""
    half = SIDE // 2
    whole = np.zeros((half * (across + 1),) * 2, np.float32)
    for (y, x), window in windows.items():
        part = whole[half * y : half * y + SIDE, half * x : half * x + SIDE]
        np.maximum(part, window, out=part)
    return whole


class Branch(NamedTuple):
    """A road between two crossings or ends.

    Attributes:
        ends: Numbers of the crossings at its ends; negative for an end of its own.
        nodes: Where it is drawn, (n, 2): u, v in logical px of the map.
    """

    ends: tuple[int, int]
    nodes: np.ndarray


def graph(pink: np.ndarray) -> list[Branch]:
    """Thin the tint to branches between crossings and ends."""
    large = cv2.resize(pink, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    lines = thinned(large > LEAST_PINK)
    _, rises = ring_of(np.pad(lines, 1))
    size = 2 * int(ZOOM * JOINED / 2) + 1
    crossings, _ = ndimage.label(
        cv2.dilate((lines & (rises[1:-1, 1:-1] > 2)).astype(np.uint8), disk(size))
    )
    touching = ndimage.maximum_filter(crossings, 3)
    pieces, count = ndimage.label(lines & (crossings == 0), EIGHT)

    found: list[tuple[tuple[int, int], np.ndarray]] = []
    for k in range(1, count + 1):
        path = walk(pieces == k)
        first, last = (int(touching[tuple(tip)]) for tip in (path[0], path[-1]))
        ends = (first or -2 * k, last or -2 * k - 1)
        border = min(*path.min(0), *(np.array(lines.shape) - 1 - path.max(0))) < 2 * ZOOM
        if min(ends) > 0 or len(path) > SPUR * ZOOM or border:
            found.append((ends, path))

    middles = {
        crossing: meeting(
            [
                path if ends[0] == crossing else path[::-1]
                for ends, path in found
                if crossing in ends
            ]
        )
        for crossing in {end for ends, _ in found for end in ends if end > 0}
    }
    branches = []
    for ends, path in found:
        first, last = (middles.get(end, tip) for end, tip in zip(ends, (path[0], path[-1])))
        inner = path[ZOOM * 2 * (ends[0] > 0) : len(path) - ZOOM * 2 * (ends[1] > 0)]
        whole = np.array([first, *inner, last], np.float32)[:, None, ::-1]
        nodes = cv2.approxPolyDP(whole, BEND * ZOOM, False)[:, 0]
        branches.append(Branch(ends, spread(on_map(nodes))))
    return branches


def meeting(paths: list[np.ndarray]) -> np.ndarray:
    """Return where roads meet that are thinned wrongly close to their crossing.

    Args:
        paths: Each from the crossing outward, (n, 2).
    """
    system, goal = 1e-3 * np.eye(2), 1e-3 * np.mean([path[0] for path in paths], 0)
    for path in paths:
        part = path[STRAIGHT[0] * ZOOM : STRAIGHT[1] * ZOOM]
        part = part if len(part) > ZOOM else path
        middle = part.mean(0)
        along = np.linalg.svd(part - middle)[2][0] if len(part) > 1 else np.zeros(2)
        across = np.eye(2) - np.outer(along, along)  # the distance from the line of the road
        system = system + across
        goal = goal + across @ middle
    point: np.ndarray = np.linalg.solve(system, goal)
    away = point - np.mean([path[0] for path in paths], 0)
    return point - away * max(0.0, 1 - 8 * ZOOM / max(np.hypot(*away), 1e-9))


def on_map(pixels: np.ndarray) -> np.ndarray:
    """Return where pixels (column, row) of the enlarged tint are on the map, logical px."""
    return logical((pixels + 0.5) / ZOOM - 0.5)


def spread(nodes: np.ndarray) -> np.ndarray:
    """Return the nodes without those too close to the one before, or to the last."""
    kept = [nodes[0]]
    for node in nodes[1:-1]:
        if min(np.hypot(*(node - kept[-1])), np.hypot(*(node - nodes[-1]))) > APART:
            kept.append(node)
    return np.array([*kept, nodes[-1]])


def disk(size: int) -> np.ndarray:
    """Return a round structuring element, (size, size) uint8."""
    element: np.ndarray = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return element


def walk(piece: np.ndarray) -> np.ndarray:
    """Return the pixels (row, column) of a thin line from one end to the other."""
    pixels = np.argwhere(piece)
    near = cKDTree(pixels).query_pairs(1.5, output_type="ndarray")
    edges = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), (len(pixels),) * 2).tocsr()
    middle_out = breadth_first_order(edges, 0, False, False)
    return pixels[breadth_first_order(edges, middle_out[-1], False, False)]


def thinned(mask: np.ndarray) -> np.ndarray:
    """Return lines of one pixel in the middle of a mask (Zhang and Suen, 1984)."""
    lines = np.pad(mask, 1)
    while True:
        before = lines.sum()
        for second in (False, True):
            ring, rises = ring_of(lines)
            count = np.sum(ring, 0)
            up, right, down, left = ring[::2]
            if second:
                open_side = ~(up & right & left) & ~(up & down & left)
            else:
                open_side = ~(up & right & down) & ~(right & down & left)
            lines &= ~((count >= 2) & (count <= 6) & (rises == 1) & open_side)
        if lines.sum() == before:
            return lines[1:-1, 1:-1]


def ring_of(lines: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the eight neighbors of each pixel, clockwise, and how often they rise from 0 to 1."""
    ring = [
        np.roll(lines, (-y, -x), (0, 1))
        for y, x in ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    ]
    return ring, np.sum([~a & b for a, b in zip(ring, (*ring[1:], ring[0]))], 0)


def ordered(branches: list[Branch]) -> Iterator[np.ndarray]:
    """Yield the nodes of each branch, from an end that is already drawn, depth first."""
    left = list(branches)
    drawn: list[int] = []
    while left:
        starts = [end for end in reversed(drawn) if any(end in branch.ends for branch in left)]
        free = min(end for branch in left for end in branch.ends)
        at = starts[0] if starts else free
        branch = left.pop(next(k for k, branch in enumerate(left) if at in branch.ends))
        forward = branch.ends[0] == at
        yield branch.nodes if forward else branch.nodes[::-1]
        drawn += [at, branch.ends[forward]]


SCRIPT = RoadMappingScript
