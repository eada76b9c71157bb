"""The interface of colored dots: a slice browser with markers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.colored_dots.world import ColoredDotsWorld, Marker

MARKER_RADIUS = 7.5
"""Radius of the ring of a marker, logical px."""


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The markers and the view.

    Attributes:
        edits: The markers.
        z: The current slice.
        mip: Whether the maximum intensity projection is on display instead.
    """

    edits: tuple[Marker, ...] = ()
    z: int = 0
    mip: bool = False


class ColoredDotsInterface(task.Interface[ColoredDotsWorld, State]):
    """`-z`, `+z` and `MIP`; a click on the canvas places a marker in the current slice."""

    title = "Colored dots"

    def start(self) -> State:
        """Begin in the first slice."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the buttons; the slice can be changed only where it is on display."""
        last = self.world.slices - 1
        return (
            Group(
                "Slice",
                (
                    Button("-z", "− z", "navigate", not state.mip and state.z > 0),
                    Button("+z", "+ z", "navigate", not state.mip and state.z < last),
                ),
            ),
            Group("View", (Button("mip", "MIP", "look", True, state.mip),), 1),
        )

    def image(self, state: State) -> np.ndarray:
        """Return the slice or the projection."""
        return self.world.image_mip if state.mip else self.world.image_slices[state.z]

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return the markers of this slice, and those of its neighbors faint; or all of them."""
        shown = []
        for marker in state.edits:
            if state.mip or marker.z == state.z:
                shown.append(Mark("ring", ((marker.u, marker.v),), size=MARKER_RADIUS))
            elif abs(marker.z - state.z) == 1:
                shown.append(Mark("ring", ((marker.u, marker.v),), size=MARKER_RADIUS, faint=True))
        return tuple(shown)

    def status(self, state: State) -> tuple[str, ...]:
        """Return the slice, the number of markers, and what to do."""
        count = task.counted(len(state.edits), "marker")
        if state.mip:
            return "all slices", count, task.VIEW_ONLY
        where = f"slice {state.z + 1} of {self.world.slices}"
        return where, count, "Mark each dot once: blue first, red last"

    def position(self, state: State) -> float:
        """Return the depth in the stack."""
        return state.z / (self.world.slices - 1)

    def live(self, state: State) -> bool:
        """Take clicks in a slice only: in the projection a marker would have no depth."""
        return not state.mip

    def act(self, state: State, button: str) -> State:
        """Turn the projection on or off, or change the slice."""
        if button == "mip":
            return replace(state, mip=not state.mip)
        return replace(state, z=state.z + (1 if button == "+z" else -1))

    def place(self, state: State, u: float, v: float) -> State:
        """Place a marker in the current slice."""
        return replace(state, edits=(*state.edits, Marker(u, v, state.z)))
