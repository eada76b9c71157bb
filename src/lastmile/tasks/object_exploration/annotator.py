"""The virtual annotator of object exploration."""

from __future__ import annotations

from functools import lru_cache

from lastmile.annotator import Annotator, Intent
from lastmile.tasks.object_exploration.interface import TURNS, State
from lastmile.tasks.object_exploration.world import CLASSES, FACING, YAWS
from lastmile.tasks.task import Mistake


class ObjectExplorationAnnotator(Annotator):
    """Goes round the object ring by ring until two kinds of features have been seen, or all sides; then chooses the class.

    The map tells which sides are still to be seen: the present ring first, to the right unless the left is nearer, then the nearest ring,
    the upper one first. Before the choice it looks at what decides once more: the second kind when it comes into sight, else the nearest feature
    of the only one, is brought to the middle (the hasty do without). Now and
    then a ring that shows one kind only is taken for the whole: then the check goes on with the sides left out, all of them
    or, when hasty and nothing speaks against the choice, most.
    """

    weights = {"slip": 0.3, "confusion": 0.3, "lapse": 0.4}
    decisions = frozenset({"undo", "done", *(f"class-{kinds}" for kinds in CLASSES)})

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.considered = 0  # sides seen when the class was last thought about
        self.tempted = False
        self.looks: tuple[str, ...] | None = None  # turns left in the last look

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        if self._known(state):
            return self._centre(state)
        if _ring_seen(state.seen, state.pitch + self.world.levels) and self.considered != state.seen:
            self.considered = state.seen
            rate = self.task.mistake_rate * self.style.mistakes * self.weights["lapse"]
            self.tempted = self.rng.random() < rate
        return None if self.tempted else self._sweep(state)

    def annotate(self, state: State) -> Intent | None:
        if state.edits:
            return None
        if self._known(state):
            return self._choose(self.world.kinds)
        self.tempted = False
        guess = self.world.evident(state.seen)
        return self._choose(guess)._replace(mistake="" if guess == self.world.kinds else "lapse")

    def verify(self, state: State) -> Intent | None:
        content = self.style.verify < 0.5 and self.world.evident(state.seen) == state.edits[-1].kinds
        if not self._known(state) and not (content and state.seen.bit_count() >= 0.92 * self.world.sides):
            self.looks = None
            return self._sweep(state)
        if self.phase != "verify" or self.looks is None:
            self.looks = ("right", "left", "left", "right") if self.style.verify > 0.9 else ("right", "left")
        if not self.looks:
            self.looks = None
            return None
        turn, self.looks = self.looks[0], self.looks[1:]
        return Intent(turn)

    def blunder(self, state: State, kind: str) -> Intent | None:
        kinds = self.world.kinds
        if kind == "slip":
            return self._choose(CLASSES[kinds].beside)
        if kind == "confusion":
            others = [other for other in CLASSES if other & kinds and other & ~kinds and other != CLASSES[kinds].beside]
            return self._choose(others[int(self.rng.integers(len(others)))])
        return None

    def visible(self, state: State, mistake: Mistake) -> bool:
        """A wrong class is seen to be wrong once a kind that it lacks has been seen, or everything."""
        return self._known(state) or bool(self.world.evident(state.seen) & ~state.edits[-1].kinds)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        if not self._known(state):
            return self._sweep(state)
        return Intent("undo") if mistakes[-1].kind == "slip" else self._choose(self.world.kinds)

    def _known(self, state: State) -> bool:
        """Whether what has been seen is enough to tell the class."""
        return self.world.evident(state.seen).bit_count() == 2 or state.seen.bit_count() == self.world.sides

    def _centre(self, state: State) -> Intent | None:
        """The turn that brings the feature that decides nearer to the middle; None when it is there, or out of sight."""
        if self.style.explore < 0.5:
            return None
        angles = self.world.decisive_angle
        now = angles[self.world.side(state.yaw, state.pitch)]
        if now > FACING and self.world.kinds.bit_count() == 2:
            return None
        best, turn = min(
            (angles[self.world.side((state.yaw + dx) % YAWS, state.pitch + dy)], turn)
            for turn, (dx, dy) in TURNS.items()
            if abs(state.pitch + dy) <= self.world.levels
        )
        return Intent(turn) if best < now - 1 else None

    def _sweep(self, state: State) -> Intent:
        return Intent(_next_turn(state.yaw, state.pitch + self.world.levels, state.seen, 2 * self.world.levels + 1))

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
    nearest = min((r for r in range(rings) if not _ring_seen(seen, r)), key=lambda r: (abs(r - ring), -r))
    return "up" if nearest > ring else "down"
