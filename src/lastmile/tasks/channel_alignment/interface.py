"""The interface of channel alignment: two channels, shown one at a time, and an overlay of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.screen.widgets import Color
from lastmile.tasks import task
from lastmile.tasks.channel_alignment.registration import Pairs, Point, draw_overlay, pair_points
from lastmile.tasks.channel_alignment.world import ChannelAlignmentWorld

TINTS: dict[str, Color] = {"A": (255, 90, 255), "B": (90, 255, 90)}
"""Color of each channel; where both agree, the overlay is white."""
COLORS: tuple[Color, ...] = (
    (255, 225, 25),
    (0, 210, 255),
    (255, 130, 48),
    (190, 255, 60),
    (255, 90, 110),
    (110, 150, 255),
    (255, 255, 255),
    (70, 240, 200),
    (255, 190, 210),
    (200, 160, 255),
    (210, 180, 90),
    (150, 220, 150),
)
"""Colors of the pairs, in order; they repeat after the last."""


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The view and the points placed so far.

    Attributes:
        edits: The points of both channels in the order in which they were placed.
        channel: The channel shown and placed into, "A" or "B".
        overlay: Whether the overlay of both channels is shown instead.
    """

    edits: tuple[Point, ...] = ()
    channel: str = "A"
    overlay: bool = False


class ChannelAlignmentInterface(task.Interface[ChannelAlignmentWorld, State]):
    """Buttons `Channel` and `Overlay`; a click on the canvas places a point in the channel shown.

    The k-th points of both channels form a pair.
    """

    title = "Channel alignment"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        channel = Button(
            "channel",
            f"Channel {state.channel}",
            "mode",
            enabled=not state.overlay,
            color=TINTS[state.channel],
        )
        overlay = Button("overlay", "Overlay", "look", active=state.overlay)
        return (Group("View", (channel, overlay), columns=1),)

    def image(self, state: State) -> np.ndarray:
        if state.overlay:
            return _overlay(self.world, pair_points(state.edits))
        return self.world.image_a if state.channel == "A" else self.world.image_b

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Return a numbered ring for each point, and a cross for each point without a partner.

        The cross is also shown in the other channel, because that is where its partner has to be
        found. The overlay shows the points of A, and the points of B without a partner.
        """
        shown_channel = "A" if state.overlay else state.channel
        complete_pairs = len(pair_points(state.edits))

        marks = []
        counts = {"A": 0, "B": 0}
        for point in state.edits:
            pair = counts[point.channel]
            counts[point.channel] += 1
            position = ((point.u, point.v),)
            color = COLORS[pair % len(COLORS)]
            label = str(pair + 1)
            if point.channel == shown_channel:
                marks.append(Mark("ring", position, color, 6.5 if state.overlay else 8.5, label))
            if pair >= complete_pairs:
                marks.append(Mark("cross", position, color, 11, label))
        return tuple(marks)

    def status(self, state: State) -> tuple[str, ...]:
        in_a = sum(point.channel == "A" for point in state.edits)
        in_b = len(state.edits) - in_a
        view = "A and B" if state.overlay else f"channel {state.channel}"
        if state.overlay:
            prompt = task.VIEW_ONLY
        else:
            prompt = f"Partner of {in_b + 1} in B?" if in_a > in_b else "Next landmark in A"
        return view, f"A {in_a}, B {in_b}", prompt

    def position(self, state: State) -> float:
        """Return the share of the points placed, since there are no frames or slices."""
        return min(1.0, len(state.edits) / (2 * len(self.world.a)))

    def live(self, state: State) -> bool:
        return not state.overlay

    def act(self, state: State, button: str) -> State:
        if button == "overlay":
            return replace(state, overlay=not state.overlay)
        return replace(state, channel="B" if state.channel == "A" else "A")

    def place(self, state: State, u: float, v: float) -> State:
        return replace(state, edits=(*state.edits, Point(state.channel, u, v)))


@lru_cache(maxsize=64)
def _overlay(world: ChannelAlignmentWorld, pairs: Pairs) -> np.ndarray:
    return draw_overlay(world.image_a, world.image_b, pairs)
