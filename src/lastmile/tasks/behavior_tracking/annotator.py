"""The virtual annotator of behavior tracking."""

from __future__ import annotations

import math

from lastmile.tasks.annotator import Intent, MovieAnnotator
from lastmile.tasks.behavior_tracking.interface import PARTS, State
from lastmile.tasks.task import Mistake


class BehaviorTrackingAnnotator(MovieAnnotator):
    """First watches the video to its end and back, unless hasty. Then frame by frame: front and back of the selected animal, then of the others from
    the lowest number, and on to the next frame when all are marked. Where two animals begin to cross it looks a frame ahead and comes
    back before it marks. At the end it goes back through the frames and compares.

    Mistakes keep their consequences: after a front on the wrong animal the back goes to that animal as well, and after a front on the tail
    the back goes to the head.
    """

    weights = {"slip": 0.4, "confusion": 0.3, "lapse": 0.3}

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.watch = 0  # direction of the first look through the video: 0 not decided yet, 1 forward, -1 back, 2 over
        self.home = -1  # frame to come back to after a look ahead
        self.ahead: frozenset[int] = frozenset()  # frames from which it has looked ahead

    # The right steps

    def explore(self, state: State) -> Intent | None:
        if self.watch != 2:
            return self._watch(state)
        home, self.home = self.home, -1
        if home >= 0 and state.t == home + 1:
            return Intent("-t")
        if self._crossing(state) and state.t not in self.ahead and self.style.explore > 0.5:
            self.ahead |= {state.t}
            self.home = state.t
            return Intent("+t")
        return None

    def _watch(self, state: State) -> Intent | None:
        last = self.world.frames - 1
        if self.watch == 0:
            self.watch = 1 if self.style.explore > 0.5 and not state.edits else 2
        if self.watch == 1 and state.t == last:
            self.watch = -1
        if state.edits or (self.watch == -1 and state.t == 0):
            self.watch = 2
        return None if self.watch == 2 else Intent("+t" if self.watch == 1 else "-t")

    def _crossing(self, state: State) -> bool:
        """Whether a crossing begins in this frame, nothing is marked in it yet, all before is, and it is not the last."""
        t, crossing = state.t, self.world.crossing
        if not 0 < t < self.world.frames - 1 or not crossing[t] or crossing[t - 1]:
            return False
        return self._first_open(state) == t and not any(
            (t, k, part) in self.interface.standing(state)
            for k in range(self.world.animals)
            for part in (0, 1)
        )

    def complete(self, state: State) -> bool:
        return self._first_open(state) < 0

    def _first_open(self, state: State) -> int:
        """The first frame in which a marker is missing, or -1."""
        placed, animals = self.interface.standing(state), range(self.world.animals)
        frames = range(self.world.frames)
        return next(
            (
                t
                for t in frames
                if any((t, k, part) not in placed for k in animals for part in (0, 1))
            ),
            -1,
        )

    def annotate(self, state: State) -> Intent | None:
        t = self._first_open(state)
        if t < 0:
            return None
        if t != state.t:
            return Intent("+t" if t > state.t else "-t")
        placed = self.interface.standing(state)
        missing = [
            k
            for k in range(self.world.animals)
            if (t, k, 0) not in placed or (t, k, 1) not in placed
        ]
        if state.animal not in missing:
            return Intent(f"animal{missing[0] + 1}")
        if (t, state.animal, state.part) in placed:
            return Intent(PARTS[1 - state.part])
        return self._mark(state)

    def _mark(self, state: State) -> Intent:
        """The marker of the selected animal and type; if its other end was put on a wrong point, the marker goes to that one's other end."""
        own, other = (state.animal, state.part), (state.animal, 1 - state.part)
        index = self.interface.standing(state).get((state.t, *other))
        taken = other if index is None else self.world.near(state.t, *state.edits[index][3:])
        if taken in (other, (-1, -1)):
            return self.put(self.world.point(state.t, *own))
        wrong = self.put(self.world.point(state.t, taken[0], 1 - taken[1]))
        return wrong._replace(
            mistake="lapse" if taken[0] == own[0] else "confusion",
            target=self.world.point(state.t, *own),
        )

    # Mistakes

    def blunder(self, state: State, kind: str) -> Intent | None:
        plan = self.annotate(state)
        if plan is None or plan.mistake:
            return None
        if plan.widget.startswith("animal") and kind == "lapse":
            placed = self.interface.standing(state)
            if state.part != 0 or (state.t, state.animal, 0) not in placed:
                return None
            return self.put(self.world.point(state.t, int(plan.widget[6:]) - 1, 0))
        if plan.widget != "canvas":
            return None
        if kind == "slip":
            return self.beside(state, plan.target)
        if state.part != 0 or (state.t, state.animal, 1) in self.interface.standing(state):
            return None
        if kind == "lapse":
            wrong = state.animal, 1
        else:
            others = [k for k in range(self.world.animals) if k != state.animal]
            near = min(
                others, key=lambda k: math.dist(self.world.point(state.t, k, 0), plan.target)
            )
            wrong = near, 0
        return self.put(self.world.point(state.t, *wrong))._replace(target=plan.target)

    def visible(self, state: State, mistake: Mistake) -> bool:
        """A wrong animal shows in the next frame too, by the jump of its marks."""
        t = state.edits[mistake.edit].t
        return state.t == t or (mistake.kind == "confusion" and state.t == t + 1)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        wrong = [state.edits[m.edit] for m in mistakes]
        if state.edits[-1] in wrong:
            return Intent("undo")
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
