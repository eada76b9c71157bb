"""The world of road mapping: a network of roads and a map of the land around it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.road_mapping.land import Land, make_land, render
from lastmile.tasks.road_mapping.network import Network, grow


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        side: Side of the square map, logical px.
        roads: Smallest and largest number of roads.
    """

    side: int
    roads: tuple[int, int]


DIFFICULTIES = {
    "short": Difficulty(side=384, roads=(2, 3)),
    "full": Difficulty(side=512, roads=(4, 7)),
}

PAN = CANVAS // 2
"""Distance by which the window moves, px."""
WIDE = 6.0
"""A point is on a road within this distance of its center line, px."""
SPACING = 3.0
"""Distance of the sample points along roads and links, px."""

_SNAP = 4  # sample points within which the end of a stretch of road belongs to a node


@dataclass(frozen=True, eq=False)
class RoadMappingWorld:
    """A network of roads and what the map shows of it.

    Attributes:
        side: Side of the square map, logical px.
        nodes: (n, 2) map positions of road ends, bends and junctions.
        degree: (n,) number of links at each node.
        links: (m, 2) pairs of nodes, each a part of a road.
        samples: (s, 2) points along the links in order, `SPACING` px apart.
        owner: (s,) link of each sample point.
        decoys: (d, 2) points along the stream and the field track, which look like roads.
        image_land: Fields, stream and field track of the map.
        image_network: Roads of the map.
        image_rng: Random numbers for the rest of the map.
    """

    side: int
    nodes: np.ndarray
    degree: np.ndarray
    links: np.ndarray
    samples: np.ndarray
    owner: np.ndarray
    decoys: np.ndarray
    image_land: Land
    image_network: Network
    image_rng: np.random.Generator

    @cached_property
    def image_map(self) -> np.ndarray:
        """The whole map, (side, side, 3) uint8; drawn on first use."""
        # The generator is copied, so the map does not depend on when it is drawn.
        return render(
            copy.deepcopy(self.image_rng),
            self.side,
            self.image_land,
            self.image_network,
            self.samples,
        )

    @property
    def last(self) -> int:
        """Largest position of the window along each axis, in units of `PAN`."""
        return (self.side - CANVAS) // PAN

    @property
    def junctions(self) -> np.ndarray:
        """Nodes at which three or more links meet, (j, 2)."""
        return self.nodes[self.degree >= 3]

    @property
    def ends(self) -> np.ndarray:
        """Nodes at which a road ends or leaves the map, (e, 2)."""
        return self.nodes[self.degree == 1]

    def window(self, x: int, y: int) -> np.ndarray:
        """Return the (256, 256, 3) view of the map at window position (x, y), in units of `PAN`."""
        return self.image_map[y * PAN : y * PAN + CANVAS, x * PAN : x * PAN + CANVAS]

    def on_road(self, x: float, y: float) -> bool:
        """Return whether a map position is on a road."""
        return _within(self.samples, x, y)

    def on_decoy(self, x: float, y: float) -> bool:
        """Return whether a map position is on the stream or the field track."""
        return _within(self.decoys, x, y)

    def end_of(self, sample: int) -> tuple[float, float]:
        """Return where a stretch of road that ends at a sample point should get its node.

        This is the node of the network if one is close, otherwise the sample point itself.
        """
        link = self.owner[sample]
        first, last = np.searchsorted(self.owner, (link, link + 1)) + (0, -1)
        if sample - first <= _SNAP:
            x, y = self.nodes[self.links[link, 0]]
        elif last - sample <= _SNAP:
            x, y = self.nodes[self.links[link, 1]]
        else:
            x, y = self.samples[sample]
        return float(x), float(y)


def _within(points: np.ndarray, x: float, y: float) -> bool:
    """Return whether (x, y) is within `WIDE` of any of the points (n, 2)."""
    return bool(((points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2).min() <= WIDE**2)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> RoadMappingWorld:
    """Return a random world; the generator belongs to it from then on."""
    count = int(rng.integers(difficulty.roads[0], difficulty.roads[1] + 1))
    network = grow(rng, difficulty.side, count)
    samples, owner = _sampled(network)
    land = make_land(rng, difficulty.side)
    return RoadMappingWorld(
        side=difficulty.side,
        nodes=network.nodes,
        degree=np.bincount(network.links.ravel(), minlength=len(network.nodes)),
        links=network.links,
        samples=samples,
        owner=owner,
        decoys=land.decoys(difficulty.side, samples),
        image_land=land,
        image_network=network,
        image_rng=rng,
    )


def _sampled(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return points `SPACING` px apart along all links, (s, 2), and the link of each, (s,)."""
    points = []
    for path in network.paths:
        run = np.r_[0, np.cumsum(np.hypot(*np.diff(path, axis=0).T))]  # length up to each point
        at = np.linspace(0, run[-1], max(2, round(run[-1] / SPACING) + 1))
        points.append(np.stack([np.interp(at, run, path[:, 0]), np.interp(at, run, path[:, 1])], 1))
    return np.concatenate(points), np.repeat(np.arange(len(points)), [len(part) for part in points])
