"""Two courting flies: a video, key points placed by people, and tracks of a network.

The file `centered_pair.json` is of SLEAP's first format, which counts frames and pixels from 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lastmile.datasets.archives import FLY_PAIR
from lastmile.datasets.cache import DataError

ARCHIVE = FLY_PAIR
VIDEO = "centered_pair_low_quality.mp4"
LABELS = "centered_pair.json"
FLIES = 2
BLACK, WHITE = 16, 216
"""Brightness of the video that is shown as black, and as white."""

SPANS = {"train": (0, 465), "test": (480, 690), "validation": (705, 860), "people": (875, 1100)}
"""First frame of each split, and the frame after its last."""


class Labels(NamedTuple):
    """Key points.

    Attributes:
        names: (k,) what they are called.
        frames: (n,) int64, number of each frame, from 0, rising.
        xy: (n, flies, k, 2) positions, px from the corner of the video; NaN where there is none.
        seen: (n, flies, k) bool, whether a key point can be seen.
    """

    names: tuple[str, ...]
    frames: np.ndarray
    xy: np.ndarray
    seen: np.ndarray


def read_people(folder: Path) -> Labels:
    """Return the key points that people placed, in the few frames in which they did.

    The flies of a frame are in no particular order.

    Raises:
        DataError: The file is missing, damaged or of another kind, or a frame has not two flies.
    """
    path = folder / LABELS
    return _labels(path, _load(path), "instances", "points")


def read_tracks(folder: Path) -> Labels:
    """Return the key points that a network found in every frame, each fly in a place of its own.

    Of its tracks the two longest are taken.

    Raises:
        DataError: The file is missing, damaged or of another kind, or there is no track of two
            flies.
    """
    path = folder / LABELS
    content = _load(path)
    try:
        every = content["predicted_instances"]
        tracks, lengths = np.unique([int(one["trackId"]) for one in every], return_counts=True)
        longest = np.sort(tracks[np.argsort(-lengths, kind="stable")[:FLIES]]).tolist()
        kept = sorted(
            (one for one in every if one["trackId"] in longest), key=lambda one: one["trackId"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(path, error) from None
    return _labels(path, {**content, "kept": kept}, "kept", "predicted_points")


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected labels of SLEAP") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected labels of SLEAP, got {type(content).__name__}")
    return content


def _malformed(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: no labels of SLEAP's first format ({type(error).__name__}: {error})")


def _labels(path: Path, content: dict[str, Any], instances: str, points: str) -> Labels:
    """Sort points into arrays; the flies of a frame keep the order of their instances."""
    try:
        names = tuple(str(name) for name in content["skeleton"]["nodeNames"])
        numbers = np.array([int(one["frameIdx"]) - 1 for one in content[instances]], np.int64)
        rows = {int(one["id"]): row for row, one in enumerate(content[instances])}
        xy = np.full((len(rows), len(names), 2), np.nan)
        seen = np.zeros((len(rows), len(names)), bool)
        for point in content[points]:
            row = rows.get(int(point["instanceId"]))
            if row is not None:
                place = row, int(point["node"]) - 1
                # The center of the first pixel is (1, 1), and half a pixel from the corner.
                xy[place] = float(point["x"]) - 0.5, float(point["y"]) - 0.5
                seen[place] = bool(point["visible"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _malformed(path, error) from None
    frames, counts = np.unique(numbers, return_counts=True)
    if not len(frames) or (counts != FLIES).any():
        raise DataError(f"{path}: expected {FLIES} flies in each frame with labels")
    order = np.argsort(numbers, kind="stable").reshape(-1, FLIES)
    return Labels(names, frames, xy[order], seen[order] & np.isfinite(xy[order]).all(-1))
