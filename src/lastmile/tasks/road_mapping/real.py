"""Real worlds of road mapping: the streets of six cities, on a drawn map.

The streets are real: their courses and junctions come from OpenStreetMap, simplified by neatnet
(one line a street, no lanes of their own, no ramps). The rest of the map is drawn as in synthetic
worlds, since the data hold lines alone: fields, woods, houses, cars, and a stream and a field track
that look like roads. What the data do not say is decided here:

- A map is a square of 270 to 540 m. A street is drawn 9 to 13 m wide, whatever its class.
- A node is an end, a junction, or a bend: where a straight link would leave the street by more than
  3.5 px, or by more than 4.8 px beside another bend. Streets cross only where they have a junction;
  squares with a bridge over a street are not taken.
- Of the streets in a square the largest connected part is kept. Dead ends shorter than 34 px are
  left out, as driveways.
- Squares are taken only where junctions, bends and streets are far enough apart to be told from
  each other (nodes 19 px, streets that do not meet 17 px, directions at a junction 42 degrees), and
  have about as many streets as synthetic maps. So dense quarters and large junctions are missing.

Splits share no city. Augmentation: position, direction and scale of the map, and mirroring.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lastmile.datasets.archives import STREETS, joint_digest
from lastmile.datasets.cache import DataError
from lastmile.tasks.road_mapping import world as synthetic
from lastmile.tasks.road_mapping.graph import Link, Node, following, measures, nodes, verdicts
from lastmile.tasks.road_mapping.network import Network
from lastmile.tasks.road_mapping.streets import Streets, crop, read_streets
from lastmile.tasks.road_mapping.world import RoadMappingWorld
from lastmile.tasks.task import RIGHT

ARCHIVES = (STREETS,)

CITIES = {
    "train": ("liege_1656", "slc_4881", "douala_809"),
    "test": ("auckland_869",),
    "validation": ("bucaramanga_4617",),
    "people": ("aleppo_1133",),
}
"""Cities of each split, with the numbers that tell them from others of their names."""
LINKS = {"short": (7, 16), "full": (15, 38)}
"""Smallest and largest number of links of a map, by difficulty."""
JUNCTIONS = {"short": (1, 5), "full": (3, 12)}
"""Smallest and largest number of junctions of a map, by difficulty."""
LENGTH = {"short": 500.0, "full": 1000.0}
"""Smallest length of all streets of a map, px, by difficulty."""
SCALE = (0.95, 1.4)
"""Smallest and largest magnification, px per m."""

_ATTEMPTS = 4000


class Cities(NamedTuple):
    """The data: the streets of each city, and the digest of the data."""

    streets: dict[str, Streets]
    digest: str


@dataclass(frozen=True, eq=False)
class RealRoadMappingWorld(RoadMappingWorld):
    """Streets of a city.

    Attributes:
        city: The city, as in `CITIES`.
        data: Digest of the data it was made from.
    """

    city: str
    data: str


def read(folder: Path) -> Cities:
    """Read the streets of all cities.

    Raises:
        DataError: A file is missing, damaged or of another kind.
    """
    names = [name for cities in CITIES.values() for name in cities]
    streets = {name: read_streets(folder / f"{name}-simplified.parquet") for name in names}
    return Cities(streets, joint_digest(ARCHIVES))


def make_world(
    data: Cities, rng: np.random.Generator, split: str, difficulty: str
) -> RealRoadMappingWorld:
    """Make a map of streets of one of the split's cities. See `lastmile.tasks.real`.

    Raises:
        DataError: No square of them can be mapped for sure.
    """
    side = synthetic.DIFFICULTIES[difficulty].side
    for _ in range(_ATTEMPTS):
        city = CITIES[split][int(rng.integers(len(CITIES[split])))]
        streets = data.streets[city]
        middle = streets.points[int(rng.integers(len(streets.points)))]
        scale, angle = rng.uniform(*SCALE), rng.uniform(0, 2 * np.pi)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) * (1 - 2 * rng.integers(2), 1)
        network = crop(streets, middle, turn, side)
        if network is None or not _suits(network, difficulty):
            continue
        world = _world(network, rng, difficulty, city, data.digest)
        if len(world.decoys) and _mappable(world):
            return world
    raise DataError(f"no square of the streets can be mapped for sure in split '{split}'")


def _suits(network: Network, difficulty: str) -> bool:
    """Return whether a network has about the size of a synthetic one, and an end to begin at."""
    degree = np.bincount(network.links.ravel())
    length = sum(float(np.hypot(*np.diff(path, axis=0).T).sum()) for path in network.paths)
    fewest, most = LINKS[difficulty]
    least, largest = JUNCTIONS[difficulty]
    return bool(
        fewest <= len(network.links) <= most
        and least <= (degree >= 3).sum() <= largest
        and length >= LENGTH[difficulty]
        and (degree == 1).any()
    )


def _world(
    network: Network, rng: np.random.Generator, difficulty: str, city: str, digest: str
) -> RealRoadMappingWorld:
    """Return the world of a network, with land drawn as in synthetic worlds."""
    side = synthetic.DIFFICULTIES[difficulty].side
    samples, owner = synthetic._sampled(network)
    land = synthetic.make_land(rng, side)
    return RealRoadMappingWorld(
        side=side,
        nodes=network.nodes,
        degree=np.bincount(network.links.ravel(), minlength=len(network.nodes)),
        links=network.links,
        samples=samples,
        owner=owner,
        decoys=land.decoys(side, samples),
        image_land=land,
        image_network=network,
        image_rng=rng,
        city=city,
        data=digest,
    )


def _mappable(world: RealRoadMappingWorld) -> bool:
    """Return whether tracing the streets node by node maps all of them, without a mistake."""
    x, y = world.ends[int(world.ends.sum(1).argmin())].tolist()
    edits: tuple[Node | Link, ...] = (Node(x, y, -1),)
    selected = 0
    for _ in range(3 * len(world.links) + 3):
        step = following(world, edits, selected, frozenset())
        if step is None:
            break
        if step.kind == "place":
            edits = (*edits, Node(step.x, step.y, selected))
        elif step.kind == "link":
            edits = (*edits, Link(selected, step.node))
        selected = len(nodes(edits)) - 1 if step.kind == "place" else step.node
    precision, recall, junctions = measures(world, edits)
    right = all(verdict == RIGHT for verdict in verdicts(world, edits))
    return right and min(precision, recall) > 0.97 and junctions == 1
