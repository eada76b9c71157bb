"""The Cell Tracking Challenge: label images and a table of tracks, a sequence per episode.

A sequence is a folder `NN_RES` with a 16-bit mask for each frame, `maskTTT.tif`, and a file
`res_track.txt` with a line `label begin end parent` for each track; a parent of 0 means none
(Ulman et al., Nature Methods 2017). Frames are counted from 0.

Our annotations are points, so masks hold discs. In the challenge a track has a mask in each of its
frames: where points are missing, the track ends, and goes on under a new label whose parent it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lastmile.exports.format import CANVAS, Details, Episode, Format
from lastmile.screen import CANVAS as SIDE

RADIUS = 5.0
"""Radius of the discs, logical px; smaller where two would overlap."""
COORDINATES = {
    "cell_lineage": f"pixels of the masks are {CANVAS}. Each point is the middle of a disc of "
    f"radius {RADIUS:g}, cut where discs or the border of the canvas meet. The cells of the first "
    "frame are given, not annotated. A track with frames left out is split: the part after the gap "
    "has the part before it as its parent."
}


class Track(NamedTuple):
    """A track of the challenge.

    Attributes:
        label: Its value in the masks, from 1.
        begin: Its first frame.
        parent: Label of its parent, or 0.
        points: Its (u, v) in each of its frames, canvas coordinates.
    """

    label: int
    begin: int
    parent: int
    points: list[tuple[float, float]]


def tracks(episode: Episode) -> list[Track]:
    """Return the tracks that an episode annotates; a track of ours without points has none."""
    session = episode.session
    lineage = session.interface.lineage(session.state)  # type: ignore[attr-defined]
    last_label: dict[int, int] = {}  # by track of ours
    parts: list[Track] = []
    for number, track in enumerate(lineage.tracks):
        # A parent always comes before its daughters.
        parent = last_label.get(track.parent, 0)
        part: Track | None = None
        for t in range(track.birth, track.end):
            point = session.interface.point(session.state, number, t)  # type: ignore[attr-defined]
            if point is None:
                part = None
            elif part is None:
                part = Track(len(parts) + 1, t, last_label.get(number, parent), [point])
                parts.append(part)
                last_label[number] = part.label
            else:
                part.points.append(point)
    return parts


def draw(points: dict[int, tuple[float, float]]) -> np.ndarray:
    """Draw a mask.

    Args:
        points: (u, v) by label, canvas coordinates.

    Returns:
        (256, 256) uint16: the label at each pixel, or 0. Every label has the pixel of its point; if
        points share one, a pixel beside it.
    """
    rows, columns = np.mgrid[:SIDE, :SIDE]
    # Clicks are whole pixels: a disc is around the pixel of its point.
    distances = {
        label: np.hypot(columns - int(u), rows - int(v)) for label, (u, v) in points.items()
    }
    mask = np.zeros((SIDE, SIDE), np.uint16)
    nearest = np.full((SIDE, SIDE), RADIUS)
    for label, distance in distances.items():
        inside = distance <= nearest
        nearest[inside] = distance[inside]
        mask[inside] = label

    taken = np.zeros((SIDE, SIDE), bool)
    for label, distance in distances.items():
        middle = np.unravel_index(np.where(taken, np.inf, distance).argmin(), mask.shape)
        taken[middle] = True
        mask[middle] = label
    return mask


def _write_sequence(folder: Path, episode: Episode, number: int) -> Details:
    sequence = folder / f"{number:02d}_RES"
    sequence.mkdir()
    parts = tracks(episode)
    lines = [
        f"{part.label} {part.begin} {part.begin + len(part.points) - 1} {part.parent}"
        for part in parts
    ]
    (sequence / "res_track.txt").write_text("\n".join(lines) + "\n", encoding="ascii")

    for t in range(episode.session.world.frames):
        here = {
            part.label: part.points[t - part.begin]
            for part in parts
            if 0 <= t - part.begin < len(part.points)
        }
        image = Image.fromarray(draw(here))
        image.save(sequence / f"mask{t:03d}.tif", compression="tiff_adobe_deflate")
    return {"files": sorted(path.relative_to(folder).as_posix() for path in sequence.iterdir())}


def _write(folder: Path, episodes: Iterable[Episode]) -> list[Details]:
    return [_write_sequence(folder, episode, number) for number, episode in enumerate(episodes, 1)]


FORMAT = Format("Cell Tracking Challenge, a sequence per episode", COORDINATES, _write)
