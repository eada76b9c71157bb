"""Statistics of the features of a LeRobot data set, per episode and of all."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
"""Called `q01` to `q99`, as LeRobot's own."""

Statistics = dict[str, Any]
"""By name (`min`, `max`, `mean`, `std`, `q01` ..., `count`) nested lists of numbers."""


def of_values(values: np.ndarray) -> Statistics:
    """Return the statistics of a feature.

    Args:
        values: (n, d), one row per frame.

    Returns:
        Lists of d numbers; `count` is [n].
    """
    values = values.astype(np.float64)
    moments = {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
    }
    levels = dict(zip(map(_name, QUANTILES), np.quantile(values, QUANTILES, axis=0)))
    named = {name: array.tolist() for name, array in {**moments, **levels}.items()}
    return {**named, "count": [len(values)]}


def histogram(images: np.ndarray) -> np.ndarray:
    """Count the values of each channel of images (n, height, width, 3) uint8: (3, 256) int64."""
    return np.stack(
        [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)]
    ).astype(np.int64)


def of_images(counts: np.ndarray, frames: int) -> Statistics:
    """Return the statistics of images, exactly, from a histogram of all their pixels.

    Args:
        counts: (3, 256), see `histogram`.
        frames: Number of images.

    Returns:
        Lists of shape (3, 1, 1), for values from 0 to 1; `count` is [frames].
    """
    levels = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ levels
    seen = counts > 0
    below = np.cumsum(share, 1)
    statistics = {
        "min": levels[seen.argmax(1)],
        "max": levels[255 - seen[:, ::-1].argmax(1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0)),
        **{_name(level): levels[(below >= level - 1e-12).argmax(1)] for level in QUANTILES},
    }
    named = {name: array.reshape(3, 1, 1).tolist() for name, array in statistics.items()}
    return {**named, "count": [frames]}


def _name(level: float) -> str:
    return f"q{round(100 * level):02d}"
