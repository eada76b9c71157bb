"""The world of shape matching: two photographs of the same specimens, rearranged in between."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.shape_matching.picture import AFTER, BEFORE, HALF, background, grain


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Settings of `make_world`.

    Attributes:
        specimens: Smallest and largest number of specimens before the shipment.
        lost: Smallest and largest number of them that are gone after it.
        new: Smallest and largest number of specimens that are there only after it.
        twins: Number of specimens that are drawn to look like another one.
        fields_before: Number of fields of view before the shipment.
        fields_after: Number of fields of view after it.
    """

    specimens: tuple[int, int]
    lost: tuple[int, int]
    new: tuple[int, int]
    twins: int
    fields_before: int
    fields_after: int


DIFFICULTIES = {
    "short": Difficulty((5, 7), lost=(0, 1), new=(1, 2), twins=1, fields_before=2, fields_after=2),
    "full": Difficulty((8, 12), lost=(0, 2), new=(1, 3), twins=3, fields_before=2, fields_after=3),
}

HEADER = 16
"""Height of the strip above the photographs, logical px."""
LOST = -1
"""Partner of a specimen that is gone after the shipment, and result of a search that found none."""

SIZES = (13.5, 17.5, 22.0)
"""Mean radius of small, medium and large specimens, logical px."""
FORMS = ("long", "round", "three lobes", "four lobes", "five lobes")
"""Forms of specimens; those next to each other are the most alike."""
PORES = (1, 2, 3)
"""Possible numbers of pores."""

DIRECTIONS = 720
"""Directions in which outlines are known."""

_WAVES = {0: (2, 0.27), 2: (3, 0.19), 3: (4, 0.17), 4: (5, 0.15)}  # form: number of waves, height
_LARGEST_WAVE = 6
_PORE_ANGLES = {1: (0.0,), 2: (0.0, 2.3), 3: (0.0, 1.7, 3.3)}  # rad; they tell how it is turned
_PORE_DISTANCE = 0.5  # from the center, relative to the mean radius
_REACH = 2.0  # a click this far outside an outline is still on the specimen, logical px
_COLUMNS, _ROWS = 2, 3  # of the places in a field of view


class Specimens(NamedTuple):
    """The n specimens of a world; see `Slide` for the arrays."""

    kinds: np.ndarray
    sizes: np.ndarray
    waves: np.ndarray
    pores: np.ndarray


@dataclass(frozen=True, eq=False)
class Slide:
    """The n specimens of one photograph, in reading order, field after field.

    Angles are in radians, clockwise, and those of `waves` and `pores` are relative to the specimen.

    Attributes:
        fields: Number of fields of view.
        field: (n,) the field of view that each is in.
        centers: (n, 2) canvas coordinates.
        angles: (n,) how each is turned.
        kinds: (n, 3) indices into SIZES and FORMS, and the number of pores.
        sizes: (n,) mean radius, logical px.
        waves: (n, 6, 2) cosine and sine terms of the outline, relative to the mean radius.
        pores: (n, 3, 2) positions of the pores, logical px from the center; unused ones are 0.
    """

    fields: int
    field: np.ndarray
    centers: np.ndarray
    angles: np.ndarray
    kinds: np.ndarray
    sizes: np.ndarray
    waves: np.ndarray
    pores: np.ndarray

    @cached_property
    def radii(self) -> np.ndarray:
        """Distance of each outline from its center in DIRECTIONS directions, (n, 720) logical px.

        The directions are relative to the specimen.
        """
        directions = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
        phases = np.arange(1, _LARGEST_WAVE + 1) * directions[:, None]  # (720, 6)
        cosines, sines = np.moveaxis(self.waves, 2, 0)  # (n, 6) each
        heights = cosines @ np.cos(phases).T + sines @ np.sin(phases).T
        return np.asarray(self.sizes[:, None] * (1 + heights))

    def radius(self, specimen: int, angles: np.ndarray | float) -> np.ndarray:
        """Return the distance of a specimen's outline from its center, logical px.

        Args:
            specimen: The specimen.
            angles: Directions relative to the specimen, rad.
        """
        nearest = np.rint(np.asarray(angles) * (DIRECTIONS / (2 * np.pi))).astype(int)
        return np.asarray(self.radii[specimen, nearest % DIRECTIONS])

    def outline(self, specimen: int, turn: float, margin: float) -> tuple[tuple[float, float], ...]:
        """Return a polygon around a specimen, which begins at its upper right.

        Args:
            specimen: The specimen.
            turn: By how much it is turned further, rad.
            margin: Distance of the polygon from the outline, logical px.
        """
        directions = -np.pi / 4 + np.arange(40) * (2 * np.pi / 40)
        radius = self.radius(specimen, directions - self.angles[specimen] - turn) + margin
        u, v = self.centers[specimen]
        xs = u + radius * np.cos(directions)
        ys = v + radius * np.sin(directions)
        return tuple(zip(xs.tolist(), ys.tolist()))

    def at(self, field: int, u: float, v: float) -> int:
        """Return the specimen at (u, v) in a field of view, or `LOST` if there is none."""
        for specimen in np.flatnonzero(self.field == field).tolist():
            x, y = (u, v) - self.centers[specimen]
            direction = np.arctan2(y, x) - self.angles[specimen]
            if np.hypot(x, y) <= self.radius(specimen, direction) + _REACH:
                return int(specimen)
        return LOST

    def center(self, specimen: int) -> tuple[float, float]:
        """Return the center of a specimen, canvas coordinates."""
        u, v = self.centers[specimen].tolist()
        return u, v


@dataclass(frozen=True, eq=False)
class ShapeMatchingWorld:
    """Specimens before and after a shipment.

    Attributes:
        before: The specimens on the left.
        after: The specimens on the right.
        partner: (n before,) for each on the left the same one on the right, or `LOST`.
        image_rng: Source of the randomness of the images.
    """

    before: Slide
    after: Slide
    partner: np.ndarray
    image_rng: np.random.Generator

    def alike(self, source: int, nearest: int = 1) -> tuple[int, ...]:
        """Return the specimens after the shipment that look like one from before, but are another.

        Args:
            source: The specimen from before.
            nearest: Largest difference of the look-alikes, see `difference`.
        """
        differences = difference(self.before.kinds[source], self.after.kinds)
        alike = np.flatnonzero(differences <= nearest).tolist()
        return tuple(target for target in alike if target != self.partner[source])

    @cached_property
    def image_backgrounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The empty photographs, (256, 128, 3) float32 each."""
        rng = copy.deepcopy(self.image_rng)
        return background(rng, BEFORE), background(rng, AFTER)

    @cached_property
    def image_grain(self) -> tuple[np.ndarray, np.ndarray]:
        """The roughness of the specimens before and after, (n, 72, 72) float32 each."""
        rng = copy.deepcopy(self.image_rng)
        return grain(rng, len(self.before.field)), grain(rng, len(self.after.field))


def difference(kind: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how different a kind is from others: 1 for look-alikes, one step in one respect.

    Args:
        kind: (3,) a kind, see `Slide.kinds`.
        others: (..., 3) other kinds.
    """
    steps = np.minimum(np.abs(kind - others), 2)
    return np.asarray(steps.sum(-1))


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> ShapeMatchingWorld:
    """Make the specimens and lay them out twice.

    Args:
        rng: Random generator.
        difficulty: One of the values of DIFFICULTIES.
    """
    count = int(rng.integers(difficulty.specimens[0], difficulty.specimens[1] + 1))
    lost = int(rng.integers(difficulty.lost[0], difficulty.lost[1] + 1))
    new = int(rng.integers(difficulty.new[0], difficulty.new[1] + 1))

    specimens = _draw_specimens(
        rng, rng.permutation(_draw_kinds(rng, count + new, difficulty.twins))
    )
    drawn = np.arange(count + new)
    before, order_before = _lay_out(rng, specimens, drawn[:count], difficulty.fields_before, 0)

    # On the way some are lost, others join them, and all are tilted a little.
    waves = specimens.waves + rng.normal(0, 0.01, specimens.waves.shape)
    tilts = rng.uniform(0, 2 * np.pi, count + new)
    waves[:, 1] += 0.035 * np.stack([np.cos(tilts), np.sin(tilts)], 1)
    sizes = specimens.sizes * rng.uniform(0.97, 1.03, count + new)
    tilted = specimens._replace(sizes=sizes, waves=waves)
    after, order_after = _lay_out(rng, tilted, drawn[lost:], difficulty.fields_after, HALF)

    position = {int(one): index for index, one in enumerate(order_after)}
    partner = np.array([position.get(int(one), LOST) for one in order_before])
    return ShapeMatchingWorld(before, after, partner, rng)


def _draw_kinds(rng: np.random.Generator, count: int, twins: int) -> np.ndarray:
    """Draw different kinds, (count, 3); the last `twins` of them look like one of the others."""
    grid = np.stack(np.meshgrid(range(len(SIZES)), range(len(FORMS)), PORES), -1).reshape(-1, 3)
    apart = difference(grid[:, None], grid)  # (kinds, kinds)

    chosen: list[int] = []
    for number in range(count):
        # Smallest difference of each kind from those chosen before.
        nearest = apart[:, chosen].min(1) if chosen else np.full(len(grid), 2)
        fits = nearest == 1 if number >= count - twins else nearest >= 2
        candidates = np.flatnonzero(fits if fits.any() else nearest >= 1)
        chosen.append(int(rng.choice(candidates)))
    return grid[chosen]


def _draw_specimens(rng: np.random.Generator, kinds: np.ndarray) -> Specimens:
    """Draw specimens of these kinds."""
    count = len(kinds)
    sizes = np.array(SIZES)[kinds[:, 0]] * rng.uniform(0.97, 1.03, count)
    waves = rng.normal(0, 0.015, (count, _LARGEST_WAVE, 2))
    waves[:, 0] = 0  # this would only shift the outline
    pores = np.zeros((count, max(PORES), 2))
    for specimen, (_, form, holes) in enumerate(kinds.tolist()):
        if form in _WAVES:
            wave, height = _WAVES[form]
            waves[specimen, wave - 1, 0] += height
        angles = rng.uniform(0, 2 * np.pi) + np.array(_PORE_ANGLES[holes])
        angles += rng.normal(0, 0.1, holes)
        distance = _PORE_DISTANCE * sizes[specimen]
        pores[specimen, :holes] = distance * np.stack([np.cos(angles), np.sin(angles)], 1)
    return Specimens(kinds, sizes, waves, pores)


def _lay_out(
    rng: np.random.Generator, specimens: Specimens, chosen: np.ndarray, fields: int, left: int
) -> tuple[Slide, np.ndarray]:
    """Spread specimens over fields of view, at random places and turned at random.

    Args:
        rng: Random generator.
        specimens: All specimens.
        chosen: (n,) indices of those that are on the slide.
        fields: Number of fields of view.
        left: Left border of the photograph on the canvas.

    Returns:
        The slide, and (n,) the indices of its specimens in their order.
    """
    order = rng.permutation(chosen)
    field = np.sort(np.arange(len(order)) % fields)
    width = HALF / _COLUMNS
    height = (CANVAS - HEADER) / _ROWS

    centers = []
    for number in range(fields):
        places = np.sort(rng.choice(_COLUMNS * _ROWS, int((field == number).sum()), replace=False))
        rows, columns = np.divmod(places, _COLUMNS)
        centers.append(
            np.stack(
                [
                    left + (columns + 0.5) * width + rng.uniform(-2, 2, len(places)),
                    HEADER + (rows + 0.5) * height + rng.uniform(-7, 7, len(places)),
                ],
                1,
            )
        )
    angles = rng.uniform(0, 2 * np.pi, len(order))
    placed = (array[order] for array in specimens)
    return Slide(fields, field, np.concatenate(centers), angles, *placed), order
