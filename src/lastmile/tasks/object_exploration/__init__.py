"""Object exploration: turn a solid object until it is clear which kinds of features it has."""

from __future__ import annotations

from lastmile.tasks.object_exploration.annotator import ObjectExplorationAnnotator
from lastmile.tasks.object_exploration.interface import Choice, ObjectExplorationInterface, State
from lastmile.tasks.object_exploration.world import (
    CLASSES,
    DIFFICULTIES,
    ObjectExplorationWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task


class ObjectExploration(Task):
    """Classification of a solid object by active exploration.

    **What it is.** A lumpy specimen in the dark carries knobs, pits, or patches of bars, of one kind or of two. One kind is common and found
    all round; the second, if there is one, is rare and hidden from the side that is seen first. Flat stains are of no account.

    **What is seen.** The object from one side; an inspection lamp beside the viewer lights only the middle of it, so that a feature is
    seen well within 32 degrees of the line of sight. Below it a map of all sides (longitude by latitude) shows those that have been seen and the
    present one. The status bar tells the angles and the class that is chosen.

    **What can be done.** `Left`, `Right`, `Up`, `Down` go round the object by 30 degrees, six buttons choose its class (a later choice
    replaces an earlier one), `Undo` takes the last choice back, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** 1 if the class chosen last is right, else 0. Success: right at `Done`. One of six is right by chance.

    **Mistakes.** A choice is right if it fits what has been seen so far: the one kind in sight is chosen at once, and changed when a second
    kind is found. slip: the button next to the right one. confusion: a class with a kind that the object does not have. lapse: a kind left
    out that has been seen, or a choice that is not changed when a second kind comes into sight.

    **Sources.** Accuracy of the final class as in active object recognition (Jayaraman and Grauman, ECCV 2016). `full` stays below 60
    steps in the mean, fewer than the 60 to 180 of the other tasks: 5 x 12 sides are all there is to see, and finer steps only bore.
    """

    name = "object_exploration"
    version = 3
    difficulties = DIFFICULTIES
    interface = ObjectExplorationInterface
    annotator = ObjectExplorationAnnotator
    mistake_rate = 0.22
    chance = 1 / len(CLASSES)
    make_world = staticmethod(make_world)

    def judge(
        self, world: ObjectExplorationWorld, earlier: tuple[Choice, ...], edit: Choice
    ) -> str:
        evident = world.evident(edit.seen)
        if edit.kinds in (world.kinds, evident):
            return RIGHT
        if edit.kinds == CLASSES[evident or world.kinds].beside:
            return "slip"
        return "confusion" if edit.kinds & ~world.kinds else "lapse"

    def mistakes(self, world: ObjectExplorationWorld, state: State) -> tuple[Mistake, ...]:
        """The class chosen last, unless it is right or fits all that has been seen until now."""
        if not state.edits or state.edits[-1].kinds in (world.kinds, world.evident(state.seen)):
            return ()
        verdict = self.judge(world, state.edits[:-1], state.edits[-1])
        return (Mistake("lapse" if verdict == RIGHT else verdict, len(state.edits) - 1),)

    def score(self, world: ObjectExplorationWorld, state: State) -> Score:
        right = bool(state.edits) and state.edits[-1].kinds == world.kinds
        details = {"coverage": float(right), "sides_seen": state.seen.bit_count() / world.sides}
        return Score(float(right), bool(state.done and right), details)


TASK = ObjectExploration()
