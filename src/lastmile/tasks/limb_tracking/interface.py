"""The interface of limb tracking: a video with one tab for each key point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.limb_tracking.world import NAMES

COLORS = (
    (160, 240, 60),
    (255, 90, 230),
    (70, 130, 255),
    (255, 60, 50),
    (50, 225, 240),
    (255, 165, 20),
)
"""Colors of the key points: cold on the left side of the body, warm on the right."""


class Point(NamedTuple):
    """Key point `part` in a frame: at canvas position (u, v), or hidden there when both are -1."""

    frame: int
    part: int
    u: float = -1.0
    v: float = -1.0

    @property
    def hidden(self) -> bool:
        return self.u < 0


@dataclass(frozen=True, slots=True)
class State(task.State):
    """t: the frame that is shown. part: the key point whose tab is active, -1 for none (all key points of the frame are done)."""

    t: int = 0
    part: int = 0


@lru_cache(maxsize=512)
def standing(edits: tuple[Point, ...]) -> dict[tuple[int, int], int]:
    """What stands after a number of edits: (frame, part) to the index of the last edit for it. Not to be written to."""
    return {edit[:2]: index for index, edit in enumerate(edits)}


def vacant(edits: tuple[Point, ...], frame: int, start: int = 0) -> int:
    """The first key point from `start` on, in the order of the tabs and round, that is neither placed nor hidden in a frame, or -1."""
    known, count = standing(edits), len(NAMES)
    return next(
        (
            part % count
            for part in range(start, start + count)
            if (frame, part % count) not in known
        ),
        -1,
    )


class LimbTrackingInterface(task.Interface):
    """`-t`, `+t`, a tab for each key point and `Hidden`; a click on the canvas places the key point of the active tab.

    After a placement the next open tab becomes active, and after a change of frame the first open one, as in the sequential mode of
    DeepLabCut's plugin for napari. When all are done no tab is active and the canvas is off, until a tab is chosen again. `Undo` shows what
    it takes back: frame and tab go there.
    """

    title = "Limb tracking"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        known, t = standing(state.edits), state.t
        tabs = []
        for part, (name, color) in enumerate(zip(NAMES, COLORS)):
            index = known.get((t, part))
            sign = "" if index is None else " –" if state.edits[index].hidden else " ✓"
            tabs.append(Button(f"part{part}", name + sign, "mode", True, part == state.part, color))
        index = known.get((t, state.part))
        markable = state.part >= 0 and (index is None or not state.edits[index].hidden)
        return (
            Group(
                "Frame",
                (
                    Button("-t", "− t", "navigate", t > 0),
                    Button("+t", "+ t", "navigate", t < self.world.frames - 1),
                ),
            ),
            Group("Body", tuple(tabs[:2])),
            Group("Paws", tuple(tabs[2:])),
            Group("", (Button("hidden", "Hidden", "decide", markable),), 1),
        )

    def image(self, state: State) -> np.ndarray:
        return self.world.image_frames[state.t]

    def marks(self, state: State) -> tuple[Mark, ...]:
        before, now = [], []
        for (frame, part), index in standing(state.edits).items():
            point = state.edits[index]
            if point.hidden or not 0 <= state.t - frame <= 1:
                continue
            if frame == state.t:
                now.append(Mark("ring", ((point.u, point.v),), COLORS[part], 5.0))
            else:
                before.append(Mark("dot", ((point.u, point.v),), COLORS[part], 3.5, faint=True))
        return (*before, *now)

    def status(self, state: State) -> tuple[str, ...]:
        done = sum(frame == state.t for frame, _ in standing(state.edits))
        following = f"Place: {NAMES[state.part]}" if state.part >= 0 else "All set"
        return (
            f"frame {state.t + 1} of {self.world.frames}",
            f"{done} of {len(NAMES)} points",
            following,
        )

    def position(self, state: State) -> float:
        return state.t / (self.world.frames - 1)

    def live(self, state: State) -> bool:
        return state.part >= 0

    def act(self, state: State, button: str) -> State:
        if button == "hidden":
            return self._add(state, Point(state.t, state.part))
        if button.startswith("part"):
            return replace(state, part=int(button[4:]))
        t = state.t + (1 if button == "+t" else -1)
        return replace(state, t=t, part=vacant(state.edits, t))

    def place(self, state: State, u: float, v: float) -> State:
        return self._add(state, Point(state.t, state.part, u, v))

    def undo(self, state: State) -> State:
        last = state.edits[-1]
        return replace(state, edits=state.edits[:-1], t=last.frame, part=last.part)

    @staticmethod
    def _add(state: State, point: Point) -> State:
        edits = (*state.edits, point)
        return replace(state, edits=edits, part=vacant(edits, state.t, state.part))
