"""The virtual annotator of road mapping."""

from __future__ import annotations

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.road_mapping.graph import Node, Step, following, gaps, nodes, verdicts
from lastmile.tasks.road_mapping.interface import State
from lastmile.tasks.road_mapping.world import PAN
from lastmile.tasks.task import RIGHT, Mistake

_EDGE = 8.0  # a target nearer to the border of the window is panned to, px


class RoadMappingAnnotator(Annotator):
    """Pans once round the map, then follows a road from its end, node by node at bends and junctions, straight on at junctions.

    At the end of a road it goes back to the nearest junction where one is open, selects it and follows that road. A road that comes to one
    already mapped is linked to it. A careful one looks at the open roads before each branch. In the end it pans round with the open roads
    tinted; branches that it had missed are seen there.
    """

    weights = {"slip": 0.45, "confusion": 0.25, "lapse": 0.3}

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.tour: tuple[tuple[int, int], ...] | None = None  # windows still to see before the work
        self.round: tuple[tuple[int, int], ...] = ()  # windows still to see in the final check
        self.missed: frozenset[int] = frozenset()  # road links that it did not see
        self.branches: frozenset[int] = frozenset()  # road links that it had the chance to miss

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        if self.tour is None:
            corners = self._corners(state)
            self.tour = (*corners, corners[0]) if self.style.explore > 0.5 else ()
        if not self.tour:
            return None
        if state.check:
            return Intent("check")
        while self.tour and self.tour[0] == (state.x, state.y):
            self.tour = self.tour[1:]
        return _pan(state, *self.tour[0]) if self.tour else None

    def annotate(self, state: State) -> Intent | None:
        step = self._step(state)
        if step is None:
            astray = (
                state.edits
                and not self.missed
                and verdicts(self.world, state.edits)[-1] != RIGHT
                and gaps(self.world, state.edits)
            )
            return (
                Intent("undo") if astray else None
            )  # roads are open, but the last node has led away from them
        if step.kind == "select" and step.link not in self.branches:
            self.branches |= {step.link}
            if self.rng.random() < 0.5 * self.task.mistake_rate * self.style.mistakes:
                self.missed |= {step.link}
                return self.annotate(state)
            if self.style.verify > 0.9 and not state.check:
                return Intent("check")
        if state.check:
            return Intent("check")
        mode = "link" if step.kind == "link" else "node"
        window = self._window(state, step.x, step.y)
        if window != (state.x, state.y):
            return _pan(state, *window)
        if state.mode != mode:
            return Intent(mode)
        return self.put((step.x - state.x * PAN, step.y - state.y * PAN))

    def verify(self, state: State) -> Intent | None:
        if self.phase != "verify":
            self.round = self._corners(state)
        if not state.check:
            return Intent("check")
        if any(
            gap.link in self.missed and self._in_view(state, gap)
            for gap in gaps(self.world, state.edits)
        ):
            self.missed = frozenset()
            return Intent("check")
        while self.round and self.round[0] == (state.x, state.y):
            self.round = self.round[1:]
        return _pan(state, *self.round[0]) if self.round else None

    def blunder(self, state: State, kind: str) -> Intent | None:
        step = self._step(state)
        if (
            step is None
            or state.check
            or state.mode != "node"
            or self._window(state, step.x, step.y) != (state.x, state.y)
        ):
            return None
        target = (step.x - state.x * PAN, step.y - state.y * PAN)
        if kind == "lapse":
            return self._skip(state, step)
        if step.kind != "place":
            return None
        if kind == "slip":
            for _ in range(6):
                beside = self.beside(state, target)
                if self._wrong(state, beside):
                    return beside
            return None
        decoys = self.world.decoys - (state.x * PAN, state.y * PAN)
        decoys = decoys[((decoys > _EDGE) & (decoys < CANVAS - _EDGE)).all(1)]
        squared = ((decoys - target) ** 2).sum(1)
        if not len(squared) or squared.min() > 70**2:
            return None
        nearest = decoys[squared.argmin()]
        wrong = self.put((float(nearest[0]), float(nearest[1])))._replace(target=target)
        return wrong if self._wrong(state, wrong) else None

    def visible(self, state: State, mistake: Mistake) -> bool:
        edit, places = state.edits[mistake.edit], nodes(state.edits)
        x, y = (
            (edit.x, edit.y)
            if isinstance(edit, Node)
            else np.mean([places[edit.a], places[edit.b]], 0)
        )
        return 0 <= x - state.x * PAN < CANVAS and 0 <= y - state.y * PAN < CANVAS

    def _step(self, state: State) -> Step | None:
        """The next step of tracing; a new graph begins at the end of a road, of those in the window at the one nearest to
        its upper left."""
        if nodes(state.edits):
            return following(self.world, state.edits, state.selected, self.missed)
        ends = self.world.ends
        off = ends - (state.x * PAN, state.y * PAN)
        away = np.maximum(0, np.maximum(_EDGE / 4 - off, off - CANVAS + _EDGE / 4)).max(1)
        first = int(np.lexsort((off.sum(1), away))[0])
        return Step("place", float(ends[first, 0]), float(ends[first, 1]), -1, -1)

    def _skip(self, state: State, step: Step) -> Intent | None:
        """A step left out: the junction is not selected before the branch is begun, or a bend or a junction is passed over."""
        if step.kind == "select":
            after = following(self.world, state.edits, step.node, self.missed)
        elif step.kind == "place" and step.link >= 0:
            edits = (*state.edits, Node(step.x, step.y, state.selected))
            after = following(self.world, edits, len(nodes(edits)) - 1, self.missed)
        else:
            return None
        if (
            after is None
            or after.kind != "place"
            or self._window(state, after.x, after.y) != (state.x, state.y)
        ):
            return None
        meant = (step.x - state.x * PAN, step.y - state.y * PAN)
        skipping = self.put((after.x - state.x * PAN, after.y - state.y * PAN))._replace(
            target=meant
        )
        return skipping if self._wrong(state, skipping) else None

    def _wrong(self, state: State, intent: Intent) -> bool:
        """Whether a placement would be a mistake."""
        after = self.interface.touch(state, round(intent.u), round(intent.v))
        return (
            len(after.edits) > len(state.edits) and verdicts(self.world, after.edits)[-1] != RIGHT
        )

    def _window(self, state: State, x: float, y: float) -> tuple[int, int]:
        """The nearest window that shows a place, and not at its very border unless the map ends there."""
        return self._shift(state.x, x), self._shift(state.y, y)

    def _shift(self, at: int, place: float) -> int:
        while at > 0 and place - at * PAN < _EDGE:
            at -= 1
        while at < self.world.last and place - at * PAN > CANVAS - _EDGE:
            at += 1
        return at

    def _corners(self, state: State) -> tuple[tuple[int, int], ...]:
        """The four windows at the corners of the map (together they show all of it), clockwise from the nearest."""
        last = self.world.last
        corners = ((0, 0), (last, 0), (last, last), (0, last))
        first = min(
            range(4), key=lambda k: abs(corners[k][0] - state.x) + abs(corners[k][1] - state.y)
        )
        return (*corners[first:], *corners[:first])

    def _in_view(self, state: State, gap) -> bool:
        off = self.world.samples[gap.first : gap.last + 1] - (state.x * PAN, state.y * PAN)
        return bool(((off >= 0) & (off < CANVAS)).all(1).any())


def _pan(state: State, x: int, y: int) -> Intent:
    """One step towards another window, along the row first."""
    if x != state.x:
        return Intent("right" if x > state.x else "left")
    return Intent("down" if y > state.y else "up")
