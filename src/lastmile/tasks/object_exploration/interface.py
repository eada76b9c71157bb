"""The interface of object exploration: an object to go around, and a button for each class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import Button, Group, Mark, text
from lastmile.tasks import task
from lastmile.tasks.object_exploration.render import view
from lastmile.tasks.object_exploration.world import (
    BARS,
    CLASSES,
    KNOB,
    PIT,
    YAWS,
    ObjectExplorationWorld,
    example,
)

TURNS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}
"""Steps of yaw and pitch by button, 30 degrees each."""

_SEEN = (70, 150, 120)  # color of a side on the map
_UNSEEN = (52, 52, 58)
_CURRENT = (255, 214, 90)
_LETTERS = (190, 190, 196)


class Choice(NamedTuple):
    """A chosen class.

    Attributes:
        kinds: Its kinds of features, a key of `CLASSES`.
        seen: The sides that had been seen by then, a bit each.
    """

    kinds: int
    seen: int


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The choices and the view.

    Attributes:
        edits: The choices; the last one counts.
        yaw: Current side, steps of 30 degrees, from 0 to 11.
        pitch: Current side, steps of 30 degrees, from -levels to levels.
        seen: The sides that have been seen: bit `world.side(yaw, pitch)` of each.
    """

    edits: tuple[Choice, ...] = ()
    yaw: int = 0
    pitch: int = 0
    seen: int = 0


class ObjectExplorationInterface(task.Interface[ObjectExplorationWorld, State]):
    """Turns left, right, up and down, and a button for each class.

    Nothing is placed on the canvas.
    """

    title = "Object exploration"

    def start(self) -> State:
        """Begin in front of the object, at the yaw of the world."""
        return State(yaw=self.world.yaw, seen=1 << self.world.side(self.world.yaw, 0))

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the buttons; that of the chosen class is active."""
        return _groups(
            state.pitch < self.world.levels,
            state.pitch > -self.world.levels,
            state.edits[-1].kinds if state.edits else 0,
        )

    def image(self, state: State) -> np.ndarray:
        """Return the object with the map of its sides."""
        return _image(self.world, state.yaw, state.pitch, state.seen)

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return no marks."""
        return ()

    def status(self, state: State) -> tuple[str, ...]:
        """Return the angles, the chosen class and what to do."""
        chosen = CLASSES[state.edits[-1].kinds].label if state.edits else "none"
        where = f"yaw {30 * state.yaw}°, pitch {30 * state.pitch}°"
        return where, f"chosen: {chosen}", "Find all kinds, then choose"

    def position(self, state: State) -> float:
        """Return the yaw as a share of a full turn."""
        return state.yaw / YAWS

    def live(self, state: State) -> bool:
        """Return False: the canvas takes no clicks."""
        return False

    def act(self, state: State, button: str) -> State:
        """Turn, or choose a class."""
        if button in TURNS:
            yaw = (state.yaw + TURNS[button][0]) % YAWS
            pitch = state.pitch + TURNS[button][1]
            seen = state.seen | 1 << self.world.side(yaw, pitch)
            return replace(state, yaw=yaw, pitch=pitch, seen=seen)
        choice = Choice(int(button.removeprefix("class-")), state.seen)
        return replace(state, edits=(*state.edits, choice))


@lru_cache(maxsize=64)
def _groups(up: bool, down: bool, chosen: int) -> tuple[Group, ...]:
    """Return the buttons, given whether `Up` and `Down` are enabled and the chosen class."""
    turns = tuple(
        Button(name, name.capitalize(), "navigate", enabled)
        for name, enabled in (("left", True), ("right", True), ("up", up), ("down", down))
    )
    one_kind, two_kinds = (
        tuple(
            Button(f"class-{kinds}", known.label, "decide", True, kinds == chosen)
            for kinds, known in CLASSES.items()
            if kinds.bit_count() == count
        )
        for count in (1, 2)
    )
    return Group("Go round", turns), Group("One kind", one_kind), Group("Two kinds", two_kinds)


@lru_cache(maxsize=1)
def _legend() -> np.ndarray:
    """Return a picture of each kind of feature with its name below, (105, 30, 3) uint8."""
    size, line, reach = 24, 11, 28
    legend = np.full((3 * (size + line), size + 6, 3), 17, np.uint8)
    for row, (kind, name) in enumerate(((KNOB, "knob"), (PIT, "pit"), (BARS, "bars"))):
        middle = view(example(kind), 0, 0)[108 - reach : 108 + reach, 128 - reach : 128 + reach]
        y = row * (size + line)
        legend[y : y + size, 3 : 3 + size] = cv2.resize(
            middle, (size, size), interpolation=cv2.INTER_AREA
        )
        left = 3 + (size - text.mask(name, 9).shape[1]) // 2
        text.put(legend, name, left, y + size, _LETTERS, 9)
    return legend


@lru_cache(maxsize=16)
def _image(world: ObjectExplorationWorld, yaw: int, pitch: int, seen: int) -> np.ndarray:
    """Return the object from one side, the map of sides below it, and what features look like.

    Returns:
        (256, 256, 3) uint8; read only.
    """
    image = view(world, yaw, pitch).copy()

    # One cell for each side, the highest pitch in the upper row.
    rows = 2 * world.levels + 1
    bits = np.array([seen >> side & 1 for side in range(world.sides)], np.uint8)
    cells = bits.reshape(rows, YAWS)[::-1]
    colors = np.where(cells[..., None] > 0, np.array(_SEEN), np.array(_UNSEEN)).astype(np.uint8)
    colors[world.levels - pitch, yaw] = _CURRENT

    legend = _legend()
    image[4 : 4 + legend.shape[0], 4 : 4 + legend.shape[1]] = legend

    width, height = 15, 8
    part = cv2.resize(colors, (YAWS * width, rows * height), interpolation=cv2.INTER_NEAREST)
    part[height - 1 :: height] = 14  # lines between the cells
    part[:, width - 1 :: width] = 14
    x = 128 - YAWS * width // 2
    y = 252 - rows * height
    image[y : y + rows * height, x : x + YAWS * width] = part
    image.flags.writeable = False
    return image
