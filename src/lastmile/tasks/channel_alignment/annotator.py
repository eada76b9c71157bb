"""The virtual annotator of channel alignment."""

from __future__ import annotations

import numpy as np

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.channel_alignment.interface import State
from lastmile.tasks.task import Mistake


class ChannelAlignmentAnnotator(Annotator):
    """Looks at both channels and their overlay, then marks landmark after landmark in reading order, each in A and at once in B.

    After every few pairs it turns the overlay on to see whether they agree. It stops when all landmarks that both channels show are
    paired, and looks at the overlay once more; a careful one also goes through both channels.
    """

    weights = {"slip": 0.4, "confusion": 0.35, "lapse": 0.25}

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.tour: tuple[str, ...] | None = None  # views still to see before the work
        self.tests: tuple[str, ...] = ()  # views still to see in the final check
        self.looked = 0  # number of pairs at the last look at the overlay

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        if self.tour is None:
            self.tour = ("B", "overlay", "A") if self.style.explore > 0.5 else ("B", "A")
        while self.tour and self.tour[0] == _view(state):
            self.tour = self.tour[1:]
        return _turn(state, self.tour[0]) if self.tour else None

    def annotate(self, state: State) -> Intent | None:
        channel, target = self._wanted(state)
        if target is None:
            return None
        count = len(state.edits) // 2
        every = round(4 - 2 * self.style.verify)
        if channel == "A" and count and count % every == 0 and count != self.looked:
            self.looked = count
            if not state.overlay:
                return Intent("overlay")
        return self.put(target) if _view(state) == channel else _turn(state, channel)

    def verify(self, state: State) -> Intent | None:
        if self.phase != "verify":
            self.tests = ("A", "B", "overlay") if self.style.verify > 0.9 else ("overlay",)
        while self.tests and self.tests[0] == _view(state):
            self.tests = self.tests[1:]
        return _turn(state, self.tests[0]) if self.tests else None

    def blunder(self, state: State, kind: str) -> Intent | None:
        channel, target = self._wanted(state)
        if target is None or state.overlay:
            return None
        if kind == "lapse":
            return self.put(target) if state.channel != channel else None
        if state.channel != channel:
            return None
        if kind == "slip":
            return self.beside(state, target)
        world = self.world
        others = world.decoys_a if channel == "A" else np.concatenate([world.b, world.decoys_b])
        squared = ((others - target) ** 2).sum(1)
        squared[squared < 1] = np.inf
        nearest = others[squared.argmin()]
        return self.put((float(nearest[0]), float(nearest[1])))._replace(target=target)

    def visible(self, state: State, mistake: Mistake) -> bool:
        """A point is seen in its own channel and in the overlay; one of A that waits for its partner also in B, where it has none. A point
        in the wrong channel shows in the counts."""
        channel, last = state.edits[mistake.edit].channel, mistake.edit == len(state.edits) - 1
        return (
            state.overlay
            or channel == state.channel
            or mistake.kind == "lapse"
            or (channel == "A" and last)
        )

    def _wanted(self, state: State) -> tuple[str, tuple[float, float] | None]:
        """The channel and the point that come next; no point when all landmarks are paired."""
        waiting = self.world.waiting(state.edits)
        if waiting is not None:
            return "B", self.world.partner(waiting.u, waiting.v)
        landmark = self.world.following(state.edits)
        return "A", (
            float(self.world.a[landmark, 0]),
            float(self.world.a[landmark, 1]),
        ) if landmark >= 0 else None


def _view(state: State) -> str:
    return "overlay" if state.overlay else state.channel


def _turn(state: State, view: str) -> Intent:
    """The button on the way to another view."""
    return Intent("overlay" if state.overlay or view == "overlay" else "channel")
