"""The virtual annotator of limb tracking."""

from __future__ import annotations

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.limb_tracking.interface import NO_PART, State, first_open, latest_entries
from lastmile.tasks.limb_tracking.world import CLEAR, PARTLY, LimbTrackingWorld
from lastmile.tasks.task import Mistake

MIN_SEPARATION = 7.0
"""Key points closer than this are never confused, since nobody could tell, logical px."""


class LimbTrackingAnnotator(Annotator[LimbTrackingWorld, State]):
    """Watch the animal walk, mark frame after frame, then go back through the frames to check.

    The annotator first watches part of the video. In each frame it marks all key points in the
    order of the tabs, calling hidden ones hidden.

    Mistakes in the current frame are noticed right away or later while the frame is shown, and
    mistakes in the frame before through its faint points. Swapped legs are easily overlooked in
    their own frame: they are noticed right away, in the next frame, or in the check. A key point
    left out is noticed when its frame is shown again. The last point is removed with `Undo`; to
    repair an older one the annotator goes to its frame, opens its tab and enters it again.

    Attributes:
        frames_to_watch: Frames still to watch before the work begins; None before the decision.
        forgotten: (frame, part) of the key points that it left out.
        swapped: (frame, part) whose own point was just marked as its partner; the partner goes
            there next. None if there is no such point.
        reviewed: Frames seen in the final check.
    """

    weights = {"slip": 0.42, "confusion": 0.24, "lapse": 0.34}
    decisions = frozenset({"undo", "done", "hidden"})

    frames_to_watch: int | None = None
    forgotten: frozenset[tuple[int, int]] = frozenset()
    swapped: tuple[int, int] | None = None
    reviewed: frozenset[int] = frozenset()

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        last = self.world.frames - 1
        if self.frames_to_watch is None:
            self.frames_to_watch = int(self.style.explore**2 * last)

        if self.frames_to_watch > 0 and state.t < last:
            self.frames_to_watch -= 1
            return Intent("+t")
        self.frames_to_watch = 0
        return Intent("-t") if state.t > 0 else None

    def annotate(self, state: State) -> Intent | None:
        part = self._next_part(state)
        if part is not None:
            return self._open_or_enter(state, part)
        open_frames = [t for t in range(self.world.frames) if self._is_open(state, t)]
        if not open_frames:
            return None
        return Intent("+t" if open_frames[-1] > state.t else "-t")

    def verify(self, state: State) -> Intent | None:
        frames = self.world.frames
        if self.phase not in ("verify", "correct"):
            to_review = frames if self.style.verify >= 0.5 else 2
            self.reviewed = frozenset(range(frames - to_review))
        self.reviewed |= {state.t}
        remaining = [t for t in range(frames) if t not in self.reviewed]
        if not remaining:
            return None
        return Intent("-t" if remaining[0] < state.t else "+t")

    def blunder(self, state: State, kind: str) -> Intent | None:
        t = state.t
        part = state.part
        if part == NO_PART or self._next_part(state) != part:
            return None

        can_see = bool(self.world.seen[t, part] >= PARTLY)
        if kind == "slip":
            return self.beside(state, self.world.point(t, part)) if can_see else None
        if kind == "confusion":
            return self._swap_sides(state, can_see)
        return self._forget_or_skip_tab(state, can_see)

    def _swap_sides(self, state: State, can_see: bool) -> Intent | None:
        """Put the point of the active tab on the same paw of the other side."""
        t = state.t
        part = state.part
        partner = self.world.skeleton.partner[part]
        if partner is None or self.world.seen[t, partner] != CLEAR:
            return None
        if can_see and not self._apart(t, part, partner):
            return None

        # The swap is usually complete: the partner will be put on this key point
        if can_see and (t, partner) not in latest_entries(state.edits):
            self.swapped = (t, partner)
        return self._put_on(t, part, partner, can_see)

    def _forget_or_skip_tab(self, state: State, can_see: bool) -> Intent | None:
        """Leave out the last key point of a frame, or put the next one under the active tab."""
        t = state.t
        part = state.part
        if can_see and part == len(self.world.skeleton.names) - 1 and t < self.world.frames - 1:
            self.forgotten |= {(t, part)}
            return Intent("+t")

        later = range(part + 1, len(self.world.skeleton.names))
        following = next((p for p in later if self.world.seen[t, p] == CLEAR), None)
        if following is None or following == self.world.skeleton.partner[part]:
            return None
        if can_see and not self._apart(t, part, following):
            return None
        return self._put_on(t, part, following, can_see)

    def visible(self, state: State, mistake: Mistake) -> bool:
        frame, _ = _where(state, mistake)
        if mistake.edit is None:
            return frame == state.t
        if mistake.kind == "confusion" and frame == state.t:
            return self.phase in ("verify", "correct") or mistake.edit == len(state.edits) - 1
        return frame in (state.t, state.t - 1)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        if any(mistake.edit == len(state.edits) - 1 for mistake in mistakes):
            self.swapped = None
            return Intent("undo")

        entries = [_where(state, mistake) for mistake in mistakes]
        frame, part = min(entries, key=lambda entry: (abs(entry[0] - state.t), entry))
        if frame != state.t:
            return Intent("+t" if frame > state.t else "-t")
        return self._open_or_enter(state, part)

    def _is_open(self, state: State, t: int) -> bool:
        """Return whether a key point of a frame has no entry and was not forgotten."""
        entries = latest_entries(state.edits)
        return any(
            (t, part) not in entries and (t, part) not in self.forgotten
            for part in range(len(self.world.skeleton.names))
        )

    def _next_part(self, state: State) -> int | None:
        """Return the key point to enter next in this frame, or None if it seems complete.

        This is the key point of the active tab if it is open, else the first one without an entry.
        """
        t = state.t
        active = (t, state.part)
        entries = latest_entries(state.edits)
        if state.part != NO_PART and active not in entries and active not in self.forgotten:
            return state.part
        count = len(self.world.skeleton.names)
        return first_open(state.edits, t, count) if self._is_open(state, t) else None

    def _open_or_enter(self, state: State, part: int) -> Intent:
        """Open the tab of a key point; once it is open, place the point or call it hidden."""
        if part != state.part:
            return Intent(f"part{part}")

        t = state.t
        if self.swapped == (t, part):
            self.swapped = None
            partner = self.world.skeleton.partner[part]
            if (
                partner is not None
                and self.world.seen[t, partner] == CLEAR
                and (t, part) not in latest_entries(state.edits)
            ):
                return self._put_on(t, part, partner, True)._replace(mistake="confusion")
        if self.world.seen[t, part] < PARTLY:
            return Intent("hidden")
        return self.put(self.world.point(t, part))

    def _put_on(self, t: int, part: int, other: int, can_see: bool) -> Intent:
        """Put a key point on the position of another one."""
        target = self.world.point(t, part) if can_see else None
        return self.put(self.world.point(t, other))._replace(target=target)

    def _apart(self, t: int, part: int, other: int) -> bool:
        """Return whether two key points are far enough from each other to be told apart."""
        u, v = self.world.point(t, part)
        x, y = self.world.point(t, other)
        return (u - x) ** 2 + (v - y) ** 2 > MIN_SEPARATION**2


def _where(state: State, mistake: Mistake) -> tuple[int, int]:
    """Return frame and key point of a mistake."""
    if mistake.edit is None:
        assert isinstance(mistake.omitted, tuple)
        frame, part = mistake.omitted
        return frame, part
    point = state.edits[mistake.edit]
    return point.frame, point.part
