"""Read frames of a video as they were coded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lastmile.datasets.cache import DataError
from lastmile.datasets.images import quiet


def read_luma(path: Path, numbers: Sequence[int]) -> np.ndarray:
    """Read the brightness of some frames.

    It is what the video holds, not converted to colors: the standard of the coding (H.264) fixes
    it to the bit, while conversions round differently on different processors.

    Args:
        path: The file.
        numbers: Which frames, from 0, in rising order.

    Returns:
        (numbers, rows, columns) uint8; 16 is black and 235 is white.

    Raises:
        DataError: The file is missing, no video, or too short, or this build of OpenCV gives no
            brightness of it.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a video")
    with quiet():
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not video.isOpened():
            raise DataError(f"{path}: not readable as a video")
        video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        size = (int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH)))
        frames: list[np.ndarray] = []
        place = 0
        for number in numbers:
            while place <= number and video.grab():
                place += 1
            if place <= number:
                raise DataError(f"{path}: holds {place} frames, expected more than {number}")
            frames.append(video.retrieve()[1])
        video.release()
    if any(frame.shape != size or frame.dtype != np.uint8 for frame in frames):
        raise DataError(f"{path}: OpenCV {cv2.__version__} does not give its brightness")
    return np.stack(frames)
