"""The virtual annotator of channel alignment."""

from __future__ import annotations

import numpy as np

from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.channel_alignment.interface import State
from lastmile.tasks.channel_alignment.registration import first_unpaired
from lastmile.tasks.channel_alignment.world import ChannelAlignmentWorld
from lastmile.tasks.task import Mistake


class ChannelAlignmentAnnotator(Annotator[ChannelAlignmentWorld, State]):
    """Look at both channels and the overlay, then mark the landmarks in reading order.

    Each landmark is marked in A and right after that in B. Every few pairs the annotator turns the
    overlay on to see whether the channels agree. When all landmarks are paired it checks the
    overlay once more; a careful annotator also checks both channels.

    Attributes:
        tour: Views still to see before the work begins; None before the first decision.
        checks: Views still to see in the final check.
        pairs_checked: Number of pairs at the last look at the overlay.
    """

    weights = {"slip": 0.4, "confusion": 0.35, "lapse": 0.25}

    tour: tuple[str, ...] | None = None
    checks: tuple[str, ...] = ()
    pairs_checked: int = 0

    def explore(self, state: State) -> Intent | None:
        if state.edits:
            return None
        if self.tour is None:
            self.tour = ("B", "overlay", "A") if self.style.explore > 0.5 else ("B", "A")

        while self.tour and self.tour[0] == _view(state):
            self.tour = self.tour[1:]
        return _go_to(state, self.tour[0]) if self.tour else None

    def annotate(self, state: State) -> Intent | None:
        channel, target = self._next_point(state)
        if target is None:
            return None

        pairs = len(state.edits) // 2
        interval = round(4 - 2 * self.style.verify)
        if channel == "A" and pairs and pairs % interval == 0 and pairs != self.pairs_checked:
            self.pairs_checked = pairs
            if not state.overlay:
                return Intent("overlay")
        return self.put(target) if _view(state) == channel else _go_to(state, channel)

    def verify(self, state: State) -> Intent | None:
        if self.phase != "verify":
            self.checks = ("A", "B", "overlay") if self.style.verify > 0.9 else ("overlay",)
        while self.checks and self.checks[0] == _view(state):
            self.checks = self.checks[1:]
        return _go_to(state, self.checks[0]) if self.checks else None

    def blunder(self, state: State, kind: str) -> Intent | None:
        channel, target = self._next_point(state)
        if target is None or state.overlay:
            return None

        # A lapse is the only mistake that needs the wrong channel to be open
        if kind == "lapse":
            return self.put(target) if state.channel != channel else None
        if state.channel != channel:
            return None
        if kind == "slip":
            return self.beside(state, target)

        # Confuse the target with the nearest other large cell of this channel
        world = self.world
        cells = world.decoys_a if channel == "A" else np.concatenate([world.b, world.decoys_b])
        squared = ((cells - target) ** 2).sum(1)  # (n,)
        squared[squared < 1] = np.inf  # the target itself
        nearest = cells[squared.argmin()]
        return self.put((float(nearest[0]), float(nearest[1])))._replace(target=target)

    def visible(self, state: State, mistake: Mistake) -> bool:
        """Return whether the mistake can be noticed in this view.

        A point can be seen in its own channel and in the overlay. The last point of A, while its
        partner is being looked for, also fails to match anything in B. A point placed in the wrong
        channel shows in the counts.
        """
        assert mistake.edit is not None  # this task never reports an omission
        channel = state.edits[mistake.edit].channel
        is_last = mistake.edit == len(state.edits) - 1
        return (
            state.overlay
            or channel == state.channel
            or mistake.kind == "lapse"
            or (channel == "A" and is_last)
        )

    def _next_point(self, state: State) -> tuple[str, tuple[float, float] | None]:
        """Return the channel and position of the next point; no position if all is paired."""
        unpaired = first_unpaired(state.edits)
        if unpaired is not None:
            return "B", self.world.partner(unpaired.u, unpaired.v)

        landmark = self.world.next_landmark(state.edits)
        if landmark is None:
            return "A", None
        return "A", (float(self.world.a[landmark, 0]), float(self.world.a[landmark, 1]))


def _view(state: State) -> str:
    return "overlay" if state.overlay else state.channel


def _go_to(state: State, view: str) -> Intent:
    """Press the button that leads towards another view; the overlay has to be closed first."""
    return Intent("overlay" if state.overlay or view == "overlay" else "channel")
