"""CSV: one table of decisions for the whole recording."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from lastmile.exports.format import CANVAS, Details, Episode, Format

COORDINATES = {
    "object_exploration": "none: `class` is the last one that was chosen, as on its button; "
    "`sides_seen` is how many sides of the object had been seen by then.",
    "shape_matching": f"x, y: {CANVAS}, in field of view `field` of the slide after the shipment; "
    "empty if the specimen was said to have no match. Specimens of the slide before it and fields "
    "are counted from 0; the screen counts them from 1.",
}

FILE = "annotations.csv"
HEADERS = {
    "object_exploration": ("episode", "class", "sides_seen"),
    "shape_matching": ("episode", "specimen", "matched", "field", "x", "y"),
}

Row = tuple[str | int | float, ...]


def _classes(episode: Episode) -> list[Row]:
    """Return the choice that counts, the last one; none if none was made."""
    interface = episode.session.interface
    labels = {
        button.id: button.label
        for group in interface.groups(interface.start())
        for button in group.buttons
    }
    return [
        (episode.number, labels[f"class-{edit.kinds}"], edit.seen.bit_count())
        for edit in episode.edits[-1:]
    ]


def _matches(episode: Episode) -> list[Row]:
    """Return the decision that counts for each specimen that has one."""
    rows: list[Row] = []
    for specimen, edit in sorted({edit.source: edit for edit in episode.edits}.items()):
        place = ("", "", "") if edit.without else (edit.field, float(edit.u), float(edit.v))
        rows.append((episode.number, specimen, int(not edit.without), *place))
    return rows


def _write(folder: Path, episodes: Iterable[Episode]) -> list[Details]:
    details: list[Details] = []
    with open(folder / FILE, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        for episode in episodes:
            task = episode.session.task.name
            if not details:
                writer.writerow(HEADERS[task])
            read = _classes if task == "object_exploration" else _matches
            writer.writerows(read(episode))
            details.append({"files": [FILE]})
    return details


FORMAT = Format("CSV, one table for all episodes", COORDINATES, _write)
