"""The virtual annotator of road mapping."""

from __future__ import annotations

import numpy as np

from lastmile.screen import CANVAS
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.road_mapping.graph import Gap, Node, Step, following, gaps, nodes, verdicts
from lastmile.tasks.road_mapping.interface import State
from lastmile.tasks.road_mapping.world import PAN, RoadMappingWorld
from lastmile.tasks.task import RIGHT, Mistake

_EDGE = 8.0  # the window pans to a target that is closer than this to its border, px
_DECOY_REACH = 70  # largest distance between a target and the decoy taken for it, px

Window = tuple[int, int]
"""A position of the window, in units of `PAN`."""


class RoadMappingAnnotator(Annotator[RoadMappingWorld, State]):
    """Pans around the map once, then follows a road from its end, node by node.

    Nodes are placed at bends and junctions, and junctions are crossed straight on. At the end of a
    road it goes back to the nearest junction with an unmapped road, selects it and follows that
    road. A road that comes to one already mapped is linked to it. A careful annotator looks at the
    unmapped roads before each branch. Finally it pans around with the unmapped roads tinted, and
    sees the branches that it had missed.

    Attributes:
        tour: Windows left to see before the work; None before it has decided.
        round: Windows left to see in the final check.
        missed: Links of the road network that it has not seen.
        branches: Links of the road network that it had the chance to miss.
    """

    weights = {"slip": 0.45, "confusion": 0.25, "lapse": 0.3}

    tour: tuple[Window, ...] | None = None
    round: tuple[Window, ...] = ()
    missed: frozenset[int] = frozenset()
    branches: frozenset[int] = frozenset()

    def explore(self, state: State) -> Intent | None:
        """Pan around the map, back to where it began."""
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
        """Take the next step of tracing: pan to it, choose the tool, click."""
        step = self._step(state)
        if step is None:
            return Intent("undo") if self._astray(state) else None

        # Each branch can be missed once, at the moment of turning back to it.
        if step.kind == "select" and step.link not in self.branches:
            self.branches |= {step.link}
            if self.rng.random() < 0.5 * self.task.mistake_rate * self.style.mistakes:
                self.missed |= {step.link}
                return self.annotate(state)
            if self.style.verify > 0.9 and not state.check:
                return Intent("check")

        if state.check:
            return Intent("check")
        window = self._window(state, step.x, step.y)
        if window != (state.x, state.y):
            return _pan(state, *window)
        mode = "link" if step.kind == "link" else "node"
        if state.mode != mode:
            return Intent(mode)
        return self.put((step.x - state.x * PAN, step.y - state.y * PAN))

    def verify(self, state: State) -> Intent | None:
        """Pan around the map with the unmapped roads tinted."""
        if self.phase != "verify":
            self.round = self._corners(state)
        if not state.check:
            return Intent("check")

        # A missed branch that is tinted in view is seen now: turn the tint off and go on working.
        for gap in gaps(self.world, state.edits):
            if gap.link in self.missed and self._in_view(state, gap):
                self.missed = frozenset()
                return Intent("check")

        while self.round and self.round[0] == (state.x, state.y):
            self.round = self.round[1:]
        return _pan(state, *self.round[0]) if self.round else None

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Place a node beside the road, on a decoy, or one step too far."""
        step = self._step(state)
        if step is None or state.check or state.mode != "node":
            return None
        if self._window(state, step.x, step.y) != (state.x, state.y):
            return None

        target = (step.x - state.x * PAN, step.y - state.y * PAN)
        if kind == "lapse":
            return self._skip(state, step)
        if step.kind != "place":
            return None
        if kind == "slip":
            # Next to a road that turns, a point beside the target can still be on the road.
            for _ in range(6):
                beside = self.beside(state, target)
                if self._wrong(state, beside):
                    return beside
            return None
        return self._confuse(state, target)

    def visible(self, state: State, mistake: Mistake) -> bool:
        """Return whether the node, or the middle of the link, is in the window."""
        assert mistake.edit is not None  # this task has no omissions
        edit = state.edits[mistake.edit]
        if isinstance(edit, Node):
            x, y = edit.x, edit.y
        else:
            places = nodes(state.edits)
            x, y = np.mean([places[edit.a], places[edit.b]], 0)
        return bool(0 <= x - state.x * PAN < CANVAS and 0 <= y - state.y * PAN < CANVAS)

    def _step(self, state: State) -> Step | None:
        """Return the next step of tracing.

        A new graph begins at the end of a road: the one nearest to the upper left of the window,
        of those in the window if there are any.
        """
        if nodes(state.edits):
            return following(self.world, state.edits, state.selected, self.missed)
        ends = self.world.ends
        off = ends - (state.x * PAN, state.y * PAN)
        away = np.maximum(0, np.maximum(_EDGE / 4 - off, off - CANVAS + _EDGE / 4)).max(1)
        first = int(np.lexsort((off.sum(1), away))[0])
        return Step("place", float(ends[first, 0]), float(ends[first, 1]), -1, -1)

    def _astray(self, state: State) -> bool:
        """Return whether roads are unmapped but the last node has led away from all of them."""
        return bool(
            state.edits
            and not self.missed
            and verdicts(self.world, state.edits)[-1] != RIGHT
            and gaps(self.world, state.edits)
        )

    def _confuse(self, state: State, target: tuple[float, float]) -> Intent | None:
        """Return a placement on the stream or the field track near a target, if there is one."""
        decoys = self.world.decoys - (state.x * PAN, state.y * PAN)
        decoys = decoys[((decoys > _EDGE) & (decoys < CANVAS - _EDGE)).all(1)]
        squared = ((decoys - target) ** 2).sum(1)
        if not len(squared) or squared.min() > _DECOY_REACH**2:
            return None
        nearest = decoys[squared.argmin()]
        wrong = self.put((float(nearest[0]), float(nearest[1])))._replace(target=target)
        return wrong if self._wrong(state, wrong) else None

    def _skip(self, state: State, step: Step) -> Intent | None:
        """Return the step after the next one, which leaves the next one out; None if impossible.

        Either the junction is not selected before the branch is begun, or a bend or a junction is
        passed over.
        """
        if step.kind == "select":
            after = following(self.world, state.edits, step.node, self.missed)
        elif step.kind == "place" and step.link >= 0:
            edits = (*state.edits, Node(step.x, step.y, state.selected))
            after = following(self.world, edits, len(nodes(edits)) - 1, self.missed)
        else:
            return None
        if after is None or after.kind != "place":
            return None
        if self._window(state, after.x, after.y) != (state.x, state.y):
            return None

        left_out = (step.x - state.x * PAN, step.y - state.y * PAN)
        placement = self.put((after.x - state.x * PAN, after.y - state.y * PAN))
        wrong = placement._replace(target=left_out)
        return wrong if self._wrong(state, wrong) else None

    def _wrong(self, state: State, intent: Intent) -> bool:
        """Return whether a placement would be a mistake."""
        edits = self.interface.touch(state, round(intent.u), round(intent.v)).edits
        return len(edits) > len(state.edits) and verdicts(self.world, edits)[-1] != RIGHT

    def _window(self, state: State, x: float, y: float) -> Window:
        """Return the nearest window that shows a place well inside its border.

        Where the map ends, the place can be at the border.
        """
        return self._shift(state.x, x), self._shift(state.y, y)

    def _shift(self, at: int, place: float) -> int:
        """Return the position of that window along one axis."""
        while at > 0 and place - at * PAN < _EDGE:
            at -= 1
        while at < self.world.last and place - at * PAN > CANVAS - _EDGE:
            at += 1
        return at

    def _corners(self, state: State) -> tuple[Window, ...]:
        """Return the windows at the four corners of the map, clockwise from the nearest.

        Together they show the whole map.
        """
        last = self.world.last
        corners = ((0, 0), (last, 0), (last, last), (0, last))
        first = min(
            range(4), key=lambda k: abs(corners[k][0] - state.x) + abs(corners[k][1] - state.y)
        )
        return (*corners[first:], *corners[:first])

    def _in_view(self, state: State, gap: Gap) -> bool:
        """Return whether any part of a gap is in the window."""
        off = self.world.samples[gap.first : gap.last + 1] - (state.x * PAN, state.y * PAN)
        return bool(((off >= 0) & (off < CANVAS)).all(1).any())


def _pan(state: State, x: int, y: int) -> Intent:
    """Return one step towards another window, along the row first."""
    if x != state.x:
        return Intent("right" if x > state.x else "left")
    return Intent("down" if y > state.y else "up")
