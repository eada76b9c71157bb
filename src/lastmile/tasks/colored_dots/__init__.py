"""Colored dots: follow a curve of blurred dots through the slices of a stack."""

from __future__ import annotations

from lastmile.tasks.colored_dots.annotator import ColoredDotsAnnotator
from lastmile.tasks.colored_dots.interface import ColoredDotsInterface, State
from lastmile.tasks.colored_dots.world import DIFFICULTIES, ColoredDotsWorld, Marker, make_world
from lastmile.tasks.task import RIGHT, Score, Task


class ColoredDots(Task[ColoredDotsWorld, State, Marker]):
    """Marking dots in the slices of a stack.

    **What it is.** A fluorescence stack holds a chain of dots along a smooth curve. Their hue runs
    from blue to red and gives their order; their depth rises and falls along the chain. The
    annotator marks every dot once, in the slice in which it is in focus.

    **What is seen.** One slice at a time: dots in focus are bright and small, dots of neighboring
    slices dim and wide. Markers are rings, those of the two neighboring slices faint. `MIP` shows
    the maximum intensity projection of all slices, with all markers. The status bar gives the slice
    and the number of markers.

    **What can be done.** `+z` and `-z` change the slice. `MIP` turns the projection on and off;
    while it is on, the slice cannot be changed and the canvas takes no clicks. A click on the
    canvas places a marker in the current slice. `Undo` removes the last marker. `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** F1 of the markers that match a dot one to one, within 5 px and in the
    correct slice. Success: every dot is matched and there are no other markers. The order of the
    markers does not count.

    **Mistakes.** slip: next to the dot. confusion: on the blurred image of another dot, in a slice
    that is not its own, or on a dot that has a marker already. lapse: on the next dot, but in the
    wrong slice.

    **What is simplified.** Dots are Gaussian spots, each centered on a slice, and never closer than
    19 px to each other in the projection. There is no debris and no bleaching. Nothing on the
    screen comes from the ground truth.

    **Sources.** Task after Chandok and Park (2026). F1 of matched points as in spot detection
    (Chenouard et al., Nature Methods 2014).
    """

    name = "colored_dots"
    version = 3
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = ColoredDotsInterface
    annotator = ColoredDotsAnnotator
    mistake_rate = 0.055
    overlooked = 0.06

    def judge(self, world: ColoredDotsWorld, earlier: tuple[Marker, ...], edit: Marker) -> str:
        """Judge a marker by the dot that it is on; see the page of the task."""
        dot = world.near(edit.u, edit.v)
        if dot < 0:
            return "slip"
        if world.z[dot] == edit.z and dot not in world.matched(earlier):
            return RIGHT
        return "lapse" if dot == world.following(earlier) else "confusion"

    def score(self, world: ColoredDotsWorld, state: State) -> Score:
        """Return F1 of the markers, with precision and recall as details."""
        markers = len(state.edits)
        dots = len(world.z)
        matches = len(world.matched(state.edits))
        f1 = 2 * matches / (markers + dots)
        details = {
            "precision": matches / markers if markers else 0.0,
            "recall": matches / dots,
            "coverage": matches / dots,
        }
        return Score(f1, bool(state.done and matches == markers == dots), details)


TASK = ColoredDots()
