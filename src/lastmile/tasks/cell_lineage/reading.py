"""What annotations mean: which cell each track stands for, and which annotations are wrong."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from lastmile.tasks.cell_lineage.interface import Point, Split, Tracks, read
from lastmile.tasks.cell_lineage.world import CellLineageWorld
from lastmile.tasks.task import RIGHT


class Assessment(NamedTuple):
    """cells: the cell that each track stands for, -1 if none. wrong: (index of the edit, kind of mistake) of what stands and is wrong."""

    cells: tuple[int, ...]
    wrong: tuple[tuple[int, str], ...]


@lru_cache(maxsize=128)
def assess(world: CellLineageWorld, edits: tuple) -> Assessment:
    """Which cell each track stands for and which of the edits that count are wrong."""
    known = read(world.founders, world.frames, edits)
    cells = standing(world, edits, known)
    wrong = []
    for (track, t), index in known.points.items():
        edit = edits[index]
        cell = cells[track]
        if cell < 0 or world.at(t, edit.u, edit.v) != cell:
            wrong.append((index, mistake(world, edits[:index], edit, cell)))
    for index, edit in enumerate(edits):
        if isinstance(edit, Split):
            verdict = judge_split(world, cells[edit.track], edit)
            if verdict != RIGHT:
                wrong.append((index, verdict))
    return Assessment(cells, tuple(sorted(wrong)))


def standing(world: CellLineageWorld, edits: tuple, known: Tracks) -> tuple[int, ...]:
    """The cell that each track stands for. A founder's track stands for the founder. Daughters stand for the true daughters, each for the
    one that it was clicked on first, if the split is right, and for nothing if it is not."""
    cells = list(range(world.founders))
    while len(cells) < len(known.tracks):
        first = len(cells)
        parent, birth = known.tracks[first].parent, known.tracks[first].birth
        cell = cells[parent]
        if cell < 0 or not world.divides(cell) or world.end[cell] != birth:
            cells += [-1, -1]
            continue
        left, right = world.children[cell].tolist()
        clicked = []
        for track in (first, first + 1):
            index = known.points.get((track, birth))
            clicked.append(-1 if index is None else world.at(birth, edits[index].u, edits[index].v))
        swapped = clicked[0] == right or (clicked[1] == left and clicked[0] != left)
        cells += [right, left] if swapped else [left, right]
    return tuple(cells)


def judge_split(world: CellLineageWorld, cell: int, edit: Split) -> str:
    """A division in another frame is a lapse; of a cell that does not divide, a confusion."""
    if cell < 0 or not world.divides(cell):
        return "confusion"
    return RIGHT if world.end[cell] == edit.t else "lapse"


def mistake(world: CellLineageWorld, earlier: tuple, edit: Point, cell: int) -> str:
    """The kind of mistake of a point that is not on the cell that its track stands for."""
    if cell >= 0 and world.end[cell] <= edit.t:
        return "lapse"
    if world.at(edit.t, edit.u, edit.v) < 0:
        near = world.debris[edit.t] - (edit.u, edit.v)
        return "confusion" if len(near) and (near**2).sum(1).min() < 36 else "slip"
    before = read(world.founders, world.frames, earlier).points.get((edit.track, edit.t))
    replaced = before is not None and world.at(edit.t, earlier[before].u, earlier[before].v) == cell
    return "lapse" if replaced else "confusion"


def judge(world: CellLineageWorld, earlier: tuple, edit: Point | Split) -> str:
    edits = (*earlier, edit)
    cell = assess(world, edits).cells[edit.track]
    if isinstance(edit, Split):
        return judge_split(world, cell, edit)
    return (
        RIGHT
        if cell >= 0 and world.at(edit.t, edit.u, edit.v) == cell
        else mistake(world, earlier, edit, cell)
    )
