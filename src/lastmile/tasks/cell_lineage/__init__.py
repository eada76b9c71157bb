"""Cell lineage: follow cells through a time-lapse and mark their divisions."""

from __future__ import annotations

from lastmile.tasks.cell_lineage import reading
from lastmile.tasks.cell_lineage.annotator import CellLineageAnnotator
from lastmile.tasks.cell_lineage.interface import (
    CellLineageInterface,
    Edits,
    Point,
    Split,
    State,
    point_at,
    read_lineage,
)
from lastmile.tasks.cell_lineage.world import DIFFICULTIES, CellLineageWorld, make_world
from lastmile.tasks.task import Mistake, Score, Task


class CellLineage(Task[CellLineageWorld, State, Point | Split]):
    """Cell lineage tracking in a time-lapse.

    **What it is.** A fluorescence time-lapse of nuclei that move, deform and divide, with shot
    noise, bleed-through of a second channel, and bright debris that only drifts with the medium.
    The founder cells are given in the first frame. The annotator follows them and all their
    descendants to the last frame.

    **What is seen.** One frame at a time. The point of each track is a ring of its color with its
    number; before it is set, the point in the previous frame is shown instead, faint unless the
    track is selected. Then a line joins both. Each track has a button of its color, enabled in the
    frames in which the track is open and ticked if it has a point in this frame. A cell condenses
    to a bright plate just before it divides.

    **What can be done.** `+t` and `-t` change the frame. The button of a track selects it. A click
    puts the selected track there; another click moves it. `Split` ends the selected track in this
    frame; the next two clicks are its daughters, which get new tracks. `Undo` takes back the last
    click or split and shows where it was. `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Mean of the F1 of links and the F1 of divisions. A link is a cell in two
    consecutive frames. A point belongs to a cell if it is inside the cell's outline, enlarged by a
    tenth and to a semi-axis of at least 7 px. A division is a cell in its last frame with both
    daughters in their first. Success: a score of at least 0.95.

    **Mistakes.** slip: next to the cell. confusion: on another cell or on debris, or a split of a
    cell that does not divide. lapse: the parent's track continued on a daughter, because the
    division was overlooked; the next cell clicked with the previous track still selected; a split
    in the wrong frame.

    **What is simplified.** The founders come from the ground truth, so that nothing has to be
    guessed in the first frame. Cells do not die, merge, or enter or leave the image. At most
    one cell divides per frame, into two, and there are at most eight tracks. Movies in which two
    cells could be mistaken for each other by their positions are not used.

    **Sources.** Task after Chandok and Park (2026), there without given founders. Links and
    divisions as in the Cell Tracking Challenge (Ulman et al., Nature Methods 2017; Maška et al.,
    Nature Methods 2023), with its branching correctness BC(0) for the divisions.
    """

    name = "cell_lineage"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = CellLineageInterface
    annotator = CellLineageAnnotator
    mistake_rate = 0.2
    overlooked = 0.03

    def judge(self, world: CellLineageWorld, earlier: Edits, edit: Point | Split) -> str:
        """Judge a point or split by the cell that its track should follow."""
        return reading.judge(world, earlier, edit)

    def mistakes(self, world: CellLineageWorld, state: State) -> tuple[Mistake, ...]:
        """Return the wrong points and splits among those that count."""
        return tuple(
            Mistake(kind, index) for index, kind in reading.assess(world, state.edits).wrong
        )

    def score(self, world: CellLineageWorld, state: State) -> Score:
        """Return the mean of the F1 of links and the F1 of divisions; see the page of the task."""
        lineage = read_lineage(world.founders, world.frames, state.edits)

        # The cell under each point, by (track, frame); -1 for none.
        cell = {(k, 0): k for k in range(world.founders)}
        for (track, t), index in lineage.points.items():
            point = point_at(state.edits, index)
            cell[track, t] = world.at(t, point.u, point.v)

        # Links: (cell before, cell, frame).
        links = [(cell[k, t - 1], c, t) for (k, t), c in cell.items() if (k, t - 1) in cell]
        true_links = int((world.end - world.birth - 1).sum())
        linked = {(c, t) for before, c, t in links if before == c >= 0}

        # Divisions: (parent track, first daughter's track, frame). Daughters come in pairs.
        divisions = [
            (track.parent, k, track.birth)
            for k, track in enumerate(lineage.tracks)
            if track.parent >= 0
        ][::2]
        true_divisions = int((world.children[:, 0] >= 0).sum())
        divided = set()
        for parent, k, t in divisions:
            mother = cell.get((parent, t - 1), -1)
            pair = {cell.get((k, t), -1), cell.get((k + 1, t), -1)}
            if (
                mother >= 0
                and world.end[mother] == t
                and pair == set(world.children[mother].tolist())
            ):
                divided.add(mother)

        link_f1 = 2 * len(linked) / (len(links) + true_links)
        # Real movies may hold no division: then only a wrong one costs something.
        counted = len(divisions) + true_divisions
        division_f1 = 2 * len(divided) / counted if counted else 1.0
        score = (link_f1 + division_f1) / 2

        # Coverage: points on the right cell, of all but those that are given.
        needed = int((world.end - world.birth).sum()) - world.founders
        cells = reading.cells_of_tracks(world, state.edits, lineage)
        correct = sum(t > 0 and c == cells[k] >= 0 for (k, t), c in cell.items())
        details = {"link_f1": link_f1, "division_f1": division_f1, "coverage": correct / needed}
        return Score(score, bool(state.done and score >= 0.95), details)


TASK = CellLineage()
