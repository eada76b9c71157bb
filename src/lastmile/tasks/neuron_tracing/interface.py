"""The interface of neuron tracing: a slice browser with one node per slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.neuron_tracing.world import NeuronTracingWorld, Node, nodes_by_slice

TRAIL = 4
"""Number of previous slices whose nodes are shown as a trail."""

_STEPS = {"-z": -1, "+z": 1, "-5": -5, "+5": 5}
_CROSSHAIR = (  # its four arms around the target, offsets in logical px
    ((-26, 0), (-9, 0)),
    ((9, 0), (26, 0)),
    ((0, -26), (0, -9)),
    ((0, 9), (0, 26)),
)

_YELLOW = (255, 214, 10)
_CYAN = (0, 220, 255)
_GREEN = (60, 210, 90)
_GRAY = (38, 40, 46)
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The nodes and the view.

    Attributes:
        edits: The nodes. The last one of each slice counts.
        z: The current slice.
    """

    edits: tuple[Node, ...] = ()
    z: int = 0


class NeuronTracingInterface(task.Interface[NeuronTracingWorld, State]):
    """`-z`, `+z`, `-5`, `+5`; a click on the canvas sets or replaces the node of the slice."""

    title = "Neuron tracing"

    def start(self) -> State:
        """Begin in the first slice."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the buttons; steps of five stop at the ends of the stack."""
        down = state.z > 0
        up = state.z < self.world.slices - 1
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
        """Return the slice."""
        return self.world.picture(state.z)

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return the bar of slices, the cross-hair, the trail, and the nodes near this slice."""
        nodes = nodes_by_slice(self.world.slices, state.edits)
        marks = self._bar(nodes, state.z)

        if state.z == 0:
            u = float(self.world.center[0, 0])
            v = float(self.world.center[0, 1])
            for a, b in _CROSSHAIR:
                ends = ((u + a[0], v + a[1]), (u + b[0], v + b[1]))
                marks.append(Mark("line", ends, _YELLOW, 2))

        trail = [
            state.edits[nodes[z]]
            for z in range(max(state.z - TRAIL, 0), state.z + 1)
            if nodes[z] >= 0
        ]
        if len(trail) > 1:
            points = tuple((node.u, node.v) for node in trail)
            marks.append(Mark("line", points, _CYAN, 2, faint=True))

        if state.z > 0 and nodes[state.z - 1] >= 0:
            before = state.edits[nodes[state.z - 1]]
            marks.append(Mark("ring", ((before.u, before.v),), _CYAN, 6, faint=True))
        if state.z < self.world.slices - 1 and nodes[state.z + 1] >= 0:
            after = state.edits[nodes[state.z + 1]]
            marks.append(Mark("dot", ((after.u, after.v),), _YELLOW, 3.5, faint=True))
        if nodes[state.z] >= 0:
            node = state.edits[nodes[state.z]]
            marks.append(Mark("dot", ((node.u, node.v),), _YELLOW, 5))
        return tuple(marks)

    def status(self, state: State) -> tuple[str, ...]:
        """Return the slice, the number of slices with a node, and what to do."""
        covered = sum(index >= 0 for index in nodes_by_slice(self.world.slices, state.edits))
        return (
            f"slice {state.z + 1} of {self.world.slices}",
            task.counted(covered, "node"),
            "One node a slice in the marked cell",
        )

    def position(self, state: State) -> float:
        """Return the depth in the stack."""
        return state.z / (self.world.slices - 1)

    def act(self, state: State, button: str) -> State:
        """Change the slice."""
        return replace(state, z=min(max(state.z + _STEPS[button], 0), self.world.slices - 1))

    def place(self, state: State, u: float, v: float) -> State:
        """Set the node of this slice. The node that it replaces stays in `edits`, for undo."""
        return replace(state, edits=(*state.edits, Node(u, v, state.z)))

    @staticmethod
    def _bar(nodes: tuple[int, ...], z: int) -> list[Mark]:
        """Return the bar of slices: green with a node, dark without, a knob at the current one."""
        left = 6
        width = (CANVAS - 12) / len(nodes)
        y = CANVAS - 6
        marks = [Mark("line", ((left, y), (CANVAS - left, y)), _GRAY, 6)]

        # Adjacent slices that are both green are drawn as one line.
        first = 0
        for k in range(1, len(nodes) + 1):
            if k == len(nodes) or (nodes[k] >= 0) != (nodes[first] >= 0):
                if nodes[first] >= 0:
                    ends = ((left + first * width + 1, y), (left + k * width - 1, y))
                    marks.append(Mark("line", ends, _GREEN, 4))
                first = k

        marks.append(Mark("dot", ((left + (z + 0.5) * width, y),), _WHITE, 4))
        return marks
