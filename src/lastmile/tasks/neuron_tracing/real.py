"""Real worlds of neuron tracing: the shapes of real neurites, under drawn membranes.

The shapes are real: a dense segmentation of brain tissue from serial electron micrographs,
512 x 512 px in 512 slices, a test volume that comes with zmesh (and with compresso, under the MIT
licence). Neither says which tissue it is, nor the size of a voxel. There is no micrograph with it,
so the gray images are drawn as in synthetic worlds: membranes where the label changes, cytoplasm,
mitochondria and vesicles, uneven staining and noise. What the data do not say is decided here:

- A pixel of the data is about one half px of the canvas, a slice of the data is a slice.
- Unlabelled voxels, under 1 %, are drawn as membrane.
- The segmentation is taken for the truth. It was made by a machine, and may hold errors.
- The target is chosen as in synthetic worlds: a cell that is in one piece in every slice of the
  stack, large enough to be clicked, and inside the field. So branches and thin axons are missing.
- The grain of the cytoplasm is drawn anew for each slice.

Splits share no neurite to be traced and no part of the tissue: each has a quarter of the field, and
a neurite belongs to the quarter that has most of it. Of the slices the last 256 are used, since a
cell body fills much of the others. Few neurites suit a stack of many slices, so worlds of a split
often trace the same one, in other slices. Augmentation: crop and scale, flips and quarter turns,
and the order of the slices.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.datasets.archives import NEURITES, joint_digest
from lastmile.datasets.cache import DataError
from lastmile.tasks.neuron_tracing import world as synthetic
from lastmile.tasks.neuron_tracing.tissue import PAD, SIDE, Tissue
from lastmile.tasks.neuron_tracing.world import NeuronTracingWorld

ARCHIVES = (NEURITES,)

QUARTERS = {"train": (1, 0), "test": (1, 1), "validation": (0, 1), "people": (0, 0)}
"""Row and column of the quarter of the field that each split has."""
CROP = (104, 144)
"""Smallest and largest side of a crop, px of the data."""
SLICES = 256
"""Slices of the data that are used, the last ones."""

_ATTEMPTS = 400
_OUTSIDE = -99.0  # the middle of a cell that is not in a slice, half px
_MOST = 254  # cells in a stack that an image can tell apart


class Neurites(NamedTuple):
    """The data.

    Attributes:
        labels: (slices, rows, columns) uint16, the cell at each voxel; 0 without.
        quarter: (cells,) the quarter of the field that has most of a cell, row by row.
        digest: Digest of the data.
    """

    labels: np.ndarray
    quarter: np.ndarray
    digest: str


@dataclass(frozen=True, eq=False)
class RealNeuronTracingWorld(NeuronTracingWorld):
    """A crop of the segmentation.

    Attributes:
        neurite: The target, as a label of `Neurites`.
        data: Digest of the data it was made from.
    """

    neurite: int
    data: str


def read(folder: Path) -> Neurites:
    """Read the segmentation.

    Raises:
        DataError: The file is missing, damaged or of another kind.
    """
    labels = _read_labels(folder / "connectomics.npy.gz")
    half_rows, half_columns = (size // 2 for size in labels.shape[1:])
    count = int(labels.max()) + 1
    voxels = np.stack(
        [
            np.bincount(quarter[::4, ::2, ::2].ravel(), minlength=count)
            for rows in (labels[:, :half_rows], labels[:, half_rows:])
            for quarter in (rows[:, :, :half_columns], rows[:, :, half_columns:])
        ]
    )  # (4, cells)
    return Neurites(labels, voxels.argmax(0), joint_digest(ARCHIVES))


def _read_labels(path: Path) -> np.ndarray:
    """Return the segmentation, (slices, rows, columns) uint16, with labels from 0 on."""
    runs: list[tuple[np.ndarray, np.ndarray]] = []  # labels and lengths, by slice
    try:
        with gzip.open(path, "rb") as handle:
            if np.lib.format.read_magic(handle) != (1, 0):
                raise ValueError("another version")
            shape, columns_first, dtype = np.lib.format.read_array_header_1_0(handle)
            if (
                len(shape) != 3
                or dtype != np.dtype("<u4")
                or not columns_first
                or min(shape[:2]) < 2 * CROP[0]
            ):
                raise DataError(
                    f"{path}: expected uint32 of at least {2 * CROP[0]} x {2 * CROP[0]} px "
                    f"in Fortran order, got {dtype} of {shape}"
                )
            columns, rows, slices = shape[0], shape[1], min(shape[2], SLICES)
            for z in range(shape[2]):
                flat = np.frombuffer(handle.read(4 * rows * columns), "<u4")
                if len(flat) != rows * columns:
                    raise EOFError("it ends too early")
                if z < shape[2] - slices:
                    continue
                begins = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
                runs.append((flat[begins], np.diff(begins, append=len(flat))))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected a segmentation") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: not readable as a compressed array ({error})") from None

    names = np.unique(np.concatenate([np.zeros(1, "<u4"), *(names for names, _ in runs)]))
    if len(names) > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: expected at most 65,535 cells, got {len(names)}")
    labels = np.empty((slices, rows, columns), np.uint16)
    for plane, (run, lengths) in zip(labels, runs):
        plane[:] = np.repeat(np.searchsorted(names, run).astype(np.uint16), lengths).reshape(
            rows, columns
        )
    return labels


def make_world(
    data: Neurites, rng: np.random.Generator, split: str, difficulty: str
) -> RealNeuronTracingWorld:
    """Make a world of a crop of the split's quarter. See `lastmile.tasks.real`.

    Raises:
        DataError: There are too few slices, or no crop holds a cell that can be traced.
    """
    fewest, most = synthetic.DIFFICULTIES[difficulty].slices
    depth, rows, columns = data.labels.shape
    if depth < fewest:
        raise DataError(f"the segmentation has {depth} slices, expected at least {fewest}")
    slices = int(rng.integers(fewest, min(most, depth) + 1))
    row, column = QUARTERS[split]
    for _ in range(_ATTEMPTS):
        side = int(rng.integers(CROP[0], min(CROP[1], rows // 2, columns // 2) + 1))
        first = int(rng.integers(depth - slices + 1))
        top = row * (rows // 2) + int(rng.integers(rows // 2 - side + 1))
        left = column * (columns // 2) + int(rng.integers(columns // 2 - side + 1))
        crop = data.labels[first : first + slices, top : top + side, left : left + side]
        crop = crop[:, :, ::-1] if rng.random() < 0.5 else crop
        crop = crop[::-1] if rng.random() < 0.5 else crop
        crop = np.rot90(crop, int(rng.integers(4)), (1, 2))

        names, inverse = np.unique(crop, return_inverse=True)
        if len(names) > _MOST:
            continue
        if names[0]:  # 0 is what has no label
            names, inverse = np.concatenate([[0], names]), inverse + 1
        small = inverse.reshape(crop.shape).astype(np.uint8)
        labels = np.stack(
            [cv2.resize(s, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST_EXACT) for s in small]
        )
        own = (data.quarter[names] == 2 * row + column) & (names > 0)
        middles = _middles(labels, len(names))
        inside = _depth(labels)
        choice = np.where(own[:, None], middles, _OUTSIDE)
        traceable = synthetic._target(rng, labels, inside, choice)
        if traceable is None:
            continue

        target, center = traceable
        x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
        still = np.stack([x, y], -1).astype(np.float32) + PAD
        tissue = Tissue(
            depth=inside,
            seeds=np.repeat(middles[:, :, None] + PAD, 7, 2),
            maps=np.broadcast_to(still, (slices, *still.shape)),
            drift=rng.uniform(-SIDE / 2, SIDE / 2, (slices, 2)),
        )
        return RealNeuronTracingWorld(
            slices=slices,
            target=target,
            center=center,
            labels=labels,
            image_tissue=tissue,
            image_rng=rng,
            neurite=int(names[target]),
            data=data.digest,
        )
    raise DataError(f"no crop of the segmentation holds a cell to trace in split '{split}'")


def _depth(labels: np.ndarray) -> np.ndarray:
    """Return the distance to the nearest membrane, (slices, 128, 128) float32, half px."""
    edges = labels == 0
    edges[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return np.stack(
        [cv2.distanceTransform(plane, cv2.DIST_L2, 3) for plane in (~edges).view(np.uint8)]
    )


def _middles(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the center of mass of each cell in each slice, (slices, cells, 2), half px."""
    slices = len(labels)
    z, y, x = np.ogrid[: labels.shape[0], : labels.shape[1], : labels.shape[2]]
    index = (labels + z * count).ravel()
    size = np.bincount(index, minlength=slices * count)
    sums = [
        np.bincount(index, np.broadcast_to(axis, labels.shape).ravel(), slices * count)
        for axis in (x, y)
    ]
    middles = np.stack(sums, 1) / np.maximum(size, 1)[:, None]
    middles[size == 0] = _OUTSIDE
    return middles.reshape(slices, count, 2)
