"""What annotations mean: the cell that each track follows, and the annotations that are wrong."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lastmile.tasks.cell_lineage.interface import (
    Edits,
    Lineage,
    Point,
    Split,
    point_at,
    read_lineage,
)
from lastmile.tasks.cell_lineage.world import CellLineageWorld
from lastmile.tasks.task import RIGHT

DEBRIS_RADIUS = 6.0
"""A point this close to the center of a piece of debris is on it, logical px."""


class Assessment(NamedTuple):
    """How annotations compare with the ground truth.

    Attributes:
        cells: The cell that each track should follow, -1 if there is none.
        wrong: (index of the annotation, kind of mistake) of the annotations that count and are
            wrong, by index.
    """

    cells: tuple[int, ...]
    wrong: tuple[tuple[int, str], ...]


@lru_cache(maxsize=128)
def assess(world: CellLineageWorld, edits: Edits) -> Assessment:
    """Compare annotations with the ground truth."""
    lineage = read_lineage(world.founders, world.frames, edits)
    cells = cells_of_tracks(world, edits, lineage)

    wrong = []
    for (track, t), index in lineage.points.items():
        point = point_at(edits, index)
        cell = cells[track]
        if cell < 0 or world.at(t, point.u, point.v) != cell:
            wrong.append((index, point_mistake(world, edits[:index], point, cell)))
    for index, edit in enumerate(edits):
        if isinstance(edit, Split):
            verdict = judge_split(world, cells[edit.track], edit)
            if verdict != RIGHT:
                wrong.append((index, verdict))
    return Assessment(cells, tuple(sorted(wrong)))


def cells_of_tracks(world: CellLineageWorld, edits: Edits, lineage: Lineage) -> tuple[int, ...]:
    """Return the cell that each track should follow, -1 if there is none.

    The track of a founder follows the founder. After a correct split the two new tracks follow the
    daughters, each the one it was put on; after a wrong split they follow nothing.
    """
    cells = list(range(world.founders))
    while len(cells) < len(lineage.tracks):
        # Tracks open in pairs, one pair per split.
        first = len(cells)
        parent = lineage.tracks[first].parent
        birth = lineage.tracks[first].birth
        cell = cells[parent]
        if cell < 0 or not world.divides(cell) or world.end[cell] != birth:
            cells += [-1, -1]
            continue

        left, right = world.children[cell].tolist()
        clicked = []
        for track in (first, first + 1):
            index = lineage.points.get((track, birth))
            if index is None:
                clicked.append(-1)
            else:
                point = point_at(edits, index)
                clicked.append(world.at(birth, point.u, point.v))
        # Where both are on the same daughter, or only one is on any, the first click decides.
        swapped = clicked[0] == right or (clicked[1] == left and clicked[0] != left)
        cells += [right, left] if swapped else [left, right]
    return tuple(cells)


def judge_split(world: CellLineageWorld, cell: int, split: Split) -> str:
    """Judge a split of a track that should follow a cell.

    Returns:
        "confusion" if the cell does not divide (or there is none), "lapse" if it divides in another
        frame, else `RIGHT`.
    """
    if cell < 0 or not world.divides(cell):
        return "confusion"
    return RIGHT if world.end[cell] == split.t else "lapse"


def point_mistake(world: CellLineageWorld, earlier: Edits, point: Point, cell: int) -> str:
    """Return the kind of mistake of a point that is not on the cell of its track.

    Args:
        world: The world.
        earlier: The annotations made before the point.
        point: The misplaced point.
        cell: The cell that its track should follow, or -1.
    """
    # The cell has divided: its division was overlooked.
    if cell >= 0 and world.end[cell] <= point.t:
        return "lapse"

    if world.at(point.t, point.u, point.v) < 0:
        near = world.debris[point.t] - (point.u, point.v)
        on_debris = len(near) and (near**2).sum(1).min() < DEBRIS_RADIUS**2
        return "confusion" if on_debris else "slip"

    # On another cell although the track was on its own: the next track was not selected.
    lineage = read_lineage(world.founders, world.frames, earlier)
    index = lineage.points.get((point.track, point.t))
    if index is None:
        return "confusion"
    before = point_at(earlier, index)
    return "lapse" if world.at(point.t, before.u, before.v) == cell else "confusion"


def judge(world: CellLineageWorld, earlier: Edits, edit: Point | Split) -> str:
    """Judge an annotation, given those made before it. See `Task.judge`."""
    edits = (*earlier, edit)
    cell = assess(world, edits).cells[edit.track]
    if isinstance(edit, Split):
        return judge_split(world, cell, edit)
    if cell >= 0 and world.at(edit.t, edit.u, edit.v) == cell:
        return RIGHT
    return point_mistake(world, earlier, edit, cell)
