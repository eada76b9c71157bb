"""The virtual annotator of colored dots."""

from __future__ import annotations

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.colored_dots.interface import State
from lastmile.tasks.colored_dots.world import ColoredDotsWorld
from lastmile.tasks.task import Mistake


class ColoredDotsAnnotator(Annotator[ColoredDotsWorld, State]):
    """Marks dot after dot in the order of their hue, each in its own slice.

    It first looks at the projection and, unless hasty, goes through the stack once. While it works
    it looks at the projection now and then to see which dot comes next, and sometimes steps one
    slice past a dot to find where it is sharpest. At the end it compares markers and dots in the
    projection; if careful, it goes through the slices once more.

    Attributes:
        scan: Slices left to go up in the first scan; -1 before it has decided on one.
        looked: Number of markers at its last look at the projection; -1 before the first look.
        passed: The dot whose slice it stepped past, or decided not to.
        heading: Direction of its last step through the stack: 1 up, -1 down, 0 before the first.
        sweep: Slices left to visit in the final check; None before it has decided.
    """

    weights = {"slip": 0.45, "confusion": 0.2, "lapse": 0.35}

    scan: int = -1
    looked: int = -1
    passed: int = -1
    heading: int = 0
    sweep: tuple[int, ...] | None = None

    def explore(self, state: State) -> Intent | None:
        """Look at the projection, then scan the stack to its top."""
        if state.edits:
            return None

        if self.looked < 0:
            self.looked = 0
            if not state.mip:
                return Intent("mip")
        if self.scan < 0:
            top = self.world.slices - 1
            self.scan = top - state.z if self.style.explore > 0.5 else 0

        if state.mip:
            return Intent("mip")
        if self.scan > 0 and state.z < self.world.slices - 1:
            self.scan -= 1
            self.heading = 1
            return Intent("+z")
        return None

    def annotate(self, state: State) -> Intent | None:
        """Go to the slice of the next dot and mark it."""
        dot = self.world.following(state.edits)
        if dot < 0:
            return None
        if state.mip:
            return Intent("mip")

        # After a new marker it may look at the projection to see which dot comes next.
        if (
            self.looked != len(state.edits)
            and self.phase == "annotate"
            and state.edits != self.edits
        ):
            self.looked = len(state.edits)
            if self.rng.random() < 0.05 + 0.2 * self.style.explore:
                return Intent("mip")

        z = int(self.world.z[dot])
        if state.z != z:
            self.heading = 1 if z > state.z else -1
            return self._step(self.heading)

        # In the right slice it may step past the dot, once, to be sure that it blurs again.
        beyond = z + self.heading
        if self.heading and self.passed != dot and 0 <= beyond < self.world.slices:
            self.passed = dot
            if self.rng.random() < 0.05 + 0.15 * self.style.verify:
                return self._step(self.heading)
        return self.put(self._point(dot))

    def verify(self, state: State) -> Intent | None:
        """Compare in the projection; if careful, walk through the stack from its nearer end."""
        if self.phase != "verify":
            self.sweep = None
            if not state.mip:
                return Intent("mip")
        if state.mip:
            return Intent("mip")

        if self.sweep is None:
            last = self.world.slices - 1
            near, far = (0, last) if state.z < last / 2 else (last, 0)
            self.sweep = (near, far) if self.style.verify > 0.9 else ()
        while self.sweep and state.z == self.sweep[0]:
            self.sweep = self.sweep[1:]
        return self._step(1 if self.sweep[0] > state.z else -1) if self.sweep else None

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Miss the dot, mark it one slice away from its own, or mark the blur of another dot."""
        dot = self.world.following(state.edits)
        if dot < 0 or state.mip:
            return None

        away = abs(int(self.world.z[dot]) - state.z)
        if kind == "slip" and away == 0:
            return self.beside(state, self._point(dot))
        if kind == "lapse" and away == 1:
            return self.put(self._point(dot))
        if kind == "confusion" and away == 0:
            blurred = [
                k
                for k in range(len(self.world.z))
                if k != dot and 1 <= abs(int(self.world.z[k]) - state.z) <= 2
            ]
            if blurred:
                other = int(self.rng.choice(blurred))
                return self.put(self._point(other))._replace(target=self._point(dot))
        return None

    def visible(self, state: State, mistake: Mistake) -> bool:
        """See markers of this slice and its neighbors, and all of them in the projection."""
        assert mistake.edit is not None  # nothing can be left out in this task
        return state.mip or abs(state.edits[mistake.edit].z - state.z) <= 1

    def _point(self, dot: int) -> tuple[float, float]:
        return float(self.world.xy[dot, 0]), float(self.world.xy[dot, 1])

    @staticmethod
    def _step(direction: int) -> Intent:
        return Intent("+z" if direction > 0 else "-z")
