"""Screens as PNG, for a browser or a model that waits for each of them."""

from __future__ import annotations

import cv2
import numpy as np


def encode_png(image: np.ndarray) -> bytes:
    """Return an image, (h, w, 3) uint8, RGB, as PNG.

    At level 1, the fastest: higher levels make screens no smaller.
    """
    return cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
