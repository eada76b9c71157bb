"""The virtual annotator of template decide."""

from __future__ import annotations

from lastmile.tasks._template.decide.interface import State, answers
from lastmile.tasks._template.decide.world import TemplateDecideWorld
from lastmile.tasks.annotator import Annotator, Intent
from lastmile.tasks.task import Mistake


class TemplateDecideAnnotator(Annotator[TemplateDecideWorld, State]):
    """Looks at each panel in both views, answers, and goes through the panels once more.

    It can be put into any state. Its memory is immutable values in attributes: `fork` makes a
    shallow copy. Noticing mistakes is inherited.

    Attributes:
        seen: Pairs of panel and view that it has looked at.
        reviewed: Pairs that it has looked at in the current check.
    """

    weights = {"confusion": 0.5, "lapse": 0.5}
    decisions = frozenset({"undo", "done", "alike", "odd"})

    seen: frozenset[tuple[int, bool]] = frozenset()
    reviewed: frozenset[tuple[int, bool]] = frozenset()

    def annotate(self, state: State) -> Intent | None:
        """Go to the first panel without an answer, look at both views, and answer."""
        self.seen |= {(state.panel, state.fluorescence)}
        panel = self._next_panel(state)
        if panel is None:
            return None
        if panel != state.panel:
            return self._step(state, panel)
        if (panel, not state.fluorescence) not in self.seen:
            return Intent("view")
        return self._answer(self.world.answer(panel))

    def verify(self, state: State) -> Intent | None:
        """Go through the panels once more, in both views; if hasty, in one."""
        if self.phase == "annotate":
            self.reviewed = frozenset()
        self.reviewed |= {(state.panel, state.fluorescence)}

        other_view = (state.panel, not state.fluorescence)
        if self.style.verify > 0.5 and other_view not in self.reviewed:
            return Intent("view")
        done = {panel for panel, _ in self.reviewed}
        left = [panel for panel in range(self.world.panels) if panel not in done]
        if not left:
            return None
        return self._step(state, min(left, key=lambda panel: abs(panel - state.panel)))

    def blunder(self, state: State, kind: str) -> Intent | None:
        """Miss an odd cell for want of a look (lapse), or see one that is not there (confusion)."""
        panel = self._next_panel(state)
        if panel != state.panel:
            return None
        looked = (panel, not state.fluorescence) in self.seen
        odd = self.world.answer(panel)
        if kind == "lapse" and odd and not looked:
            return self._answer(False)
        if kind == "confusion" and not odd and looked:
            return self._answer(True)
        return None

    def visible(self, state: State, mistake: Mistake) -> bool:
        """See the answer of the panel on display."""
        assert mistake.edit is not None  # nothing can be left out in this task
        return bool(state.edits[mistake.edit].panel == state.panel)

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """Go back to the panel and answer again."""
        edit = mistakes[-1].edit
        assert edit is not None  # nothing can be left out in this task
        panel = state.edits[edit].panel
        if panel != state.panel:
            return self._step(state, panel)
        return self._answer(self.world.answer(panel))

    def _next_panel(self, state: State) -> int | None:
        """Return the first panel without an answer, or None."""
        answered = answers(state.edits)
        left = [panel for panel in range(self.world.panels) if panel not in answered]
        return left[0] if left else None

    @staticmethod
    def _step(state: State, panel: int) -> Intent:
        """Step towards a panel."""
        return Intent("+panel" if panel > state.panel else "-panel")

    @staticmethod
    def _answer(odd: bool) -> Intent:
        """Press the button of an answer."""
        return Intent("odd" if odd else "alike")
