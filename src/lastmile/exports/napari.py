"""napari: a layer of points as CSV, one per episode.

The columns are `index` and one `axis-N` for each axis of the image, in its order (slice, row,
column); further columns are properties of the points.
"""

from __future__ import annotations

import csv
from pathlib import Path

from lastmile.exports.format import CANVAS, Details, Episode, Format, one_by_one

_AXES = f"axis-1 is v and axis-2 is u in {CANVAS}."
COORDINATES = {
    "colored_dots": f"axis-0: number of the slice, from 0; {_AXES}",
    "channel_alignment": f"axis-0: 0 for channel A, 1 for channel B; {_AXES} Points of the same "
    "`pair` (from 1) in A and B correspond.",
}


def _dots(episode: Episode) -> tuple[list[str], list[list[float]]]:
    return [], [[marker.z, marker.v, marker.u] for marker in episode.edits]


def _landmarks(episode: Episode) -> tuple[list[str], list[list[float]]]:
    """Return the points with the number of their pair: the k-th ones of both channels are one."""
    rows: list[list[float]] = []
    counts = {"A": 0, "B": 0}
    for point in episode.edits:
        counts[point.channel] += 1
        rows.append(["AB".index(point.channel), point.v, point.u, counts[point.channel]])
    return ["pair"], rows


def _write(folder: Path, episode: Episode) -> Details:
    read = _dots if episode.session.task.name == "colored_dots" else _landmarks
    properties, rows = read(episode)
    path = folder / f"{episode.name}.csv"
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["index", "axis-0", "axis-1", "axis-2", *properties])
        for index, row in enumerate(rows):
            writer.writerow([index, *map(float, row[:3]), *row[3:]])
    return {"files": [path.name]}


FORMAT = Format("napari, a layer of points per episode", COORDINATES, one_by_one(_write))
