"""The interface of plume finding: a band browser with a polygon tool."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.plume_finding.world import Close, Edits, PlumeFindingWorld, Vertex

_STEPS = {"-1": -1, "+1": 1, "-5": -5, "+5": 5}  # bands, by button
_CYAN = (0, 225, 255)
_YELLOW = (255, 214, 10)
_GREEN = (60, 220, 90)
_GRAY = (38, 40, 46)
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The polygon and the view.

    Attributes:
        edits: The vertices, then the closing.
        band: The current band.
        ratio: Whether its ratio to the background is on display instead.
    """

    edits: Edits = ()
    band: int = 0
    ratio: bool = False


def closed(edits: Edits) -> bool:
    """Return whether the polygon is closed."""
    return bool(edits) and isinstance(edits[-1], Close)


class PlumeFindingInterface(task.Interface[PlumeFindingWorld, State]):
    """`-1`, `+1`, `-5`, `+5`, `Ratio` and `Close`.

    A click on the canvas adds a vertex to the polygon until it is closed.
    """

    title = "Plume finding"

    def start(self) -> State:
        """Begin in the first band."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the buttons; the polygon can be closed from three vertices on."""
        down = state.band > 0
        up = state.band < self.world.bands - 1
        ready = not state.ratio and len(state.edits) >= 3 and not closed(state.edits)
        steps = (
            Button("-1", "− 1", "navigate", down),
            Button("+1", "+ 1", "navigate", up),
            Button("-5", "− 5", "navigate", down),
            Button("+5", "+ 5", "navigate", up),
        )
        return (
            Group("Band", steps),
            Group("View", (Button("ratio", "Ratio", "look", True, state.ratio),), 1),
            Group("Polygon", (Button("close", "Close", "decide", ready),), 1),
        )

    def image(self, state: State) -> np.ndarray:
        """Return the band or its ratio to the background."""
        return self.world.picture(state.band, state.ratio)

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return the bar of bands at the bottom and the polygon."""
        width = (CANVAS - 12) / self.world.bands
        y = CANVAS - 6
        marks = [Mark("line", ((6, y), (CANVAS - 6, y)), _GRAY, 6)]
        marks += [
            Mark("dot", ((6 + (band + 0.5) * width, y),), _CYAN, 3)
            for band in sorted({edit.band for edit in state.edits})
        ]
        marks.append(Mark("dot", ((6 + (state.band + 0.5) * width, y),), _WHITE, 4))

        points = tuple((edit.u, edit.v) for edit in state.edits if isinstance(edit, Vertex))
        if closed(state.edits):
            marks.append(Mark("polygon", points, _GREEN, 3))
        elif len(points) > 1:
            marks.append(Mark("line", points, _CYAN, 2))
        if points:
            marks.append(Mark("ring", points[:1], _YELLOW, 6))
            marks += [Mark("dot", (point,), _CYAN, 3.5) for point in points]
        return tuple(marks)

    def status(self, state: State) -> tuple[str, ...]:
        """Return the band, the number of vertices and what to do."""
        count = sum(isinstance(edit, Vertex) for edit in state.edits)
        if closed(state.edits):
            prompt = "Closed: no clicks"
        elif state.ratio:
            prompt = task.VIEW_ONLY
        else:
            prompt = "Outline the gas in its band"
        where = f"band {state.band + 1} of {self.world.bands}"
        return where, task.counted(count, "vertex", "vertices"), prompt

    def position(self, state: State) -> float:
        """Return the position of the band."""
        return state.band / (self.world.bands - 1)

    def live(self, state: State) -> bool:
        """Return whether a band is on display and the polygon is open."""
        return not state.ratio and not closed(state.edits)

    def act(self, state: State, button: str) -> State:
        """Turn the ratio on or off, close the polygon, or change the band."""
        if button == "ratio":
            return replace(state, ratio=not state.ratio)
        if button == "close":
            return replace(state, edits=(*state.edits, Close(state.band)))
        return replace(state, band=min(max(state.band + _STEPS[button], 0), self.world.bands - 1))

    def place(self, state: State, u: float, v: float) -> State:
        """Add a vertex."""
        return replace(state, edits=(*state.edits, Vertex(u, v, state.band)))
