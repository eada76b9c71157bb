"""Real worlds of colored dots: nuclei of a confocal stack, in the place of dots.

The data are one stack with 20 labelled nuclei in a single layer. That is too few for worlds that
share no nucleus, and in one layer there is no depth to search. So what the data do not say is
decided here: a world sets real nuclei, each with its own stack of planes, along a chain as in
synthetic worlds. A nucleus has the hue of its place in the chain, and its own slice shows its
brightest plane. The ground is a piece of the stack without nuclei.

Splits share no nucleus. Augmentation: each nucleus is turned, flipped and scaled, and its
brightness varies.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.datasets.archives import BIO_SAMPLES, joint_digest
from lastmile.datasets.cache import DataError
from lastmile.datasets.images import read_stack
from lastmile.screen import CANVAS
from lastmile.tasks.colored_dots import world as synthetic
from lastmile.tasks.colored_dots.world import ColoredDotsWorld

ARCHIVES = (BIO_SAMPLES,)

SHARES = {"train": 0.5, "test": 0.3, "validation": 0.1, "people": 0.1}
"""Share of the nuclei that each split gets, in the order of their labels."""

_TILE = 72  # side of the tile that holds a nucleus, px of the data
_PLANES = 8  # planes of the data per slice
_REACH = 3  # slices above and below its own in which a nucleus is drawn
_SCALE = 0.4  # logical px per px of the data
_HALF = 18  # half the side of the patch in which a nucleus is drawn, logical px


class Nuclei(NamedTuple):
    """The data.

    Attributes:
        tiles: (n, 7, 72, 72) float32, each nucleus with its own slice in the middle; its brightest
            parts are about 1.
        ground: (rows, columns) float32, noise of the stack where no nucleus is, of
            mean 0 and standard deviation 1.
        digest: Digest of the data.
    """

    tiles: np.ndarray
    ground: np.ndarray
    digest: str


@dataclass(frozen=True, eq=False)
class RealColoredDotsWorld(ColoredDotsWorld):
    """A chain of real nuclei.

    Attributes:
        nuclei: (n,) which nucleus of the data each dot is.
        data: Digest of the data it was made from.
        image_source: The data.
    """

    nuclei: np.ndarray
    data: str
    image_source: Nuclei

    @cached_property
    def image_slices(self) -> np.ndarray:
        """The slices, (slices, 256, 256, 3) uint8."""
        return _render(self, copy.deepcopy(self.image_rng))


def read(folder: Path) -> Nuclei:
    """Read the stack and its labels, and cut out the nuclei that are whole.

    Raises:
        DataError: A file is missing, damaged or of another kind, both do not fit together, or there
            are fewer than one whole nucleus for each split.
    """
    smallest = (2 * _PLANES, _TILE, _TILE)
    stack = read_stack(folder / "nuclei.tif", "uint16", smallest).astype(np.float32)
    path = folder / "nuclei_label.tif"
    labels = read_stack(path, _label_type(path), smallest)
    if labels.shape != stack.shape:
        raise DataError(
            f"{path}: expected the size of nuclei.tif, {stack.shape}; is {labels.shape}"
        )
    rows, columns = stack.shape[1:]
    floor = np.percentile(stack, 5)

    tiles = []
    for label in np.unique(labels[labels > 0]).tolist():
        seen = (labels == label).any(0)  # (rows, columns)
        ys, xs = np.nonzero(seen)
        if ys.min() < 2 or xs.min() < 2 or ys.max() > rows - 3 or xs.max() > columns - 3:
            continue
        tiles.append(_cut(stack - floor, seen))
    if len(tiles) < len(SHARES):
        raise DataError(f"{path}: holds {len(tiles)} whole nuclei, expected at least {len(SHARES)}")

    # The part without nuclei that varies least: the first planes, far from focus.
    ground = stack[: _PLANES // 2].mean(0)
    ground = ground - cv2.GaussianBlur(ground, (0, 0), 8)  # uneven light would show seams
    ground = (ground - ground.mean()) / max(float(ground.std()), 1e-6)
    return Nuclei(np.stack(tiles), ground.astype(np.float32), joint_digest(ARCHIVES))


def _label_type(path: Path) -> str:
    """Return the type of the labels: 8, 16 or 32 bits are equally good."""
    for dtype in ("uint8", "uint16", "int32"):
        try:
            read_stack(path, dtype, (1, 1, 1))
        except DataError:
            continue
        return dtype
    return "uint32"


def _cut(stack: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Cut a nucleus out of the stack, (7, 72, 72) float32; `seen` is where it is seen."""
    ys, xs = np.nonzero(seen)
    mask = cv2.GaussianBlur(cv2.dilate(seen.astype(np.float32), np.ones((5, 5))), (0, 0), 1.5)
    half = _TILE // 2
    padded = np.pad(stack * mask, ((0, 0), (half, half), (half, half)))
    x, y = int(round(xs.mean())), int(round(ys.mean()))
    column = padded[:, y : y + _TILE, x : x + _TILE]  # (planes, 72, 72)

    light = np.convolve(column.sum((1, 2)), np.ones(_PLANES) / _PLANES, "same")
    middle = int(light.argmax())
    slices = np.zeros((2 * _REACH + 1, _TILE, _TILE), np.float32)
    for level in range(-_REACH, _REACH + 1):
        first = middle + level * _PLANES - _PLANES // 2
        planes = column[max(first, 0) : max(first + _PLANES, 0)]
        if len(planes):
            # Blurred for the size at which it is drawn, so that shrinking skips nothing.
            slices[level + _REACH] = cv2.GaussianBlur(
                planes.sum(0) / _PLANES, (0, 0), 0.45 / _SCALE
            )
    own = slices[_REACH]
    return slices / max(float(np.percentile(own[own > 0.2 * own.max()], 90)), 1e-6)


def make_world(
    data: Nuclei, rng: np.random.Generator, split: str, difficulty: str
) -> RealColoredDotsWorld:
    """Make a chain of the nuclei of a split. See `lastmile.tasks.real`."""
    chain = synthetic.make_world(rng, synthetic.DIFFICULTIES[difficulty])
    # Each split gets a run of the nuclei: one, and its share of the others.
    spare = np.cumsum([0, *SHARES.values()]) * (len(data.tiles) - len(SHARES))
    bounds = np.round(spare).astype(int) + np.arange(len(SHARES) + 1)
    number = list(SHARES).index(split)
    nuclei = rng.integers(bounds[number], bounds[number + 1], len(chain.z))
    values = {item.name: getattr(chain, item.name) for item in fields(chain)}
    return RealColoredDotsWorld(**values, nuclei=nuclei, data=data.digest, image_source=data)


def _render(world: RealColoredDotsWorld, rng: np.random.Generator) -> np.ndarray:
    """Draw the slices, (slices, 256, 256, 3) uint8."""
    image = np.empty((world.slices, CANVAS, CANVAS, 3), np.uint8)
    ground = world.image_source.ground
    for level in range(world.slices):
        # Every slice shows the noise of the stack from another place.
        rolled = np.roll(ground, tuple(rng.integers(0, ground.shape).tolist()), (0, 1))
        tiled = np.tile(rolled, [-(-CANVAS // size) for size in rolled.shape])[:CANVAS, :CANVAS]
        gray = np.clip(18 + 6 * tiled, 0, 255).astype(np.uint8)
        cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB, dst=image[level])

    turns = rng.uniform(0, 2 * np.pi, len(world.z))
    scales = _SCALE * rng.uniform(0.9, 1.1, len(world.z))
    flips = rng.integers(2, size=len(world.z))
    bright = rng.uniform(0.8, 1.0, len(world.z))
    for k, (x, y) in enumerate(world.xy):
        x0, y0 = int(x) - _HALF, int(y) - _HALF
        cos, sin = np.cos(turns[k]) * scales[k], np.sin(turns[k]) * scales[k]
        turn = np.array([[cos, -sin], [sin, cos]]) * (1 - 2 * flips[k], 1)
        shift = (x - x0, y - y0) - turn @ np.full(2, (_TILE - 1) / 2)
        matrix = np.column_stack([turn, shift])

        # The patch may reach over the border of the canvas.
        rows = slice(max(y0, 0), min(y0 + 2 * _HALF, CANVAS))
        columns = slice(max(x0, 0), min(x0 + 2 * _HALF, CANVAS))
        inner = np.s_[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        for off in range(-_REACH, _REACH + 1):
            level = int(world.z[k]) + off
            if not 0 <= level < world.slices:
                continue
            tile = world.image_source.tiles[world.nuclei[k], off + _REACH]
            size = (2 * _HALF, 2 * _HALF)
            spot = cv2.warpAffine(tile, matrix, size, flags=cv2.INTER_LINEAR)[inner]
            spot = np.clip(spot, 0, 1.15) * (200 / 255 * bright[k])
            patch = image[level, rows, columns]
            shades = [spot * shade for shade in world.colors[k].tolist()]
            cv2.add(patch, cv2.merge(shades), dst=patch, dtype=cv2.CV_8U)
    return image
