"""The annotated graph: nodes and links, how they lie on the roads, and what they leave out."""

from __future__ import annotations

from functools import lru_cache
from math import hypot
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lastmile.tasks.task import RIGHT

if TYPE_CHECKING:
    from lastmile.tasks.road_mapping.world import RoadMappingWorld

WIDE = 6.0
"""A point lies on a road within this many px of its middle line."""
AT = 8.0
"""A node stands for a junction within this many px."""
NEAR = 14.0
"""A node can be continued along a road that begins within this many px."""
SPACING = 3.0
"""Distance of the sample points along roads and links, px."""
_STUB = 4  # gaps of at most this many sample points are not worth a node
_SHARE = 0.85  # of a link that has to lie on roads


class Node(NamedTuple):
    """A node at map position (x, y), linked to an earlier one: index among the nodes, -1 for the first."""

    x: float
    y: float
    parent: int


class Link(NamedTuple):
    """A link between two existing nodes: indices among the nodes."""

    a: int
    b: int


Edits = tuple[Node | Link, ...]


class Gap(NamedTuple):
    """A stretch of road without links: road link, first and last sample point."""

    link: int
    first: int
    last: int


class Step(NamedTuple):
    """What comes next: `place` a node at (x, y), or `link` or `select` node `node`, which lies there. link: the road link to be mapped."""

    kind: str
    x: float
    y: float
    node: int
    link: int


@lru_cache(maxsize=2048)
def nodes(edits: Edits) -> tuple[tuple[float, float], ...]:
    return tuple((edit.x, edit.y) for edit in edits if isinstance(edit, Node))


@lru_cache(maxsize=2048)
def links(edits: Edits) -> tuple[tuple[int, int], ...]:
    """Pairs of nodes that are linked, in order of time."""
    found, count = [], 0
    for edit in edits:
        if isinstance(edit, Link):
            found.append((edit.a, edit.b))
        else:
            if edit.parent >= 0:
                found.append((edit.parent, count))
            count += 1
    return tuple(found)


@lru_cache(maxsize=4096)
def along(
    world: RoadMappingWorld, p: tuple[float, float], q: tuple[float, float]
) -> tuple[float, float, np.ndarray]:
    """A straight link: its length, the share of it that lies on roads, and which sample points of the roads it covers, (samples,) bool."""
    (x, y), (dx, dy) = p, (q[0] - p[0], q[1] - p[1])
    length = hypot(dx, dy)
    xs, ys = world.samples.T
    t = np.clip(((xs - x) * dx + (ys - y) * dy) / max(length**2, 1e-9), 0, 1)
    covers = (xs - x - t * dx) ** 2 + (ys - y - t * dy) ** 2 <= WIDE**2
    if not covers.any():
        return length, 0.0, covers
    steps = np.linspace(0, 1, max(2, int(length / SPACING) + 1))[:, None]
    squared = (xs[covers] - x - steps * dx) ** 2 + (ys[covers] - y - steps * dy) ** 2
    return length, float((squared.min(1) <= WIDE**2).mean()), covers


@lru_cache(maxsize=2048)
def covered(world: RoadMappingWorld, edits: Edits) -> np.ndarray:
    """Which sample points of the roads have a link within WIDE: (samples,) bool."""
    if not edits:
        return np.zeros(len(world.samples), bool)
    before = covered(world, edits[:-1])
    ends = _ends(edits)
    return before | along(world, *ends)[2] if ends else before


@lru_cache(maxsize=2048)
def verdicts(world: RoadMappingWorld, edits: Edits) -> tuple[str, ...]:
    """What is to be said of each edit in turn: `right` or the kind of the mistake."""
    return (*verdicts(world, edits[:-1]), _verdict(world, edits)) if edits else ()


def _verdict(world: RoadMappingWorld, edits: Edits) -> str:
    last, ends = edits[-1], _ends(edits)
    if isinstance(last, Node):
        if not world.on_road(last.x, last.y):
            return "confusion" if world.on_decoy(last.x, last.y) else "slip"
        if AT**2 < ((world.junctions - (last.x, last.y)) ** 2).sum(1).min() < (2 * AT) ** 2:
            return "slip"
    if ends is None:
        return RIGHT
    length, share, covers = along(world, *ends)
    new = SPACING * int((covers & ~covered(world, edits[:-1])).sum())
    if share < _SHARE or _passes(world.junctions, *ends):
        return "lapse" if isinstance(last, Node) else "confusion"
    return RIGHT if new >= 0.25 * (length - 2 * WIDE) else "confusion"


def _ends(edits: Edits) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The two ends of the link that the last edit makes, if it makes one."""
    last, places = edits[-1], nodes(edits)
    if isinstance(last, Link):
        return places[last.a], places[last.b]
    return (places[last.parent], (last.x, last.y)) if last.parent >= 0 else None


def _passes(places: np.ndarray, p: tuple[float, float], q: tuple[float, float]) -> bool:
    """Whether a link runs over one of the places without having a node there."""
    start, way = np.array(p), np.subtract(q, p)
    t = np.clip(((places - start) @ way) / max(float(way @ way), 1e-9), 0, 1)
    off = np.hypot(*(places - start - t[:, None] * way).T)
    from_ends = np.minimum(np.hypot(*(places - start).T), np.hypot(*(places - np.array(q)).T))
    return bool(((off < WIDE) & (from_ends > AT)).any())


@lru_cache(maxsize=2048)
def gaps(world: RoadMappingWorld, edits: Edits) -> tuple[Gap, ...]:
    """The stretches of road that are still to be mapped."""
    open_ = np.flatnonzero(~covered(world, edits))
    if not len(open_):
        return ()
    owner = world.owner[open_]
    cuts = np.flatnonzero((np.diff(open_) > 1) | (np.diff(owner) > 0)) + 1
    firsts, lasts = open_[np.r_[0, cuts]].tolist(), open_[np.r_[cuts - 1, len(open_) - 1]].tolist()
    return tuple(Gap(int(world.owner[i]), i, j) for i, j in zip(firsts, lasts) if j - i >= _STUB)


@lru_cache(maxsize=2048)
def following(
    world: RoadMappingWorld, edits: Edits, selected: int, missed: frozenset[int]
) -> Step | None:
    """The next step of tracing: from the selected node straight on if a road goes on there, else from the nearest node where one does.
    missed: road links that are not to be thought of. None when nothing is left that touches a node."""
    places = nodes(edits)
    left = [gap for gap in gaps(world, edits) if gap.link not in missed]
    if not places or not left:
        return None
    steps = _onward(world, places, selected, left)
    if steps:
        before = parent(edits, selected)
        if before < 0:
            return steps[0]
        (x, y), (from_x, from_y) = places[selected], places[before]
        return max(
            steps,
            key=lambda step: (
                ((step.x - x) * (x - from_x) + (step.y - y) * (y - from_y))
                / _apart((step.x, step.y), (x, y))
            ),
        )
    xs, ys = np.concatenate([world.samples[gap.first : gap.last + 1] for gap in left]).T
    at = np.array(places)
    touches = ((xs - at[:, :1]) ** 2 + (ys - at[:, 1:]) ** 2).min(1) <= NEAR**2
    for node in sorted(
        np.flatnonzero(touches).tolist(), key=lambda k: _apart(places[k], places[selected])
    ):
        steps = _onward(world, places, node, left)
        if steps:
            return Step("select", *places[node], node, steps[0].link)
    return None


@lru_cache(maxsize=2048)
def parent(edits: Edits, node: int) -> int:
    """The node that a node was linked to when it was placed, or -1."""
    return [edit for edit in edits if isinstance(edit, Node)][node].parent


def _onward(world: RoadMappingWorld, places: tuple, node: int, left: list[Gap]) -> list[Step]:
    """Steps from a node to the ends of the gaps that it lies at."""
    here = places[node]
    squared = (world.samples[:, 0] - here[0]) ** 2 + (world.samples[:, 1] - here[1]) ** 2
    steps = []
    for gap in left:
        at = gap.first + int(squared[gap.first : gap.last + 1].argmin())
        if squared[at] > NEAR**2:
            continue
        for end in (gap.first, gap.last):
            x, y = world.end_of(end)
            if abs(end - at) < _STUB or _apart(here, (x, y)) <= AT:
                continue
            taken = next(
                (k for k, place in enumerate(places) if k != node and _apart(place, (x, y)) <= AT),
                -1,
            )
            steps.append(
                Step("link", *places[taken], taken, gap.link)
                if taken >= 0
                else Step("place", x, y, -1, gap.link)
            )
    return steps


def _apart(p: tuple[float, float], q: tuple[float, float]) -> float:
    return hypot(p[0] - q[0], p[1] - q[1])


def measures(world: RoadMappingWorld, edits: Edits) -> tuple[float, float, float]:
    """Length precision, length recall, and F1 of the junctions (nodes with three or more links, one to one within AT)."""
    places, joined = nodes(edits), links(edits)
    lengths = [along(world, places[a], places[b])[:2] for a, b in joined]
    total = sum(length for length, _ in lengths)
    precision = sum(length * share for length, share in lengths) / total if total else 0.0
    recall = float(covered(world, edits).mean())
    neighbors: dict[int, set[int]] = {}
    for a, b in joined:
        neighbors.setdefault(a, set()).add(b)
        neighbors.setdefault(b, set()).add(a)
    crossings = [places[node] for node, others in sorted(neighbors.items()) if len(others) >= 3]
    free = [tuple(junction) for junction in world.junctions.tolist()]
    for place in crossings:
        found = next((junction for junction in free if _apart(place, junction) <= AT), None)
        if found:
            free.remove(found)
    right = len(world.junctions) - len(free)
    return precision, recall, 2 * right / (len(crossings) + len(world.junctions))
