"""The virtual annotator of limb tracking."""

from __future__ import annotations

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.limb_tracking.interface import State, standing, vacant
from lastmile.tasks.limb_tracking.world import CLEAR, HIDDEN, NAMES, PARTNER
from lastmile.tasks.task import Mistake

_APART = 7.0  # px; legs closer than this are not swapped, since nobody could tell


class LimbTrackingAnnotator(Annotator):
    """Watches some way into the video to see how the animal walks, goes back, then marks frame after frame all key points in the order
    of the tabs, calling hidden what is hidden; at the end goes back through the frames to check.

    Mistakes on the present frame are seen at once or while it is in view, swapped legs only at once or when the next frame shows the
    points of the one before faintly; points left out when the check comes to their frame. The last point is taken back with Undo; to
    repair an older one the annotator goes to its frame, opens its tab and places it again.
    """

    weights = {"slip": 0.42, "confusion": 0.24, "lapse": 0.34}
    decisions = frozenset({"undo", "done", "hidden"})

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.ahead = -1  # frames still to watch before the work; -1: not decided yet
        self.left: frozenset[tuple[int, int]] = frozenset()  # (frame, part) that it forgot
        self.swap = (-1, -1)  # (frame, part) whose partner was just mistaken for it
        self.reviewed: frozenset[int] = frozenset()

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        if self.ahead < 0:
            self.ahead = int(self.style.explore**2 * (self.world.frames - 1))
        if self.ahead > 0 and state.t < self.world.frames - 1:
            self.ahead -= 1
            return Intent("+t")
        self.ahead = 0
        return Intent("-t") if state.t > 0 else None

    def annotate(self, state: State) -> Intent | None:
        part = self._next(state)
        if part >= 0:
            return self._enter(state, part) if part == state.part else Intent(f"part{part}")
        open_frames = [t for t in range(self.world.frames) if self._todo(state, t)]
        if not open_frames:
            return None
        return Intent("+t" if open_frames[-1] > state.t else "-t")

    def verify(self, state: State) -> Intent | None:
        frames = self.world.frames
        if self.phase not in ("verify", "correct"):
            unchecked = frames if self.style.verify >= 0.5 else 2
            self.reviewed = frozenset(range(frames - unchecked))
        self.reviewed |= {state.t}
        remaining = [t for t in range(frames) if t not in self.reviewed]
        if not remaining:
            return None
        return Intent("-t" if remaining[0] < state.t else "+t")

    def blunder(self, state: State, kind: str) -> Intent | None:
        t, part = state.t, state.part
        if part < 0 or self._next(state) != part:
            return None
        clear = self.world.seen[t, part] != HIDDEN
        if kind == "slip":
            return self.beside(state, self.world.point(t, part)) if clear else None
        if kind == "confusion":
            other = PARTNER[part]
            if (
                other < 0
                or self.world.seen[t, other] != CLEAR
                or clear
                and not self._apart(t, part, other)
            ):
                return None
            if clear and (t, other) not in standing(state.edits):
                self.swap = (t, other)
            return self._misplace(t, part, other, clear)
        following = next(
            (p for p in range(part + 1, len(NAMES)) if self.world.seen[t, p] == CLEAR), -1
        )
        if clear and part == len(NAMES) - 1 and t < self.world.frames - 1:
            self.left |= {(t, part)}
            return Intent("+t")
        if (
            following < 0
            or clear
            and not self._apart(t, part, following)
            or following == PARTNER[part]
        ):
            return None
        return self._misplace(t, part, following, clear)

    def visible(self, state: State, mistake: Mistake) -> bool:
        frame, _ = self._where(state, mistake)
        if mistake.edit is None:
            return frame == state.t
        if mistake.kind == "confusion" and frame == state.t:
            return self.phase in ("verify", "correct") or mistake.edit == len(state.edits) - 1
        return frame in (state.t, state.t - 1)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        if any(m.edit == len(state.edits) - 1 for m in mistakes):
            self.swap = (-1, -1)
            return Intent("undo")
        places = [self._where(state, m) for m in mistakes]
        frame, part = min(places, key=lambda place: (abs(place[0] - state.t), place))
        if frame != state.t:
            return Intent("+t" if frame > state.t else "-t")
        return self._enter(state, part) if part == state.part else Intent(f"part{part}")

    def _todo(self, state: State, t: int) -> bool:
        known = standing(state.edits)
        return any(
            (t, part) not in known and (t, part) not in self.left for part in range(len(NAMES))
        )

    def _next(self, state: State) -> int:
        """The key point of the present frame to be marked next: that of the active tab if it is open, else the first open one; or -1."""
        known, t = standing(state.edits), state.t
        if state.part >= 0 and (t, state.part) not in known and (t, state.part) not in self.left:
            return state.part
        return vacant(state.edits, t) if self._todo(state, t) else -1

    def _enter(self, state: State, part: int) -> Intent:
        """Mark the key point of the active tab, or call it hidden."""
        t = state.t
        if self.swap == (t, part):
            self.swap = (-1, -1)
            if self.world.seen[t, PARTNER[part]] == CLEAR and (t, part) not in standing(
                state.edits
            ):
                return self._misplace(t, part, PARTNER[part], True)._replace(mistake="confusion")
        return (
            Intent("hidden")
            if self.world.seen[t, part] == HIDDEN
            else self.put(self.world.point(t, part))
        )

    def _misplace(self, t: int, part: int, where: int, clear: bool) -> Intent:
        return self.put(self.world.point(t, where))._replace(
            target=self.world.point(t, part) if clear else None
        )

    def _apart(self, t: int, one: int, other: int) -> bool:
        (u, v), (x, y) = self.world.point(t, one), self.world.point(t, other)
        return (u - x) ** 2 + (v - y) ** 2 > _APART**2

    @staticmethod
    def _where(state: State, mistake: Mistake) -> tuple[int, int]:
        """Frame and key point."""
        return mistake.omitted if mistake.edit is None else state.edits[mistake.edit][:2]
