"""The virtual annotator of template place."""

from __future__ import annotations

from lastmile.tasks._template.place.interface import State
from lastmile.tasks._template.place.world import TemplatePlaceWorld
from lastmile.tasks.annotator import Annotator, Intent


class TemplatePlaceAnnotator(Annotator[TemplatePlaceWorld, State]):
    """Turns the smooth view on, marks spot after spot from left to right, and compares at the end.

    It can be put into any state. Its memory is immutable values in attributes: `fork` makes a
    shallow copy. Noticing mistakes and undoing them is inherited.

    Attributes:
        looks: Views left to compare in the final check.
    """

    weights = {"slip": 0.6, "confusion": 0.4}

    looks: int = 0

    def explore(self, state: State) -> Intent | None:
        """Look at the smooth view before the first marker."""
        return Intent("smooth") if not state.edits and not state.smooth else None

    def annotate(self, state: State) -> Intent | None:
        """Mark the leftmost spot that has no marker."""
        target = self._next_spot(state)
        return None if target is None else self.put(target)

    def verify(self, state: State) -> Intent | None:
        """Compare the markers with the picture in both views; if hasty, in the other one only."""
        if self.phase != "verify":
            self.looks = 2 if self.style.verify > 0.5 else 1
        if self.looks == 0:
            return None
        self.looks -= 1
        return Intent("smooth")

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Miss the spot (slip), or mark one that is marked already (confusion)."""
        target = self._next_spot(state)
        if target is None:
            return None
        if kind == "slip":
            return self.beside(state, target)

        marked = sorted(self.world.marked(state.edits))
        if not marked:
            return None
        return self.put(self._point(marked[-1]))._replace(target=target)

    def _next_spot(self, state: State) -> tuple[float, float] | None:
        """Return the leftmost spot that has no marker, or None."""
        marked = self.world.marked(state.edits)
        left = [spot for spot in range(len(self.world.xy)) if spot not in marked]
        return self._point(left[0]) if left else None

    def _point(self, spot: int) -> tuple[float, float]:
        """Return where a spot is, canvas coordinates."""
        return float(self.world.xy[spot, 0]), float(self.world.xy[spot, 1])
