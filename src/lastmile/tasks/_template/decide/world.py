"""The world of template decide: panels of cells, in some of which one cell is the odd one out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import CANVAS

SIDE = 3
"""Cells in a row and in a column of a panel."""

NONE = -1
"""In `TemplateDecideWorld.odd`: all cells of the panel are alike."""

RADIUS = 17.0
ODD_RADIUS = 25.0
"""Radius of an ordinary cell, and of one that is odd in bright field, px."""

BRIGHTNESS = 110.0
ODD_BRIGHTNESS = 205.0
"""Brightness of an ordinary cell, and of one that is odd in fluorescence, of 255."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard a world is.

    Attributes:
        panels: Smallest and largest number of panels.
    """

    panels: tuple[int, int]


# Every task has at least these two.
DIFFICULTIES = {
    "short": Difficulty(panels=(4, 6)),
    "full": Difficulty(panels=(8, 12)),
}


class Answer(NamedTuple):
    """One annotation: the answer to whether a panel has an odd one out.

    Attributes:
        panel: The panel, from 0.
        odd: Whether one of its cells differs from the others.
    """

    panel: int
    odd: bool


# `eq=False` keeps worlds hashable, so that they can be keys of caches. `lastmile.tasks.task.digest`
# covers every field that is not called `image...`.
@dataclass(frozen=True, eq=False)
class TemplateDecideWorld:
    """What there is to annotate, and the ground truth.

    Attributes:
        odd: (panels,) int64, the odd cell of each panel, or `NONE`.
        radii: (panels, 9) float64, px; an odd cell is larger, or brighter.
        brightness: (panels, 9) float64, of 255.
        image_rng: Random numbers of the pictures.
    """

    odd: np.ndarray
    radii: np.ndarray
    brightness: np.ndarray
    image_rng: np.random.Generator

    @property
    def panels(self) -> int:
        """Number of panels."""
        return len(self.odd)

    def answer(self, panel: int) -> bool:
        """Return the right answer for a panel."""
        return bool(self.odd[panel] != NONE)

    # Drawn when first needed, since recordings need no pictures; and from a copy of the generator,
    # so that they are the same however often they are drawn.
    @cached_property
    def images(self) -> np.ndarray:
        """(panels, 2, 256, 256, 3) uint8: every panel in bright field and in fluorescence."""
        rng = copy.deepcopy(self.image_rng)
        return np.stack(
            [
                np.stack([_bright_field(rng, radii), _fluorescence(rng, brightness)])
                for radii, brightness in zip(self.radii, self.brightness)
            ]
        )


def make_world(rng: np.random.Generator, difficulty: Difficulty) -> TemplateDecideWorld:
    """Make a world.

    Args:
        rng: The only source of randomness, so that a seed gives the same world everywhere.
        difficulty: One of the values of `DIFFICULTIES`.
    """
    panels = int(rng.integers(difficulty.panels[0], difficulty.panels[1] + 1))
    cells = SIDE**2
    odd = np.where(rng.random(panels) < 0.5, rng.integers(cells, size=panels), NONE)
    larger = rng.random(panels) < 0.5  # else brighter

    radii = RADIUS * rng.uniform(0.95, 1.05, (panels, cells))
    brightness = BRIGHTNESS * rng.uniform(0.95, 1.05, (panels, cells))
    for panel in np.flatnonzero(odd != NONE):
        if larger[panel]:
            radii[panel, odd[panel]] = ODD_RADIUS
        else:
            brightness[panel, odd[panel]] = ODD_BRIGHTNESS

    return TemplateDecideWorld(odd, radii, brightness, image_rng=rng)


def _centers() -> np.ndarray:
    """(9, 2) centers of the cells, canvas coordinates."""
    places = (np.arange(SIDE) + 0.5) * CANVAS / SIDE
    x, y = np.meshgrid(places, places)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _bright_field(rng: np.random.Generator, radii: np.ndarray) -> np.ndarray:
    """Draw dark outlines on gray, which show how large the cells are, (256, 256, 3) uint8."""
    picture = np.full((CANVAS, CANVAS), 150.0)
    for (u, v), radius in zip(_centers(), radii):
        cv2.circle(picture, (int(u), int(v)), int(round(radius)), 70.0, 3)
    picture += rng.normal(0, 8, picture.shape)
    gray = np.clip(picture, 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def _fluorescence(rng: np.random.Generator, brightness: np.ndarray) -> np.ndarray:
    """Draw blurred green discs, which show how bright the cells are, (256, 256, 3) uint8."""
    picture = np.zeros((CANVAS, CANVAS))
    for (u, v), bright in zip(_centers(), brightness):
        cv2.circle(picture, (int(u), int(v)), int(RADIUS), float(bright), cv2.FILLED)
    picture = cv2.GaussianBlur(picture, (0, 0), 4) + rng.normal(12, 6, picture.shape)
    image = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    image[..., 1] = np.clip(picture, 0, 255).astype(np.uint8)
    return image
