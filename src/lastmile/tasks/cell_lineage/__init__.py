"""Cell lineage: follow cells through a time-lapse and mark their divisions."""

from __future__ import annotations

from lastmile.tasks.cell_lineage import reading
from lastmile.tasks.cell_lineage.annotator import CellLineageAnnotator
from lastmile.tasks.cell_lineage.interface import CellLineageInterface, Point, Split, read
from lastmile.tasks.cell_lineage.world import DIFFICULTIES, CellLineageWorld, make_world
from lastmile.tasks.task import Mistake, Score, State, Task


class CellLineage(Task):
    """Cell lineage tracking in a time-lapse.

    **What it is.** A fluorescence time-lapse of nuclei that move, deform and divide, with shot noise, light of a second channel that
    bleeds through, and bright debris that only drifts with the medium. The founder cells are given in the first frame; they and all
    their descendants are to be followed to the last frame.

    **What is seen.** One frame at a time, each track's mark as a ring of its color with its number, the mark of the frame before as a
    faint ring (that of the selected track in full) and a line between both. Each track has a button of its color, enabled in the frames
    in which the track is open, ticked when it is marked in this frame. A cell condenses to a bright plate just before it divides.

    **What can be done.** `+t` and `-t` change the frame, a track's button selects it, a click puts the selected track there (again:
    moves it). `Split` ends the selected track in this frame; the next two clicks are its daughters, which get new tracks. `Undo` takes
    the last click or split back and shows where it was, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Mean of the F1 of links and the F1 of divisions. A link is a cell in two consecutive frames; a point belongs to a
    cell when it lies within its outline widened by a tenth (7 px at least). A division is a cell in its last frame with both its daughters
    in their first. Success: at least 0.95.

    **Mistakes.** slip: beside the cell. confusion: on another cell or on debris, or a split of a cell that does not divide. lapse: the
    parent's track continued on a daughter because the division was overlooked; the next cell clicked with the track before still selected;
    a split in the wrong frame.

    **Sources.** Task after Chandok and Park (2026), there without given founders (given here, so that nothing is to be guessed in the
    first frame); links and divisions as in the Cell Tracking Challenge (Ulman et al., Nature Methods 2017; Maška et al., Nature Methods
    2023), its branching correctness BC(0) for the divisions.
    """

    name = "cell_lineage"
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = CellLineageInterface
    annotator = CellLineageAnnotator
    mistake_rate = 0.2

    def judge(self, world: CellLineageWorld, earlier: tuple, edit: Point | Split) -> str:
        return reading.judge(world, earlier, edit)

    def mistakes(self, world: CellLineageWorld, state: State) -> tuple[Mistake, ...]:
        return tuple(
            Mistake(kind, index) for index, kind in reading.assess(world, state.edits).wrong
        )

    def score(self, world: CellLineageWorld, state: State) -> Score:
        known = read(world.founders, world.frames, state.edits)
        cell = {(k, 0): k for k in range(world.founders)}
        cell |= {
            key: world.at(key[1], *state.edits[index][2:]) for key, index in known.points.items()
        }
        links = [(cell[k, t - 1], c, t) for (k, t), c in cell.items() if (k, t - 1) in cell]
        true_links = int((world.end - world.birth - 1).sum())
        linked = {(c, t) for before, c, t in links if before == c >= 0}
        divisions = [
            (track.parent, k, track.birth)
            for k, track in enumerate(known.tracks)
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
        division_f1 = 2 * len(divided) / (len(divisions) + true_divisions)
        score = (link_f1 + division_f1) / 2
        needed = int((world.end - world.birth).sum()) - world.founders
        cells = reading.standing(world, state.edits, known)
        right = sum(t > 0 and c == cells[k] >= 0 for (k, t), c in cell.items())
        details = {"link_f1": link_f1, "division_f1": division_f1, "coverage": right / needed}
        return Score(score, bool(state.done and score >= 0.95), details)


TASK = CellLineage()
