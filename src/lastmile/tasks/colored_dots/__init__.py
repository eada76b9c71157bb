"""Colored dots: follow a curve of blurred dots through the slices of a stack."""

from __future__ import annotations

from lastmile.tasks.colored_dots.annotator import ColoredDotsAnnotator
from lastmile.tasks.colored_dots.interface import ColoredDotsInterface, Marker
from lastmile.tasks.colored_dots.world import DIFFICULTIES, ColoredDotsWorld, make_world
from lastmile.tasks.task import RIGHT, Score, State, Task


class ColoredDots(Task):
    """Colored dot tracking through z-slices.

    **What it is.** A fluorescence stack holds a chain of dots along a smooth curve. Their hue runs from blue to red and gives the order;
    their depth rises and falls along the chain. Every dot is to be marked once, in its own slice.

    **What is seen.** One slice at a time: dots in focus are bright and small, dots of neighboring slices dim and wide. `MIP` shows the
    maximum intensity projection of all slices with all markers. The status bar tells the slice and the number of markers.

    **What can be done.** `+z` and `-z` change the slice, `MIP` turns the projection on and off (nothing is placed in it), a click on the
    canvas places a marker in the slice that is shown, `Undo` takes the last marker back, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** F1 of the markers that match a dot one to one within 5 px in the right slice. Success: every dot matched, none
    too many.

    **Mistakes.** slip: beside the dot. confusion: on the blurred image of another dot, in a slice that is not its own. lapse: on the right
    dot, but a slice too early.

    **Sources.** Task after Chandok and Park (2026); F1 of matched points as in spot detection (Chenouard et al., Nature Methods 2014).
    """

    name = "colored_dots"
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = ColoredDotsInterface
    annotator = ColoredDotsAnnotator
    mistake_rate = 0.055

    def judge(self, world: ColoredDotsWorld, earlier: tuple[Marker, ...], edit: Marker) -> str:
        dot = world.near(edit.u, edit.v)
        if dot < 0:
            return "slip"
        if world.z[dot] == edit.z and dot not in world.matched(earlier):
            return RIGHT
        return "lapse" if dot == world.following(earlier) else "confusion"

    def score(self, world: ColoredDotsWorld, state: State) -> Score:
        markers, dots = len(state.edits), len(world.z)
        right = len(world.matched(state.edits))
        f1 = 2 * right / (markers + dots)
        details = {
            "precision": right / markers if markers else 0.0,
            "recall": right / dots,
            "coverage": right / dots,
        }
        return Score(f1, bool(state.done and right == markers == dots), details)


TASK = ColoredDots()
