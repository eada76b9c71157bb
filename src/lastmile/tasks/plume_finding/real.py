"""Real worlds of plume finding: a simulated methane plume over a scene that AVIRIS recorded.

The ground is real: radiances of the Indian Pine test site in Indiana (fields and woods, June 1992),
145 x 145 px of 20 m in 200 channels of 10 nm from 0.4 to 2.5 um. The gas is not: there is no plume
in the scene. What the data do not say is decided here:

- The plume has an outline drawn as in synthetic worlds. Its methane absorbs by a radiance table
  (`ch4.lut` of mag1c), line by line by the law of Beer and Lambert, and each channel sees the lines
  under its own response. The column is 40,000 to 70,000 ppm m, a strong release, so that it can be
  seen in a single band.
- The table begins at 1.4 um; below that methane is taken to be transparent. Its strongest bands,
  at 2.2 to 2.4 um, are what there is to find; those at 1.7 um take about a tenth of the light.
- A band of a world is the mean of four or five neighboring channels, 40 to 50 nm. The gas shows in
  three to five of them. The best band is the one with the strongest absorption over the scene.
- There is no cloud in the scene. Two cloud shadows are laid over it as in synthetic worlds.
- Stripes and noise are those of the sensor; none are added.

Since the gas absorbs where it absorbs, the best band is always the third or fourth from one end.
Surfaces have absorptions of their own near it, so the ratio shows traces of fields and woods.

Splits share no part of the scene: each has one quarter of it. Augmentation: crop and scale, flips
and quarter turns, the bands' width and first channel, their order, and contrast.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.datasets.archives import INDIAN_PINES, METHANE, joint_digest
from lastmile.datasets.cache import DataError
from lastmile.datasets.images import load_array
from lastmile.screen import CANVAS
from lastmile.tasks.plume_finding import world as synthetic
from lastmile.tasks.plume_finding.ground import SIDE, smooth
from lastmile.tasks.plume_finding.world import Images, PlumeFindingWorld

ARCHIVES = (INDIAN_PINES, METHANE)

QUARTERS = {"train": (0, 0), "test": (0, 1), "validation": (1, 0), "people": (1, 1)}
"""Row and column of the quarter of the scene that each split has."""
SHARE = (0.65, 1.0)
"""Smallest and largest side of a crop, as a share of the quarter's side."""
COLUMN = (40_000.0, 70_000.0)
"""Smallest and largest column of methane in the thick of a plume, ppm m."""

_SEGMENTS = (
    (400.02, 1352.68, 103),
    (1422.34, 1819.08, 41),
    (1953.26, 2498.96, 56),
)  # first and last wavelength, nm, and number of channels; in between water vapor absorbs all
_BEGINS = (0, 103, 144)  # first channel of each
_CHANNELS = sum(count for _, _, count in _SEGMENTS)
_WAVELENGTHS = np.concatenate([np.linspace(*segment) for segment in _SEGMENTS])
_RESPONSE = 10 / 2.355  # standard deviation of a channel's response, nm
_DARK = 1000  # the data are 500 times the radiance in W / (m2 sr um), plus this
_TABLE_COLUMN = 16_000.0  # of the last of the radiances in the table, ppm m
_COLUMNS = np.linspace(0, 2 * COLUMN[1], 57)  # at which transmissions are tabulated, ppm m
_CLEAR = 0.999  # channels whose transmission stays above this are left as they are
_SMALLEST = 16  # side of the smallest scene, px


class Scene(NamedTuple):
    """The data.

    Attributes:
        radiance: (rows, columns, 200) uint16, 500 times the radiance in W / (m2 sr um).
        transmission: (200, columns of methane) float64, share of light that methane lets through in
            each channel.
        digest: Digest of the data.
    """

    radiance: np.ndarray
    transmission: np.ndarray
    digest: str


@dataclass(frozen=True, eq=False)
class RealPlumeFindingWorld(PlumeFindingWorld):
    """A crop of the scene with a simulated plume.

    Attributes:
        channels: (bands, width) the channels of the data of which each band is the mean.
        data: Digest of the data it was made from.
        image_crop: (side, side, 200) uint16, the crop at the resolution of the data.
        image_column: Column of methane in the thick of the plume, ppm m.
        image_transmission: As in `Scene`.
        image_gamma: Exponent of the contrast.
    """

    channels: np.ndarray
    data: str
    image_crop: np.ndarray
    image_column: float
    image_transmission: np.ndarray
    image_gamma: float

    @cached_property
    def images(self) -> Images:
        """What can be seen; made on first use."""
        cube = _cube(self, copy.deepcopy(self.image_rng))
        grain = np.zeros((CANVAS, CANVAS), np.int8)  # the data have their own
        return Images(_shown(cube, self.image_gamma), synthetic._ratios(cube), grain)


def read(scene: Path, table: Path) -> Scene:
    """Read the scene from one folder and the radiance table of methane from another.

    Raises:
        DataError: A file is missing, damaged or of another kind.
    """
    path = scene / "Indian_pines_corrected.npy"
    cube = load_array(path, f"a cube of {_CHANNELS} channels")
    if (
        cube.dtype != np.uint16
        or cube.ndim != 3
        or cube.shape[2] != _CHANNELS
        or min(cube.shape[:2]) < _SMALLEST
    ):
        raise DataError(
            f"{path}: expected uint16 of at least {_SMALLEST} x {_SMALLEST} x {_CHANNELS}"
        )
    wavelengths, radiances = _read_table(table / "ch4.hdr", table / "ch4.lut")
    digest = joint_digest(ARCHIVES)
    return Scene(cube, _transmission(wavelengths, radiances), digest)


def _read_table(header: Path, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the wavelengths, (n,) nm, and the radiances at the columns of the table, (n, 7)."""
    try:
        text = header.read_text("ascii")
        values = np.fromfile(path, "<f8")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; expected a table of radiances") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{header}: cannot be read ({error})") from None
    listed = re.search(r"wavelength = \{([^}]*)\}", text)
    try:
        wavelengths = np.array([float(word) for word in listed[1].split(",")] if listed else [])
    except ValueError:
        wavelengths = np.array([])
    if not len(wavelengths) or not (np.diff(wavelengths) > 0).all():
        raise DataError(f"{header}: expected a list 'wavelength = {{...}}' of rising numbers")
    if len(values) != 7 * len(wavelengths) or not (np.isfinite(values) & (values > 0)).all():
        raise DataError(f"{path}: expected 7 positive numbers for each of its wavelengths")
    return wavelengths, values.reshape(-1, 7)


def _transmission(wavelengths: np.ndarray, radiances: np.ndarray) -> np.ndarray:
    """Return the share of light that methane lets through, (200, columns of methane)."""
    per_column = np.log(radiances[:, 0] / radiances[:, -1]) / _TABLE_COLUMN  # of each line
    light = radiances[:, :1] * np.exp(-per_column[:, None] * _COLUMNS)  # (n, columns)
    through = np.ones((_CHANNELS, len(_COLUMNS)))
    for k in np.flatnonzero(_WAVELENGTHS > wavelengths[0]).tolist():
        first, last = np.searchsorted(
            wavelengths, _WAVELENGTHS[k] + np.array([-4, 4]) * _RESPONSE
        ).tolist()
        away = (wavelengths[first:last] - _WAVELENGTHS[k]) / _RESPONSE
        seen = np.exp(-0.5 * away**2) @ light[first:last]
        through[k] = seen / seen[0]
    return through


def make_world(
    data: Scene, rng: np.random.Generator, split: str, difficulty: str
) -> RealPlumeFindingWorld:
    """Make a world of a crop of the split's quarter. See `lastmile.tasks.real`."""
    plume = synthetic.make_world(rng, synthetic.DIFFICULTIES[difficulty])
    row, column = QUARTERS[split]
    half = min(data.radiance.shape[:2]) // 2
    side = int(round(half * rng.uniform(*SHARE)))
    top, left = (half * k + int(rng.integers(half - side + 1)) for k in (row, column))
    crop = data.radiance[top : top + side, left : left + side]
    crop = np.rot90(crop[:, ::-1] if rng.random() < 0.5 else crop, int(rng.integers(4)))

    channels = _channels(rng, plume.bands)
    strength = float(rng.uniform(*COLUMN))
    light = np.maximum(crop.mean((0, 1)) - _DARK, 1.0)  # (200,)
    seen = light * [np.interp(strength, _COLUMNS, through) for through in data.transmission]
    best = int((seen[channels].sum(1) / light[channels].sum(1)).argmin())

    values = {item.name: getattr(plume, item.name) for item in fields(plume)}
    return RealPlumeFindingWorld(
        **{**values, "best": best},
        channels=channels,
        data=data.digest,
        image_crop=crop,
        image_column=strength,
        image_transmission=data.transmission,
        image_gamma=float(rng.uniform(0.6, 0.8)),
    )


def _channels(rng: np.random.Generator, bands: int) -> np.ndarray:
    """Choose the channels of each band, (bands, width): from the longest waves down, or reversed.

    No band reaches over a part of the spectrum that the data leave out.
    """
    width = int(rng.integers(4, 6))
    end = _CHANNELS - int(rng.integers(2, 6))  # the last channels see hardly any light
    groups: list[np.ndarray] = []
    for begin in reversed(_BEGINS):
        groups += [np.arange(last - width, last) for last in range(end, begin + width - 1, -width)]
        end = begin
    channels = np.stack(groups[:bands])
    return channels if rng.random() < 0.5 else channels[::-1]


def _cube(world: RealPlumeFindingWorld, rng: np.random.Generator) -> np.ndarray:
    """Return the radiance, (bands, 128, 128) float32, in units of the data.

    It is the radiance of the scene, darkened by the shadows and by the methane of each half px.
    """
    light = np.ones((SIDE, SIDE), np.float32)
    for shadow in world.shadows:
        shade = np.zeros((SIDE, SIDE), np.float32)
        # 8 = 16 sub-pixels per half px
        cv2.fillPoly(shade, [np.round(shadow * 8).astype(np.int32)], 1.0, shift=4)
        light *= 1 - np.float32(rng.uniform(0.3, 0.4)) * cv2.GaussianBlur(shade, (0, 0), 2.2)

    mask = cv2.resize(world.mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    density = cv2.GaussianBlur(mask, (0, 0), 2.4)
    density *= np.clip(1 + 0.13 * smooth(rng, 5), 0.65, 1.25)
    column = density * np.float32(world.image_column)  # ppm m

    crop = world.image_crop.astype(np.float32) - _DARK
    cube = np.zeros((world.bands, SIDE, SIDE), np.float32)
    for band, channels in enumerate(world.channels.tolist()):
        for k in channels:
            seen = cv2.resize(crop[..., k], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            through = world.image_transmission[k]
            if through.min() < _CLEAR:
                seen *= np.interp(column, _COLUMNS, through).astype(np.float32)
            cube[band] += seen
    # Where hardly any light comes back, noise can be larger than it.
    return np.maximum(cube * light / world.channels.shape[1], 1.0)


def _shown(cube: np.ndarray, gamma: float) -> np.ndarray:
    """Return each band as gray, stretched between its darkest and brightest parts.

    Args:
        cube: (bands, 128, 128) radiance.
        gamma: Exponent of the contrast.

    Returns:
        (bands, 128, 128) uint8.
    """
    low, high = np.percentile(cube[:, ::2, ::2], (0.5, 99.5), axis=(1, 2))[..., None, None]
    share = np.clip((cube - low) / np.maximum(high - low, 1e-6), 0, 1)
    return (20 + 215 * share**gamma).astype(np.uint8)
