"""The virtual annotator of neuron tracing."""

from __future__ import annotations

from lastmile.screen import CANVAS
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.neuron_tracing.interface import TRAIL, State
from lastmile.tasks.neuron_tracing.world import NeuronTracingWorld, nodes_by_slice
from lastmile.tasks.task import Mistake

PLAUSIBLE = 48.0
"""A node in a neighbor this close to the target's point is not noticed at first, logical px."""


class NeuronTracingAnnotator(Annotator[NeuronTracingWorld, State]):
    """Sets a node in slice after slice, in the middle of the cell that it follows.

    It first looks a few slices ahead and comes back. Where the cell has moved away from under the
    previous node it steps back and forth once to compare; every tenth slice it looks back five
    slices. At the end it goes back through the stack, one slice and then by fives or, if careful,
    one by one, and looks at the trail of nodes.

    It does not notice a node in a touching neighbor at once: it follows the neighbor for a slice or
    more until the shape no longer fits. Then it goes back to where the trace left the cell and sets
    those nodes again. It undoes a single wrong node.

    Attributes:
        scout: The slice up to which it looks ahead; -1 before it has decided, 0 when done.
        skipped: Slices that it believes to have a node.
        looked_back: The last slice before which it looked back; -1 without.
        compared: The last slice that it compared with the previous one; -1 without.
        sweep: Slices left to go to in the final check; None outside of it.
    """

    weights = {"slip": 0.4, "confusion": 0.4, "lapse": 0.2}

    scout: int = -1
    skipped: frozenset[int] = frozenset()
    looked_back: int = -1
    compared: int = -1
    sweep: tuple[int, ...] | None = None

    def explore(self, state: State) -> Intent | None:
        """Look ahead; `annotate` comes back by itself."""
        if state.edits or self.scout == 0:
            return None
        if self.scout < 0:
            self.scout = min(5 * int(2 * self.style.explore), self.world.slices - 1)
        if state.z < self.scout:
            return Intent("+5")
        self.scout = 0
        return None

    def annotate(self, state: State) -> Intent | None:
        """Go to the first slice without a node and set it there."""
        nodes = nodes_by_slice(self.world.slices, state.edits)
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
            # After a confusion it believes in the wrong cell and goes on following it.
            if self.world.verdict(before) == "confusion":
                cell = self.world.cell(before)

        # A wrong cell that ends or gets too small leads back to the target.
        point = self.world.middle(z, cell) if cell != self.world.target else None
        if point is None:
            return self.put(self.world.point(z))
        return self.put(point)._replace(mistake="confusion", target=self.world.point(z))

    def verify(self, state: State) -> Intent | None:
        """Go to the last slice and back to the first."""
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
        """Miss the cell, skip a slice, or slide into the neighbor under the previous node."""
        z = state.z
        nodes = nodes_by_slice(self.world.slices, state.edits)
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
        """See nodes of the trail and gaps in the bar, but take a plausible confusion for correct.

        A confusion shows when it is followed: the next node, or the one before it, is wrong too.
        """
        if mistake.edit is None:
            return True
        node = state.edits[mistake.edit]
        if not state.z - TRAIL <= node.z <= state.z + 1:
            return False
        if mistake.kind != "confusion" or self.phase == "verify":
            return True

        u, v = self.world.point(node.z)
        nodes = nodes_by_slice(self.world.slices, state.edits)
        followed = node.z + 1 < self.world.slices and nodes[node.z + 1] >= 0
        led = (
            node.z > 0
            and nodes[node.z - 1] >= 0
            and self.world.verdict(state.edits[nodes[node.z - 1]]) == "confusion"
        )
        return followed or led or (node.u - u) ** 2 + (node.v - v) ** 2 > PLAUSIBLE**2

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """Undo a single wrong node; set the nodes of a wrong trace again, from its beginning."""
        nodes = nodes_by_slice(self.world.slices, state.edits)
        present = self.task.mistakes(self.world, state)
        wrong = {state.edits[m.edit].z: m for m in present if m.edit is not None}  # by slice
        slices = {m.omitted if m.edit is None else state.edits[m.edit].z for m in mistakes}
        seen = {z for z in slices if isinstance(z, int)}

        # Who notices one node of a wrong trace sees all of it.
        for z in sorted(seen & set(wrong)):
            for step in (-1, 1):
                while z + step in wrong:
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
        """Return a point a little outside the target, in a random direction from its middle."""
        u, v = self.world.point(z)
        for _ in range(10):
            direction = self.rng.normal(0, 1, 2)
            direction /= (direction[0] ** 2 + direction[1] ** 2) ** 0.5
            beyond = self.rng.uniform(2.0, 4.5)
            border = next(
                (
                    d
                    for d in range(3, 90)
                    if not self.world.inside(z, u + d * direction[0], v + d * direction[1])
                ),
                90,
            )
            distance = border + beyond
            x = float(u + distance * direction[0])
            y = float(v + distance * direction[1])
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
        """Return a step towards a slice, by five where that is faster."""
        away = z - state.z
        sign = "+" if away > 0 else "-"
        return Intent(sign + ("5" if abs(away) >= 4 else "z"))
