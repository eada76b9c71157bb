"""What all virtual annotators share: phases, styles, mistakes and the noticing of mistakes.

An annotator looks at a state and says what it would do next. It knows the truth, but uses it as a person uses good eyes: it explores before
it works, now and then puts an annotation wrong, notices that after a while if the mistake is in view, and repairs it by the means of the
interface. Its decisions follow from the state and from a small memory, so it can be put into any state, also one full of somebody else's
mistakes, and finish the work. Noticing is a chance per step (a hazard), not a date set in advance: asked again in the same state with other
random numbers the annotator may act differently, which is what the ceiling of a policy's agreement is measured by.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lastmile.screen import CANVAS, Screen
from lastmile.tasks.task import Interface, Mistake, State, Task

PHASES = ("explore", "annotate", "verify", "correct", "finish")


@dataclass(frozen=True, slots=True)
class Style:
    """How a person works. Chances are per occasion.

    explore, verify: how thoroughly it looks around beforehand and checks afterwards, 0 to 1. mistakes: factor on the task's mistake rate.
    at_once: chance to notice a mistake right after it was made. later: per further step with the mistake in view. checking: per step of
    verification with the mistake in view. jitter: standard deviation of a placement around its target, logical px.
    """

    name: str
    explore: float
    verify: float
    mistakes: float
    at_once: float
    later: float
    checking: float
    jitter: float


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("careful", explore=1.0, verify=1.0, mistakes=0.5, at_once=0.85, later=0.6, checking=0.98, jitter=0.7),
        Style("typical", explore=0.6, verify=0.6, mistakes=1.0, at_once=0.75, later=0.5, checking=0.95, jitter=1.0),
        Style("hasty", explore=0.2, verify=0.2, mistakes=1.7, at_once=0.6, later=0.35, checking=0.9, jitter=1.4),
        Style("oracle", explore=0.6, verify=0.6, mistakes=0.0, at_once=1.0, later=1.0, checking=1.0, jitter=0.7),
    )
}
"""Styles by name. `oracle` makes no mistakes and sees every one."""


def get_style(name: str) -> Style:
    """A style by name; ValueError naming those that exist."""
    try:
        return STYLES[name]
    except KeyError:
        raise ValueError(f"unknown style '{name}': expected one of {', '.join(STYLES)}") from None


class Intent(NamedTuple):
    """What an annotator means to do.

    widget: id of a button, or "canvas" with the point (u, v). phase: why. mistake: kind of the mistake it is making (without knowing), or
    empty. critical: whether the step is a decision on which the outcome hangs. target: the true point it means, (-1, -1) for buttons.
    """

    widget: str
    phase: str = "annotate"
    u: float = -1.0
    v: float = -1.0
    mistake: str = ""
    critical: bool = False
    target: tuple[float, float] = (-1.0, -1.0)


class Annotator(ABC):
    """The base of all virtual annotators. Subclasses say how to explore, annotate, verify and err; noticing and repairing stand here.

    Whatever a subclass remembers is kept in attributes with immutable values, so that `fork` is a shallow copy.
    """

    weights: ClassVar[dict[str, float]] = {"slip": 0.4, "confusion": 0.3, "lapse": 0.3}
    """How the mistake rate is divided among the kinds of mistakes."""
    decisions: ClassVar[frozenset[str]] = frozenset({"undo", "done"})
    """Buttons that are always a critical decision."""

    def __init__(self, task: Task, world: Any, interface: Interface, style: Style, rng: np.random.Generator) -> None:
        self.task, self.world, self.interface, self.style, self.rng = task, world, interface, style, rng
        self.noticed: frozenset[tuple[int, Any]] = frozenset()
        self.phase = ""
        self.edits: tuple[Any, ...] | None = None
        self.checked: tuple[Any, ...] | None = None

    # What a subclass says

    def explore(self, state: State) -> Intent | None:
        """The next step of looking around, or None when enough was seen."""
        return None

    @abstractmethod
    def annotate(self, state: State) -> Intent | None:
        """The next right step of the work (a placement, or the way to it), or None when all is annotated."""

    @abstractmethod
    def verify(self, state: State) -> Intent | None:
        """The next step of checking, or None when the check is over."""

    def blunder(self, state: State, kind: str) -> Intent | None:
        """A mistake of that kind that could happen in this state in place of the right step, or None. A slip beside `target` is
        made by `beside`."""
        return None

    def visible(self, state: State, mistake: Mistake) -> bool:
        """Whether a mistake can be seen on the present screen."""
        return True

    def repair(self, state: State, mistakes: tuple[Mistake, ...]) -> Intent:
        """The next step towards repairing the noticed mistakes: by default to undo until they are gone."""
        return Intent("undo")

    # What is the same for all

    def next(self, state: State) -> Intent:
        """What the annotator does in this state.

        Raises ValueError if the state is finished.
        """
        if state.done:
            raise ValueError("the annotator was asked for a step in a finished state")
        mistakes = self.task.mistakes(self.world, state)
        self._notice(state, mistakes)
        noticed = tuple(m for m in mistakes if (m.index, self._edit(state, m)) in self.noticed)
        before = self.phase
        intent = None
        if noticed:
            intent = self.repair(state, noticed)._replace(phase="correct")
        else:
            intent = self.explore(state)
            if intent is not None:
                intent = intent._replace(phase="explore")
            else:
                intent = self._work(state)
                if intent is not None:
                    intent = intent._replace(phase="annotate")
                elif self.checked != state.edits:
                    intent = self.verify(state)
                    if intent is not None:
                        intent = intent._replace(phase="verify")
                    else:
                        self.checked = state.edits
                if intent is None:
                    intent = Intent("done", "finish")
        self.phase = intent.phase
        self.edits = state.edits
        turning = (intent.phase == "verify" and before != "verify") or (intent.phase == "annotate" and before in ("verify", "correct"))
        return intent._replace(critical=turning or intent.widget in self.decisions)

    def fork(self, rng: np.random.Generator) -> Annotator:
        """The same annotator at the same moment with other random numbers ahead."""
        other = copy.copy(self)
        other.rng = rng
        return other

    def beside(self, state: State, target: tuple[float, float], near: float = 8.0, far: float = 18.0) -> Intent:
        """A slip: a placement `near` to `far` logical px beside the target, inside the canvas."""
        for _ in range(20):
            angle, distance = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(near, far)
            u, v = target[0] + distance * np.cos(angle), target[1] + distance * np.sin(angle)
            if 2 <= u < CANVAS - 2 and 2 <= v < CANVAS - 2:
                break
        return Intent("canvas", u=u, v=v, mistake="slip", target=target)

    def put(self, target: tuple[float, float]) -> Intent:
        """A placement at a target, with the style's jitter (never more than 2.5 standard deviations)."""
        shift = np.clip(self.rng.normal(0, self.style.jitter, 2), -2.5 * self.style.jitter, 2.5 * self.style.jitter)
        u, v = np.clip(np.asarray(target) + shift, 0, CANVAS - 1)
        return Intent("canvas", u=float(u), v=float(v), target=target)

    def _work(self, state: State) -> Intent | None:
        intent = self.annotate(state)
        rate = self.task.mistake_rate * self.style.mistakes
        if intent is None or rate == 0:
            return intent
        for kind, weight in self.weights.items():
            if self.rng.random() < rate * weight:
                mistaken = self.blunder(state, kind)
                if mistaken is not None:
                    return mistaken._replace(mistake=kind)
        return intent

    def _notice(self, state: State, mistakes: tuple[Mistake, ...]) -> None:
        if self.style.mistakes == 0:
            self.noticed = frozenset((m.index, self._edit(state, m)) for m in mistakes)
            return
        kept = {(m.index, self._edit(state, m)) for m in mistakes}
        seen = self.noticed & kept
        if len(seen) == len(mistakes):
            self.noticed = seen
            return
        changed = self.edits is not None and state.edits != self.edits
        for m in mistakes:
            key = (m.index, self._edit(state, m))
            if key in seen or not self.visible(state, m):
                continue
            fresh = changed and m.index == len(state.edits) - 1 and len(state.edits) > len(self.edits or ())
            chance = self.style.at_once if fresh else self.style.checking if self.phase == "verify" else self.style.later
            if self.rng.random() < chance:
                seen |= {key}
        self.noticed = frozenset(seen)

    @staticmethod
    def _edit(state: State, mistake: Mistake) -> Any:
        return state.edits[mistake.index] if 0 <= mistake.index < len(state.edits) else mistake.kind


class MovieAnnotator(Annotator):
    """An annotator of the frames of a movie, whose state has the present one as `t`: it checks by a walk back through all of them."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.seen: frozenset[int] = frozenset()  # frames looked at in the final check

    @abstractmethod
    def complete(self, state: State) -> bool:
        """Whether all frames are annotated, rightly or not."""

    def verify(self, state: Any) -> Intent | None:
        if self.phase == "annotate":
            self.seen = frozenset()
        self.seen |= {state.t}
        first = 0 if self.style.verify > 0.5 else self.world.frames // 4
        left = [t for t in range(first, self.world.frames) if t not in self.seen]
        if not left:
            return None
        return Intent("-t" if left[0] < state.t else "+t")

    def _notice(self, state: State, mistakes: tuple[Mistake, ...]) -> None:
        """The check begins with a second look at the frame in which the work ended."""
        before = self.phase
        if mistakes and before in ("annotate", "correct") and self.complete(state):
            self.phase, self.edits = "verify", state.edits
        super()._notice(state, mistakes)
        self.phase = before


def click(intent: Intent, screen: Screen, rng: np.random.Generator) -> tuple[int, int]:
    """The click that an intent becomes, in logical px.

    Inside a button: a Gaussian around its middle with a standard deviation of 0.2 of its size, cut to [0.1, 0.9] (Chandok and Park, 2026).
    On the canvas: the intended point, rounded.
    """
    if intent.widget == "canvas":
        u, v = (min(max(round(float(c)), 0), CANVAS - 1) for c in (intent.u, intent.v))
        return screen.canvas.x + u, screen.canvas.y + v
    rect = screen.widget(intent.widget).rect
    fraction = np.clip(rng.normal(0.5, 0.2, 2), 0.1, 0.9)
    return int(rect.x + fraction[0] * rect.width), int(rect.y + fraction[1] * rect.height)


def make_annotator(
    task: Task, world: Any, interface: Interface, style: str, rng: np.random.Generator, mistake_rate: float | None = None
) -> Annotator:
    """The annotator of a task. mistake_rate replaces the task's own (as a factor of the style) when given; 0 makes the oracle."""
    chosen = get_style(style)
    if mistake_rate is not None:
        if mistake_rate < 0 or mistake_rate > 1:
            raise ValueError(f"mistake_rate {mistake_rate} is out of range: expected 0 to 1")
        chosen = STYLES["oracle"] if mistake_rate == 0 else replace(chosen, mistakes=mistake_rate / task.mistake_rate)
    return task.annotator(task, world, interface, chosen, rng)
