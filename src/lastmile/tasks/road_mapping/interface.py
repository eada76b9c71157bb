"""The interface of road mapping: a window that pans over a map, and a graph that is drawn on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark
from lastmile.screen.widgets import Kind
from lastmile.tasks import task
from lastmile.tasks.road_mapping.graph import Edits, Link, Node, Point, gaps, links, nodes
from lastmile.tasks.road_mapping.world import PAN, RoadMappingWorld

PICK = 7.0
"""A click within this distance of a node is a click on the node, px."""
PANS = {"up": (0, -1), "left": (-1, 0), "right": (1, 0), "down": (0, 1)}
"""Movement of the window, in units of `PAN`, by button."""

_LINK = (255, 225, 30)
_NODE = (20, 30, 160)
_SELECTED = (255, 60, 40)
_TINT = (255, 0, 210)
_KEY = 30  # side of the key to the position of the window, px


@dataclass(frozen=True, slots=True)
class State(task.State):
    """How far the mapping has come, and what the window shows.

    Attributes:
        edits: Nodes and links in the order in which they were made.
        x: Position of the window, in units of `PAN`.
        y: Position of the window, in units of `PAN`.
        mode: The tool, "node" or "link".
        check: Whether unmapped roads are tinted.
        selected: Index of the selected node; -1 without nodes.
    """

    edits: Edits = ()
    x: int = 0
    y: int = 0
    mode: str = "node"
    check: bool = False
    selected: int = -1


class RoadMappingInterface(task.Interface[RoadMappingWorld, State]):
    """Four pan buttons, the tools `Node` and `Link`, and the view `Check`.

    A click on the map places a node that is linked to the selected one; a click on a node selects
    it or, with `Link`, links the selected one to it.
    """

    title = "Road mapping"

    def start(self) -> State:
        """Begin in the upper left window."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the buttons; the tools are disabled while unmapped roads are tinted."""
        last = self.world.last
        pan = (
            Button("up", "Up", "navigate", state.y > 0),
            Button("down", "Down", "navigate", state.y < last),
            Button("left", "Left", "navigate", state.x > 0),
            Button("right", "Right", "navigate", state.x < last),
        )
        tools = (
            Button("node", "Node", "mode", not state.check, state.mode == "node"),
            Button("link", "Link", "mode", not state.check, state.mode == "link"),
        )
        check = Button("check", "Check", "look", True, state.check)
        return Group("Pan", pan), Group("Tool", tools), Group("View", (check,), 1)

    def image(self, state: State) -> np.ndarray:
        """Return the window on the map, with or without the tint."""
        if state.check:
            return _tinted(self.world, state.edits, state.x, state.y)
        return self.world.window(state.x, state.y)

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return links and nodes, a ring around the selected node, and a key to the position.

        The key at the lower right shows where on the map the window is.
        """
        left = state.x * PAN
        top = state.y * PAN
        places = [(x - left, y - top) for x, y in nodes(state.edits)]
        marks = [
            Mark("line", (places[a], places[b]), _LINK, 2)
            for a, b in links(state.edits)
            if _in_window(places[a], places[b])
        ]

        dots = tuple(place for place in places if _in_window(place, place))
        if dots:
            marks += [Mark("dot", dots, _LINK, 4.5), Mark("dot", dots, _NODE, 3)]
        if state.selected >= 0 and _in_window(places[state.selected], places[state.selected]):
            marks.append(Mark("ring", (places[state.selected],), _SELECTED, 7))

        step = _KEY / (self.world.last + 2)  # a pan is half a window
        corner = CANVAS - _KEY - 3
        window = (corner + state.x * step, corner + state.y * step)
        marks.append(Mark("polygon", _square((corner, corner), _KEY), (255, 255, 255), 1))
        marks.append(Mark("polygon", _square(window, 2 * step), _SELECTED, 2))
        return tuple(marks)

    def status(self, state: State) -> tuple[str, ...]:
        """Return the window, the number of nodes and what to do."""
        where = f"window {state.x + 1}, {state.y + 1}"
        count = task.counted(len(nodes(state.edits)), "node")
        if state.check:
            return where, count, "Pink: unmapped (no clicks)"
        return where, count, "Trace all roads" if state.mode == "node" else "Link to which node?"

    def position(self, state: State) -> float:
        """Return the position of the window in reading order."""
        across = self.world.last + 1
        return (state.y * across + state.x) / (across * across - 1)

    def live(self, state: State) -> bool:
        """Return whether unmapped roads are not tinted."""
        return not state.check

    def act(self, state: State, button: str) -> State:
        """Pan, change the tool, or turn the tint on or off."""
        if button == "check":
            return replace(state, check=not state.check)
        if button in ("node", "link"):
            return replace(state, mode=button)
        x, y = PANS[button]
        return replace(state, x=state.x + x, y=state.y + y)

    def place(self, state: State, u: float, v: float) -> State:
        """Place a node, or select or link the node that was clicked."""
        x = u + state.x * PAN
        y = v + state.y * PAN
        hit = _picked(state.edits, x, y)
        if state.mode == "node":
            if hit >= 0:
                return replace(state, selected=hit)
            edits = (*state.edits, Node(x, y, state.selected))
            return replace(state, edits=edits, selected=len(nodes(state.edits)))

        if hit < 0 or hit == state.selected:
            return state
        return replace(state, edits=(*state.edits, Link(state.selected, hit)), selected=hit)

    def place_kind(self, state: State, u: float, v: float) -> Kind:
        """Return `mode` where the click selects a node, `invalid` where it does nothing."""
        hit = _picked(state.edits, u + state.x * PAN, v + state.y * PAN)
        if state.mode == "node":
            return "mode" if hit >= 0 else "place"
        return "place" if hit >= 0 and hit != state.selected else "invalid"

    def undo(self, state: State) -> State:
        """Remove the last node or link, and select the node from which it was made."""
        last = state.edits[-1]
        selected = last.a if isinstance(last, Link) else last.parent
        return replace(state, edits=state.edits[:-1], selected=selected)


def _picked(edits: Edits, x: float, y: float) -> int:
    """Return the nearest node within `PICK` of a map position, or -1."""
    squared = [(a - x) ** 2 + (b - y) ** 2 for a, b in nodes(edits)]
    nearest = min(range(len(squared)), key=squared.__getitem__, default=-1)
    return nearest if nearest >= 0 and squared[nearest] <= PICK**2 else -1


def _in_window(p: Point, q: Point) -> bool:
    """Return whether the bounding box of two points on the canvas plane overlaps the canvas."""
    return (
        min(p[0], q[0]) < CANVAS
        and max(p[0], q[0]) >= 0
        and min(p[1], q[1]) < CANVAS
        and max(p[1], q[1]) >= 0
    )


def _square(corner: Point, side: float) -> tuple[Point, ...]:
    """Return the corners of a square, given the upper left one."""
    x, y = corner
    return (x, y), (x + side, y), (x + side, y + side), (x, y + side)


@lru_cache(maxsize=64)
def _tinted(world: RoadMappingWorld, edits: Edits, x: int, y: int) -> np.ndarray:
    """Return the window with unmapped roads tinted, (256, 256, 3) uint8; read only."""
    image = world.window(x, y).copy()
    tint = image.copy()
    for gap in gaps(world, edits):
        path = world.samples[gap.first : gap.last + 1] - (x * PAN, y * PAN)
        points = (path * 16).round().astype(np.int32).reshape(-1, 1, 2)  # 4 sub-pixel bits
        cv2.polylines(tint, [points], False, _TINT, 10, cv2.LINE_AA, 4)
    image = cv2.addWeighted(image, 0.3, tint, 0.7, 0)
    image.flags.writeable = False
    return image
