"""Plume finding: find the band in which a gas absorbs and outline its plume."""

from __future__ import annotations

from lastmile.tasks.plume_finding.annotator import PlumeFindingAnnotator
from lastmile.tasks.plume_finding.interface import PlumeFindingInterface, State, closed
from lastmile.tasks.plume_finding.world import (
    DIFFICULTIES,
    NEAR,
    Close,
    Edits,
    PlumeFindingWorld,
    Vertex,
    make_world,
)
from lastmile.tasks.task import RIGHT, Score, Task

ENOUGH = 0.6
"""Smallest IoU with which a polygon counts as the plume."""


class PlumeFinding(Task[PlumeFindingWorld, State, Vertex | Close]):
    """Finding and outlining a gas plume in a hyperspectral cube.

    **What it is.** An airborne imaging spectrometer looks down on fields, roads, water and roofs,
    each with its own spectrum. Somewhere gas escapes; its plume absorbs light in three to five
    neighboring bands and is invisible in all others. The task is to outline the plume with a
    polygon, in the band in which it is darkest. Cloud shadows are dark in all bands, and clay soil
    has an absorption of its own.

    **What is seen.** One band at a time in gray. `Ratio` shows the band relative to its background
    (the bands three and four away on either side) in colors: absorption is bright, while ground and
    shadows vanish. The bar along the bottom of the canvas shows the current band (white knob) and
    those in which vertices were placed (cyan). The vertices and their lines are drawn over the
    image; the closed polygon is green.

    **What can be done.** `+1`, `-1`, `+5`, `-5` change the band. `Ratio` turns the ratio on and off
    (nothing can be placed while it is on). A click on the canvas adds a vertex, and `Close` closes
    the polygon (from three vertices on). `Undo` takes back the last vertex or the closing, `Done`
    finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Intersection over union (IoU) of the closed polygon and the plume; 0 if it
    was closed in a band more than one away from the best, where the gas cannot be outlined.
    Success: an IoU of at least 0.6.

    **Mistakes.** slip: a vertex more than 8 px off the outline, or a closed polygon with an IoU
    below 0.6. confusion: a vertex on the border of a cloud shadow. lapse: a vertex or the closing
    in a wrong band, or a part of the outline left out (more than 22 % of its length between two
    vertices).

    **What is simplified.** `Ratio` is nearly a segmentation: apart from noise, and from clay in its
    own band, only the plume differs from its background, so in the best band the ratio shows the
    plume almost as a mask. It is computed from the cube, not from the truth. There is one plume
    with a border of even sharpness, and no atmosphere. `full` worlds have at least 22 bands, since
    with fewer the search is over before it has begun.

    **Sources.** Outlining absorption in single bands and band ratios as in methane mapping with
    AVIRIS-NG (Thorpe et al., Atmospheric Measurement Techniques 2017); intersection over union
    after Jaccard (1912).
    """

    name = "plume_finding"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = PlumeFindingInterface
    annotator = PlumeFindingAnnotator
    mistake_rate = 0.2
    overlooked = 0.16

    def judge(self, world: PlumeFindingWorld, earlier: Edits, edit: Vertex | Close) -> str:
        """Judge a vertex by the way along the outline, the closing by the whole polygon."""
        if isinstance(edit, Vertex):
            return world.walk((*earlier, edit)).verdict
        if abs(edit.band - world.best) > NEAR or not world.round(earlier):
            return "lapse"
        return RIGHT if world.overlap(earlier).iou >= ENOUGH else "slip"

    def score(self, world: PlumeFindingWorld, state: State) -> Score:
        """Return the IoU of the closed polygon, with precision and recall as details."""
        if closed(state.edits):
            overlap = world.overlap(state.edits[:-1])
            near = abs(state.edits[-1].band - world.best) <= NEAR
        else:
            overlap = world.overlap(())
            near = False
        iou = overlap.iou if near else 0.0
        details = {
            "precision": overlap.precision,
            "recall": overlap.recall,
            "coverage": overlap.recall if near else 0.0,
        }
        return Score(iou, bool(state.done and iou >= ENOUGH), details)


TASK = PlumeFinding()
