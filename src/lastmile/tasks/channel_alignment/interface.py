"""The interface of channel alignment: two channels, one at a time, and an overlay of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks.channel_alignment.registration import Point, overlay, pairs

TINTS = {"A": (255, 90, 255), "B": (90, 255, 90)}
"""Look-up color of each channel; where both agree the overlay is white."""
COLORS = (
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
"""Colors of the pairs in order, from the first again after the last."""


@dataclass(frozen=True, slots=True)
class State(task.State):
    """channel: "A" or "B", the one that is shown. overlay: whether both are shown instead."""

    channel: str = "A"
    overlay: bool = False


class ChannelAlignmentInterface(task.Interface):
    """`Channel` and `Overlay`; a click on the canvas places a point in the channel that is shown. The k-th points of both are a pair."""

    title = "Channel alignment"

    def start(self) -> State:
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        channel = Button(
            "channel",
            f"Channel {state.channel}",
            "mode",
            not state.overlay,
            False,
            TINTS[state.channel],
        )
        return (
            Group("View", (channel, Button("overlay", "Overlay", "look", True, state.overlay)), 1),
        )

    def image(self, state: State) -> np.ndarray:
        if state.overlay:
            return overlay(self.world, pairs(state.edits))
        return self.world.image_a if state.channel == "A" else self.world.image_b

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Rings with the number of the pair. A cross shows a point that has no partner yet, also in the other channel, where its partner is
        to be looked for; the overlay shows the points of A, and of B those without a partner."""
        shown, counts = [], {"A": 0, "B": 0}
        full = len(pairs(state.edits))
        for point in state.edits:
            number = counts[point.channel]
            counts[point.channel] += 1
            at, color, label = ((point.u, point.v),), COLORS[number % len(COLORS)], str(number + 1)
            if point.channel == ("A" if state.overlay else state.channel):
                shown.append(Mark("ring", at, color, 6.5 if state.overlay else 8.5, label))
            if number >= full:
                shown.append(Mark("cross", at, color, 11, label))
        return tuple(shown)

    def status(self, state: State) -> tuple[str, ...]:
        in_a = sum(point.channel == "A" for point in state.edits)
        in_b = len(state.edits) - in_a
        where = "A and B" if state.overlay else f"channel {state.channel}"
        advice = f"Partner of {in_b + 1} in B?" if in_a > in_b else "Next landmark in A"
        return where, f"A {in_a}, B {in_b}", advice

    def position(self, state: State) -> float:
        return min(1.0, len(state.edits) / (2 * len(self.world.a)))

    def live(self, state: State) -> bool:
        return not state.overlay

    def act(self, state: State, button: str) -> State:
        if button == "overlay":
            return replace(state, overlay=not state.overlay)
        return replace(state, channel="B" if state.channel == "A" else "A")

    def place(self, state: State, u: float, v: float) -> State:
        return replace(state, edits=(*state.edits, Point(state.channel, u, v)))
