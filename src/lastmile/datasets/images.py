"""Read images and arrays of real data, and refuse what is not of the expected kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from lastmile.datasets.cache import DataError


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV from printing what an error of ours says."""
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has these functions in `cv2` itself
    level = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def read_gray(path: Path) -> np.ndarray:
    """Read a TIFF file with one gray image per page.

    Args:
        path: The file.

    Returns:
        (pages, rows, columns) of the type of its pixels.

    Raises:
        DataError: The file is missing, no TIFF, or of other color, or its pages differ.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a TIFF image")
    try:
        with quiet():
            found, pages = cv2.imreadmulti(str(path), [], cv2.IMREAD_UNCHANGED)
    except cv2.error:
        found, pages = False, ()
    if not found or not pages:
        raise DataError(f"{path}: not readable as a TIFF image")
    if len({page.shape for page in pages}) > 1:
        raise DataError(f"{path}: its pages differ in size or color")
    stack = np.stack(pages)
    # A gray image with a table of colors is read as three equal channels.
    if stack.ndim == 4 and stack.shape[3] == 3 and not np.ptp(stack, axis=3).any():
        stack = np.ascontiguousarray(stack[..., 0])
    if stack.ndim != 3:
        raise DataError(f"{path}: expected gray pages, got {stack.shape[3]} colors")
    return stack


def read_stack(path: Path, dtype: str, smallest: tuple[int, int, int]) -> np.ndarray:
    """Read a TIFF file with one gray image per page, of a certain type and size.

    Args:
        path: The file.
        dtype: Name of the type of a pixel that is expected, such as `uint8`.
        smallest: Least number of pages, rows and columns.

    Returns:
        (pages, rows, columns) of that type.

    Raises:
        DataError: The file is missing, no TIFF, or of other color, depth or size.
    """
    stack = read_gray(path)
    if stack.dtype != np.dtype(dtype):
        raise DataError(f"{path}: expected pixels of type {dtype}, got {stack.dtype}")
    if any(size < least for size, least in zip(stack.shape, smallest)):
        raise DataError(
            f"{path}: expected at least {smallest[0]} pages of {smallest[1]} x {smallest[2]} px, "
            f"got {stack.shape[0]} of {stack.shape[1]} x {stack.shape[2]}"
        )
    return stack


def contrast(gamma: float, black: float = 0, white: float = 255) -> np.ndarray:
    """Return what each brightness is shown as, (256,) uint8.

    Args:
        gamma: Exponent; below 1 it makes dark parts brighter.
        black: Brightness that is shown as 0.
        white: Brightness that is shown as 255.
    """
    light = np.clip((np.arange(256) - black) / (white - black), 0, 1)
    table: np.ndarray = (255 * light**gamma).astype(np.uint8)
    return table


def shown(crop: np.ndarray, table: np.ndarray, side: int) -> np.ndarray:
    """Resize square gray frames, and show them with a `contrast`.

    Args:
        crop: (frames, n, n) uint8.
        table: (256,) uint8, what each brightness is shown as.
        side: Side of what is returned, px.

    Returns:
        (frames, side, side, 3) uint8.
    """
    way = cv2.INTER_AREA if crop.shape[1] > side else cv2.INTER_CUBIC
    frames = [cv2.resize(f, (side, side), interpolation=way) for f in np.ascontiguousarray(crop)]
    return np.stack([cv2.cvtColor(cv2.LUT(f, table), cv2.COLOR_GRAY2RGB) for f in frames])


def load_array(path: Path, expected: str) -> np.ndarray:
    """Read an array in NumPy's format.

    Args:
        path: The file.
        expected: What it is to hold, for the message of an error.

    Raises:
        DataError: The file is missing or damaged, or holds no array of numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected {expected}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not readable as an array of numbers ({error})") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: expected {expected}")
    return array


def read_table(path: Path, columns: int) -> np.ndarray:
    """Read a table of numbers in NumPy's format.

    Args:
        path: The file.
        columns: Number of columns that is expected.

    Returns:
        (rows, columns) float64, at least one row.

    Raises:
        DataError: The file is missing, damaged, of another shape, empty, or holds no finite
            numbers.
    """
    table = load_array(path, f"a table of {columns} columns")
    if (
        table.ndim != 2
        or table.shape[1] != columns
        or not len(table)
        or table.dtype.kind not in "iuf"
        or not np.isfinite(table).all()
    ):
        raise DataError(f"{path}: expected a table of finite numbers with {columns} columns")
    return table.astype(np.float64)
