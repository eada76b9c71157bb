"""The interface of template place: a picture in two views, with markers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks._template.place.world import Marker, TemplatePlaceWorld


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The markers and the view. A state is a value: actions return a new one.

    Attributes:
        edits: The markers, oldest first.
        smooth: Whether the smooth view is on display.
    """

    edits: tuple[Marker, ...] = ()
    smooth: bool = False


class TemplatePlaceInterface(task.Interface[TemplatePlaceWorld, State]):
    """`Smooth` changes the view; a click on the canvas places a marker.

    Undo, Done, layouts, themes, drawing and hit-testing are inherited.
    """

    title = "Template place"

    def start(self) -> State:
        """Begin with the picture as it is."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the task's own buttons, the same ones in every state."""
        # Id, label, kind of action, enabled, active.
        smooth = Button("smooth", "Smooth", "look", True, state.smooth)
        return (Group("View", (smooth,), 1),)

    def image(self, state: State) -> np.ndarray:
        """Return the picture in the current view."""
        return self.world.image_smooth if state.smooth else self.world.image

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return a ring for each marker."""
        return tuple(Mark("ring", ((marker.u, marker.v),), size=8) for marker in state.edits)

    def status(self, state: State) -> tuple[str, ...]:
        """Return the number of markers and what to do."""
        return f"{len(state.edits)} marked", "Mark every bright spot once"

    def position(self, state: State) -> float:
        """Return which view is on display: 0 or 1."""
        return float(state.smooth)

    def act(self, state: State, button: str) -> State:
        """Change the view."""
        return replace(state, smooth=not state.smooth)

    def place(self, state: State, u: float, v: float) -> State:
        """Place a marker."""
        return replace(state, edits=(*state.edits, Marker(u, v)))
