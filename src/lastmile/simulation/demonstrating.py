"""Demonstrations that a policy and an annotator make together, and those with forced mistakes.

They show an annotator in states that it would seldom reach by itself. What was clicked and what is
to be learned differ: the recording holds both (see `lastmile.simulation.rows.ANSWER`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lastmile.errors import LastmileError
from lastmile.simulation.pool import Rollout
from lastmile.simulation.rows import ANSWER, NO_ANSWER, STEPS, step_row
from lastmile.simulation.session import Step
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import LONGEST, Episode, Recorded, kept
from lastmile.simulation.ways import Way
from lastmile.tasks.annotator import Annotator, Intent, click, make_annotator
from lastmile.tasks.task import MISTAKES, digest

FORCED = 0.2
"""Probability of `noise`, per step of the annotation at which a mistake is possible: about as many
mistakes as the annotators make by themselves."""


class Demonstration(Rollout):
    """An episode of which the annotator's steps are to be learned.

    Attributes:
        source: Where the episode comes from.
        way: How it is made.
        columns: The columns of STEPS and ANSWER by name, one value per step.
    """

    def __init__(self, source: Source, episode: int, way: Way, max_steps: int = LONGEST) -> None:
        """Begin.

        Args:
            source: Where the episode comes from.
            episode: Its number.
            way: How it is made.
            max_steps: Most clicks that a policy makes.
        """
        super().__init__(
            episode, source.task, source.world(episode), source.look(episode), max_steps
        )
        self.source = source
        self.way = way
        self.columns: dict[str, list[Any]] = {name: [] for name in (*STEPS.names, *ANSWER)}
        self._rng = source.generator(episode, "annotator")
        self._annotator = self._new_annotator()
        self._stopped = False

    @property
    def over(self) -> bool:
        """Whether the policy has nothing more to do."""
        return self._stopped or super().over

    def click(self, x: float, y: float) -> Step:
        """Make a click of the policy.

        Where the annotator is to take over, it does so before the policy would finish.
        """
        if self.way == "handed-over":
            hit = self.interface.hit(self.state, x, y, self.look)
            if self.interface.apply(self.state, hit).done:
                self._stopped = True
                return Step(self.state, (int(x), int(y)), hit, self.state)
            return self._make((int(x), int(y)), None, NO_ANSWER)
        screen = self.screen()
        answer = click(self._next(), screen, self._rng)
        # What the policy does next is nothing that the annotator meant.
        self._annotator.meant = False
        self._annotator.slipped = None
        return self._make((int(x), int(y)), None, answer)

    def finish(self) -> None:
        """Let the annotator work to the end, from whatever state there is.

        Raises:
            LastmileError: It did not finish within `LONGEST` steps.
        """
        if self.steps:
            self._annotator = self._new_annotator()  # it comes to a state that it has not seen
        chance = self.source.generator(self.number, "forced mistakes")
        while not self.done:
            if len(self.steps) >= LONGEST:
                raise LastmileError(
                    f"the annotator of '{self.source.task}' did not finish episode {self.number} "
                    f"of {self.source} within {LONGEST} steps"
                )
            intent, screen = self._next(), self.screen()
            answer = click(intent, screen, self._rng)
            forced = self._force(intent, chance) if self.way == "noise" else None
            if forced is None:
                self._make(answer, intent, answer)
            else:
                self._make(click(forced, screen, chance), forced, answer)
                self._annotator.meant = False
                self._annotator.slipped = None

    def recorded(self) -> Recorded:
        """Return what is written of the episode."""
        score, world = self.score, digest(self.world)
        return kept(self.number, Episode(self.columns, self.state, score, self.look, world))

    def _new_annotator(self) -> Annotator[Any, Any]:
        style = self.source.style_of(self.number)
        return make_annotator(self.task, self.world, self.interface, style, self._rng)

    def _next(self) -> Intent:
        return self._annotator.next(self.state)

    def _force(self, intent: Intent, chance: np.random.Generator) -> Intent | None:
        """Return a mistake to make in the place of a step, or None."""
        if intent.phase != "annotate" or intent.mistake or chance.random() >= FORCED:
            return None
        for kind in chance.permutation(MISTAKES).tolist():
            mistaken = self._annotator.blunder(self.state, kind)
            if mistaken is not None:
                return mistaken._replace(phase=intent.phase, mistake=kind)
        return None

    def _make(self, where: tuple[int, int], intent: Intent | None, answer: tuple[int, int]) -> Step:
        """Make a click and keep its row."""
        screen, mistakes = self.screen(), len(self.mistakes)
        step = super().click(*where)
        row = step_row(self, self.number, step, intent, screen, mistakes)
        for name, value in {**row, **dict(zip(ANSWER, answer))}.items():
            self.columns[name].append(value)
        return step
