"""Read tracks of one's own: a table as napari has it, or the files of the Cell Tracking Challenge.

Both give a table of points, (points, 4) float64: track, frame, row, column. The middle of the first
pixel is at row 0 and column 0.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np

from lastmile.datasets.cache import DataError
from lastmile.datasets.images import read_gray
from lastmile.datasets.movies import numbered, refuse

MASK = re.compile(r"man_track(\d{3,})\.tiff?", re.IGNORECASE)
"""Name of the label image of a frame."""
LIST = "man_track.txt"
"""Name of the list of tracks."""
NAMES = (("track_id", "id"), ("t", "frame"), ("y",), ("x",))
"""Columns of a table, each with the names that it may have."""


def find_tracks(images: Path) -> Path:
    """Return where the tracks of a folder of images are.

    Raises:
        DataError: There are none in the usual places.
    """
    places = (images / LIST, images.with_name(f"{images.name}_GT") / "TRA" / LIST)
    for path in places:
        if path.is_file():
            return path.parent
    table = images / "tracks.csv"
    if table.is_file():
        return table
    raise DataError(
        f"{images}: no tracks; expected {places[0].name} with label images here or in "
        f"{places[1].parent}, or {table.name}; or name them with --tracks"
    )


def read_tracks(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """Read tracks, and return the table and the name of their format.

    Args:
        path: A CSV file, or the folder of the files of the Cell Tracking Challenge.
        shape: Number of frames, rows and columns of the movie.

    Raises:
        DataError: A line for each thing that is missing or wrong.
    """
    if path.is_dir():
        return _read_challenge(path, shape), "Cell Tracking Challenge"
    return _read_csv(path, shape), "napari tracks"


def _read_csv(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: not readable as a CSV file ({reason})") from None
    header = [name.strip().lower() for name in lines[0]] if lines else []
    columns = [next((n for n in names if n in header), None) for names in NAMES]
    missing = [names[0] for names, column in zip(NAMES, columns) if column is None]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; expected a line with the names track_id, t, "
            "y, x, and then a line for each point"
        )
    positions = [header.index(column) for column in columns if column is not None]

    problems: list[str] = []
    points: list[tuple[float, ...]] = []
    seen: dict[tuple[float, float], int] = {}
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            track, t, y, x = (float(cells[position]) for position in positions)
        except (ValueError, IndexError):
            problems.append(f"{path}, line {number}: expected four numbers, got {','.join(cells)}")
            continue
        problem = _problem(track, t, y, x, shape)
        if not problem and (first := seen.setdefault((track, t), number)) != number:
            problem = f"track {track:g} has a point in frame {t:g} already, in line {first}"
        if problem:
            problems.append(f"{path}, line {number}: {problem}")
        points.append((track, t, y, x))
    refuse(problems)
    if not points:
        raise DataError(f"{path}: no tracks; expected a line for each point below the names")
    return np.array(points)


def _problem(track: float, t: float, y: float, x: float, shape: tuple[int, int, int]) -> str:
    """Return what is wrong with a point, or nothing."""
    frames, rows, columns = shape
    if not all(map(math.isfinite, (track, t, y, x))):
        return "expected finite numbers"
    if track != int(track) or t != int(t):
        return f"expected whole numbers for track_id and t, got {track:g} and {t:g}"
    if not 0 <= t < frames:
        return f"expected a frame from 0 to {frames - 1}, got {t:g}"
    if not (0 <= y < rows and 0 <= x < columns):
        return f"the point (y {y:g}, x {x:g}) is outside the images of {rows} x {columns} px"
    return ""


def _read_challenge(folder: Path, shape: tuple[int, int, int]) -> np.ndarray:
    lifetimes = _read_list(folder / LIST, shape[0])
    masks = numbered(folder, MASK)
    problems: list[str] = []
    points: list[np.ndarray] = []
    for t in range(shape[0]):
        path = masks.get(t)
        if path is None:
            problems.append(f"{folder / f'man_track{t:03d}.tif'}: no such file; expected labels")
            continue
        try:
            labels = read_gray(path)
        except DataError as error:
            problems.append(str(error))
            continue
        if labels.shape != (1, *shape[1:]) or labels.dtype.kind != "u":
            size = " x ".join(map(str, labels.shape[1:]))
            problems.append(
                f"{path}: expected one page of {shape[1]} x {shape[2]} px with labels, got "
                f"{len(labels)} of {size} px of type {labels.dtype}"
            )
            continue
        names, centers = _centers(labels[0])
        wanted = {name for name, (begin, end) in lifetimes.items() if begin <= t <= end}
        for name in sorted(wanted - set(names)):
            problems.append(f"{path}: no pixel of track {name}, which {LIST} lists for frame {t}")
        for name in sorted(set(names) - wanted):
            problems.append(f"{path}: pixels of track {name}, which {LIST} lacks in frame {t}")
        points.append(np.column_stack([names, np.full(len(names), t), centers]))
    refuse(problems)
    return np.concatenate(points).astype(np.float64)


def _read_list(path: Path, frames: int) -> dict[int, tuple[int, int]]:
    """Return the first and last frame of each track."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: not readable as a list of tracks ({reason})") from None
    problems: list[str] = []
    lifetimes: dict[int, tuple[int, int]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label, begin, end, _ = map(int, line.split())
        except ValueError:
            problems.append(
                f"{path}, line {number}: expected four whole numbers (label, begin, end, parent), "
                f"got {line.strip()}"
            )
            continue
        if label < 1 or label in lifetimes:
            what = "is there twice" if label in lifetimes else "is no label; expected 1 or more"
            problems.append(f"{path}, line {number}: {label} {what}")
        elif not 0 <= begin <= end < frames:
            problems.append(
                f"{path}, line {number}: track {label} has frames {begin} to {end}; "
                f"the images have 0 to {frames - 1}"
            )
        lifetimes[label] = begin, end
    refuse(problems)
    if not lifetimes:
        raise DataError(f"{path}: no tracks; expected a line label, begin, end, parent for each")
    return lifetimes


def _centers(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of an image, (n,), and the row and column of their centers, (n, 2)."""
    rows, columns = np.nonzero(labels)
    names, index, sizes = np.unique(labels[rows, columns], return_inverse=True, return_counts=True)
    sums = [np.bincount(index, weights, len(names)) for weights in (rows, columns)]
    return names.astype(np.int64), np.stack(sums, 1) / sizes[:, None]
