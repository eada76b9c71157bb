"""The world of road mapping: a network of roads and a map of the land around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.road_mapping.graph import SPACING, WIDE
from lastmile.tasks.road_mapping.land import render
from lastmile.tasks.road_mapping.network import Network, grow


@dataclass(frozen=True, slots=True)
class Difficulty:
    """side: of the map, logical px. roads: smallest and largest number of them."""

    side: int
    roads: tuple[int, int]


DIFFICULTIES = {"short": Difficulty(side=384, roads=(2, 3)), "full": Difficulty(side=512, roads=(4, 7))}

PAN = CANVAS // 2
"""The window moves by this many px."""


@dataclass(frozen=True, eq=False)
class RoadMappingWorld:
    """nodes: (n, 2) map positions of ends, bends and junctions. degree: (n,) roads that meet there. links: (m, 2) pairs of nodes, parts of
    roads. samples: (s, 2) points along the links in order, SPACING px apart; owner: (s,) link of each. decoys: (d, 2) points along what
    looks like a road but is none. image_map: (side, side, 3) uint8."""

    side: int
    nodes: np.ndarray
    degree: np.ndarray
    links: np.ndarray
    samples: np.ndarray
    owner: np.ndarray
    decoys: np.ndarray
    image_map: np.ndarray

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
    image, decoys = render(rng, difficulty.side, network, samples)
    degree = np.bincount(network.links.ravel(), minlength=len(network.nodes))
    return RoadMappingWorld(difficulty.side, network.nodes, degree, network.links, samples, owner, decoys, image)


def _sampled(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Points along all links, SPACING px apart, and the link of each."""
    points = []
    for path in network.paths:
        run = np.r_[0, np.cumsum(np.hypot(*np.diff(path, axis=0).T))]
        at = np.linspace(0, run[-1], max(2, round(run[-1] / SPACING) + 1))
        points.append(np.stack([np.interp(at, run, path[:, 0]), np.interp(at, run, path[:, 1])], 1))
    return np.concatenate(points), np.repeat(np.arange(len(points)), [len(part) for part in points])
