"""Limb tracking: mark the key points of a walking animal in every frame of a video."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.limb_tracking.annotator import LimbTrackingAnnotator
from lastmile.tasks.limb_tracking.interface import LimbTrackingInterface, Point, State, standing
from lastmile.tasks.limb_tracking.world import (
    CLEAR,
    DIFFICULTIES,
    HIDDEN,
    NAMES,
    PARTNER,
    LimbTrackingWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task


class LimbTracking(Task):
    """Pose annotation of one animal through a video.

    **What it is.** A four-legged animal walks past the camera, which looks at it from the side and a little from above. In every frame the
    nose, the base of the tail and the four paws are to be marked, each under its own name; legs hide each other at times. An animal that
    walks to the left has its left legs near the camera; the legs of the far side are darker and stand higher on the ground.

    **What is seen.** One frame with its points as rings in the colors of their tabs (left paws cold, right paws warm), those of the frame
    before as faint dots. The tab of a placed point has a check mark, that of a hidden one a dash. The status bar tells frame, number of
    points and which one is placed next. When a frame is done no tab is active.

    **What can be done.** `+t` and `-t` change the frame; a tab chooses the key point; a click on the canvas places it, in the place of an
    earlier one, and opens the next tab without a point (as the sequential mode of DeepLabCut's plugin for napari does; it halves the
    clicks). `Hidden` says that the key point cannot be seen and opens the next tab too; it also takes away a point that was placed there,
    which could otherwise only be undone together with everything after it. `Undo` takes back the last entry and goes to its frame and
    tab; `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** PCK at 5 px: the share of visible key points whose point lies within 5 px under the right name. A point placed on
    a hidden key point counts as one more that is wrong; a key point that is partly hidden counts only where it is placed wrong; whether
    hidden ones are called hidden does not matter. Success: at least 95 %.

    **Mistakes.** slip: beside the key point. confusion: on the paw of the other side (swapped legs). lapse: on another key point, because
    the wrong tab is active; or a visible key point called hidden, or left out in a frame that was begun before others.

    **Sources.** PCK: Yang and Ramanan, IEEE TPAMI 2013. Workflow: DeepLabCut (Mathis et al., Nature Neuroscience 2018). Hidden
    key points are flagged as in the COCO format (after Lin et al., ECCV 2014). Gaits: Hildebrand, Science 1965.
    """

    name = "limb_tracking"
    version = 2
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = LimbTrackingInterface
    annotator = LimbTrackingAnnotator
    mistake_rate = 0.21

    def judge(self, world: LimbTrackingWorld, earlier: tuple[Point, ...], edit: Point) -> str:
        return _judge(world, edit)

    def mistakes(self, world: LimbTrackingWorld, state: State) -> tuple[Mistake, ...]:
        return _mistakes(world, state.edits)

    def score(self, world: LimbTrackingWorld, state: State) -> Score:
        visible = int((world.seen == CLEAR).sum())
        right, wrong, extra = 0, 0, 0
        for (frame, part), index in standing(state.edits).items():
            edit, clear = state.edits[index], world.seen[frame, part] == CLEAR
            good = _judge(world, edit) == RIGHT
            right += int(clear and good)
            wrong += int(clear and not good)
            extra += int(not clear and not good)
        pck = float(right / (visible + extra))
        details = {
            "coverage": right / visible,
            "wrong": wrong / visible,
            "on_hidden": extra / visible,
        }
        return Score(pck, bool(state.done and pck >= 0.95), details)


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
    return "confusion" if PARTNER[edit.part] in others else "lapse"


@lru_cache(maxsize=512)
def _mistakes(world: LimbTrackingWorld, edits: tuple[Point, ...]) -> tuple[Mistake, ...]:
    """Wrong entries that no later one has replaced, and visible key points left out in frames that were begun before the last one begun."""
    known = standing(edits)
    wrong = [
        Mistake(verdict, index)
        for index in known.values()
        if (verdict := _judge(world, edits[index])) != RIGHT
    ]
    begun = sorted({frame for frame, _ in known})
    count = len(NAMES)
    left = [
        Mistake("lapse", omitted=(frame, part))
        for frame in begun[:-1]
        for part in range(count)
        if (frame, part) not in known and world.seen[frame, part] == CLEAR
    ]
    return (*wrong, *left)


TASK = LimbTracking()
