"""The interface of object exploration: a specimen to go round, a map of the sides seen, and a button for each class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.object_exploration.render import view
from lastmile.tasks.object_exploration.world import CLASSES, YAWS, ObjectExplorationWorld

TURNS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}
"""Steps of yaw and pitch of each turn, 30 degrees each."""


class Choice(NamedTuple):
    """A chosen class, by its kinds of features (a key of CLASSES), and the sides that had been shown by then."""

    kinds: int
    seen: int


@dataclass(frozen=True, slots=True)
class State(task.State):
    """yaw: 0 to 11, pitch: -levels to levels, steps of 30 degrees. seen: the sides that have been shown, bit `world.side(yaw, pitch)` each."""

    yaw: int = 0
    pitch: int = 0
    seen: int = 0


class ObjectExplorationInterface(task.Interface):
    """Turning left, right, up and down; a button for each class. Nothing is placed on the canvas."""

    title = "Object exploration"

    def start(self) -> State:
        return State(yaw=self.world.yaw, seen=1 << self.world.side(self.world.yaw, 0))

    def groups(self, state: State) -> tuple[Group, ...]:
        return _groups(
            state.pitch < self.world.levels,
            state.pitch > -self.world.levels,
            state.edits[-1].kinds if state.edits else 0,
        )

    def image(self, state: State) -> np.ndarray:
        return _image(self.world, state.yaw, state.pitch, state.seen)

    def marks(self, state: State) -> tuple[Mark, ...]:
        return ()

    def status(self, state: State) -> tuple[str, ...]:
        chosen = CLASSES[state.edits[-1].kinds].label if state.edits else "none"
        where = f"yaw {30 * state.yaw}°, pitch {30 * state.pitch}°"
        return where, f"chosen: {chosen}", "Find all kinds, choose"

    def position(self, state: State) -> float:
        return state.yaw / YAWS

    def live(self, state: State) -> bool:
        return False

    def act(self, state: State, button: str) -> State:
        if button in TURNS:
            yaw, pitch = (state.yaw + TURNS[button][0]) % YAWS, state.pitch + TURNS[button][1]
            return replace(
                state, yaw=yaw, pitch=pitch, seen=state.seen | 1 << self.world.side(yaw, pitch)
            )
        return replace(
            state, edits=(*state.edits, Choice(int(button.removeprefix("class-")), state.seen))
        )


@lru_cache(maxsize=64)
def _groups(up: bool, down: bool, chosen: int) -> tuple[Group, ...]:
    turns = tuple(
        Button(name, name.capitalize(), "navigate", enabled)
        for name, enabled in (("left", True), ("right", True), ("up", up), ("down", down))
    )
    one, two = (
        tuple(
            Button(f"class-{kinds}", known.label, "decide", True, kinds == chosen)
            for kinds, known in CLASSES.items()
            if kinds.bit_count() == count
        )
        for count in (1, 2)
    )
    return Group("Go round", turns), Group("One kind", one), Group("Two kinds", two)


@lru_cache(maxsize=16)
def _image(world: ObjectExplorationWorld, yaw: int, pitch: int, seen: int) -> np.ndarray:
    """The object from one side, with the map of sides below it: (256, 256, 3) uint8."""
    image = view(world, yaw, pitch).copy()
    rows = 2 * world.levels + 1
    cells = np.array([seen >> side & 1 for side in range(world.sides)], np.uint8).reshape(
        rows, YAWS
    )[::-1]
    tiles = np.where(cells[..., None] > 0, np.uint8([70, 150, 120]), np.uint8([52, 52, 58])).astype(
        np.uint8
    )
    tiles[world.levels - pitch, yaw] = 255, 214, 90
    width, height = 15, 8
    part = cv2.resize(tiles, (YAWS * width, rows * height), interpolation=cv2.INTER_NEAREST)
    part[height - 1 :: height], part[:, width - 1 :: width] = 14, 14
    x, y = 128 - YAWS * width // 2, 252 - rows * height
    image[y : y + rows * height, x : x + YAWS * width] = part
    image.flags.writeable = False
    return image
