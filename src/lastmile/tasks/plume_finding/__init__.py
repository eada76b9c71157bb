"""Plume finding: find the band in which a gas absorbs and outline its plume."""

from __future__ import annotations

from lastmile.tasks.plume_finding.annotator import PlumeFindingAnnotator
from lastmile.tasks.plume_finding.interface import PlumeFindingInterface, closed
from lastmile.tasks.plume_finding.world import (
    DIFFICULTIES,
    NEAR,
    Close,
    PlumeFindingWorld,
    Vertex,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, State, Task

ENOUGH = 0.6
"""IoU from which a polygon counts as the plume."""


class PlumeFinding(Task):
    """Finding and outlining a gas plume in a hyperspectral cube.

    **What it is.** An airborne imaging spectrometer looks down on fields, roads, water and roofs, each with its own spectrum. Somewhere a
    gas escapes; its plume absorbs light in three to five neighboring bands and is unseen in all others. The plume is to be outlined with a
    polygon, in the band in which it is darkest. Shadows of clouds are dark in all bands; one kind of ground has an absorption of its own.

    **What is seen.** One band at a time in gray. `Ratio` shows the band against its background (the bands three and four away on either
    side) in colors: absorption is bright, and ground and shadows vanish. The bar along the bottom of the canvas shows the band (white
    knob) and those in which vertices were set (cyan). The vertices with their lines are drawn over it; the closed polygon is green.

    **What can be done.** `+1`, `-1`, `+5`, `-5` change the band, `Ratio` turns the ratio on and off (nothing is placed in it), a click on
    the canvas adds a vertex, `Close` closes the polygon (from three vertices on), `Undo` takes the last vertex or the closing back, `Done`
    finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Intersection over union of the closed polygon and the plume; 0 if it was closed in a band more than one away from
    the best, where what was outlined is not the gas. Success: IoU of at least 0.6.

    **Mistakes.** slip: a vertex more than 8 px off the outline. confusion: a vertex on the rim of a cloud shadow. lapse: a vertex or the
    closing in a wrong band, or a part of the outline left out (more than 22 % of its length between two vertices).

    **Sources.** Outlining absorption in single bands and band ratios as in methane mapping with AVIRIS-NG (Thorpe et al., Atmospheric
    Measurement Techniques 2017); intersection over union after Jaccard (1912).

    `full` has 22 to 32 bands, not 16 to 32: with fewer the sweep is over before it has begun.
    """

    name = "plume_finding"
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = PlumeFindingInterface
    annotator = PlumeFindingAnnotator
    mistake_rate = 0.2

    def judge(
        self, world: PlumeFindingWorld, earlier: tuple[Vertex | Close, ...], edit: Vertex | Close
    ) -> str:
        if isinstance(edit, Vertex):
            return world.walk((*earlier, edit)).verdict
        if abs(edit.band - world.best) > NEAR or not world.round(earlier):
            return "lapse"
        return RIGHT if world.overlap(earlier).iou >= ENOUGH else "slip"

    def mistakes(self, world: PlumeFindingWorld, state: State) -> tuple[Mistake, ...]:
        return super().mistakes(world, state) if state.edits else ()

    def score(self, world: PlumeFindingWorld, state: State) -> Score:
        shut = closed(state.edits)
        overlap = world.overlap(state.edits[:-1]) if shut else world.overlap(())
        away = abs(state.edits[-1].band - world.best) if shut else world.bands
        share = overlap.iou if away <= NEAR else 0.0
        details = {
            "precision": overlap.precision,
            "recall": overlap.recall,
            "coverage": overlap.recall if away <= NEAR else 0.0,
        }
        return Score(share, bool(state.done and share >= ENOUGH), details)


TASK = PlumeFinding()
