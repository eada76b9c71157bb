"""The interface of plume finding: a band browser with a polygon tool."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.plume_finding.world import Close, Vertex

_STEPS = {"-1": -1, "+1": 1, "-5": -5, "+5": 5}
_CYAN, _YELLOW, _GREEN, _GRAY, _WHITE = (
    (0, 225, 255),
    (255, 214, 10),
    (60, 220, 90),
    (38, 40, 46),
    (255, 255, 255),
)


@dataclass(frozen=True, slots=True)
class State(task.State):
    """band: the band that is shown. ratio: whether it is shown against its background."""

    band: int = 0
    ratio: bool = False


def closed(edits: tuple[Vertex | Close, ...]) -> bool:
    """Whether the polygon is closed."""
    return bool(edits) and isinstance(edits[-1], Close)


class PlumeFindingInterface(task.Interface):
    """`-1`, `+1`, `-5`, `+5`, `Ratio` and `Close`; a click on the canvas adds a vertex to the polygon until it is closed."""

    title = "Plume finding"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        down, up = state.band > 0, state.band < self.world.bands - 1
        ready = not state.ratio and len(state.edits) >= 3 and not closed(state.edits)
        return (
            Group(
                "Band",
                (
                    Button("-1", "− 1", "navigate", down),
                    Button("+1", "+ 1", "navigate", up),
                    Button("-5", "− 5", "navigate", down),
                    Button("+5", "+ 5", "navigate", up),
                ),
            ),
            Group("View", (Button("ratio", "Ratio", "look", True, state.ratio),), 1),
            Group("Polygon", (Button("close", "Close", "decide", ready),), 1),
        )

    def image(self, state: State) -> np.ndarray:
        return self.world.picture(state.band, state.ratio)

    def marks(self, state: State) -> tuple[Mark, ...]:
        width, y = (CANVAS - 12) / self.world.bands, CANVAS - 6
        shown = [Mark("line", ((6, y), (CANVAS - 6, y)), _GRAY, 6)]
        shown += [
            Mark("dot", ((6 + (band + 0.5) * width, y),), _CYAN, 3)
            for band in sorted({edit.band for edit in state.edits})
        ]
        shown.append(Mark("dot", ((6 + (state.band + 0.5) * width, y),), _WHITE, 4))
        points = tuple((edit.u, edit.v) for edit in state.edits if isinstance(edit, Vertex))
        if closed(state.edits):
            shown.append(Mark("polygon", points, _GREEN, 3))
        elif len(points) > 1:
            shown.append(Mark("line", points, _CYAN, 2))
        if points:
            shown.append(Mark("ring", points[:1], _YELLOW, 6))
            shown += [Mark("dot", (point,), _CYAN, 3.5) for point in points]
        return tuple(shown)

    def status(self, state: State) -> tuple[str, ...]:
        count = sum(isinstance(edit, Vertex) for edit in state.edits)
        where = f"band {state.band + 1} of {self.world.bands}"
        return (
            where,
            f"{count} vertices",
            "Closed" if closed(state.edits) else "Outline the gas in its band",
        )

    def position(self, state: State) -> float:
        return state.band / (self.world.bands - 1)

    def live(self, state: State) -> bool:
        return not state.ratio and not closed(state.edits)

    def act(self, state: State, button: str) -> State:
        if button == "ratio":
            return replace(state, ratio=not state.ratio)
        if button == "close":
            return replace(state, edits=(*state.edits, Close(state.band)))
        return replace(state, band=min(max(state.band + _STEPS[button], 0), self.world.bands - 1))

    def place(self, state: State, u: float, v: float) -> State:
        return replace(state, edits=(*state.edits, Vertex(u, v, state.band)))
