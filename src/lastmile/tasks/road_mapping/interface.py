"""The interface of road mapping: a window that pans over a map, and a graph that grows node by node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from lastmile.screen import CANVAS, Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.road_mapping.graph import Edits, Link, Node, gaps, links, nodes
from lastmile.tasks.road_mapping.world import PAN, RoadMappingWorld

PICK = 7.0
"""A click within this many px of a node means the node."""
PANS = {"up": (0, -1), "left": (-1, 0), "right": (1, 0), "down": (0, 1)}
_LINK, _NODE, _CHOSEN, _TINT = (255, 225, 30), (20, 30, 160), (255, 60, 40), (255, 0, 210)


@dataclass(frozen=True, slots=True)
class State(task.State):
    """x, y: window, in steps of PAN. mode: "node" or "link". check: whether open roads are tinted. selected: node, -1 without any."""

    x: int = 0
    y: int = 0
    mode: str = "node"
    check: bool = False
    selected: int = -1


class RoadMappingInterface(task.Interface):
    """Four pan buttons, `Node`, `Link` and `Check`; a click places a node linked to the selected one, or selects or links one."""

    title = "Road mapping"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        last = self.world.last
        return (
            Group(
                "Pan",
                (
                    Button("up", "Up", "navigate", state.y > 0),
                    Button("down", "Down", "navigate", state.y < last),
                    Button("left", "Left", "navigate", state.x > 0),
                    Button("right", "Right", "navigate", state.x < last),
                ),
            ),
            Group(
                "Tool",
                (
                    Button("node", "Node", "mode", not state.check, state.mode == "node"),
                    Button("link", "Link", "mode", not state.check, state.mode == "link"),
                ),
            ),
            Group("View", (Button("check", "Check", "look", True, state.check),), 1),
        )

    def image(self, state: State) -> np.ndarray:
        if state.check:
            return _tinted(self.world, state.edits, state.x, state.y)
        return self.world.window(state.x, state.y)

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Links and nodes, the selected one ringed; at the lower right a key to where in the map the window stands."""
        left, top = state.x * PAN, state.y * PAN
        places = [(x - left, y - top) for x, y in nodes(state.edits)]
        shown = [
            Mark("line", (places[a], places[b]), _LINK, 2)
            for a, b in links(state.edits)
            if _meets(places[a], places[b])
        ]
        seen = tuple(place for place in places if _meets(place, place))
        if seen:
            shown += [Mark("dot", seen, _LINK, 4.5), Mark("dot", seen, _NODE, 3)]
        if state.selected >= 0 and _meets(places[state.selected], places[state.selected]):
            shown.append(Mark("ring", (places[state.selected],), _CHOSEN, 7))
        side, step = 30, 30 / (self.world.last + 2)
        corner = CANVAS - side - 3
        at = (corner + state.x * step, corner + state.y * step)
        shown.append(Mark("polygon", _box((corner, corner), side), (255, 255, 255), 1))
        shown.append(Mark("polygon", _box(at, 2 * step), _CHOSEN, 2))
        return tuple(shown)

    def status(self, state: State) -> tuple[str, ...]:
        where = f"window {state.x + 1}, {state.y + 1}"
        count = f"{len(nodes(state.edits))} nodes"
        if state.check:
            return where, count, "Pink: not yet mapped"
        return where, count, "Trace all roads" if state.mode == "node" else "Link to which node?"

    def position(self, state: State) -> float:
        across = self.world.last + 1
        return (state.y * across + state.x) / (across * across - 1)

    def live(self, state: State) -> bool:
        return not state.check

    def act(self, state: State, button: str) -> State:
        if button == "check":
            return replace(state, check=not state.check)
        if button in ("node", "link"):
            return replace(state, mode=button)
        x, y = PANS[button]
        return replace(state, x=state.x + x, y=state.y + y)

    def place(self, state: State, u: float, v: float) -> State:
        x, y = u + state.x * PAN, v + state.y * PAN
        hit = _picked(state.edits, x, y)
        if state.mode == "node" and hit >= 0:
            return replace(state, selected=hit)
        if state.mode == "node":
            return replace(
                state,
                edits=(*state.edits, Node(x, y, state.selected)),
                selected=len(nodes(state.edits)),
            )
        if hit < 0 or hit == state.selected:
            return state
        return replace(state, edits=(*state.edits, Link(state.selected, hit)), selected=hit)

    def place_kind(self, state: State, u: float, v: float) -> str:
        hit = _picked(state.edits, u + state.x * PAN, v + state.y * PAN)
        if state.mode == "node":
            return "mode" if hit >= 0 else "place"
        return "place" if hit >= 0 and hit != state.selected else "invalid"

    def undo(self, state: State) -> State:
        """The last node or link is gone, and the node from which it was made is selected."""
        last = state.edits[-1]
        return replace(
            state,
            edits=state.edits[:-1],
            selected=last.a if isinstance(last, Link) else last.parent,
        )


def _picked(edits: Edits, x: float, y: float) -> int:
    """The nearest node within PICK of a map position, or -1."""
    squared = [(a - x) ** 2 + (b - y) ** 2 for a, b in nodes(edits)]
    nearest = min(range(len(squared)), key=squared.__getitem__, default=-1)
    return nearest if nearest >= 0 and squared[nearest] <= PICK**2 else -1


def _meets(p: tuple[float, float], q: tuple[float, float]) -> bool:
    """Whether the box round two points reaches into the canvas."""
    return (
        min(p[0], q[0]) < CANVAS
        and max(p[0], q[0]) >= 0
        and min(p[1], q[1]) < CANVAS
        and max(p[1], q[1]) >= 0
    )


def _box(corner: tuple[float, float], side: float) -> tuple[tuple[float, float], ...]:
    (x, y) = corner
    return (x, y), (x + side, y), (x + side, y + side), (x, y + side)


@lru_cache(maxsize=64)
def _tinted(world: RoadMappingWorld, edits: Edits, x: int, y: int) -> np.ndarray:
    """The window with the roads tinted that have no links yet."""
    image = world.window(x, y).copy()
    tint = image.copy()
    for gap in gaps(world, edits):
        path = world.samples[gap.first : gap.last + 1] - (x * PAN, y * PAN)
        cv2.polylines(
            tint,
            [(path * 16).round().astype(np.int32).reshape(-1, 1, 2)],
            False,
            _TINT,
            10,
            cv2.LINE_AA,
            4,
        )
    image = cv2.addWeighted(image, 0.3, tint, 0.7, 0)
    image.flags.writeable = False
    return image
