"""Import time-lapses with tracks: see `lastmile.tasks.importing`.

Images are gray TIFF files; tracks are those of the Cell Tracking Challenge or a table of napari. A
cell that divides, or that is not there in all frames of a world, is seen but not to be followed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lastmile.datasets.cache import DataError
from lastmile.datasets.movies import read_movie, to_8_bits
from lastmile.datasets.tracks import find_tracks, read_tracks
from lastmile.tasks.cell_lineage.real import DIAMETER, FEWEST, FRAMES, Timelapse, spans
from lastmile.tasks.importing import Converted

SMALLEST = 128
"""Least rows and columns of the images, as resized."""


def convert(images: Path, tracks: Path | None, diameter: float | None, out: Path) -> Converted:
    """Write a time-lapse and its tracks as `real.read` reads them. See `lastmile.tasks.importing`.

    Images are resized so that a nucleus has the size of those that the task was made with.
    """
    movie = read_movie(images)
    count, rows, columns = movie.shape
    if count < FEWEST:
        raise DataError(
            f"{images}: expected at least {FEWEST} frames ({FRAMES} of a world, for each split), "
            f"got {count}"
        )
    table, annotations = read_tracks(
        find_tracks(images) if tracks is None else tracks, (count, rows, columns)
    )
    movie, changes = to_8_bits(movie)
    if diameter is not None:
        scale = DIAMETER / diameter
        size = (round(columns * scale), round(rows * scale))
        if min(size) < SMALLEST:
            raise DataError(
                f"{images}: with nuclei of {diameter:g} px the images of {rows} x {columns} px are "
                f"too small: expected at least {round(SMALLEST / scale)} px each way"
            )
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        movie = np.stack([cv2.resize(frame, size, interpolation=way) for frame in movie])
        factors = np.array([size[1] / rows, size[0] / columns])
        points = (table[:, 2:] + 0.5) * factors - 0.5
        table[:, 2:] = np.clip(points, 0, np.array(movie.shape[1:]) - 1)
        changes = f"{changes}; resized to {size[1]} x {size[0]} px"
    elif min(rows, columns) < SMALLEST:
        raise DataError(
            f"{images}: expected images of at least {SMALLEST} px each way, got {rows} x {columns}"
        )

    cv2.imwritemulti(str(out / "2D_timelapse.tif"), list(movie))
    np.save(out / "timelapse_track.npy", table)
    names = len(np.unique(table[:, 0]))
    summary = f"{count} frames of {rows} x {columns} px, {names} tracks, {len(table)} points"
    return Converted(annotations, changes, summary)


def part(data: Timelapse, split: str) -> str:
    """Say which part of the data a split has."""
    begin, stop = spans(len(data.frames))[split]
    return f"frames {begin} to {stop - 1}"


def size(world: Any) -> str:
    """Say how large a world is."""
    return f"{world.founders} cells"
