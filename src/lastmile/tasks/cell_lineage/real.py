"""Real worlds of cell lineage: a fluorescence time-lapse of the Cell Tracking Challenge.

The data are 30 frames of one field with tracks of its nuclei. What they do not say is decided here:

- No cell divides in these frames, so no world holds a division, and Split is always a mistake.
- A track that misses a frame is interpolated.
- The outline of a nucleus is an ellipse with the moments of the bright region at its point.
- Nuclei that leave the crop, or could be mistaken for each other by their positions, are not to be
  followed. They are seen, though, and take the place of debris.

Splits share no frame, but they do share the field: there is only one. Augmentation: crop and scale,
flips and quarter turns, time step, direction of time, and contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.datasets.archives import BIO_SAMPLES, joint_digest
from lastmile.datasets.cache import DataError
from lastmile.datasets.images import contrast, read_stack, read_table, shown
from lastmile.screen import CANVAS
from lastmile.tasks.cell_lineage.world import MARGIN, SMALLEST, CellLineageWorld

ARCHIVES = (BIO_SAMPLES,)

SPANS = {"train": (0, 12), "validation": (12, 18), "test": (18, 24), "people": (24, 30)}
"""First frame of each split, and the frame after its last."""
FEWEST = 30
"""Frames of the fetched data, and the fewest of imported ones; splits share more in proportion."""
FRAMES = 6
"""Frames of a world."""
CELLS = {"short": (2, 4), "full": (4, 7)}
"""Least and most cells to follow, by difficulty."""
SHARE = (0.7, 0.92)
"""Smallest and largest side of a crop, as a share of the field's smaller side."""
SIDE = 511
"""Side of the fetched field; crops of larger fields are no larger than those of this one, px."""
DIAMETER = 35.0
"""Median diameter of the nuclei of the fetched data, px."""

_BORDER = 12.0  # cells to be followed stay this far from the border of the canvas, logical px
_FARTHEST = 17.0  # they move no farther from frame to frame, logical px
_CLEAR = 0.75  # and no farther than this share of the distance to any other nucleus
_HALF = 30  # half the side of the window in which a nucleus is measured, px of the field
_SEMI_AXES = (9.0, 28.0)  # smallest and largest, px of the field


class Timelapse(NamedTuple):
    """The data.

    Attributes:
        frames: (frames, rows, columns) uint8.
        xy: (frames, n, 2) centers of the nuclei, px; NaN in frames without the nucleus.
        axes: (frames, n, 2) their semi-axes, px.
        angle: (frames, n) the angle of the first axis, radians.
        digest: Digest of the data.
    """

    frames: np.ndarray
    xy: np.ndarray
    axes: np.ndarray
    angle: np.ndarray
    digest: str


@dataclass(frozen=True, eq=False)
class RealCellLineageWorld(CellLineageWorld):
    """A crop of the time-lapse.

    Attributes:
        data: Digest of the data it was made from.
        image_crop: (frames, side, side) uint8, the crop at the resolution of the data.
        image_gamma: Exponent of the contrast.
    """

    data: str
    image_crop: np.ndarray
    image_gamma: float

    @cached_property
    def image_frames(self) -> np.ndarray:
        """The frames, (frames, 256, 256, 3) uint8."""
        return shown(self.image_crop, contrast(self.image_gamma), CANVAS)

    def at(self, t: int, u: float, v: float) -> int:
        """Return the cell that a point of a frame belongs to, or -1."""
        alive = np.flatnonzero((self.birth <= t) & (t < self.end))
        dx, dy = ((u, v) - self.xy[t, alive]).T  # (cells,) each
        cos, sin = np.cos(self.angle[t, alive]), np.sin(self.angle[t, alive])
        a, b = np.maximum(self.axes[t, alive] * MARGIN, SMALLEST).T
        inside = ((dx * cos + dy * sin) / a) ** 2 + ((dy * cos - dx * sin) / b) ** 2 <= 1
        if not inside.any():
            return -1
        return int(alive[np.where(inside, dx * dx + dy * dy, np.inf).argmin()])


def read(folder: Path, *, digest: str = joint_digest(ARCHIVES)) -> Timelapse:
    """Read the time-lapse and its tracks, and measure its nuclei.

    Args:
        folder: Where the files are.
        digest: Digest of the data: that of the fetched ones, or of others that were imported.

    Raises:
        DataError: A file is missing, damaged or of another kind, or a track is outside the image.
    """
    frames = read_stack(folder / "2D_timelapse.tif", "uint8", (FRAMES, 128, 128))
    path = folder / "timelapse_track.npy"
    table = read_table(path, 4)  # track, frame, row, column
    count, rows, columns = frames.shape
    if (table[:, 1:] < 0).any() or (table[:, 1:] >= (count, rows, columns)).any():
        raise DataError(f"{path}: a point lies outside the {count} frames of {rows} x {columns} px")

    names = np.unique(table[:, 0])
    xy = np.full((count, len(names), 2), np.nan)
    for k, name in enumerate(names):
        track = table[table[:, 0] == name]
        track = track[np.argsort(track[:, 1])]
        if len(np.unique(track[:, 1])) < len(track):
            raise DataError(f"{path}: track {name:g} has two points in one frame")
        times = np.arange(int(track[0, 1]), int(track[-1, 1]) + 1)
        for axis, column in ((0, 3), (1, 2)):
            # The center of a pixel, so half a pixel from its corner.
            xy[times, k, axis] = np.interp(times, track[:, 1], track[:, column]) + 0.5
    axes, angle = _measure(frames, xy)
    return Timelapse(frames, xy, axes, angle, digest)


def spans(count: int) -> dict[str, tuple[int, int]]:
    """Return the first frame of each split, and the frame after its last, of `count` frames."""
    scale = max(count, FEWEST) / FEWEST
    return {split: (round(a * scale), round(b * scale)) for split, (a, b) in SPANS.items()}


def _measure(frames: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return semi-axes, (frames, n, 2), and angles, (frames, n), of the nuclei."""
    axes = np.full(xy.shape, _SEMI_AXES[0])
    angle = np.zeros(xy.shape[:2])
    for t, k in np.argwhere(np.isfinite(xy[..., 0])).tolist():
        x, y = xy[t, k].astype(int)
        top, left = max(y - _HALF, 0), max(x - _HALF, 0)
        window = cv2.GaussianBlur(frames[t, top : y + _HALF + 1, left : x + _HALF + 1], (0, 0), 1.5)
        _, mask = cv2.threshold(window, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        _, labels = cv2.connectedComponents(mask)
        points = np.argwhere(labels > 0)
        if not len(points):
            continue
        nearest = points[((points - (y - top, x - left)) ** 2).sum(1).argmin()]
        region = np.argwhere(labels == labels[tuple(nearest)])[:, ::-1]  # (pixels, 2) as x, y
        if len(region) < 30:
            continue
        values, vectors = np.linalg.eigh(np.cov(region.T))
        axes[t, k] = np.clip(2 * np.sqrt(np.maximum(values[::-1], 0)), *_SEMI_AXES)
        angle[t, k] = np.arctan2(vectors[1, 1], vectors[0, 1])
    return axes, angle


def make_world(
    data: Timelapse, rng: np.random.Generator, split: str, difficulty: str
) -> RealCellLineageWorld:
    """Make a world of a crop of the time-lapse. See `lastmile.tasks.real`.

    Raises:
        DataError: The data are too short for the split, or no crop of them holds enough cells.
    """
    begin, stop = spans(len(data.frames))[split]
    if stop - begin < FRAMES or len(data.frames) < begin + FRAMES:
        raise DataError(
            f"the time-lapse of {len(data.frames)} frames has none for split '{split}': "
            f"expected {stop}"
        )
    stop = min(stop, len(data.frames))
    least, most = CELLS[difficulty]
    wanted = int(rng.integers(least, most + 1))
    _, rows, columns = data.frames.shape
    for attempt in range(400):
        step = 2 if stop - begin > 2 * (FRAMES - 1) and rng.random() < 0.5 else 1
        first = begin + int(rng.integers(stop - begin - step * (FRAMES - 1)))
        times = first + step * np.arange(FRAMES)
        if rng.random() < 0.5:
            times = times[::-1]
        side = int(rng.uniform(*SHARE) * min(rows, columns, SIDE))
        top, left = (int(rng.integers(size - side + 1)) for size in (rows, columns))
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))

        scale = CANVAS / side
        xy = (data.xy[times] - (left, top)) * scale
        angle = data.angle[times]
        if flip:
            xy = np.stack([CANVAS - xy[..., 0], xy[..., 1]], -1)
            angle = np.pi - angle
        for _ in range(turns):  # a quarter turn against the clock, as np.rot90
            xy = np.stack([xy[..., 1], CANVAS - xy[..., 0]], -1)
            angle = angle - np.pi / 2

        clear = _clear(xy)
        # After many attempts fewer cells will do.
        if clear.sum() >= max(wanted - attempt // 40, 1):
            break
    else:
        raise DataError(f"no crop of the time-lapse holds a clear cell in split '{split}'")

    chosen = np.sort(rng.permutation(np.flatnonzero(clear))[:wanted])
    count = len(chosen)
    others = np.flatnonzero(np.isfinite(xy).all((0, 2)) & ~np.isin(np.arange(len(clear)), chosen))
    crop = data.frames[times, top : top + side, left : left + side]
    crop = crop[:, :, ::-1] if flip else crop
    return RealCellLineageWorld(
        frames=FRAMES,
        founders=count,
        parent=np.full(count, -1),
        birth=np.zeros(count, np.int64),
        end=np.full(count, FRAMES),
        children=np.full((count, 2), -1, np.int64),
        xy=xy[:, chosen],
        axes=data.axes[times][:, chosen] * scale,
        angle=angle[:, chosen],
        debris=xy[:, others],
        image_bright=np.ones((FRAMES, count)),
        image_rng=rng,
        data=data.digest,
        image_crop=np.rot90(crop, turns, (1, 2)),
        image_gamma=float(rng.uniform(0.5, 0.75)),
    )


def _clear(xy: np.ndarray) -> np.ndarray:
    """Return which nuclei a person could follow, (n,) bool; `xy` is (frames, n, 2)."""
    inside = ((xy > _BORDER) & (xy < CANVAS - _BORDER)).all((0, 2))  # False where NaN
    hops = np.hypot(*(xy[1:] - xy[:-1]).transpose(2, 0, 1))  # (frames - 1, n)
    clear: np.ndarray = inside & (hops <= _FARTHEST).all(0)
    # A large field has hundreds of nuclei, and few of them are left now.
    some = np.flatnonzero(clear)
    gaps = xy[:-1, some, None] - xy[1:, None]  # (frames - 1, some, n, 2)
    far = np.hypot(gaps[..., 0], gaps[..., 1])
    far[:, np.arange(len(some)), some] = np.inf
    nearest = np.where(np.isnan(far), np.inf, far).min(2)  # (frames - 1, some)
    clear[some] = (hops[:, some] <= _CLEAR * nearest).all(0)
    return clear
