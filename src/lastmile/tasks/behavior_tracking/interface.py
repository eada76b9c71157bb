"""The interface of behavior tracking: a video, one tab for each animal, and two types of markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task

TABS = 4
"""Tabs there are room for; those beyond the number of animals are disabled."""
COLORS = ((240, 50, 50), (60, 140, 255), (255, 205, 40), (60, 205, 90))
PARTS = ("front", "back")


class Marker(NamedTuple):
    """The front (part 0) or back (1) of an animal is at canvas position (u, v) in frame t. A later marker of the same animal, part and
    frame replaces it."""

    animal: int
    part: int
    t: int
    u: float
    v: float


@lru_cache(maxsize=1024)
def standing(edits: tuple[Marker, ...]) -> Mapping[tuple[int, int, int], int]:
    """Index of the marker that counts, by (frame, animal, part)."""
    if not edits:
        return {}
    last = edits[-1]
    return {**standing(edits[:-1]), (last.t, last.animal, last.part): len(edits) - 1}


@dataclass(frozen=True, slots=True)
class State(task.State):
    """t: the frame that is shown. animal, part: what the next click on the canvas marks."""

    t: int = 0
    animal: int = 0
    part: int = 0


class BehaviorTrackingInterface(task.Interface):
    """`-t`, `+t`, a tab for each animal, `Front` and `Back`; a click on the canvas marks that part of that animal in that frame.

    As in tools that walk through the key points of a skeleton, the type goes on to `Back` after a front was placed, and to `Front` after a
    back; a tab or frame that is newly shown begins with `Front`. `Undo` shows the frame and selects the tab and type of the marker that it
    took back, ready to be placed again.
    """

    title = "Behavior tracking"

    def __init__(self, world) -> None:
        super().__init__(world)
        self._groups: tuple[State | None, tuple[Group, ...]] = (None, ())
        self._standing: tuple[tuple | None, Mapping[tuple[int, int, int], int]] = (None, {})

    def standing(self, state: State) -> Mapping[tuple[int, int, int], int]:
        if self._standing[0] is not state.edits:
            self._standing = (state.edits, standing(state.edits))
        return self._standing[1]

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        if self._groups[0] is not state:
            self._groups = (state, self._list(state))
        return self._groups[1]

    def _list(self, state: State) -> tuple[Group, ...]:
        placed, tabs = self.standing(state), []
        for k in range(TABS):
            there = k < self.world.animals
            ticks = "".join(sign for part, sign in enumerate("○●") if (state.t, k, part) in placed)
            tabs.append(
                Button(
                    f"animal{k + 1}",
                    f"{k + 1}{ticks}",
                    "mode",
                    there,
                    there and k == state.animal,
                    COLORS[k] if there else None,
                )
            )
        return (
            Group(
                "Frame",
                (
                    Button("-t", "− t", "navigate", state.t > 0),
                    Button("+t", "+ t", "navigate", state.t < self.world.frames - 1),
                ),
            ),
            Group("Animal", tuple(tabs)),
            Group(
                "Marker",
                (
                    Button("front", "○ Front", "mode", True, state.part == 0),
                    Button("back", "● Back", "mode", True, state.part == 1),
                ),
            ),
        )

    def image(self, state: State) -> np.ndarray:
        return self.world.image_frames[state.t]

    def marks(self, state: State) -> tuple[Mark, ...]:
        shown = []
        for k in range(self.world.animals):
            color, chosen = COLORS[k], k == state.animal
            front, back = (self._where(state, state.t, k, part) for part in (0, 1))
            was_front, was_back = (self._where(state, state.t - 1, k, part) for part in (0, 1))
            if state.t == 0 and not (front and back):
                (x, y), side = self.world.center[0, k].tolist(), 3.5
                square = (
                    (x - side, y - side),
                    (x + side, y - side),
                    (x + side, y + side),
                    (x - side, y + side),
                )
                shown.append(Mark("polygon", square, color, 3 if chosen else 2, label=str(k + 1)))
            if front and was_front:
                shown.append(Mark("line", (was_front, front), color, 1, faint=True))
            if was_front and was_back and not (front and back):
                shown.append(
                    Mark("line", (was_front, was_back), color, 1 if chosen else 2, faint=not chosen)
                )
            if was_front and not front:
                shown.append(Mark("ring", (was_front,), color, 3.5, faint=not chosen))
            if front and back:
                shown.append(Mark("line", (front, back), color, 2))
            if back:
                shown.append(Mark("dot", (back,), (0, 0, 0), 5.0))
                shown.append(Mark("dot", (back,), color, 4.0))
            if front:
                shown.append(Mark("ring", (front,), color, 5.5, label=str(k + 1)))
        return tuple(shown)

    def _where(self, state: State, t: int, animal: int, part: int) -> tuple[float, float] | None:
        index = self.standing(state).get((t, animal, part))
        return None if index is None else state.edits[index][3:]

    def status(self, state: State) -> tuple[str, ...]:
        placed = self.standing(state)
        count = sum(
            (state.t, k, part) in placed for k in range(self.world.animals) for part in (0, 1)
        )
        where = f"frame {state.t + 1} of {self.world.frames}"
        task = (
            f"click {PARTS[state.part]} of {state.animal + 1}"
            if count < 2 * self.world.animals
            else "all marked here"
        )
        return where, f"{count} of {2 * self.world.animals} here", task

    def position(self, state: State) -> float:
        return state.t / (self.world.frames - 1)

    def act(self, state: State, button: str) -> State:
        if button in PARTS:
            return replace(state, part=PARTS.index(button))
        if button in ("+t", "-t"):
            return replace(state, t=state.t + (1 if button == "+t" else -1), part=0)
        return replace(state, animal=int(button[6:]) - 1, part=0)

    def place(self, state: State, u: float, v: float) -> State:
        return replace(
            state,
            edits=(*state.edits, Marker(state.animal, state.part, state.t, u, v)),
            part=1 - state.part,
        )

    def undo(self, state: State) -> State:
        last = state.edits[-1]
        return replace(state, edits=state.edits[:-1], t=last.t, animal=last.animal, part=last.part)
