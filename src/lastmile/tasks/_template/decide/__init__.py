"""Template decide: tell for each panel of cells whether one differs from the others."""

from __future__ import annotations

from lastmile.tasks._template.decide.annotator import TemplateDecideAnnotator
from lastmile.tasks._template.decide.interface import State, TemplateDecideInterface, answers
from lastmile.tasks._template.decide.world import (
    DIFFICULTIES,
    Answer,
    TemplateDecideWorld,
    make_world,
)
from lastmile.tasks.task import RIGHT, Mistake, Score, Task


class TemplateDecide(Task[TemplateDecideWorld, State, Answer]):
    """Finding the odd one out.

    **What it is.** Some panels of nine cells. In about half of them one cell is larger or brighter
    than the others. Every panel is to be called alike or odd.

    **What is seen.** One panel at a time, in bright field, which shows sizes, or in fluorescence,
    which shows brightness. The button of the panel's answer is highlighted. The status bar shows
    the panel and the number of answers.

    **What can be done.** `-panel` and `+panel` change the panel, `Fluorescence` changes the view,
    `Alike` and `Odd one` answer (a later answer replaces an earlier one), `Undo` removes the last
    answer, `Done` finishes.

    **When it ends.** With `Done`.

    **How it is scored.** Share of panels whose last answer is right. Success: all of them. Half are
    right by chance.

    **Mistakes.** confusion: odd, where all are alike. lapse: alike, where one is odd.

    **What is simplified.** An odd cell differs clearly and in one respect only.

    **Sources.** Made by `lastmile new-task`; name here what the task is modeled on.
    """

    name = "template_decide"
    # Raise it whenever worlds, interface or scores change: older recordings are then refused.
    version = 1
    difficulties = DIFFICULTIES
    make_world = staticmethod(make_world)
    interface = TemplateDecideInterface
    annotator = TemplateDecideAnnotator
    # Each kind of mistake is possible in half of the panels only.
    mistake_rate = 0.35
    # Score of an annotator who does not look.
    chance = 0.5

    def judge(self, world: TemplateDecideWorld, earlier: tuple[Answer, ...], edit: Answer) -> str:
        """Judge one answer."""
        if edit.odd == world.answer(edit.panel):
            return RIGHT
        return "confusion" if edit.odd else "lapse"

    def mistakes(self, world: TemplateDecideWorld, state: State) -> tuple[Mistake, ...]:
        """Return the wrong ones among the last answers of the panels."""
        edits = state.edits
        verdicts = [
            (index, self.judge(world, edits[:index], edits[index]))
            for index in sorted(answers(edits).values())
        ]
        return tuple(Mistake(verdict, index) for index, verdict in verdicts if verdict != RIGHT)

    def score(self, world: TemplateDecideWorld, state: State) -> Score:
        """Return the share of right answers, which is `coverage` as well."""
        last = [state.edits[index] for index in answers(state.edits).values()]
        right = sum(answer.odd == world.answer(answer.panel) for answer in last)
        share = right / world.panels
        success = state.done and right == world.panels
        return Score(share, success, {"coverage": share})


TASK = TemplateDecide()
