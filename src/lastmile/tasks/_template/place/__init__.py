"""Template place: mark every bright spot of a noisy picture."""

from __future__ import annotations

from lastmile.tasks._template.place.annotator import TemplatePlaceAnnotator
from lastmile.tasks._template.place.interface import State, TemplatePlaceInterface
from lastmile.tasks._template.place.world import (
    DIFFICULTIES,
    Marker,
    TemplatePlaceWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Score, Task


class TemplatePlace(Task[TemplatePlaceWorld, State, Marker]):
    """Marking of bright spots.

    **What it is.** A noisy picture with bright spots. Every spot is to be marked once.

    **What is seen.** The picture, or a smooth version of it, with a ring for each marker. The
    status bar shows the number of markers.

    **What can be done.** A click on the canvas places a marker, `Smooth` changes the view, `Undo`
    removes the last marker, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** F1 of the markers within 5 px of a spot. Success: every spot is marked
    once and there are no other markers.

    **Mistakes.** slip: next to a spot. confusion: on a spot that has a marker already.

    **What is simplified.** Spots are Gaussian and equally bright, and never closer than 22 px.

    **Sources.** Made by `lastmile new-task`; name here what the task is modeled on.
    """

    name = "template_place"
    # Raise it whenever worlds, interface or scores change: older recordings are then refused.
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = TemplatePlaceInterface
    annotator = TemplatePlaceAnnotator
    # Share of placements that the annotator of style `typical` gets wrong.
    mistake_rate = 0.15

    def judge(self, world: TemplatePlaceWorld, earlier: tuple[Marker, ...], edit: Marker) -> str:
        """Judge one marker, given those placed before it."""
        spot = world.near(edit)
        if spot < 0:
            return "slip"
        return "confusion" if spot in world.marked(earlier) else RIGHT

    def score(self, world: TemplatePlaceWorld, state: State) -> Score:
        """Return F1 of the markers. `coverage` is the share of spots that have one."""
        matches = len(world.marked(state.edits))
        markers = len(state.edits)
        spots = len(world.xy)
        f1 = 2 * matches / (markers + spots)
        success = state.done and matches == markers == spots
        return Score(f1, success, {"coverage": matches / spots})


TASK = TemplatePlace()
