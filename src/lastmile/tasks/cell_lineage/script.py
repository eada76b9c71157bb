"""Cell lineage by script: nuclei by threshold, linked to the nearest; two are daughters."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from lastmile.screen.widgets import Color
from lastmile.tasks.script import SCALE, Clicks, Script, logical

COLORS: tuple[Color, ...] = (
    (235, 60, 55),
    (65, 145, 255),
    (250, 210, 45),
    (70, 205, 85),
    (230, 90, 225),
    (45, 210, 220),
    (250, 140, 35),
    (150, 105, 255),
)
"""Colors of the tracks, as on their buttons."""
LIGHT = 24.0
"""Least brightness of a nucleus above the background, of 255."""
SMALLEST = 5
"""Least area of a nucleus, px of the small canvas."""
GAP = 0.72
"""Brightness between two nuclei that touch, relative to the darker one, at most."""
STEP = 11.0
"""Largest step of a nucleus between two frames, px of the small canvas."""
STILL = 1.6
"""Debris moves less than this between any two frames, px of the small canvas."""
DIVIDING = 9.0
"""Largest distance of a daughter from its parent, px of the small canvas."""


class Track(NamedTuple):
    """A track: its slot, and where it was last."""

    slot: int
    at: np.ndarray


class CellLineageScript(Script):
    """Follow the founders from frame to frame, and split where a second nucleus appears.

    Debris is what is there in all frames and hardly moves. A nucleus that no track is assigned to
    and that is close to one is taken for a daughter. Daughters that are still one object in the
    image are not told apart, and a nucleus lost in the background is taken to stand still.
    """

    GROUPS = (
        ("Frame", ("-t", "+t"), 2),
        ("Tracks", tuple(f"track{k + 1}" for k in range(8)), 2),
        ("Division", ("split",), 1),
    )

    def work(self) -> Clicks:
        """Scan, go back, then mark frame by frame."""
        views = yield from self.scan("+t")
        yield from self.scan("-t")
        frames = [nuclei(view) for view in views[1:]]
        tracks = founders(views[0], [k for k in range(8) if self.enabled(f"track{k + 1}")])
        given = np.array([track.at for track in tracks]).reshape(-1, 2)
        junk = debris(views[0], frames, given)
        slots = len(tracks)
        for found in frames:
            yield from self.press("+t")
            real = [nucleus for nucleus in found if not near(nucleus, junk, STILL)]
            points = np.array(real).reshape(-1, 2)
            tracks, splits = link(tracks, points)
            for track in tracks:
                if track.slot not in splits:
                    yield from self.press(f"track{track.slot + 1}")
                    yield from self.place(logical(track.at))
            for slot, second in splits.items():
                first = next(track for track in tracks if track.slot == slot)
                if slots + 2 > len(COLORS):
                    continue
                yield from self.press(f"track{slot + 1}")
                yield from self.press("split")
                yield from self.place(logical(first.at))
                yield from self.place(logical(second))
                tracks = [track for track in tracks if track.slot != slot]
                tracks += [Track(slots, first.at), Track(slots + 1, second)]
                slots += 2


def light(view: np.ndarray) -> np.ndarray:
    """Return how much brighter than its surroundings a frame is, (96, 96)."""
    gray = cv2.GaussianBlur(view.min(-1), (0, 0), 0.8)
    return gray - np.median(gray)


def nuclei(view: np.ndarray) -> np.ndarray:
    """Return where bright objects are, (n, 2): column and row in px of the small canvas."""
    bright = light(view)
    smooth = cv2.GaussianBlur(bright, (0, 0), 0.7)
    peaks = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > LIGHT)
    labels, count = ndimage.label(bright > LIGHT)
    found = []
    for k in range(1, count + 1):
        inside = labels == k
        if inside.sum() < SMALLEST:
            continue
        rows, columns = np.nonzero(inside)
        weights = bright[inside]
        tops = np.argwhere(peaks & inside)
        if len(tops) == 2 and apart(smooth, *tops):
            distance = [(rows - y) ** 2 + (columns - x) ** 2 for y, x in tops]
            parts = [distance[0] < distance[1], distance[0] >= distance[1]]
        else:
            parts = [np.ones(len(rows), bool)]
        for part in parts:
            share = weights[part] / weights[part].sum()
            found.append((share @ columns[part], share @ rows[part]))
    return np.array(found, float).reshape(-1, 2)


def apart(smooth: np.ndarray, top: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two maxima (row, column) are of two nuclei: it is dark between them."""
    path = np.round(np.linspace(top, other, 9)).astype(int)
    along = smooth[path[:, 0], path[:, 1]]
    return bool(along.min() < GAP * min(along[0], along[-1]))


def founders(view: np.ndarray, slots: list[int]) -> list[Track]:
    """Find the founders by the colors of their rings in the first frame."""
    tracks = []
    for slot in slots:
        close = (np.abs(view - np.array(COLORS[slot])).sum(-1) < 120).astype(np.float32)
        radius = 12 / SCALE
        size = 2 * int(radius + 2) + 1
        y, x = np.mgrid[:size, :size] - size // 2
        ring = np.exp(-((np.hypot(x, y) - radius) ** 2)).astype(np.float32)
        fit = cv2.filter2D(close, -1, ring, borderType=cv2.BORDER_CONSTANT)
        row, column = np.unravel_index(fit.argmax(), fit.shape)
        tracks.append(Track(slot, np.array([column, row], float)))
    return tracks


def near(point: np.ndarray, others: np.ndarray, distance: float) -> bool:
    """Return whether one of the others, (n, 2), is at most this far from a point."""
    return bool(len(others)) and float(np.hypot(*(others - point).T).min()) <= distance


def debris(first: np.ndarray, frames: list[np.ndarray], given: np.ndarray) -> np.ndarray:
    """Return objects of the first frame, (n, 2), that no founder is at and that stay."""
    others = [nucleus for nucleus in nuclei(first) if not near(nucleus, given, 6.0)]
    return np.array(
        [at for at in others if all(near(at, found, 3 * STILL) for found in frames)]
    ).reshape(-1, 2)


def link(tracks: list[Track], points: np.ndarray) -> tuple[list[Track], dict[int, np.ndarray]]:
    """Assign nuclei to tracks, at the least sum of squared distances.

    Args:
        tracks: The tracks, where they were in the frame before.
        points: The nuclei, (n, 2).

    Returns:
        The tracks where they are now, and by the slot of a track that divides its other daughter.
    """
    if not len(points) or not tracks:
        return tracks, {}
    before = np.array([track.at for track in tracks])
    distance = np.hypot(*(before[:, None] - points[None]).transpose(2, 0, 1))
    cost = np.minimum(distance, STEP) ** 2
    rows, columns = linear_sum_assignment(cost)
    now = list(tracks)
    for k, j in zip(rows.tolist(), columns.tolist()):
        if distance[k, j] < STEP:
            now[k] = Track(tracks[k].slot, points[j])
    splits: dict[int, np.ndarray] = {}
    for j in sorted({*range(len(points))} - {*columns.tolist()}):
        k = int(distance[:, j].argmin())
        if distance[k, j] < DIVIDING and tracks[k].slot not in splits:
            splits[tracks[k].slot] = points[j]
    return now, splits


SCRIPT = CellLineageScript
