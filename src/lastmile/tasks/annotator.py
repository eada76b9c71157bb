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
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple

import numpy as np

from lastmile.errors import UnknownNameError
from lastmile.screen import CANVAS, Screen
from lastmile.tasks.task import Interface, Mistake, S, Task, W

PHASES = ("explore", "annotate", "verify", "correct", "finish")


Noticed = frozenset[Hashable]
"""The mistakes that an annotator has noticed, by `Annotator.key`."""
Noticing = Callable[["Annotator[Any, Any]", Any, tuple[Mistake, ...]], Noticed]
"""A strategy of noticing: annotator, state and the mistakes in it -> those that it is aware of now."""


@dataclass(frozen=True, slots=True)
class NoticeByChance:
    """Notice mistakes as people do: each with a chance per step, once it is in view.

    Attributes:
        at_once: Chance to notice a mistake right after it was made.
        later: Chance per further step with the mistake in view.
        checking: Chance per step of verification with the mistake in view.
    """

    at_once: float
    later: float
    checking: float

    def __call__(
        self, annotator: Annotator[Any, Any], state: Any, mistakes: tuple[Mistake, ...]
    ) -> Noticed:
        noticed = annotator.noticed & {annotator.key(state, mistake) for mistake in mistakes}
        if len(noticed) == len(mistakes):
            return noticed

        before, newest = annotator.edits, len(state.edits) - 1
        added = before is not None and state.edits != before and len(state.edits) > len(before)
        for mistake in mistakes:
            key = annotator.key(state, mistake)
            if key in noticed or not annotator.visible(state, mistake):
                continue
            if added and mistake.edit == newest:
                chance = self.at_once
            else:
                chance = self.checking if annotator.phase == "verify" else self.later
            if annotator.rng.random() < chance:
                noticed |= {key}
        return noticed


def notice_everything(
    annotator: Annotator[Any, Any], state: Any, mistakes: tuple[Mistake, ...]
) -> Noticed:
    """Notice every mistake at once, in view or not."""
    return frozenset(annotator.key(state, mistake) for mistake in mistakes)


def notice_nothing(
    annotator: Annotator[Any, Any], state: Any, mistakes: tuple[Mistake, ...]
) -> Noticed:
    """Notice no mistake, ever."""
    return frozenset()


@dataclass(frozen=True, slots=True)
class Style:
    """How a person works.

    Attributes:
        explore: How thoroughly they look around beforehand, 0 to 1.
        verify: How thoroughly they check afterwards, 0 to 1.
        mistakes: Factor on the task's mistake rate.
        noticing: How they become aware of mistakes.
        jitter: Standard deviation of a placement around its target, logical px.
    """

    name: str
    explore: float
    verify: float
    mistakes: float
    noticing: Noticing
    jitter: float


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("careful", 1.0, 1.0, 0.5, NoticeByChance(0.85, 0.6, 0.98), jitter=0.7),
        Style("typical", 0.6, 0.6, 1.0, NoticeByChance(0.75, 0.5, 0.95), jitter=1.0),
        Style("hasty", 0.2, 0.2, 1.7, NoticeByChance(0.6, 0.35, 0.9), jitter=1.4),
        Style("oracle", 0.6, 0.6, 0.0, notice_everything, jitter=0.7),
    )
}
"""Styles by name. `oracle` makes no mistakes and notices every one."""


def get_style(name: str) -> Style:
    """Return the style of that name.

    Raises:
        UnknownNameError: There is no such style.
    """
    if name not in STYLES:
        raise UnknownNameError("style", name, STYLES)
    return STYLES[name]


class Intent(NamedTuple):
    """What an annotator means to do.

    Attributes:
        widget: Id of a button, or "canvas" for a placement at (u, v).
        phase: Why: one of PHASES.
        u, v: The point of a placement, canvas coordinates.
        mistake: Kind of the mistake that is being made (without knowing), or empty.
        critical: Whether the outcome depends on this decision.
        target: The true point of a placement, canvas coordinates; None where there is none.
    """

    widget: str
    phase: str = "annotate"
    u: float = -1.0
    v: float = -1.0
    mistake: str = ""
    critical: bool = False
    target: tuple[float, float] | None = None


class Annotator(ABC, Generic[W, S]):
    """The base of all virtual annotators. Subclasses say how to explore, annotate, verify and err; noticing and repairing stand here.

    Whatever a subclass remembers is kept in attributes with immutable values, so that `fork` is a shallow copy.
    """

    weights: ClassVar[dict[str, float]] = {"slip": 0.4, "confusion": 0.3, "lapse": 0.3}
    """How the mistake rate is divided among the kinds of mistakes."""
    decisions: ClassVar[frozenset[str]] = frozenset({"undo", "done"})
    """Buttons that are always a critical decision."""

    def __init__(
        self,
        task: Task[W, S, Any],
        world: W,
        interface: Interface[W, S],
        style: Style,
        rng: np.random.Generator,
    ) -> None:
        self.task = task
        self.world = world
        self.interface = interface
        self.style = style
        self.rng = rng
        self.noticed: Noticed = frozenset()
        self.phase = ""
        self.edits: tuple[Any, ...] | None = None  # those of the last state
        self.checked: tuple[Any, ...] | None = None  # those at the end of the last check

    # What a subclass says

    def explore(self, state: S) -> Intent | None:
        """The next step of looking around, or None when enough was seen."""
        return None

    @abstractmethod
    def annotate(self, state: S) -> Intent | None:
        """The next right step of the work (a placement, or the way to it), or None when all is annotated."""

    @abstractmethod
    def verify(self, state: S) -> Intent | None:
        """The next step of checking, or None when the check is over."""

    def blunder(self, state: S, kind: str) -> Intent | None:
        """A mistake of that kind that could happen in this state in place of the right step, or None. A slip beside `target` is
        made by `beside`."""
        return None

    def visible(self, state: S, mistake: Mistake) -> bool:
        """Whether a mistake can be seen on the present screen."""
        return True

    def begins_check(self, state: S) -> bool:
        """Whether this state is looked at as closely as in the check, although the work goes on."""
        return False

    def repair(self, state: S, mistakes: tuple[Mistake, ...]) -> Intent:
        """The next step towards repairing the noticed mistakes: by default to undo until they are gone."""
        return Intent("undo")

    # What is the same for all

    def next(self, state: S) -> Intent:
        """Return what the annotator does in this state, and remember having done it.

        Raises:
            ValueError: The state is finished.
        """
        if state.done:
            raise ValueError("the annotator was asked for a step in a finished state")
        mistakes = self.task.mistakes(self.world, state)
        self._notice(state, mistakes)
        noticed = tuple(m for m in mistakes if self.key(state, m) in self.noticed)

        before = self.phase
        intent = self.repair(state, noticed)._replace(phase="correct") if noticed else None
        if intent is None:
            intent = _in_phase(self.explore(state), "explore")
        if intent is None:
            intent = _in_phase(self._work(state), "annotate")
        if intent is None and self.checked != state.edits:
            intent = _in_phase(self.verify(state), "verify")
            if intent is None:
                self.checked = state.edits
        if intent is None:
            intent = Intent("done", "finish")

        self.phase = intent.phase
        self.edits = state.edits
        starts_check = intent.phase == "verify" and before != "verify"
        resumes_work = intent.phase == "annotate" and before in ("verify", "correct")
        critical = starts_check or resumes_work or intent.widget in self.decisions
        return intent._replace(critical=critical)

    def fork(self, rng: np.random.Generator) -> Annotator[W, S]:
        """Return the same annotator at the same moment, with other random numbers ahead."""
        other = copy.copy(self)
        other.rng = rng
        return other

    def beside(
        self, state: S, target: tuple[float, float], near: float = 8.0, far: float = 18.0
    ) -> Intent:
        """A slip: a placement `near` to `far` logical px beside the target, inside the canvas."""
        for _ in range(20):
            angle, distance = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(near, far)
            u, v = target[0] + distance * np.cos(angle), target[1] + distance * np.sin(angle)
            if 2 <= u < CANVAS - 2 and 2 <= v < CANVAS - 2:
                break
        return Intent("canvas", u=u, v=v, mistake="slip", target=target)

    def put(self, target: tuple[float, float]) -> Intent:
        """A placement at a target, with the style's jitter (never more than 2.5 standard deviations)."""
        shift = np.clip(
            self.rng.normal(0, self.style.jitter, 2),
            -2.5 * self.style.jitter,
            2.5 * self.style.jitter,
        )
        u, v = np.clip(np.asarray(target) + shift, 0, CANVAS - 1)
        return Intent("canvas", u=float(u), v=float(v), target=target)

    def key(self, state: S, mistake: Mistake) -> Hashable:
        """What a mistake is remembered by: another annotation in its place is another mistake."""
        if mistake.edit is None:
            return mistake.omitted, mistake.kind
        return mistake.edit, state.edits[mistake.edit]

    def _work(self, state: S) -> Intent | None:
        """The next right step, or a mistake in its place."""
        intent = self.annotate(state)
        if intent is None:
            return None
        rate = self.task.mistake_rate * self.style.mistakes
        for kind, weight in self.weights.items():
            if self.rng.random() < rate * weight:
                mistaken = self.blunder(state, kind)
                if mistaken is not None:
                    return mistaken._replace(mistake=kind)
        return intent

    def _notice(self, state: S, mistakes: tuple[Mistake, ...]) -> None:
        """Update what has been noticed."""
        phase = self.phase
        if mistakes and self.begins_check(state):
            self.phase, self.edits = "verify", state.edits
        self.noticed = self.style.noticing(self, state, mistakes)
        self.phase = phase


def _in_phase(intent: Intent | None, phase: str) -> Intent | None:
    return None if intent is None else intent._replace(phase=phase)


class MovieAnnotator(Annotator[W, S]):
    """An annotator of the frames of a movie: it checks by walking back through all of them.

    The world says how many `frames` there are, the state which one is shown (`t`).
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: frozenset[int] = frozenset()  # frames looked at in the final check

    @abstractmethod
    def complete(self, state: S) -> bool:
        """Whether all frames are annotated, rightly or not."""

    def verify(self, state: Any) -> Intent | None:
        if self.phase == "annotate":
            self.seen = frozenset()
        self.seen |= {state.t}
        frames = self.world.frames  # type: ignore[attr-defined] # worlds of movies have frames
        first = 0 if self.style.verify > 0.5 else frames // 4
        left = [t for t in range(first, frames) if t not in self.seen]
        if not left:
            return None
        return Intent("-t" if left[0] < state.t else "+t")

    def begins_check(self, state: S) -> bool:
        """The check begins with a second look at the frame in which the work ended."""
        return self.phase in ("annotate", "correct") and self.complete(state)


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
    task: Task[W, S, Any],
    world: W,
    interface: Interface[W, S],
    style: str | Style,
    rng: np.random.Generator,
) -> Annotator[W, S]:
    """Return the annotator of a task, working in a style given by name or by itself.

    Raises:
        UnknownNameError: There is no style of that name.
    """
    chosen = get_style(style) if isinstance(style, str) else style
    return task.annotator(task, world, interface, chosen, rng)
