"""The interface of limb tracking: a video with one tab for each key point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.limb_tracking.world import LimbTrackingWorld

NO_PART = -1
"""`State.part` when no tab is active."""


class Point(NamedTuple):
    """An entry for key point `part` in a frame.

    Attributes:
        frame: Frame number.
        part: Number of the key point, in the order of the tabs.
        u, v: Canvas position, or both -1 if the key point was called hidden.
    """

    frame: int
    part: int
    u: float = -1.0
    v: float = -1.0

    @property
    def hidden(self) -> bool:
        """Whether the entry says that the key point cannot be seen."""
        return self.u < 0


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The view and the entries made so far.

    Attributes:
        edits: The entries in the order in which they were made.
        t: The frame shown.
        part: The key point whose tab is active, or NO_PART if the frame is complete.
    """

    edits: tuple[Point, ...] = ()
    t: int = 0
    part: int = 0


@lru_cache(maxsize=512)
def latest_entries(edits: tuple[Point, ...]) -> Mapping[tuple[int, int], int]:
    """Return the entries that count: (frame, part) -> index of the last edit for it."""
    return {(edit.frame, edit.part): index for index, edit in enumerate(edits)}


def first_open(edits: tuple[Point, ...], frame: int, count: int, start: int = 0) -> int:
    """Find the first key point of a frame without an entry.

    Args:
        edits: The entries so far.
        frame: Frame number.
        count: Number of key points.
        start: Key point to begin with; the search continues around the tabs.

    Returns:
        The key point, or NO_PART if the frame is complete.
    """
    entries = latest_entries(edits)
    for step in range(start, start + count):
        if (frame, step % count) not in entries:
            return step % count
    return NO_PART


class LimbTrackingInterface(task.Interface[LimbTrackingWorld, State]):
    """Buttons `-t`, `+t`, a tab for each key point, and `Hidden`.

    A click on the canvas places the key point of the active tab. After a placement the next open
    tab becomes active, and after a change of frame the first open one, as in the sequential mode of
    DeepLabCut's napari plugin. When the frame is complete, no tab is active and the canvas is off
    until a tab is chosen again. `Undo` goes to the frame and tab of the entry that it removes.
    """

    title = "Limb tracking"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        entries = latest_entries(state.edits)
        skeleton = self.world.skeleton

        tabs: list[Button] = []
        for part, (name, color) in enumerate(zip(skeleton.names, skeleton.colors)):
            index = entries.get((state.t, part))
            sign = "" if index is None else " –" if state.edits[index].hidden else " ✓"
            active = part == state.part
            tabs.append(Button(f"part{part}", name + sign, "mode", active=active, color=color))

        in_turn = iter(tabs)
        index = entries.get((state.t, state.part))
        can_hide = state.part != NO_PART and (index is None or not state.edits[index].hidden)
        frame = (
            Button("-t", "− t", "navigate", state.t > 0),
            Button("+t", "+ t", "navigate", state.t < self.world.frames - 1),
        )
        return (
            Group("Frame", frame),
            *(Group(title, tuple(islice(in_turn, count))) for title, count in skeleton.groups),
            Group("", (Button("hidden", "Hidden", "decide", can_hide),), columns=1),
        )

    def image(self, state: State) -> np.ndarray:
        return self.world.image_frames[state.t]

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return rings for the points of this frame, over faint dots for the frame before."""
        colors = self.world.skeleton.colors
        previous = []
        current = []
        for (frame, part), index in latest_entries(state.edits).items():
            point = state.edits[index]
            if point.hidden:
                continue
            position = ((point.u, point.v),)
            if frame == state.t:
                current.append(Mark("ring", position, colors[part], 5.0))
            elif frame == state.t - 1:
                previous.append(Mark("dot", position, colors[part], 3.5, faint=True))
        return (*previous, *current)

    def status(self, state: State) -> tuple[str, ...]:
        skeleton = self.world.skeleton
        entered = sum(frame == state.t for frame, _ in latest_entries(state.edits))
        return (
            f"frame {state.t + 1} of {self.world.frames}",
            f"{entered} of {len(skeleton.names)} points",
            "All set" if state.part == NO_PART else f"Place: {skeleton.words[state.part]}",
        )

    def position(self, state: State) -> float:
        return state.t / (self.world.frames - 1)

    def live(self, state: State) -> bool:
        return state.part != NO_PART

    def act(self, state: State, button: str) -> State:
        if button == "hidden":
            return self._add(state, Point(state.t, state.part))
        if button.startswith("part"):
            return replace(state, part=int(button.removeprefix("part")))
        t = state.t + (1 if button == "+t" else -1)
        return replace(state, t=t, part=first_open(state.edits, t, len(self.world.skeleton.names)))

    def place(self, state: State, u: float, v: float) -> State:
        return self._add(state, Point(state.t, state.part, u, v))

    def undo(self, state: State) -> State:
        last = state.edits[-1]
        return replace(state, edits=state.edits[:-1], t=last.frame, part=last.part)

    def _add(self, state: State, point: Point) -> State:
        """Add an entry and open the next tab without one."""
        edits = (*state.edits, point)
        count = len(self.world.skeleton.names)
        return replace(state, edits=edits, part=first_open(edits, state.t, count, state.part))
