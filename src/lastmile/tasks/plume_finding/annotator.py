"""The virtual annotator of plume finding."""

from __future__ import annotations

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.plume_finding.interface import State, closed
from lastmile.tasks.plume_finding.world import (
    MAX_GAP,
    NEAR,
    REACH,
    TOLERANCE,
    PlumeFindingWorld,
    Vertex,
)
from lastmile.tasks.task import Mistake


class PlumeFindingAnnotator(Annotator[PlumeFindingWorld, State]):
    """Searches the bands for the gas, then outlines the plume with evenly spaced vertices.

    It sweeps through all bands one by one, comes back in steps of five until it sees the gas, and
    goes to the band where it is darkest. There it looks at the ratio and outlines the plume
    clockwise from its topmost point. Halfway around and after closing it looks at the ratio again.
    A hasty annotator sweeps in steps of five, stops where it sees the gas, and looks at the ratio
    only at the end.

    A vertex on the border of a cloud shadow beside the plume is recognized in the ratio only, where
    shadows vanish. Repairs undo back to the wrong vertex.

    Attributes:
        sweep: Bands left to go to in the first sweep; None before it has decided.
        looked: Number of vertices at its last look at the ratio; -1 before the first look.
        checks: Buttons left to press in the final check; None outside of it.
        restart: Whether it removes the whole polygon to start over.
    """

    weights = {"slip": 0.4, "confusion": 0.25, "lapse": 0.35}
    decisions = frozenset({"undo", "done", "close"})

    sweep: tuple[int, ...] | None = None
    looked: int = -1
    checks: tuple[str, ...] | None = None
    restart: bool = False

    def explore(self, state: State) -> Intent | None:
        """Sweep through the bands to both ends, or until the gas is seen."""
        if state.edits:
            return None

        last = self.world.bands - 1
        if self.sweep is None:
            nearer_end_first = (0, last) if state.band <= last / 2 else (last, 0)
            self.sweep = nearer_end_first if self._attentive else (last,)
        if not self.sweep:
            return None
        if state.ratio:
            return Intent("ratio")

        # The hasty stop where the gas is seen; it is visible up to two bands from the best.
        if not self._attentive and abs(state.band - self.world.best) <= 2:
            self.sweep = ()
        while self.sweep and state.band == self.sweep[0]:
            self.sweep = self.sweep[1:]
        if not self.sweep:
            return None
        if len(self.sweep) == 1 and self._attentive:
            return Intent("+1" if self.sweep[0] > state.band else "-1")
        return self._go(state, self.sweep[0])

    def annotate(self, state: State) -> Intent | None:
        """Go to the band of the plume, look at its ratio, and set vertex after vertex."""
        if closed(state.edits):
            return None
        self.restart = self.restart and bool(state.edits)
        if self.restart:
            return Intent("undo")
        if state.ratio:
            return Intent("ratio")
        band = self._band(state)
        if state.band != band:
            return self._go(state, band)

        count = len(state.edits)
        if self._attentive and count in (0, 5) and self.looked < count:
            self.looked = count
            return Intent("ratio")
        point = self._following(state)
        return self.put(point) if point else Intent("close")

    def verify(self, state: State) -> Intent | None:
        """Look at the ratio and, if careful, at a neighboring band."""
        if self.phase != "verify" or self.checks is None:
            and_back = ("+1", "-1") if state.band < self.world.bands - 1 else ("-1", "+1")
            self.checks = ("ratio", *and_back) if self.style.verify > 0.9 else ("ratio",)
            if state.ratio:
                self.checks = self.checks[1:]
        if not self.checks:
            self.checks = None
            return None
        button = self.checks[0]
        self.checks = self.checks[1:]
        return Intent(button)

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Miss the outline, follow a shadow, leave a part out, or begin in a wrong band."""
        if state.ratio or closed(state.edits) or self.restart:
            return None
        # Two bands from the best the gas can be seen, but its outline does not count.
        if kind == "lapse" and not state.edits and abs(state.band - self.world.best) == 2:
            return self.put(self.world.at(self.world.top))

        target = self._following(state)
        if target is None or state.band != self._band(state):
            return None
        if kind == "slip":
            point = self._off_outline(target)
            return Intent("canvas", u=point[0], v=point[1], target=target) if point else None
        if kind == "confusion":
            point = self.world.rim(*target)
            return self.put(point)._replace(target=target) if point else None

        progress = self.world.walk(state.edits).progress
        if kind == "lapse" and state.edits:
            if progress > 0.5 and len(state.edits) >= 3 and 1 - progress > MAX_GAP:
                return Intent("close")
            if progress < 0.6:
                return self.put(self._ahead(state, MAX_GAP + 0.05))._replace(target=target)
        return None

    def visible(self, state: State, mistake: Mistake) -> bool:
        """Return whether the mistake shows: a vertex on a shadow by the plume only in the ratio."""
        assert mistake.edit is not None  # this task has no omissions
        vertex = state.edits[mistake.edit]
        if state.ratio or mistake.kind != "confusion" or abs(vertex.band - self.world.best) > NEAR:
            return True
        assert isinstance(vertex, Vertex)  # closing the polygon is never a confusion
        return self.world.nearest(vertex.u, vertex.v)[0] > REACH

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """Undo; if the closed polygon misses the plume, start over."""
        if closed(state.edits) and mistakes[-1] == Mistake("slip", len(state.edits) - 1):
            self.restart = True
        return Intent("undo")

    @property
    def _attentive(self) -> bool:
        return self.style.verify > 0.5

    @property
    def _spacing(self) -> float:
        """Distance from vertex to vertex, as a share of the outline's length."""
        return 1 / 10 if self._attentive else 1 / 8

    def _band(self, state: State) -> int:
        """Return the band to outline in: the best, or the one in which the outline was begun."""
        return state.edits[-1].band if state.edits else self.world.best

    def _following(self, state: State) -> tuple[float, float] | None:
        """Return the point of the next vertex; None if the polygon can be closed."""
        if not state.edits:
            return self.world.at(self.world.top)
        walk = self.world.walk(state.edits)
        if len(state.edits) >= 3 and 1 - walk.progress <= 1.35 * self._spacing:
            return None
        return self._ahead(state, self._spacing)

    def _ahead(self, state: State, share: float) -> tuple[float, float]:
        """Return the point of the outline at a distance from the last vertex."""
        walk = self.world.walk(state.edits)
        return self.world.at(walk.at + walk.turn * share)

    def _off_outline(self, target: tuple[float, float]) -> tuple[float, float] | None:
        """Return a random point near a target that is clearly off the outline, if one is found."""
        for _ in range(20):
            angle = self.rng.uniform(0, 2 * np.pi)
            distance = self.rng.uniform(TOLERANCE + 2, TOLERANCE + 14)
            u = target[0] + distance * np.cos(angle)
            v = target[1] + distance * np.sin(angle)
            if (
                2 <= u < CANVAS - 2
                and 2 <= v < CANVAS - 2
                and self.world.verdict(Vertex(u, v, self.world.best), 1.5) == "slip"
            ):
                return float(u), float(v)
        return None

    @staticmethod
    def _go(state: State, band: int) -> Intent:
        """Return the button that leads towards a band fastest."""
        away = band - state.band
        return Intent(("+" if away > 0 else "-") + ("5" if abs(away) > 2 else "1"))
