"""The virtual annotator of object exploration."""

from __future__ import annotations

from functools import lru_cache

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.object_exploration.interface import State
from lastmile.tasks.object_exploration.world import CLASSES, YAWS
from lastmile.tasks.task import RIGHT, Mistake


class ObjectExplorationAnnotator(Annotator):
    """Chooses by what has been seen so far, and goes round the object ring by ring until nothing can change the choice any more.

    The first kind of feature that is seen well is chosen at once; a second kind that comes into sight changes the choice. The map tells
    which sides are still to be seen: the present ring first, to the right unless the left is nearer, then the nearest ring, the upper one
    first. Now and then a ring that shows one kind only is taken for the whole: then the check goes on with the sides left out, all of
    them or, when hasty and nothing speaks against the choice, most.
    """

    weights = {"slip": 0.4, "confusion": 0.4, "lapse": 0.2}
    decisions = frozenset({"undo", "done", *(f"class-{kinds}" for kinds in CLASSES)})

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.considered = 0  # sides seen when it was last thought about to stop
        self.tempted = False
        self.looks: tuple[str, ...] | None = None  # turns left in the last look

    def explore(self, state: State) -> Intent | None:
        if self._outdated(state) or self._known(state):
            return None
        if (
            _ring_seen(state.seen, state.pitch + self.world.levels)
            and self.considered != state.seen
        ):
            self.considered = state.seen
            self.tempted = self.rng.random() < 0.4 * self.task.mistake_rate * self.style.mistakes
        return None if self.tempted and state.edits else self._sweep(state)

    def annotate(self, state: State) -> Intent | None:
        return self._choose(self.world.evident(state.seen)) if self._outdated(state) else None

    def verify(self, state: State) -> Intent | None:
        content = self.style.verify < 0.5
        if not self._known(state) and not (
            content and state.seen.bit_count() >= 0.92 * self.world.sides
        ):
            self.looks = None
            return self._sweep(state)
        if self.phase != "verify" or self.looks is None:
            self.looks = (
                ("right", "left", "left", "right") if self.style.verify > 0.9 else ("right", "left")
            )
        if not self.looks:
            self.looks = None
            return None
        turn, self.looks = self.looks[0], self.looks[1:]
        return Intent(turn)

    def blunder(self, state: State, kind: str) -> Intent | None:
        """A wrong class where one is chosen; in a lapse the kind that was seen first is forgotten over the second."""
        if not self._outdated(state):
            return None
        evident, chosen = (
            self.world.evident(state.seen),
            state.edits[-1].kinds if state.edits else 0,
        )
        if kind == "slip":
            return self._choose(CLASSES[evident].beside)
        if kind == "lapse":
            return (
                self._choose(evident & ~chosen)
                if evident.bit_count() == 2 and evident & ~chosen in CLASSES
                else None
            )
        others = [
            other
            for other in CLASSES
            if other & ~self.world.kinds and other != CLASSES[evident].beside
        ]
        return self._choose(others[int(self.rng.integers(len(others)))])

    def visible(self, state: State, mistake: Mistake) -> bool:
        """A class that did not fit when it was chosen; one that is out of date is not repaired but changed."""
        return self.task.judge(self.world, state.edits[:-1], state.edits[-1]) != RIGHT

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        if mistakes[-1].kind == "slip":
            return Intent("undo")
        evident = self.world.evident(state.seen)
        return self._choose(evident) if evident else self._sweep(state)

    def _outdated(self, state: State) -> bool:
        """Whether what has been seen calls for another choice."""
        evident = self.world.evident(state.seen)
        return bool(evident) and (not state.edits or state.edits[-1].kinds != evident)

    def _known(self, state: State) -> bool:
        """Whether what has been seen is enough to tell the class."""
        return (
            self.world.evident(state.seen).bit_count() == 2
            or state.seen.bit_count() == self.world.sides
        )

    def _sweep(self, state: State) -> Intent:
        return Intent(
            _next_turn(
                state.yaw, state.pitch + self.world.levels, state.seen, 2 * self.world.levels + 1
            )
        )

    @staticmethod
    def _choose(kinds: int) -> Intent:
        return Intent(f"class-{kinds}")


def _ring_seen(seen: int, ring: int) -> bool:
    full = (1 << YAWS) - 1
    return seen >> YAWS * ring & full == full


@lru_cache(maxsize=8192)
def _next_turn(yaw: int, ring: int, seen: int, rings: int) -> str:
    """The turn towards the next side not yet seen: in this ring, else in the nearest one, the upper first."""
    if not _ring_seen(seen, ring):
        row = seen >> YAWS * ring
        ahead = next(k for k in range(YAWS) if not row >> (yaw + k) % YAWS & 1)
        behind = next(k for k in range(YAWS) if not row >> (yaw - k) % YAWS & 1)
        return "right" if ahead <= behind else "left"
    nearest = min(
        (r for r in range(rings) if not _ring_seen(seen, r)), key=lambda r: (abs(r - ring), -r)
    )
    return "up" if nearest > ring else "down"
