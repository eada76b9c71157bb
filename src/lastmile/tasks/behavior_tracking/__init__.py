"""Behavior tracking: follow animals of one look through crossings, front and back."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.behavior_tracking.annotator import BehaviorTrackingAnnotator
from lastmile.tasks.behavior_tracking.interface import BehaviorTrackingInterface, Marker, standing
from lastmile.tasks.behavior_tracking.world import DIFFICULTIES, BehaviorTrackingWorld, make_world
from lastmile.tasks.task import RIGHT, Mistake, Score, State, Task


class BehaviorTracking(Task):
    """Tracking of animals that look the same.

    **What it is.** A video from above of two to four mice, fish or flies that cannot be told apart by their looks. Each moves in its own
    way (straight on, circling, darting, pausing), and they cross. Front (nose or head) and back (base of the tail, tip of a fly's abdomen)
    of every animal are to be marked in every frame, each under the tab of its animal.

    **What is seen.** One frame at a time. In the first frame a numbered square of its color shows which animal is whose tab. Marks
    have the color of their animal: a ring for the front, a dot for the back, a line between; those of the frame before are thin, faint
    but for the selected animal, until its own are placed. The tabs tell which markers of this frame are placed.

    **What can be done.** `+t` and `-t` change the frame, a tab chooses the animal, `Front` and `Back` the type; a click places the marker
    (again: moves it). After a front the type goes on to back, after a back to front, as tools that walk through a skeleton's key points do;
    a newly chosen tab or frame begins with the front. `Undo` takes the last marker back and makes it ready to be placed again, `Done`
    finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Share of all (animal, frame, part) whose marker lies within 5 px. Success: at least 0.95.

    **Mistakes.** slip: beside the point. confusion: on another animal (and then usually both ends of it). lapse: front and back exchanged,
    or the next animal marked with the tab of the one before.

    **Sources.** Task after Chandok and Park (2026). Share of right key points within a radius with the right identity: PCK (Yang and
    Ramanan, IEEE TPAMI 2013) as used for animals of one look (Lauer et al., Nature Methods 2022). More animals come with fewer frames,
    so that an episode stays below 250 steps.
    """

    name = "behavior_tracking"
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = BehaviorTrackingInterface
    annotator = BehaviorTrackingAnnotator
    mistake_rate = 0.2

    def judge(self, world: BehaviorTrackingWorld, earlier: tuple[Marker, ...], edit: Marker) -> str:
        found = world.near(edit.t, edit.u, edit.v)
        if found == (edit.animal, edit.part):
            return RIGHT
        if found[0] < 0:
            return "slip"
        if found[0] == edit.animal:
            return "lapse"
        before = standing(earlier).get((edit.t, edit.animal, edit.part))
        replaced = before is not None and world.near(edit.t, *earlier[before][3:]) == (
            edit.animal,
            edit.part,
        )
        return "lapse" if replaced else "confusion"

    def mistakes(self, world: BehaviorTrackingWorld, state: State) -> tuple[Mistake, ...]:
        return tuple(Mistake(kind, index) for index, kind in _wrong(world, state.edits).values())

    def score(self, world: BehaviorTrackingWorld, state: State) -> Score:
        needed = world.frames * world.animals * 2
        placed, wrong = len(standing(state.edits)), len(_wrong(world, state.edits))
        share = (placed - wrong) / needed
        details = {"precision": (placed - wrong) / placed if placed else 0.0, "coverage": share}
        return Score(share, bool(state.done and share >= 0.95), details)


@lru_cache(maxsize=512)
def _wrong(
    world: BehaviorTrackingWorld, edits: tuple[Marker, ...]
) -> dict[tuple[int, int, int], tuple[int, str]]:
    """(index, kind) of the markers that count and are wrong, by (frame, animal, part)."""
    if not edits:
        return {}
    last = edits[-1]
    key = last.t, last.animal, last.part
    wrong = {k: v for k, v in _wrong(world, edits[:-1]).items() if k != key}
    verdict = TASK.judge(world, edits[:-1], last)
    return wrong if verdict == RIGHT else {**wrong, key: (len(edits) - 1, verdict)}


TASK = BehaviorTracking()
