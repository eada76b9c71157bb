"""DeepLabCut: labeled frames as PNG, and beside them a CSV of key points, a folder per episode.

The table is `labeled-data/VIDEO/CollectedData_SCORER.csv`. Its header has the rows `scorer`,
`bodyparts` and `coords`, and with several animals `individuals` after the first (Lauer et al.,
Nature Methods 2022). The first three columns name the frame. A key point without a label is empty.
A frame without any label has no row: as the first one, pandas would take it for a part of the
header.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from PIL import Image

from lastmile.exports.format import CANVAS, Details, Episode, Format, one_by_one

SCORER = "lastmile"
COORDINATES = {
    "limb_tracking": f"x, y: pixels of the frames, which are {CANVAS}. Key points that were called "
    "hidden are empty, and listed for each episode under `hidden`.",
    "behavior_tracking": f"x, y: pixels of the frames, which are {CANVAS}. Animals are numbered as "
    "in the first frame.",
}

Name = tuple[str, ...]
"""What a key point is called: (individual, body part), or (body part,) with one animal."""
Points = dict[tuple[int, Name], tuple[float, float]]
"""(u, v) of marked key points, canvas coordinates, by frame and name."""


def limbs(episode: Episode) -> tuple[list[Name], Points]:
    """Return the names of all key points, and those that are marked."""
    names = _limb_names(episode)
    entries = {(edit.frame, names[edit.part]): edit for edit in episode.edits}
    return names, {key: (edit.u, edit.v) for key, edit in entries.items() if not edit.hidden}


def animals(episode: Episode) -> tuple[list[Name], Points]:
    """Return the names of all key points, and those that are marked."""
    parts = ("front", "back")
    names: list[Name] = [
        (f"animal{animal + 1}", part)
        for animal in range(episode.session.world.animals)
        for part in parts
    ]
    points: Points = {
        (edit.t, (f"animal{edit.animal + 1}", parts[edit.part])): (edit.u, edit.v)
        for edit in episode.edits
    }
    return names, points


def _limb_names(episode: Episode) -> list[Name]:
    """Return the names on the tabs, in small letters: `l_fore` for `L fore`."""
    interface = episode.session.interface
    labels = [
        button.label
        for group in interface.groups(interface.start())  # without check marks
        for button in group.buttons
        if button.id.startswith("part")
    ]
    return [(label.lower().replace(" ", "_"),) for label in labels]


def _hidden(episode: Episode) -> list[dict[str, int | str]]:
    names = _limb_names(episode)
    entries = {(edit.frame, names[edit.part][0]): edit for edit in episode.edits}
    return [
        {"frame": frame, "bodypart": name}
        for (frame, name), edit in sorted(entries.items())
        if edit.hidden
    ]


def _write(folder: Path, episode: Episode) -> Details:
    single = episode.session.task.name == "limb_tracking"
    names, points = limbs(episode) if single else animals(episode)
    video = folder / "labeled-data" / episode.name
    video.mkdir(parents=True)

    columns = [(*name, axis) for name in names for axis in ("x", "y")]
    levels = ("bodyparts", "coords") if single else ("individuals", "bodyparts", "coords")
    header = [["scorer", "", "", *[SCORER] * len(columns)]]
    header += [[level, "", "", *row] for level, row in zip(levels, zip(*columns))]

    interface, state = episode.session.interface, episode.session.state
    rows = []
    for t in range(episode.session.world.frames):
        file = f"img{t:03d}.png"
        Image.fromarray(interface.image(replace(state, t=t))).save(video / file)
        row: list[str | float] = ["labeled-data", episode.name, file]
        for name in names:
            row += map(float, points[t, name]) if (t, name) in points else ("", "")
        if any((t, name) in points for name in names):
            rows.append(row)

    path = video / f"CollectedData_{SCORER}.csv"
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([*header, *rows])
    details: Details = {
        "files": sorted(part.relative_to(folder).as_posix() for part in video.iterdir())
    }
    return {**details, "hidden": _hidden(episode)} if single else details


FORMAT = Format("DeepLabCut, labeled frames of each episode", COORDINATES, one_by_one(_write))
