"""Shape matching: find specimens again that were rearranged on their way."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.shape_matching.annotator import ShapeMatchingAnnotator
from lastmile.tasks.shape_matching.interface import Match, ShapeMatchingInterface, State, latest
from lastmile.tasks.shape_matching.world import (
    DIFFICULTIES,
    LOST,
    ShapeMatchingWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task


class ShapeMatching(Task[ShapeMatchingWorld, State, Match]):
    """Finding specimens again after they were rearranged.

    **What it is.** A slide of microfossils was photographed, sent away, and photographed again when
    it came back. On the way the specimens moved, turned and tilted a little; some were lost, and
    others got among them. The annotator finds out which specimen is which. No study trains on this
    task unless it is named: it is kept for transfer to a kind of work that the others do not hold.

    **What is seen.** One field of view of the slide before the shipment on the left, and one after
    it on the right. Specimens differ in size, form (long, round, or with three to five lobes) and
    the number of their pores; look-alikes differ in only one of these, by one step. The selected
    specimen has a yellow outline. A match has the same number and color on both sides, a ring if it
    is on no specimen, and a specimen without a match is crossed out. The status bar gives both
    fields of view, the number of decisions and what to do next.

    **What can be done.** `− field` and `+ field` change the field of view of either side. A click
    on the left selects a specimen. `Turn left` and `Turn right` turn it by 45 degrees, to compare
    it with those on the right. A click on the right says where its match is, `No match` says that
    it has none; a later decision on the same specimen replaces an earlier one. `Undo` takes back
    the last decision, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** F1 of the decisions: those that are right, out of those made and of the
    specimens on the left. A match is right if it is on the same specimen, or at most 2 px outside
    its outline; `No match` is right for a lost specimen. Success: every decision is made and right.

    **Mistakes.** slip: the match is on no specimen. confusion: it is on another specimen, usually
    one that looks alike. lapse: `No match` for a specimen that was only not looked for in all
    fields; or the right match of a specimen is replaced, because the next one was not selected.

    **What is simplified.** Specimens lie flat, are never turned over, never touch, and are either
    whole or lost. The interface knows the outlines of specimens, as after a segmentation, and draws
    those of selected and matched ones. Nothing on the screen tells which ones belong together.

    **Sources.** The published study has a task of the name *shape matching*, of which no more is
    known (Chandok and Park, 2026). Turning a shape until it can be compared: Shepard and Metzler,
    Science 1971. Finding the same cells again in another imaging session: Sheintuch et al., Cell
    Reports 2017.
    """

    name = "shape_matching"
    version = 1
    held_out = True
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = ShapeMatchingInterface
    annotator = ShapeMatchingAnnotator
    mistake_rate = 0.17
    overlooked = 0.035

    def judge(self, world: ShapeMatchingWorld, earlier: tuple[Match, ...], edit: Match) -> str:
        """Judge a decision by what is under it; see the page of the task."""
        verdict = _compare(world, edit)
        replaced = latest(earlier).get(edit.source)
        if verdict == "confusion" and replaced is not None:
            return "lapse" if _compare(world, earlier[replaced]) == RIGHT else verdict
        return verdict

    def mistakes(self, world: ShapeMatchingWorld, state: State) -> tuple[Mistake, ...]:
        """Return the wrong decisions among those that count."""
        edits = state.edits
        counted = sorted(latest(edits).values())
        verdicts = ((index, self.judge(world, edits[:index], edits[index])) for index in counted)
        return tuple(Mistake(verdict, index) for index, verdict in verdicts if verdict != RIGHT)

    def score(self, world: ShapeMatchingWorld, state: State) -> Score:
        """Return F1 of the decisions that count, with precision and recall as details."""
        counted = latest(state.edits).values()
        right = sum(_compare(world, state.edits[index]) == RIGHT for index in counted)
        specimens = len(world.partner)
        details = {
            "precision": right / len(counted) if counted else 0.0,
            "recall": right / specimens,
            "coverage": right / specimens,
        }
        success = state.done and right == specimens
        return Score(2 * right / (len(counted) + specimens), bool(success), details)


@lru_cache(maxsize=4096)
def _compare(world: ShapeMatchingWorld, edit: Match) -> str:
    """Return the verdict on a decision, whatever it replaces."""
    partner = int(world.partner[edit.source])
    if edit.without:
        return RIGHT if partner == LOST else "lapse"
    target = world.after.at(edit.field, edit.u, edit.v)
    if target == LOST:
        return "slip"
    return RIGHT if target == partner else "confusion"


TASK = ShapeMatching()
