"""The world of road mapping: a network of roads and a map of the land around it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.road_mapping.graph import SPACING, WIDE
from lastmile.tasks.road_mapping.land import Land, make_land, render
from lastmile.tasks.road_mapping.network import Network, grow


@dataclass(frozen=True, slots=True)
class Difficulty:
    """side: of the map, logical px. roads: smallest and largest number of them."""

    side: int
    roads: tuple[int, int]


DIFFICULTIES = {
    "short": Difficulty(side=384, roads=(2, 3)),
    "full": Difficulty(side=512, roads=(4, 7)),
}

PAN = CANVAS // 2
"""The window moves by this many px."""


@dataclass(frozen=True, eq=False)
class RoadMappingWorld:
    """nodes: (n, 2) map positions of ends, bends and junctions. degree: (n,) roads that meet there. links: (m, 2) pairs of nodes, parts of
    roads. samples: (s, 2) points along the links in order, SPACING px apart; owner: (s,) link of each. decoys: (d, 2) points along what
    looks like a road but is none. image_land, image_network: what the map shows. image_rng: random numbers for the rest of it."""

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
        """(side, side, 3) uint8, drawn when first asked for."""
        return render(
            copy.deepcopy(self.image_rng),
            self.side,
            self.image_land,
            self.image_network,
            self.samples,
        )

    @property
    def last(self) -> int:
        """Largest position of the window along each axis, in steps of PAN."""
        return (self.side - CANVAS) // PAN

    @property
    def junctions(self) -> np.ndarray:
        """(j, 2) nodes where three or more roads meet."""
        return self.nodes[self.degree >= 3]

    @property
    def ends(self) -> np.ndarray:
        """(e, 2) nodes where a road ends or leaves the map."""
        return self.nodes[self.degree == 1]

    def window(self, x: int, y: int) -> np.ndarray:
        """(256, 256, 3) view of the map, `x` and `y` in steps of PAN."""
        return self.image_map[y * PAN : y * PAN + CANVAS, x * PAN : x * PAN + CANVAS]

    def on_road(self, x: float, y: float) -> bool:
        return _within(self.samples, x, y)

    def on_decoy(self, x: float, y: float) -> bool:
        return _within(self.decoys, x, y)

    def end_of(self, sample: int) -> tuple[float, float]:
        """Where a stretch of road that ends at a sample point should have its node: the node of the road there if there is one."""
        link = self.owner[sample]
        first, last = np.searchsorted(self.owner, (link, link + 1)) + (0, -1)
        if sample - first <= 4:
            x, y = self.nodes[self.links[link, 0]]
        elif last - sample <= 4:
            x, y = self.nodes[self.links[link, 1]]
        else:
            x, y = self.samples[sample]
        return float(x), float(y)


def _within(places: np.ndarray, x: float, y: float) -> bool:
    return bool(((places[:, 0] - x) ** 2 + (places[:, 1] - y) ** 2).min() <= WIDE**2)


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> RoadMappingWorld:
    count = int(rng.integers(difficulty.roads[0], difficulty.roads[1] + 1))
    network = grow(rng, difficulty.side, count)
    samples, owner = _sampled(network)
    land = make_land(rng, difficulty.side)
    degree = np.bincount(network.links.ravel(), minlength=len(network.nodes))
    decoys = land.decoys(difficulty.side, samples)
    return RoadMappingWorld(
        difficulty.side,
        network.nodes,
        degree,
        network.links,
        samples,
        owner,
        decoys,
        land,
        network,
        rng,
    )


def _sampled(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Points along all links, SPACING px apart, and the link of each."""
    points = []
    for path in network.paths:
        run = np.r_[0, np.cumsum(np.hypot(*np.diff(path, axis=0).T))]
        at = np.linspace(0, run[-1], max(2, round(run[-1] / SPACING) + 1))
        points.append(np.stack([np.interp(at, run, path[:, 0]), np.interp(at, run, path[:, 1])], 1))
    return np.concatenate(points), np.repeat(np.arange(len(points)), [len(part) for part in points])
