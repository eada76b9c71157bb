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


class ObjectExploration(Task[ObjectExplorationWorld, State, Choice]):
    """Classification of a solid object by active exploration.

    **What it is.** A lumpy specimen in the dark has knobs, pits, or patches of bars, of one kind or
    of two. One kind is common and found all around; the second, if there is one, is rare and hidden
    from the side that is seen first. Flat stains do not matter. The task is to choose the class of
    the object, which is the kinds of features that it has.

    **What is seen.** The object from one side, as in a scanning electron microscope. Only the
    middle of it is bright, so a feature is seen well only within 32 degrees of the line of sight.
    Small pictures at the upper left show what knobs, pits and bars look like. Below the object, a
    map of all sides (longitude by latitude) shows which have been seen, and the current one. The
    status bar gives the angles and the chosen class.

    **What can be done.** `Left`, `Right`, `Up`, `Down` go around the object in steps of 30 degrees.
    Six buttons choose its class (a later choice replaces an earlier one). `Undo` takes back the
    last choice, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** 1 if the last chosen class is correct, else 0. Success: correct at `Done`.
    The chance level is one in six.

    **Mistakes.** A choice is right if it fits what has been seen so far: the first kind in sight is
    chosen at once, and the choice is changed when a second kind is found. slip: the button next to
    the right one. confusion: a class with a kind that the object does not have. lapse: a kind left
    out although it has been seen, or a choice not changed when a second kind comes into sight.

    **What is simplified.** The object is star-shaped and its features are spread evenly, so every
    feature can be seen well from some side. There are only 12 sides at each of 3 (`short`) or 5
    (`full`) heights, so episodes in `full` worlds take fewer than 60 steps on average, less than
    the 60 to 180 of the other tasks; finer steps would show nothing new. Nothing on the screen
    comes from the ground truth.

    **Sources.** Accuracy of the final class as in active object recognition (Jayaraman and Grauman,
    ECCV 2016).
    """

    name = "object_exploration"
    version = 5
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = ObjectExplorationInterface
    annotator = ObjectExplorationAnnotator
    mistake_rate = 0.22
    overlooked = 0.08
    chance = 1 / len(CLASSES)

    def judge(
        self, world: ObjectExplorationWorld, earlier: tuple[Choice, ...], edit: Choice
    ) -> str:
        """Judge a choice by what had been seen when it was made."""
        evident = world.evident(edit.seen)
        if edit.kinds in (world.kinds, evident):
            return RIGHT
        if edit.kinds == CLASSES[evident or world.kinds].beside:
            return "slip"
        return "confusion" if edit.kinds & ~world.kinds else "lapse"

    def mistakes(self, world: ObjectExplorationWorld, state: State) -> tuple[Mistake, ...]:
        """Return the last choice, unless it is correct or fits all that has been seen until now.

        Earlier choices have been replaced. A choice that was right when it was made becomes a lapse
        when a second kind has come into sight since.
        """
        if not state.edits or state.edits[-1].kinds in (world.kinds, world.evident(state.seen)):
            return ()
        verdict = self.judge(world, state.edits[:-1], state.edits[-1])
        return (Mistake("lapse" if verdict == RIGHT else verdict, len(state.edits) - 1),)

    def score(self, world: ObjectExplorationWorld, state: State) -> Score:
        """Return 1 for the correct class, with the share of the sides seen as a detail."""
        correct = bool(state.edits) and state.edits[-1].kinds == world.kinds
        details = {"coverage": float(correct), "sides_seen": state.seen.bit_count() / world.sides}
        return Score(float(correct), bool(state.done and correct), details)


TASK = ObjectExploration()
