"""The interface of neuron tracing: a slice browser with one node a slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.neuron_tracing.world import Node, standing

TRAIL = 4
"""Nodes of this many slices before the present one are seen as a trail."""
_STEPS = {"-z": -1, "+z": 1, "-5": -5, "+5": 5}
_YELLOW, _CYAN, _GREEN, _GRAY, _WHITE = (
    (255, 214, 10),
    (0, 220, 255),
    (60, 210, 90),
    (38, 40, 46),
    (255, 255, 255),
)


@dataclass(frozen=True, slots=True)
class State(task.State):
    """z: the slice that is shown."""

    z: int = 0


class NeuronTracingInterface(task.Interface):
    """`-z`, `+z`, `-5`, `+5`; a click on the canvas sets the node of the slice that is shown, in place of the one that it may have."""

    title = "Neuron tracing"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        down, up = state.z > 0, state.z < self.world.slices - 1
        return (
            Group(
                "Slice",
                (
                    Button("-z", "− z", "navigate", down),
                    Button("+z", "+ z", "navigate", up),
                    Button("-5", "− 5", "navigate", down),
                    Button("+5", "+ 5", "navigate", up),
                ),
            ),
        )

    def image(self, state: State) -> np.ndarray:
        return self.world.picture(state.z)

    def marks(self, state: State) -> tuple[Mark, ...]:
        nodes = standing(self.world.slices, state.edits)
        shown = self._strip(nodes, state.z)
        if state.z == 0:
            u, v = float(self.world.center[0, 0]), float(self.world.center[0, 1])
            for a, b in (
                ((-26, 0), (-9, 0)),
                ((9, 0), (26, 0)),
                ((0, -26), (0, -9)),
                ((0, 9), (0, 26)),
            ):
                shown.append(Mark("line", ((u + a[0], v + a[1]), (u + b[0], v + b[1])), _YELLOW, 2))
        trail = [
            state.edits[nodes[z]]
            for z in range(max(state.z - TRAIL, 0), state.z + 1)
            if nodes[z] >= 0
        ]
        if len(trail) > 1:
            shown.append(
                Mark("line", tuple((node.u, node.v) for node in trail), _CYAN, 2, faint=True)
            )
        if state.z > 0 and nodes[state.z - 1] >= 0:
            before = state.edits[nodes[state.z - 1]]
            shown.append(Mark("ring", ((before.u, before.v),), _CYAN, 6, faint=True))
        if state.z < self.world.slices - 1 and nodes[state.z + 1] >= 0:
            after = state.edits[nodes[state.z + 1]]
            shown.append(Mark("dot", ((after.u, after.v),), _YELLOW, 3.5, faint=True))
        if nodes[state.z] >= 0:
            node = state.edits[nodes[state.z]]
            shown.append(Mark("dot", ((node.u, node.v),), _YELLOW, 5))
        return tuple(shown)

    def status(self, state: State) -> tuple[str, ...]:
        covered = sum(index >= 0 for index in standing(self.world.slices, state.edits))
        return (
            f"slice {state.z + 1} of {self.world.slices}",
            f"{covered} nodes",
            "One node a slice in the marked cell",
        )

    def position(self, state: State) -> float:
        return state.z / (self.world.slices - 1)

    def act(self, state: State, button: str) -> State:
        return replace(state, z=min(max(state.z + _STEPS[button], 0), self.world.slices - 1))

    def place(self, state: State, u: float, v: float) -> State:
        return replace(state, edits=(*state.edits, Node(u, v, state.z)))

    @staticmethod
    def _strip(nodes: tuple[int, ...], z: int) -> list[Mark]:
        """A bar along the bottom of the canvas, a cell for each slice: green with a node, dark without, a white knob at the present one."""
        left, width, y = 6, (CANVAS - 12) / len(nodes), CANVAS - 6
        shown = [Mark("line", ((left, y), (CANVAS - left, y)), _GRAY, 6)]
        first = 0
        for k in range(1, len(nodes) + 1):
            if k == len(nodes) or (nodes[k] >= 0) != (nodes[first] >= 0):
                if nodes[first] >= 0:
                    shown.append(
                        Mark(
                            "line",
                            ((left + first * width + 1, y), (left + k * width - 1, y)),
                            _GREEN,
                            4,
                        )
                    )
                first = k
        shown.append(Mark("dot", ((left + (z + 0.5) * width, y),), _WHITE, 4))
        return shown
