"""The interface of behavior tracking: a video, a tab for each animal, and two types of markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.screen.widgets import Color
from lastmile.tasks import task
from lastmile.tasks.behavior_tracking.world import BehaviorTrackingWorld

TABS = 4
"""Number of tabs; those beyond the number of animals are disabled."""
COLORS: tuple[Color, ...] = ((240, 50, 50), (60, 140, 255), (255, 205, 40), (60, 205, 90))
"""Colors of the animals."""
PARTS = ("front", "back")
"""Types of markers; `Marker.part` and `State.part` are indices into this."""
ENDS = ("head end", "tail end")
"""What the types of markers are on an animal."""


class Marker(NamedTuple):
    """The front or back of an animal in one frame.

    A later marker of the same animal, part and frame replaces an earlier one.

    Attributes:
        animal: Number of the animal, from 0.
        part: 0 for the front, 1 for the back.
        t: Frame number.
        u, v: Canvas position.
    """

    animal: int
    part: int
    t: int
    u: float
    v: float


MarkerKey = tuple[int, int, int]
"""What a marker is for: (frame, animal, part)."""


@lru_cache(maxsize=1024)
def latest_markers(edits: tuple[Marker, ...]) -> Mapping[MarkerKey, int]:
    """Return the markers that count: (frame, animal, part) -> index of the last edit for it."""
    return {(marker.t, marker.animal, marker.part): i for i, marker in enumerate(edits)}


@dataclass(frozen=True, slots=True)
class State(task.MovieState):
    """The view, the selection and the markers placed so far.

    Attributes:
        edits: The markers in the order in which they were placed.
        t: The frame shown.
        animal, part: What the next click on the canvas marks.
    """

    edits: tuple[Marker, ...] = ()
    animal: int = 0
    part: int = 0


class BehaviorTrackingInterface(task.Interface[BehaviorTrackingWorld, State]):
    """Buttons `-t`, `+t`, a tab for each animal, `Front` and `Back`.

    A click on the canvas marks the selected part of the selected animal in the frame shown. As in
    tools that step through the key points of a skeleton, the type switches to `Back` after a front
    and to `Front` after a back; a newly chosen tab or frame begins with `Front`. `Undo` goes to the
    frame, tab and type of the marker that it removes, ready to place it again.
    """

    title = "Behavior tracking"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        placed = latest_markers(state.edits)

        tabs = []
        for k in range(TABS):
            exists = k < self.world.animals
            signs = "".join(sign for part, sign in enumerate("○●") if (state.t, k, part) in placed)
            tabs.append(
                Button(
                    f"animal{k + 1}",
                    f"{k + 1}{signs}",
                    "mode",
                    enabled=exists,
                    active=exists and k == state.animal,
                    color=COLORS[k] if exists else None,
                )
            )
        frame = (
            Button("-t", "− t", "navigate", state.t > 0),
            Button("+t", "+ t", "navigate", state.t < self.world.frames - 1),
        )
        marker = (
            Button("front", "○ Front", "mode", active=state.part == 0),
            Button("back", "● Back", "mode", active=state.part == 1),
        )
        return (Group("Frame", frame), Group("Animal", tuple(tabs)), Group("Marker", marker))

    def image(self, state: State) -> np.ndarray:
        return self.world.image_frames[state.t]

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return the marks of this frame, and thin ones for the previous frame.

        Those of the previous frame are faint except for the selected animal, and disappear when the
        animal is marked in this frame. In the first frame, squares show which animal belongs to
        which tab.
        """
        placed = latest_markers(state.edits)

        def position(t: int, animal: int, part: int) -> tuple[float, float] | None:
            index = placed.get((t, animal, part))
            return None if index is None else (state.edits[index].u, state.edits[index].v)

        marks = []
        for k in range(self.world.animals):
            color = COLORS[k]
            selected = k == state.animal
            front, back = (position(state.t, k, part) for part in (0, 1))
            old_front, old_back = (position(state.t - 1, k, part) for part in (0, 1))
            complete = bool(front and back)

            if state.t == 0 and not complete:
                x, y = self.world.center[0, k].tolist()
                square = _square(x, y, 3.5)
                marks.append(Mark("polygon", square, color, 3 if selected else 2, label=str(k + 1)))
            if front and old_front:
                marks.append(Mark("line", (old_front, front), color, 1, faint=True))
            if old_front and old_back and not complete:
                width = 1 if selected else 2
                marks.append(Mark("line", (old_front, old_back), color, width, faint=not selected))
            if old_front and not front:
                marks.append(Mark("ring", (old_front,), color, 3.5, faint=not selected))
            if front and back:
                marks.append(Mark("line", (front, back), color, 2))
            if back:
                marks.append(Mark("dot", (back,), (0, 0, 0), 5.0))
                marks.append(Mark("dot", (back,), color, 4.0))
            if front:
                marks.append(Mark("ring", (front,), color, 5.5, label=str(k + 1)))
        return tuple(marks)

    def status(self, state: State) -> tuple[str, ...]:
        placed = latest_markers(state.edits)
        needed = 2 * self.world.animals
        count = sum(
            (state.t, k, part) in placed for k in range(self.world.animals) for part in (0, 1)
        )
        prompt = f"click {PARTS[state.part]} ({ENDS[state.part]}) of {state.animal + 1}"
        return (
            f"frame {state.t + 1} of {self.world.frames}",
            f"{count} of {needed} here",
            prompt if count < needed else "all marked here",
        )

    def position(self, state: State) -> float:
        return state.t / (self.world.frames - 1)

    def act(self, state: State, button: str) -> State:
        if button in PARTS:
            return replace(state, part=PARTS.index(button))
        if button in ("+t", "-t"):
            return replace(state, t=state.t + (1 if button == "+t" else -1), part=0)
        return replace(state, animal=int(button.removeprefix("animal")) - 1, part=0)

    def place(self, state: State, u: float, v: float) -> State:
        marker = Marker(state.animal, state.part, state.t, u, v)
        return replace(state, edits=(*state.edits, marker), part=1 - state.part)

    def undo(self, state: State) -> State:
        last = state.edits[-1]
        return replace(state, edits=state.edits[:-1], t=last.t, animal=last.animal, part=last.part)


def _square(x: float, y: float, half: float) -> tuple[tuple[float, float], ...]:
    return (x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)
