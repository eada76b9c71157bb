"""The interface of colored dots: a slice browser with markers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task


class Marker(NamedTuple):
    """A marker at canvas position (u, v) in slice z."""

    u: float
    v: float
    z: int


@dataclass(frozen=True, slots=True)
class State(task.State):
    """z: the slice that is shown. mip: whether the projection is shown instead."""

    z: int = 0
    mip: bool = False


class ColoredDotsInterface(task.Interface):
    """`-z`, `+z` and `MIP`; a click on the canvas places a marker in the slice that is shown."""

    title = "Colored dots"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
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
        return self.world.image_mip if state.mip else self.world.image_slices[state.z]

    def marks(self, state: State) -> tuple[Mark, ...]:
        shown = []
        for marker in state.edits:
            if state.mip or marker.z == state.z:
                shown.append(Mark("ring", ((marker.u, marker.v),), size=7.5))
            elif abs(marker.z - state.z) == 1:
                shown.append(Mark("ring", ((marker.u, marker.v),), size=7.5, faint=True))
        return tuple(shown)

    def status(self, state: State) -> tuple[str, ...]:
        where = "all slices" if state.mip else f"slice {state.z + 1} of {self.world.slices}"
        return where, f"{len(state.edits)} markers", "Mark each dot once, blue to red"

    def position(self, state: State) -> float:
        return state.z / (self.world.slices - 1)

    def live(self, state: State) -> bool:
        return not state.mip

    def act(self, state: State, button: str) -> State:
        if button == "mip":
            return replace(state, mip=not state.mip)
        return replace(state, z=state.z + (1 if button == "+z" else -1))

    def place(self, state: State, u: float, v: float) -> State:
        return replace(state, edits=(*state.edits, Marker(u, v, state.z)))
