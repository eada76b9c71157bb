"""The interface of template decide: a browser of panels in two views, and two answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lastmile.screen import Button, Group, Mark
from lastmile.tasks import task
from lastmile.tasks._template.decide.world import Answer, TemplateDecideWorld


@dataclass(frozen=True, slots=True)
class State(task.State):
    """The answers and the view. A state is a value: actions return a new one.

    Attributes:
        edits: The answers, oldest first. A later answer for a panel replaces an earlier one.
        panel: The panel on display, from 0.
        fluorescence: Whether it is on display in fluorescence, not in bright field.
    """

    edits: tuple[Answer, ...] = ()
    panel: int = 0
    fluorescence: bool = False


def answers(edits: tuple[Answer, ...]) -> dict[int, int]:
    """Return the index of the last answer of each panel that has one."""
    return {answer.panel: index for index, answer in enumerate(edits)}


class TemplateDecideInterface(task.Interface[TemplateDecideWorld, State]):
    """`-` and `+` change the panel, `Fluorescence` the view; `Alike` and `Odd one` answer.

    Undo, Done, layouts, themes, drawing and hit-testing are inherited.
    """

    title = "Template decide"

    def start(self) -> State:
        """Begin with the first panel in bright field."""
        return State()

    def groups(self, state: State) -> tuple[Group, ...]:
        """Return the task's own buttons, the same ones in every state."""
        last = self.world.panels - 1
        index = answers(state.edits).get(state.panel)
        odd = None if index is None else state.edits[index].odd
        # Id, label, kind of action, enabled, active.
        return (
            Group(
                "Panel",
                (
                    Button("-panel", "− panel", "navigate", state.panel > 0),
                    Button("+panel", "+ panel", "navigate", state.panel < last),
                ),
            ),
            Group("View", (Button("view", "Fluorescence", "look", True, state.fluorescence),), 1),
            Group(
                "Answer",
                (
                    Button("alike", "Alike", "decide", True, odd is False),
                    Button("odd", "Odd one", "decide", True, odd is True),
                ),
            ),
        )

    def image(self, state: State) -> np.ndarray:
        """Return the panel in the current view."""
        image: np.ndarray = self.world.images[state.panel, int(state.fluorescence)]
        return image

    def marks(self, state: State) -> tuple[Mark, ...]:
        """Draw nothing over the image: the buttons show the answer."""
        return ()

    def status(self, state: State) -> tuple[str, ...]:
        """Return the panel, the number of answers, and what to do."""
        where = f"panel {state.panel + 1} of {self.world.panels}"
        return where, f"{len(answers(state.edits))} answered", "Is one cell different?"

    def position(self, state: State) -> float:
        """Return how far through the panels the view is."""
        return state.panel / (self.world.panels - 1)

    def live(self, state: State) -> bool:
        """Take no clicks on the canvas."""
        return False

    def act(self, state: State, button: str) -> State:
        """Change the panel or the view, or answer."""
        if button == "view":
            return replace(state, fluorescence=not state.fluorescence)
        if button in ("-panel", "+panel"):
            return replace(state, panel=state.panel + (1 if button == "+panel" else -1))
        return replace(state, edits=(*state.edits, Answer(state.panel, button == "odd")))
