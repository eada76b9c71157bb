"""The virtual annotator of plume finding."""

from __future__ import annotations

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.plume_finding.interface import State, closed
from lastmile.tasks.plume_finding.world import MAX_GAP, NEAR, REACH, TOLERANCE, Vertex
from lastmile.tasks.task import Mistake


class PlumeFindingAnnotator(Annotator):
    """Sweeps all bands one by one, comes back by fives until the gas is seen and then to the band where it is darkest, looks at its ratio,
    and outlines the plume clockwise from its topmost point with evenly spaced vertices. Half way round and after closing it looks at the
    ratio again. A hasty one sweeps by fives, stops where it sees the gas, and looks at the ratio only at the end.

    A vertex on the rim of a cloud shadow beside the plume is recognized in the ratio only, where shadows vanish. Repairs are undos, back to
    the wrong vertex.
    """

    weights = {"slip": 0.4, "confusion": 0.25, "lapse": 0.35}
    decisions = frozenset({"undo", "done", "close"})

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.sweep: tuple[int, ...] | None = (
            None  # bands to go to in the first sweep; None: not decided yet
        )
        self.looked = -1  # number of vertices at the last look at the ratio
        self.checks: tuple[str, ...] | None = None  # what is still to be pressed in the final check
        self.restart = False  # whether it takes the whole polygon back to begin again

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        last = self.world.bands - 1
        if self.sweep is None:
            self.sweep = (
                ((0, last) if state.band <= last / 2 else (last, 0)) if self._attentive else (last,)
            )
        if not self.sweep:
            return None
        if state.ratio:
            return Intent("ratio")
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
        if self.phase != "verify" or self.checks is None:
            there = ("+1", "-1") if state.band < self.world.bands - 1 else ("-1", "+1")
            self.checks = ("ratio", *there) if self.style.verify > 0.9 else ("ratio",)
            if state.ratio:
                self.checks = self.checks[1:]
        if not self.checks:
            self.checks = None
            return None
        press, self.checks = self.checks[0], self.checks[1:]
        return Intent(press)

    def blunder(self, state: State, kind: str) -> Intent | None:
        if state.ratio or closed(state.edits) or self.restart:
            return None
        if kind == "lapse" and not state.edits and abs(state.band - self.world.best) == 2:
            return self.put(self.world.at(self.world.top))
        target = self._following(state)
        if target is None or state.band != self._band(state):
            return None
        if kind == "slip":
            point = self._beside(target)
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
        vertex = state.edits[mistake.edit]
        if state.ratio or mistake.kind != "confusion" or abs(vertex.band - self.world.best) > NEAR:
            return True
        return self.world.nearest(vertex.u, vertex.v)[0] > REACH

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        if closed(state.edits) and mistakes[-1] == Mistake("slip", len(state.edits) - 1):
            self.restart = True  # all round, but not the plume
        return Intent("undo")

    @property
    def _attentive(self) -> bool:
        return self.style.verify > 0.5

    @property
    def _spacing(self) -> float:
        """From vertex to vertex, as a share of the outline."""
        return 1 / 10 if self._attentive else 1 / 8

    def _band(self, state: State) -> int:
        """The band to outline in: the best, or where the outline was begun."""
        return state.edits[-1].band if state.edits else self.world.best

    def _following(self, state: State) -> tuple[float, float] | None:
        """Where the next vertex belongs; None if the polygon can be closed."""
        if not state.edits:
            return self.world.at(self.world.top)
        walk = self.world.walk(state.edits)
        if len(state.edits) >= 3 and 1 - walk.progress <= 1.35 * self._spacing:
            return None
        return self._ahead(state, self._spacing)

    def _ahead(self, state: State, share: float) -> tuple[float, float]:
        walk = self.world.walk(state.edits)
        return self.world.at(walk.at + walk.turn * share)

    def _beside(self, target: tuple[float, float]) -> tuple[float, float] | None:
        """A point clearly off the outline, in a random direction from a target."""
        for _ in range(20):
            angle, distance = (
                self.rng.uniform(0, 2 * np.pi),
                self.rng.uniform(TOLERANCE + 2, TOLERANCE + 14),
            )
            u, v = target[0] + distance * np.cos(angle), target[1] + distance * np.sin(angle)
            if (
                2 <= u < CANVAS - 2
                and 2 <= v < CANVAS - 2
                and self.world.verdict(Vertex(u, v, self.world.best), 1.5) == "slip"
            ):
                return float(u), float(v)
        return None

    @staticmethod
    def _go(state: State, band: int) -> Intent:
        away = band - state.band
        return Intent(("+" if away > 0 else "-") + ("5" if abs(away) > 2 else "1"))
