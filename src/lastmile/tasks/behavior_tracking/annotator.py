"""The virtual annotator of behavior tracking."""

from __future__ import annotations

import math
from typing import Literal

from lastmile.tasks.annotator import Intent, MovieAnnotator
from lastmile.tasks.behavior_tracking.interface import PARTS, State, latest_markers
from lastmile.tasks.behavior_tracking.world import BehaviorTrackingWorld
from lastmile.tasks.task import Mistake


class BehaviorTrackingAnnotator(MovieAnnotator[BehaviorTrackingWorld, State]):
    """Watch the video, mark all animals frame by frame, then go back through the frames to check.

    The annotator first watches the video to its end and back, unless it is hasty. In each frame it
    marks front and back of the selected animal, then of the others from the lowest number. Where
    two animals begin to cross, it looks one frame ahead and comes back before it marks.

    A mistake has consequences: after a front on the wrong animal the back goes to that animal as
    well, and after a front on the tail the back goes to the head.

    Attributes:
        watching: Direction of the first look through the video.
        return_to: Frame to come back to after a look ahead; None if there was no look ahead.
        looked_ahead: Frames from which it has looked ahead.
    """

    weights = {"slip": 0.4, "confusion": 0.3, "lapse": 0.3}

    watching: Literal["undecided", "forward", "back", "over"] = "undecided"
    return_to: int | None = None
    looked_ahead: frozenset[int] = frozenset()

    # Correct steps

    def explore(self, state: State) -> Intent | None:
        if self.watching != "over":
            return self._watch(state)

        return_to = self.return_to
        self.return_to = None
        if return_to is not None and state.t == return_to + 1:
            return Intent("-t")
        if (
            self._crossing_begins(state)
            and state.t not in self.looked_ahead
            and self.style.explore > 0.5
        ):
            self.looked_ahead |= {state.t}
            self.return_to = state.t
            return Intent("+t")
        return None

    def _watch(self, state: State) -> Intent | None:
        if self.watching == "undecided":
            thorough = self.style.explore > 0.5 and not state.edits
            self.watching = "forward" if thorough else "over"
        if self.watching == "forward" and state.t == self.world.frames - 1:
            self.watching = "back"
        if state.edits or (self.watching == "back" and state.t == 0):
            self.watching = "over"

        if self.watching == "over":
            return None
        return Intent("+t" if self.watching == "forward" else "-t")

    def _crossing_begins(self, state: State) -> bool:
        """Return whether a crossing begins in this frame and the frame is the next one to mark.

        All frames before it must be complete, and nothing may be marked in it yet. In the last
        frame there is nothing to look ahead to.
        """
        t = state.t
        crossing = self.world.crossing
        if not 0 < t < self.world.frames - 1 or not crossing[t] or crossing[t - 1]:
            return False
        placed = latest_markers(state.edits)
        return self._first_open(state) == t and not any(
            (t, k, part) in placed for k in range(self.world.animals) for part in (0, 1)
        )

    def complete(self, state: State) -> bool:
        return self._first_open(state) is None

    def _first_open(self, state: State) -> int | None:
        """Return the first frame in which a marker is missing, or None."""
        placed = latest_markers(state.edits)
        parts = [(k, part) for k in range(self.world.animals) for part in (0, 1)]
        for t in range(self.world.frames):
            for k, part in parts:
                if (t, k, part) not in placed:
                    return t
        return None

    def _unmarked(self, state: State, t: int) -> list[int]:
        """Return the animals with a missing marker in a frame."""
        placed = latest_markers(state.edits)
        return [
            k
            for k in range(self.world.animals)
            if (t, k, 0) not in placed or (t, k, 1) not in placed
        ]

    def annotate(self, state: State) -> Intent | None:
        t = self._first_open(state)
        if t is None:
            return None
        if t != state.t:
            return Intent("+t" if t > state.t else "-t")

        unmarked = self._unmarked(state, t)
        if state.animal not in unmarked:
            return Intent(f"animal{unmarked[0] + 1}")
        if (t, state.animal, state.part) in latest_markers(state.edits):
            return Intent(PARTS[1 - state.part])
        return self._mark(state)

    def _mark(self, state: State) -> Intent:
        """Place the selected marker.

        If the other marker of the animal is on a wrong point, this one goes to the other end of the
        animal there.
        """
        own = (state.animal, state.part)
        other = (state.animal, 1 - state.part)
        target = self.world.point(state.t, *own)

        index = latest_markers(state.edits).get((state.t, *other))
        if index is None:
            return self.put(target)
        marker = state.edits[index]
        marked = self.world.near(state.t, marker.u, marker.v)
        if marked is None or marked == other:
            return self.put(target)

        animal, part = marked
        mistaken = self.put(self.world.point(state.t, animal, 1 - part))
        kind = "lapse" if animal == state.animal else "confusion"
        return mistaken._replace(mistake=kind, target=target)

    # Mistakes

    def blunder(self, state: State, kind: str) -> Intent | None:
        plan = self.annotate(state)
        if plan is None or plan.mistake:
            return None
        placed = latest_markers(state.edits)

        # Forget to change the tab
        if plan.widget.startswith("animal") and kind == "lapse":
            if state.part != 0 or (state.t, state.animal, 0) not in placed:
                return None
            animal = int(plan.widget.removeprefix("animal")) - 1
            return self.put(self.world.point(state.t, animal, 0))

        target = plan.target
        if plan.widget != "canvas" or target is None:
            return None
        if kind == "slip":
            return self.beside(state, target)

        # Other mistakes begin with the front: `_mark` makes the back follow
        if state.part != 0 or (state.t, state.animal, 1) in placed:
            return None
        if kind == "lapse":
            animal, part = state.animal, 1
        else:
            others = [k for k in range(self.world.animals) if k != state.animal]
            fronts = {k: self.world.point(state.t, k, 0) for k in others}
            animal, part = min(others, key=lambda k: math.dist(fronts[k], target)), 0
        return self.put(self.world.point(state.t, animal, part))._replace(target=target)

    def visible(self, state: State, mistake: Mistake) -> bool:
        """Return whether the mistake can be noticed in this frame.

        A wrong animal can also be noticed in the next frame, because its marks jump.
        """
        assert mistake.edit is not None  # this task never reports an omission
        t = state.edits[mistake.edit].t
        return state.t == t or (mistake.kind == "confusion" and state.t == t + 1)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        wrong = [state.edits[m.edit] for m in mistakes if m.edit is not None]
        if state.edits[-1] in wrong:
            return Intent("undo")

        # Start with what is shown and selected, to save clicks
        first = min(
            wrong,
            key=lambda marker: (
                marker.t != state.t,
                marker.t,
                marker.animal != state.animal,
                marker.animal,
                marker.part != state.part,
            ),
        )
        if first.t != state.t:
            return Intent("+t" if first.t > state.t else "-t")
        if first.animal != state.animal:
            return Intent(f"animal{first.animal + 1}")
        if first.part != state.part:
            return Intent(PARTS[first.part])
        return self.put(self.world.point(state.t, first.animal, first.part))
