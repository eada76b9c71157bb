"""The virtual annotator of object exploration."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.object_exploration.interface import State
from lastmile.tasks.object_exploration.world import CLASSES, YAWS, ObjectExplorationWorld
from lastmile.tasks.task import RIGHT, Mistake


class ObjectExplorationAnnotator(Annotator[ObjectExplorationWorld, State]):
    """Chooses a class by what it has seen, and goes around until nothing can change the choice.

    The first kind of feature that is seen well is chosen at once; a second kind that comes into
    sight changes the choice. The map tells which sides are still unseen: those of the current ring
    come first, to the right unless the left is nearer, then those of the nearest ring, the upper
    one first. Now and then a ring that shows only one kind is taken for the whole object. The
    check then goes through the sides left out: all of them or, if the annotator is hasty and
    nothing contradicts the choice, most.

    Attributes:
        considered: Sides seen when it last thought about stopping, a bit each.
        tempted: Whether it then decided to stop.
        looks: Turns left in the last look around; None before the last look.
    """

    weights = {"slip": 0.4, "confusion": 0.4, "lapse": 0.2}
    decisions = frozenset({"undo", "done", *(f"class-{kinds}" for kinds in CLASSES)})

    considered: int = 0
    tempted: bool = False
    looks: tuple[str, ...] | None = None

    def explore(self, state: State) -> Intent | None:
        """Go to the next unseen side, until the class is known or it is tempted to stop."""
        if self._outdated(state) or self._known(state):
            return None
        ring = state.pitch + self.world.levels
        if _ring_seen(state.seen, ring) and self.considered != state.seen:
            self.considered = state.seen
            self.tempted = self.rng.random() < 0.4 * self.task.mistake_rate * self.style.mistakes
        return None if self.tempted and state.edits else self._sweep(state)

    def annotate(self, state: State) -> Intent | None:
        """Choose the class that fits what has been seen."""
        return self._choose(self.world.evident(state.seen)) if self._outdated(state) else None

    def verify(self, state: State) -> Intent | None:
        """See the sides left out, then look around once more."""
        content = self.style.verify < 0.5 and state.seen.bit_count() >= 0.92 * self.world.sides
        if not self._known(state) and not content:
            self.looks = None
            return self._sweep(state)

        if self.phase != "verify" or self.looks is None:
            careful = self.style.verify > 0.9
            self.looks = ("right", "left", "left", "right") if careful else ("right", "left")
        if not self.looks:
            self.looks = None
            return None
        turn = self.looks[0]
        self.looks = self.looks[1:]
        return Intent(turn)

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Choose a wrong class; in a lapse, forget the first kind because of the second."""
        if not self._outdated(state):
            return None
        evident = self.world.evident(state.seen)
        if kind == "slip":
            return self._choose(CLASSES[evident].beside)
        if kind == "lapse":
            chosen = state.edits[-1].kinds if state.edits else 0
            second = evident & ~chosen
            return self._choose(second) if evident.bit_count() == 2 and second in CLASSES else None

        others = [
            other
            for other in CLASSES
            if other & ~self.world.kinds and other != CLASSES[evident].beside
        ]
        return self._choose(others[int(self.rng.integers(len(others)))])

    def visible(self, state: State, mistake: Mistake) -> bool:
        """Return whether the class did not fit when it was chosen.

        A class that did fit, but is out of date, is changed by the work and needs no repair.
        """
        return self.task.judge(self.world, state.edits[:-1], state.edits[-1]) != RIGHT

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """Undo a slip; otherwise choose again, after another look if nothing is evident."""
        if mistakes[-1].kind == "slip":
            return Intent("undo")
        evident = self.world.evident(state.seen)
        return self._choose(evident) if evident else self._sweep(state)

    def _outdated(self, state: State) -> bool:
        """Return whether what has been seen calls for another choice."""
        if state.edits and (len(state.edits) - 1, state.edits[-1]) in self.overlooked:
            return False  # it takes its choice for right
        evident = self.world.evident(state.seen)
        return bool(evident) and (not state.edits or state.edits[-1].kinds != evident)

    def _known(self, state: State) -> bool:
        """Return whether enough has been seen to tell the class."""
        return (
            self.world.evident(state.seen).bit_count() == 2
            or state.seen.bit_count() == self.world.sides
        )

    def _sweep(self, state: State) -> Intent:
        """Return the turn towards the next unseen side."""
        levels = self.world.levels
        return Intent(_next_turn(state.yaw, state.pitch + levels, state.seen, 2 * levels + 1))

    @staticmethod
    def _choose(kinds: int) -> Intent:
        return Intent(f"class-{kinds}")


def _ring_seen(seen: int, ring: int) -> bool:
    """Return whether all sides of a ring (a pitch, counted from the lowest) have been seen."""
    full = (1 << YAWS) - 1
    return seen >> YAWS * ring & full == full


@lru_cache(maxsize=8192)
def _next_turn(yaw: int, ring: int, seen: int, rings: int) -> str:
    """Return the turn towards the next unseen side.

    It is in this ring or, if this one has been seen, in the nearest ring, the upper one first.
    """
    if not _ring_seen(seen, ring):
        row = seen >> YAWS * ring
        ahead = next(k for k in range(YAWS) if not row >> (yaw + k) % YAWS & 1)
        behind = next(k for k in range(YAWS) if not row >> (yaw - k) % YAWS & 1)
        return "right" if ahead <= behind else "left"

    unseen = [r for r in range(rings) if not _ring_seen(seen, r)]
    nearest = min(unseen, key=lambda r: (abs(r - ring), -r))
    return "up" if nearest > ring else "down"
