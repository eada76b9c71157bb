"""The annotated graph: its nodes and links, how well they follow the roads, and what they miss."""

from __future__ import annotations

from functools import lru_cache
from math import hypot
from typing import Literal, NamedTuple

import numpy as np

from lastmile.tasks.road_mapping.world import SPACING, WIDE, RoadMappingWorld
from lastmile.tasks.task import RIGHT

AT = 8.0
"""A node counts as a junction within this distance of it, px."""
NEAR = 14.0
"""A node can be continued along a road that begins within this distance of it, px."""

_STUB = 4  # gaps of at most this many sample points are not worth a node
_ON_ROAD = 0.85  # share of a link that has to be on roads
_NEW = 0.25  # share of a link that has to cover road that was not mapped before

Point = tuple[float, float]
"""A map position (x, y), px."""


class Node(NamedTuple):
    """A node, linked to an earlier one.

    Attributes:
        x: Map position, px.
        y: Map position, px.
        parent: Index of the node that it is linked to, among the nodes; -1 for the first node.
    """

    x: float
    y: float
    parent: int


class Link(NamedTuple):
    """A link between two existing nodes, given by their indices among the nodes."""

    a: int
    b: int


Edits = tuple[Node | Link, ...]
"""The annotation: nodes and links in the order in which they were made."""


class Gap(NamedTuple):
    """A stretch of road that no link covers.

    Attributes:
        link: The link of the road network that it is part of.
        first: Its first sample point.
        last: Its last sample point.
    """

    link: int
    first: int
    last: int


class Step(NamedTuple):
    """The next step of tracing.

    Attributes:
        kind: `place` a new node, or `link` or `select` an existing one.
        x: Map position of the node, px.
        y: Map position of the node, px.
        node: Index of the existing node; -1 for a new one.
        link: The link of the road network that is mapped by this step; -1 if undecided.
    """

    kind: Literal["place", "link", "select"]
    x: float
    y: float
    node: int
    link: int


# Edits only grow at the end or shrink by one, so the functions below build on the cached result for
# `edits[:-1]` where they can.


@lru_cache(maxsize=2048)
def nodes(edits: Edits) -> tuple[Point, ...]:
    """Return the map positions of all nodes, in the order of their indices."""
    return tuple((edit.x, edit.y) for edit in edits if isinstance(edit, Node))


@lru_cache(maxsize=2048)
def links(edits: Edits) -> tuple[tuple[int, int], ...]:
    """Return the pairs of linked nodes, in the order in which they were linked."""
    pairs = []
    count = 0
    for edit in edits:
        if isinstance(edit, Link):
            pairs.append((edit.a, edit.b))
        else:
            if edit.parent >= 0:
                pairs.append((edit.parent, count))
            count += 1
    return tuple(pairs)


@lru_cache(maxsize=4096)
def along(world: RoadMappingWorld, p: Point, q: Point) -> tuple[float, float, np.ndarray]:
    """Compare the straight link from `p` to `q` with the roads.

    Returns:
        Its length in px, the share of it that is on roads, and which sample points of the roads it
        covers, (samples,) bool.
    """
    x, y = p
    dx, dy = q[0] - x, q[1] - y
    length = hypot(dx, dy)

    # Distance of every sample point from the link; t is the closest point, as a share of the link.
    xs, ys = world.samples.T
    t = np.clip(((xs - x) * dx + (ys - y) * dy) / max(length**2, 1e-9), 0, 1)
    covers = (xs - x - t * dx) ** 2 + (ys - y - t * dy) ** 2 <= WIDE**2
    if not covers.any():
        return length, 0.0, covers

    # Points along the link against the sample points that it covers: (steps, covered).
    steps = np.linspace(0, 1, max(2, int(length / SPACING) + 1))[:, None]
    squared = (xs[covers] - x - steps * dx) ** 2 + (ys[covers] - y - steps * dy) ** 2
    return length, float((squared.min(1) <= WIDE**2).mean()), covers


@lru_cache(maxsize=2048)
def covered(world: RoadMappingWorld, edits: Edits) -> np.ndarray:
    """Return which sample points of the roads have a link within `WIDE`, (samples,) bool."""
    if not edits:
        return np.zeros(len(world.samples), bool)
    before = covered(world, edits[:-1])
    ends = _ends(edits)
    return before | along(world, *ends)[2] if ends else before


@lru_cache(maxsize=2048)
def verdicts(world: RoadMappingWorld, edits: Edits) -> tuple[str, ...]:
    """Return the verdict on each edit in turn: `right` or the kind of the mistake."""
    return (*verdicts(world, edits[:-1]), _verdict(world, edits)) if edits else ()


def _verdict(world: RoadMappingWorld, edits: Edits) -> str:
    """Return the verdict on the last edit."""
    last = edits[-1]
    ends = _ends(edits)

    if isinstance(last, Node):
        if not world.on_road(last.x, last.y):
            return "confusion" if world.on_decoy(last.x, last.y) else "slip"
        # On the road, but beside a junction: too far to count as it, too close to be anything else.
        if AT**2 < ((world.junctions - (last.x, last.y)) ** 2).sum(1).min() < (2 * AT) ** 2:
            return "slip"
    if ends is None:
        return RIGHT

    length, share, covers = along(world, *ends)
    new = SPACING * int((covers & ~covered(world, edits[:-1])).sum())
    if share < _ON_ROAD or _passes(world.junctions, *ends):
        return "lapse" if isinstance(last, Node) else "confusion"
    return RIGHT if new >= _NEW * (length - 2 * WIDE) else "confusion"


def _ends(edits: Edits) -> tuple[Point, Point] | None:
    """Return the two ends of the link that the last edit makes; None if it makes no link."""
    last = edits[-1]
    places = nodes(edits)
    if isinstance(last, Link):
        return places[last.a], places[last.b]
    return (places[last.parent], (last.x, last.y)) if last.parent >= 0 else None


def _passes(places: np.ndarray, p: Point, q: Point) -> bool:
    """Return whether a link from `p` to `q` passes a place in (n, 2) other than at its ends."""
    start = np.array(p)
    way = np.subtract(q, p)
    t = np.clip(((places - start) @ way) / max(float(way @ way), 1e-9), 0, 1)
    off = np.hypot(*(places - start - t[:, None] * way).T)
    from_ends = np.minimum(np.hypot(*(places - start).T), np.hypot(*(places - np.array(q)).T))
    return bool(((off < WIDE) & (from_ends > AT)).any())


@lru_cache(maxsize=2048)
def gaps(world: RoadMappingWorld, edits: Edits) -> tuple[Gap, ...]:
    """Return the stretches of road that are still to be mapped."""
    unmapped = np.flatnonzero(~covered(world, edits))
    if not len(unmapped):
        return ()

    # A gap ends where sample points are covered or where the next link of the network begins.
    owner = world.owner[unmapped]
    cuts = np.flatnonzero((np.diff(unmapped) > 1) | (np.diff(owner) > 0)) + 1
    firsts = unmapped[np.r_[0, cuts]].tolist()
    lasts = unmapped[np.r_[cuts - 1, len(unmapped) - 1]].tolist()
    return tuple(Gap(int(world.owner[i]), i, j) for i, j in zip(firsts, lasts) if j - i >= _STUB)


@lru_cache(maxsize=2048)
def following(
    world: RoadMappingWorld, edits: Edits, selected: int, missed: frozenset[int]
) -> Step | None:
    """Return the next step of tracing.

    It leads from the selected node straight on if a road continues there, otherwise from the
    nearest node at which one does.

    Args:
        world: The world.
        edits: The annotation so far.
        selected: Index of the selected node.
        missed: Links of the road network to leave out, since the annotator has not seen them.

    Returns:
        The step; None if no unmapped road touches a node.
    """
    places = nodes(edits)
    unmapped = [gap for gap in gaps(world, edits) if gap.link not in missed]
    if not places or not unmapped:
        return None

    steps = _onward(world, places, selected, unmapped)
    if steps:
        before = parent(edits, selected)
        if before < 0:
            return steps[0]
        (x, y), (from_x, from_y) = places[selected], places[before]
        # Straight on: the smallest turn has the largest cosine (the length of the way here is
        # the same for all, so it is left out).
        return max(
            steps,
            key=lambda step: (
                ((step.x - x) * (x - from_x) + (step.y - y) * (y - from_y))
                / _distance((step.x, step.y), (x, y))
            ),
        )

    # The road has ended: go back to the nearest node from which an unmapped road leads on.
    xs, ys = np.concatenate([world.samples[gap.first : gap.last + 1] for gap in unmapped]).T
    at = np.array(places)
    touches = ((xs - at[:, :1]) ** 2 + (ys - at[:, 1:]) ** 2).min(1) <= NEAR**2  # (nodes,)
    for node in sorted(
        np.flatnonzero(touches).tolist(), key=lambda k: _distance(places[k], places[selected])
    ):
        steps = _onward(world, places, node, unmapped)
        if steps:
            x, y = places[node]
            return Step("select", x, y, node, steps[0].link)
    return None


@lru_cache(maxsize=2048)
def parent(edits: Edits, node: int) -> int:
    """Return the node that a node was linked to when it was placed, or -1."""
    return [edit for edit in edits if isinstance(edit, Node)][node].parent


def _onward(
    world: RoadMappingWorld, places: tuple[Point, ...], node: int, unmapped: list[Gap]
) -> list[Step]:
    """Return the steps from a node to the ends of the gaps that it touches."""
    here = places[node]
    squared = (world.samples[:, 0] - here[0]) ** 2 + (world.samples[:, 1] - here[1]) ** 2
    steps = []
    for gap in unmapped:
        at = gap.first + int(squared[gap.first : gap.last + 1].argmin())
        if squared[at] > NEAR**2:
            continue

        for end in (gap.first, gap.last):
            x, y = world.end_of(end)
            if abs(end - at) < _STUB or _distance(here, (x, y)) <= AT:
                continue  # this is the end that the node is at

            # Where the road comes to an existing node, it is linked to that node.
            taken = next(
                (k for k, p in enumerate(places) if k != node and _distance(p, (x, y)) <= AT), -1
            )
            if taken >= 0:
                steps.append(Step("link", *places[taken], taken, gap.link))
            else:
                steps.append(Step("place", x, y, -1, gap.link))
    return steps


def _distance(p: Point, q: Point) -> float:
    return hypot(p[0] - q[0], p[1] - q[1])


def measures(world: RoadMappingWorld, edits: Edits) -> tuple[float, float, float]:
    """Compare the annotated graph with the road network.

    Returns:
        Length precision, length recall, and F1 of the junctions: nodes with three or more links,
        matched one to one within `AT`.
    """
    places = nodes(edits)
    pairs = links(edits)
    lengths = [along(world, places[a], places[b])[:2] for a, b in pairs]
    total = sum(length for length, _ in lengths)
    precision = sum(length * share for length, share in lengths) / total if total else 0.0
    recall = float(covered(world, edits).mean())

    neighbors: dict[int, set[int]] = {}
    for a, b in pairs:
        neighbors.setdefault(a, set()).add(b)
        neighbors.setdefault(b, set()).add(a)
    crossings = [places[node] for node, others in sorted(neighbors.items()) if len(others) >= 3]
    free = [tuple(junction) for junction in world.junctions.tolist()]
    for place in crossings:
        match = next((junction for junction in free if _distance(place, junction) <= AT), None)
        if match:
            free.remove(match)
    matched = len(world.junctions) - len(free)
    return precision, recall, 2 * matched / (len(crossings) + len(world.junctions))
