"""The virtual annotator of neuron tracing."""

from __future__ import annotations

from lastmile.screen import CANVAS
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.neuron_tracing.interface import TRAIL, State
from lastmile.tasks.neuron_tracing.world import standing
from lastmile.tasks.task import Mistake

PLAUSIBLE = 48.0
"""A node in a neighbor is not noticed at first if it lies within this many logical px of the target's middle."""


class NeuronTracingAnnotator(Annotator):
    """Looks some slices ahead, comes back, then sets a node in slice after slice in the middle of the cell that it follows.

    Where the cell has moved away from under the previous node it steps back and forth once to compare; every tenth slice it looks back five
    slices. A node in a touching neighbor is not seen at once: the neighbor is followed for a slice or more until the shape no longer fits;
    then it goes back to where the trace left the cell and sets those nodes again. A single wrong node is undone. At the end it goes back
    through the stack, one slice and then by five, or (careful) one by one, and looks at the trail of nodes.
    """

    weights = {"slip": 0.4, "confusion": 0.4, "lapse": 0.2}

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.scout = (
            -1
        )  # slice up to which it looks ahead before it begins; -1: not decided yet, 0: done
        self.skipped: frozenset[int] = frozenset()  # slices believed to have a node
        self.looked_back = (
            self.compared
        ) = -1  # slice before which it looked back, or compared with the one before
        self.sweep: tuple[int, ...] | None = None  # slices to go to in the final check

    def explore(self, state: State) -> Intent | None:
        if state.edits or self.scout == 0:
            return None
        if self.scout < 0:
            self.scout = min(5 * int(2 * self.style.explore), self.world.slices - 1)
        if state.z < self.scout:
            return Intent("+5")
        self.scout = 0
        return None

    def annotate(self, state: State) -> Intent | None:
        nodes = standing(self.world.slices, state.edits)
        z = next((k for k, index in enumerate(nodes) if index < 0 and k not in self.skipped), -1)
        if z < 0:
            return None
        attentive = self.style.verify > 0.5
        if state.z != z:
            if attentive and z % 10 == 0 and state.z == z - 1 and self.looked_back != z:
                self.looked_back = z
                return Intent("-5")
            return self._go(state, z)
        cell = self.world.target
        if z > 0 and nodes[z - 1] >= 0:
            before = state.edits[nodes[z - 1]]
            if (
                attentive
                and self.compared != z
                and self.world.cell(before._replace(z=z)) != self.world.cell(before)
            ):
                self.compared = z
                return Intent("-z")
            if self.world.verdict(before) == "confusion":
                cell = self.world.cell(before)
        point = self.world.middle(z, cell) if cell != self.world.target else None
        if point is None:
            return self.put(self.world.point(z))
        return self.put(point)._replace(mistake="confusion", target=self.world.point(z))

    def verify(self, state: State) -> Intent | None:
        if self.sweep is None:
            self.sweep = (self.world.slices - 1, 0)
        while self.sweep and state.z == self.sweep[0]:
            self.sweep = self.sweep[1:]
        if not self.sweep:
            self.sweep = None
            return None
        if self.sweep[0] > state.z:
            return self._go(state, self.sweep[0])
        return Intent("-z" if self.style.verify > 0.9 or state.z == self.world.slices - 1 else "-5")

    def blunder(self, state: State, kind: str) -> Intent | None:
        z = state.z
        nodes = standing(self.world.slices, state.edits)
        if nodes[z] >= 0 or (z > 0 and nodes[z - 1] < 0):
            return None
        target = self.world.point(z)
        if kind == "slip":
            point = self._outside(z)
            return Intent("canvas", u=point[0], v=point[1], target=target) if point else None
        if kind == "lapse" and 0 < z < self.world.slices - 1:
            self.skipped |= {z}
            return Intent("+z")
        if kind == "confusion" and z > 0:
            before = state.edits[nodes[z - 1]]
            point = self.world.neighbor(z, before.u, before.v, PLAUSIBLE - 6)
            return self.put(point)._replace(target=target) if point else None
        return None

    def visible(self, state: State, mistake: Mistake) -> bool:
        if mistake.edit is None:
            return True
        node = state.edits[mistake.edit]
        if not state.z - TRAIL <= node.z <= state.z + 1:
            return False
        if mistake.kind != "confusion" or self.phase == "verify":
            return True
        u, v = self.world.point(node.z)
        nodes = standing(self.world.slices, state.edits)
        followed = node.z + 1 < self.world.slices and nodes[node.z + 1] >= 0
        led = (
            node.z > 0
            and nodes[node.z - 1] >= 0
            and self.world.verdict(state.edits[nodes[node.z - 1]]) == "confusion"
        )
        return followed or led or (node.u - u) ** 2 + (node.v - v) ** 2 > PLAUSIBLE**2

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        nodes = standing(self.world.slices, state.edits)
        standing_mistakes = self.task.mistakes(self.world, state)
        wrong = {state.edits[m.edit].z: m for m in standing_mistakes if m.edit is not None}
        seen = {m.omitted if m.edit is None else state.edits[m.edit].z for m in mistakes}
        for z in sorted(seen & set(wrong)):
            for step in (-1, 1):
                while z + step in wrong:  # a trace that went wrong is seen as a whole
                    z += step
                    seen.add(z)
                    self.noticed |= {self.key(state, wrong[z])}
        first = min(seen)
        connected = all(index >= 0 for index in nodes[:first])
        last = state.edits[-1].z
        if (
            (len(seen) == 1 or not connected)
            and last in seen
            and nodes[last] == len(state.edits) - 1
        ):
            return Intent("undo")
        self.skipped -= {first}
        return self.put(self.world.point(first)) if state.z == first else self._go(state, first)

    def _outside(self, z: int) -> tuple[float, float] | None:
        """A point a little outside the target, in a random direction from its middle."""
        u, v = self.world.point(z)
        for _ in range(10):
            step = self.rng.normal(0, 1, 2)
            step /= (step[0] ** 2 + step[1] ** 2) ** 0.5
            beyond = self.rng.uniform(2.0, 4.5)
            distance = (
                next(
                    (
                        d
                        for d in range(3, 90)
                        if not self.world.inside(z, u + d * step[0], v + d * step[1])
                    ),
                    90,
                )
                + beyond
            )
            x, y = float(u + distance * step[0]), float(v + distance * step[1])
            if (
                distance < 40
                and 2 <= x < CANVAS - 2
                and 2 <= y < CANVAS - 2
                and not self.world.inside(z, x, y)
            ):
                return x, y
        return None

    @staticmethod
    def _go(state: State, z: int) -> Intent:
        away = z - state.z
        sign = "+" if away > 0 else "-"
        return Intent(sign + ("5" if abs(away) >= 4 else "z"))
