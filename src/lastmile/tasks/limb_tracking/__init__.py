"""Limb tracking: mark the key points of a walking animal in every frame of a video."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.limb_tracking.annotator import LimbTrackingAnnotator
from lastmile.tasks.limb_tracking.interface import (
    LimbTrackingInterface,
    Point,
    State,
    latest_entries,
)
from lastmile.tasks.limb_tracking.world import (
    CLEAR,
    DIFFICULTIES,
    HIDDEN,
    LimbTrackingWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task

MIN_PCK = 0.95
"""Smallest share of correct key points of a success."""


class LimbTracking(Task[LimbTrackingWorld, State, Point]):
    """Annotate the pose of a walking animal in a video.

    **What it is.** A four-legged animal walks past a camera, which sees it from the side and
    slightly from above. In every frame the nose, the base of the tail and the four paws are marked,
    each under its own name; legs hide each other at times. When the animal walks to the left, its
    left legs are near the camera. The far legs are darker and appear higher on the ground.

    **What is seen.** One frame, with its points as rings in the colors of their tabs (cold colors
    for left paws, warm colors for right paws) and the points of the previous frame as faint dots. A
    tab shows a check mark if its point is placed and a dash if it was called hidden. The status bar
    shows the frame, the number of points, and which point comes next. When a frame is complete, no
    tab is active.

    **What can be done.** `+t` and `-t` change the frame; a tab selects the key point. A click on
    the canvas places it, replaces an earlier point under the same tab, and opens the next tab
    without a point (as in the sequential mode of DeepLabCut's napari plugin; this halves the number
    of clicks). `Hidden` records that the key point cannot be seen and also opens the next tab. It
    replaces a point placed earlier, which otherwise could be removed only by undoing everything
    after it. `Undo` removes the last entry and returns to its frame and tab; `Done` ends the
    episode.

    **When it ends.** When `Done` is clicked.

    **How it is scored.** PCK at 5 px: the share of clearly visible key points with a point of the
    right name within 5 px. A point placed on a hidden key point counts as an additional wrong one.
    A key point that is partly visible, if only at its edge, may be marked or called hidden: it
    counts only if its point is wrong. Whether hidden key points are called hidden does not matter.
    Success requires at least 95 %.

    **Mistakes.** slip: the point is next to the key point. confusion: the point is on the same paw
    of the other side (swapped legs). lapse: the point is on another key point because the wrong tab
    is active; or a visible key point is called hidden, or is left out in a frame that was begun
    before the last one.

    **Sources.** PCK: Yang and Ramanan, IEEE TPAMI 2013. Workflow: DeepLabCut (Mathis et al., Nature
    Neuroscience 2018). Hidden key points are flagged as in the COCO format (after Lin et al., ECCV
    2014). Gaits: Hildebrand, Science 1965.
    """

    name = "limb_tracking"
    version = 4
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = LimbTrackingInterface
    annotator = LimbTrackingAnnotator
    mistake_rate = 0.21
    overlooked = 0.07

    def judge(self, world: LimbTrackingWorld, earlier: tuple[Point, ...], edit: Point) -> str:
        return _judge(world, edit)

    def mistakes(self, world: LimbTrackingWorld, state: State) -> tuple[Mistake, ...]:
        return _mistakes(world, state.edits)

    def score(self, world: LimbTrackingWorld, state: State) -> Score:
        visible = int((world.seen == CLEAR).sum())
        right = 0
        wrong = 0
        extra = 0  # wrong entries for key points that are hidden or partly visible
        for (frame, part), index in latest_entries(state.edits).items():
            is_clear = world.seen[frame, part] == CLEAR
            is_right = _judge(world, state.edits[index]) == RIGHT
            right += int(is_clear and is_right)
            wrong += int(is_clear and not is_right)
            extra += int(not is_clear and not is_right)

        pck = float(right / (visible + extra))
        details = {
            "coverage": right / visible,
            "wrong": wrong / visible,
            "on_hidden": extra / visible,
        }
        return Score(pck, bool(state.done and pck >= MIN_PCK), details)


@lru_cache(maxsize=4096)
def _judge(world: LimbTrackingWorld, edit: Point) -> str:
    seen = world.seen[edit.frame, edit.part]
    if edit.hidden:
        return RIGHT if seen != CLEAR else "lapse"

    near = world.near(edit.frame, edit.u, edit.v)
    if seen != HIDDEN and edit.part in near:
        return RIGHT
    others = [part for part in near if part != edit.part]
    if not others:
        return "slip"
    return "confusion" if world.skeleton.partner[edit.part] in others else "lapse"


@lru_cache(maxsize=512)
def _mistakes(world: LimbTrackingWorld, edits: tuple[Point, ...]) -> tuple[Mistake, ...]:
    """Return wrong entries that were not replaced, and omissions in all frames but the last begun.

    In the last frame that was begun, the missing key points may still be entered.
    """
    entries = latest_entries(edits)
    wrong = [
        Mistake(verdict, index)
        for index in entries.values()
        if (verdict := _judge(world, edits[index])) != RIGHT
    ]
    frames_begun = sorted({frame for frame, _ in entries})
    omissions = [
        Mistake("lapse", omitted=(frame, part))
        for frame in frames_begun[:-1]
        for part in range(len(world.skeleton.names))
        if (frame, part) not in entries and world.seen[frame, part] == CLEAR
    ]
    return (*wrong, *omissions)


TASK = LimbTracking()
