"""Real worlds of channel alignment: DNA and actin of fly cells, one of them deformed.

The data are two fields of Drosophila cells in two registered fluorescence channels. Channel A
shows DNA, channel B actin. B is deformed by an affine map and an elastic field, drawn as in
synthetic worlds, so the true partner of every point is known. What the data do not say is decided
here:

- A landmark is a single round nucleus, at its center of mass. Any of them is right; the world asks
  for as many pairs as a synthetic one, and the virtual annotator takes well-spread ones.
- Clumps of nuclei and nuclei near the border have no clear center or no sure partner: they take the
  place of the cells that only one channel shows.

Splits share no part of a field: `train` and `validation` divide one, `test` and `people` the other.
Augmentation: crop and scale, flips and quarter turns, contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.datasets.archives import FLY_CELLS, joint_digest
from lastmile.datasets.cache import DataError
from lastmile.datasets.images import read_stack
from lastmile.screen import CANVAS
from lastmile.tasks.channel_alignment.registration import (
    Pairs,
    Point,
    registration_error,
    upsample,
)
from lastmile.tasks.channel_alignment.world import (
    DIFFICULTIES,
    RADIUS,
    ChannelAlignmentWorld,
    deformation,
    interpolate,
    layout,
)

ARCHIVES = (FLY_CELLS,)

FIELDS = {
    "train": ("076", (0.0, 0.65)),
    "validation": ("076", (0.65, 1.0)),
    "test": ("218", (0.0, 0.5)),
    "people": ("218", (0.5, 1.0)),
}
"""Field of each split, and the share of its columns that the split has."""
SCALE = (1.1, 1.4)
"""Smallest and largest magnification, logical px per px of the data."""

_MARGIN = 44  # logical px of the field around channel A, from which the deformed B is filled
_BORDER = 24.0  # landmarks stay this far from the border of the canvas, logical px
_PARTNER_BORDER = 14.0  # and their partners this far, logical px
_STRAYS = 44.0  # landmarks to take are no farther from an even layout, logical px
_LARGEST_SHIFT = 34.0  # between a landmark and its partner, logical px
_FIT_ERROR = 1.0  # largest registration error of perfect pairs, logical px
_JITTER = 1.5  # standard deviation of the points of a steady hand, logical px
_JITTER_ERROR = 2.0  # largest registration error of such pairs, logical px; success needs 3
_APART = 14.0  # landmarks keep this distance from any other nucleus, logical px
_AREA = (60, 700)  # smallest and largest nucleus, px of the data
_SMALLEST = 12  # a brighter part smaller than this is debris, px of the data
_ATTEMPTS = 3000


class Field(NamedTuple):
    """One field in both channels.

    Attributes:
        dna: (rows, columns) uint8.
        actin: (rows, columns) uint8.
        nuclei: (n, 2) centers of single round nuclei, px.
        clumps: (m, 2) centers of all other bright parts, px.
    """

    dna: np.ndarray
    actin: np.ndarray
    nuclei: np.ndarray
    clumps: np.ndarray


class FlyCells(NamedTuple):
    """The data: the part of a field that each split has, and the digest of the data."""

    fields: dict[str, Field]
    digest: str


@dataclass(frozen=True, eq=False)
class RealChannelAlignmentWorld(ChannelAlignmentWorld):
    """A crop of a field.

    Attributes:
        wanted: Number of pairs to place. So many landmarks come first in `a`, in reading order.
        data: Digest of the data it was made from.
        image_dna: (side, side) uint8, the crop of channel A and what is around it, at the
            resolution of the data.
        image_actin: (side, side) uint8, the same of channel B before it is deformed.
        image_gamma: Exponents of the contrast of both.
    """

    wanted: int
    data: str
    image_dna: np.ndarray
    image_actin: np.ndarray
    image_gamma: tuple[float, float]

    @property
    def needed(self) -> int:
        """Number of pairs to place; there are more landmarks."""
        return self.wanted

    @cached_property
    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        side = CANVAS + 2 * _MARGIN
        channels = []
        for crop, gamma in zip((self.image_dna, self.image_actin), self.image_gamma):
            large = cv2.resize(
                np.ascontiguousarray(crop), (side, side), interpolation=cv2.INTER_CUBIC
            ).astype(np.float32)
            low, high = np.percentile(large, (2, 99.7))
            channels.append(np.clip((large - low) / max(high - low, 1), 0, 1) ** gamma * 235 + 12)
        inner = slice(_MARGIN, -_MARGIN)
        sources = upsample(self.image_back) + np.float32(_MARGIN)
        warped = cv2.remap(channels[1], sources[..., 0], sources[..., 1], cv2.INTER_LINEAR)
        return (
            _tint(channels[0][inner, inner], (1.0, 0.35, 1.0)),
            _tint(warped, (0.35, 1.0, 0.35)),
        )

    def next_landmark(self, points: tuple[Point, ...]) -> int | None:
        """Return the first of the wanted landmarks without a point in A, or None."""
        found = super().next_landmark(points)
        return found if found is not None and found < self.wanted else None


def _tint(gray: np.ndarray, tint: tuple[float, float, float]) -> np.ndarray:
    image = (gray[..., None] * np.array(tint, np.float32)).astype(np.uint8)
    image.flags.writeable = False
    return image


def read(folder: Path) -> FlyCells:
    """Read the fields that are there, and find their nuclei.

    Raises:
        DataError: A file is missing, damaged or of another kind, or the channels differ in size.
    """
    fields = {}
    for split, (name, (begin, stop)) in FIELDS.items():
        paths = [folder / f"01_POS{name}_{channel}.TIF" for channel in "DF"]
        dna, actin = (read_stack(path, "uint8", (1, 250, 250))[0] for path in paths)
        if dna.shape != actin.shape:
            raise DataError(f"{paths[1]}: expected the size of {paths[0].name}, {dna.shape}")
        part = slice(int(begin * dna.shape[1]), int(stop * dna.shape[1]))
        fields[split] = Field(dna[:, part], actin[:, part], *_nuclei(dna[:, part]))
    return FlyCells(fields, joint_digest(ARCHIVES))


def _nuclei(dna: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of single round nuclei, (n, 2), and of other bright parts, (m, 2)."""
    smooth = cv2.GaussianBlur(dna, (0, 0), 1.5)
    ground = cv2.GaussianBlur(dna, (0, 0), 25)
    least, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    mask = ((smooth > 0.6 * least) & (smooth > ground)).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    nuclei: list[tuple[float, float]] = []
    clumps: list[tuple[float, float]] = []
    for outline in outlines:
        moments = cv2.moments(outline)
        area = moments["m00"]
        if area < _SMALLEST:
            continue
        center = (moments["m10"] / area + 0.5, moments["m01"] / area + 0.5)
        # 1 for a convex shape, and the share of the area of the smallest circle around it.
        solidity = area / max(cv2.contourArea(cv2.convexHull(outline)), 1.0)
        roundness = area / (np.pi * cv2.minEnclosingCircle(outline)[1] ** 2)
        single = _AREA[0] <= area <= _AREA[1] and solidity > 0.9 and roundness > 0.6
        (nuclei if single else clumps).append(center)
    # A click must belong to one nucleus only.
    points = np.array([*nuclei, *clumps], np.float64).reshape(-1, 2)
    far = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(far, np.inf)
    sure = (far.min(1, initial=np.inf) > _APART / SCALE[0]) & (np.arange(len(points)) < len(nuclei))
    return points[sure], points[~sure]


def make_world(
    data: FlyCells, rng: np.random.Generator, split: str, difficulty: str
) -> RealChannelAlignmentWorld:
    """Make a world of a crop of a field. See `lastmile.tasks.real`.

    Raises:
        DataError: No crop of the split's field holds enough nuclei.
    """
    settings = DIFFICULTIES[difficulty]
    rows = settings.rows[int(rng.integers(len(settings.rows)))]
    wanted = sum(rows)
    field = data.fields[split]
    for _ in range(_ATTEMPTS):
        side = int(round((CANVAS + 2 * _MARGIN) / rng.uniform(*SCALE)))
        if side > min(field.dna.shape):
            continue
        top, left = (int(rng.integers(size - side + 1)) for size in field.dna.shape)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        nuclei, clumps = (
            _on_canvas(points, top, left, side, turns, flip)
            for points in (field.nuclei, field.clumps)
        )
        a = nuclei[_inside(nuclei, _BORDER)]
        others = np.concatenate([nuclei[~_inside(nuclei, _BORDER)], clumps])
        places = layout(rng, rows)
        if len(a) < wanted or not len(others):
            continue
        a = a[_spread(a, places)]
        if np.hypot(*(a[:wanted] - places).T).max() > _STRAYS:
            continue
        maps = _deformation_for(rng, a[:wanted], settings.elastic)
        if maps is not None:
            break
    else:
        raise DataError(f"no crop of the fly cells holds {wanted} nuclei in split '{split}'")

    back, forth = maps
    b = interpolate(forth, a)
    # Nuclei whose partners are too close to the border of B cannot be paired for sure.
    paired = _inside(b, _PARTNER_BORDER)
    others = np.concatenate([others, a[~paired]])
    a, b = a[paired], b[paired]
    crops = []
    for channel in (field.dna, field.actin):
        crop = channel[top : top + side, left : left + side]
        crops.append(np.rot90(crop[:, ::-1] if flip else crop, turns))
    return RealChannelAlignmentWorld(
        a=a,
        b=b,
        decoys_a=others,
        decoys_b=interpolate(forth, others),
        field=forth,
        image_back=back,
        image_rng=rng,
        wanted=wanted,
        data=data.digest,
        image_dna=crops[0],
        image_actin=crops[1],
        image_gamma=(float(rng.uniform(0.7, 1.0)), float(rng.uniform(0.6, 0.9))),
    )


def _deformation_for(
    rng: np.random.Generator, landmarks: np.ndarray, elastic: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw a deformation that suits landmarks, (n, 2).

    Returns:
        The maps from B to A and from A to B; None if none was found in a few attempts.
    """
    for _ in range(40):
        back, forth = deformation(rng, elastic)
        elastic *= 0.97  # weaker deformations are accepted more easily
        partners = interpolate(forth, landmarks)
        shifts = np.hypot(*(partners - landmarks).T)
        pairs = np.concatenate([landmarks, partners], 1)
        placed = pairs + rng.normal(0, _JITTER, pairs.shape)
        if (
            _inside(partners, _PARTNER_BORDER).all()
            and RADIUS < shifts.min()
            and shifts.max() < _LARGEST_SHIFT
            and registration_error(forth, _as_pairs(pairs)) < _FIT_ERROR
            and registration_error(forth, _as_pairs(placed)) < _JITTER_ERROR
        ):
            return back, forth
    return None


def _as_pairs(values: np.ndarray) -> Pairs:
    return tuple((u, v, x, y) for u, v, x, y in values.tolist())


def _on_canvas(
    points: np.ndarray, top: int, left: int, side: int, turns: int, flip: bool
) -> np.ndarray:
    """Return points of the field, (n, 2) px, on the canvas."""
    xy = (points - (left, top)) * ((CANVAS + 2 * _MARGIN) / side)
    whole = CANVAS + 2 * _MARGIN
    if flip:
        xy = np.stack([whole - xy[:, 0], xy[:, 1]], 1)
    for _ in range(turns):  # a quarter turn against the clock, as np.rot90
        xy = np.stack([xy[:, 1], whole - xy[:, 0]], 1)
    xy = xy - _MARGIN
    return xy[_inside(xy, 0.0)]


def _inside(points: np.ndarray, border: float) -> np.ndarray:
    inside = (points > border) & (points < CANVAS - border)
    return inside[:, 0] & inside[:, 1]


def _spread(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return an order of points, (n,), that begins with the ones nearest to some places."""
    far = np.hypot(*(points[:, None] - places[None]).transpose(2, 0, 1))  # (n, places)
    chosen: list[int] = []
    for column in far.T:
        column[chosen] = np.inf
        chosen.append(int(column.argmin()))
    rest = np.setdiff1d(np.arange(len(points)), chosen)
    return np.concatenate([chosen, rest])
