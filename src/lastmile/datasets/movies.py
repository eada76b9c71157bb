"""Read movies of one's own: gray TIFF images, a file per frame or all frames in one file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lastmile.datasets.cache import DataError
from lastmile.datasets.images import read_gray

FRAME = re.compile(r"t(\d{3,})\.tiff?", re.IGNORECASE)
"""Name of the file of a frame, as in the Cell Tracking Challenge: t000.tif."""
SHOWN = 20
"""Problems that a message lists."""


def refuse(problems: list[str]) -> None:
    """Raise an error that has a line for each problem, if there are some.

    Raises:
        DataError: There are problems.
    """
    if len(problems) > SHOWN:
        problems = [*problems[:SHOWN], f"... and {len(problems) - SHOWN} more"]
    if problems:
        raise DataError("\n".join(problems))


def numbered(folder: Path, name: re.Pattern[str]) -> dict[int, Path]:
    """Return the files of a folder whose names match, by their number, in order."""
    found = {
        int(match[1]): path for path in folder.iterdir() if (match := name.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def read_movie(folder: Path) -> np.ndarray:
    """Read the frames of a folder.

    Args:
        folder: It has `t000.tif`, `t001.tif` and so on, a frame in each; or a single TIFF file with
            a frame on each page.

    Returns:
        (frames, rows, columns), uint8 or uint16.

    Raises:
        DataError: There are no frames, one is missing, or they are of other size, color or depth;
            a line for each file.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected images t000.tif, t001.tif, ...")
    frames = numbered(folder, FRAME)
    if not frames:
        others = [
            path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".tif", ".tiff")
        ]
        if len(others) != 1:
            raise DataError(
                f"{folder}: expected images t000.tif, t001.tif, ... or a single TIFF file with all "
                f"frames, got {len(others)} TIFF files of other names"
            )
        movie = read_gray(others[0])
        _check_type(others[0], movie)
        return movie

    problems = [
        f"{folder / f't{number:03d}.tif'}: no such file; expected frames from 0 to {max(frames)}"
        for number in range(len(frames))
        if number not in frames
    ]
    images: list[np.ndarray] = []
    for path in frames.values():
        try:
            image = read_gray(path)
            _check_type(path, image)
        except DataError as error:
            problems.append(str(error))
            continue
        first = images[0] if images else image[0]
        if len(image) != 1:
            problems.append(f"{path}: expected one page, got {len(image)}")
        elif image[0].shape != first.shape or image.dtype != first.dtype:
            problems.append(
                f"{path}: expected {_kind(first)} as in the first frame, got {_kind(image[0])}"
            )
        else:
            images.append(image[0])
    refuse(problems)
    return np.stack(images)


def _kind(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]} px of type {image.dtype}"


def _check_type(path: Path, image: np.ndarray) -> None:
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: expected pixels of type uint8 or uint16, got {image.dtype}")


def to_8_bits(movie: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a movie in 8 bits, and what was done to it, in words.

    16 bits are scaled so that 0.1 % of all pixels are black and 0.1 % are white.
    """
    if movie.dtype == np.uint8:
        return movie, "8 bits, as they were"
    low, high = np.percentile(movie[:: max(len(movie) // 30, 1)], (0.1, 99.9))
    scale = 255 / max(high - low, 1)
    scaled = np.stack([np.clip((frame - low) * scale, 0, 255).round() for frame in movie])
    return scaled.astype(np.uint8), f"{low:.0f} to {high:.0f} of 16 bits became 0 to 255"
