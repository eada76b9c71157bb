"""Behavior tracking: follow front and back of identical-looking animals through crossings."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.behavior_tracking.annotator import BehaviorTrackingAnnotator
from lastmile.tasks.behavior_tracking.interface import (
    BehaviorTrackingInterface,
    Marker,
    MarkerKey,
    State,
    latest_markers,
)
from lastmile.tasks.behavior_tracking.world import DIFFICULTIES, BehaviorTrackingWorld, make_world
from lastmile.tasks.task import RIGHT, Mistake, Score, Task

MIN_SHARE = 0.95
"""Smallest share of correct markers of a success."""


class BehaviorTracking(Task[BehaviorTrackingWorld, State, Marker]):
    """Track animals that look alike.

    **What it is.** A video from above shows two to four mice, fish or flies that cannot be told
    apart by appearance. Each moves in its own way (straight, circling, darting, pausing), and their
    paths cross. In every frame, the front (nose or head) and the back (base of the tail, tip of a
    fly's abdomen) of each animal are marked under the tab of that animal.

    **What is seen.** One frame at a time. In the first frame, numbered squares in the colors of the
    tabs show which animal is which. Marks have the color of their animal: a ring for the front, a
    dot for the back, a line between them. The marks of the previous frame are thin, and faint
    except for the selected animal, until the animal is marked in this frame. The tabs show which
    markers of this frame are placed.

    **What can be done.** `+t` and `-t` change the frame, a tab selects the animal, `Front` and
    `Back` select the type; a click places the marker or moves it if it was placed before. After a
    front the type switches to back, and after a back to front, as in tools that step through the
    key points of a skeleton; a newly chosen tab or frame begins with the front. `Undo` removes the
    last marker and selects it to be placed again; `Done` ends the episode.

    **When it ends.** When `Done` is clicked.

    **How it is scored.** The share of all (animal, frame, part) whose marker is within 5 px.
    Success requires at least 0.95.

    **Mistakes.** slip: the marker is next to the point. confusion: it is on another animal (usually
    both of its ends are). lapse: front and back are exchanged, or the next animal is marked under
    the tab of the previous one.

    **Sources.** Task after Chandok and Park (2026). The share of key points within a radius and
    with the right identity is PCK (Yang and Ramanan, IEEE TPAMI 2013), as used for animals that
    look alike (Lauer et al., Nature Methods 2022). Videos with more animals have fewer frames, so
    that an episode stays below 250 steps.
    """

    name = "behavior_tracking"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = BehaviorTrackingInterface
    annotator = BehaviorTrackingAnnotator
    mistake_rate = 0.2
    overlooked = 0.1

    def judge(self, world: BehaviorTrackingWorld, earlier: tuple[Marker, ...], edit: Marker) -> str:
        own = (edit.animal, edit.part)
        marked = world.near(edit.t, edit.u, edit.v)
        if marked == own:
            return RIGHT
        if marked is None:
            return "slip"
        if marked[0] == edit.animal:
            return "lapse"

        # Another animal, in place of a correct marker: the tab was not changed
        index = latest_markers(earlier).get((edit.t, *own))
        if index is None:
            return "confusion"
        replaced = earlier[index]
        return "lapse" if world.near(edit.t, replaced.u, replaced.v) == own else "confusion"

    def mistakes(self, world: BehaviorTrackingWorld, state: State) -> tuple[Mistake, ...]:
        wrong = _wrong_markers(world, state.edits)
        return tuple(Mistake(kind, index) for index, kind in wrong.values())

    def score(self, world: BehaviorTrackingWorld, state: State) -> Score:
        needed = world.frames * world.animals * 2
        placed = len(latest_markers(state.edits))
        right = placed - len(_wrong_markers(world, state.edits))
        share = right / needed
        details = {"precision": right / placed if placed else 0.0, "coverage": share}
        return Score(share, bool(state.done and share >= MIN_SHARE), details)


@lru_cache(maxsize=512)
def _wrong_markers(
    world: BehaviorTrackingWorld, edits: tuple[Marker, ...]
) -> dict[MarkerKey, tuple[int, str]]:
    """Return index and kind of mistake of the markers that count and are wrong."""
    # Recursive, so that a new marker costs one judgment and the rest comes from the cache
    if not edits:
        return {}
    earlier = edits[:-1]
    last = edits[-1]
    key = (last.t, last.animal, last.part)
    wrong = {k: v for k, v in _wrong_markers(world, earlier).items() if k != key}
    verdict = TASK.judge(world, earlier, last)
    if verdict != RIGHT:
        wrong[key] = (len(edits) - 1, verdict)
    return wrong


TASK = BehaviorTracking()
