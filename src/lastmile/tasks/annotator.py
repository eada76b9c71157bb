"""The contract of virtual annotators and what they share: phases, mistakes, repairs.

An annotator looks at a state and decides on the next step. It knows the ground truth but uses it
the way a person uses good eyes: it explores before it works, now and then makes a mistake, notices
the mistake after a while if it is in view, and repairs it with the means of the interface.

Its decisions follow from the state and a small memory. It can therefore take over in any state,
also one full of somebody else's mistakes, and finish the work.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from lastmile.screen import CANVAS, Screen
from lastmile.tasks.styles import (
    STYLES,
    NoticeByChance,
    Noticed,
    Noticing,
    Style,
    get_style,
    notice_everything,
    notice_nothing,
)
from lastmile.tasks.task import Interface, Mistake, MovieState, S, Task, W

__all__ = [
    "PHASES",
    "STYLES",
    "Annotator",
    "Intent",
    "MovieAnnotator",
    "NoticeByChance",
    "Noticed",
    "Noticing",
    "Style",
    "click",
    "get_style",
    "make_annotator",
    "notice_everything",
    "notice_nothing",
]

PHASES = ("explore", "annotate", "verify", "correct", "finish")
"""Phases of an episode; every step belongs to one."""

HASTE = 0.15
"""Share of the placements that are made in haste."""
HASTY_JITTER = 2.5
"""Their jitter, as a multiple of that of all others: so the distances have a tail."""
FARTHEST = 4.4
"""Largest jitter in logical px: within the 5 px of the judges, also after rounding to a pixel."""
PLAIN = 12.0
"""Distance in logical px from which on a placement beside its target is plain to see."""


class Intent(NamedTuple):
    """What an annotator is about to do.

    Attributes:
        widget: Id of a button, or "canvas" for a placement at (u, v).
        phase: The phase it belongs to: one of `PHASES`.
        u: Canvas coordinate of a placement, logical px to the right.
        v: Canvas coordinate of a placement, logical px down.
        mistake: Kind of the mistake that the step is, unknown to the annotator; empty if it is
            none.
        critical: Whether the outcome of the episode depends on this decision.
        target: The true point of a placement, canvas coordinates; None without a target.
    """

    widget: str
    phase: str = "annotate"
    u: float = -1.0
    v: float = -1.0
    mistake: str = ""
    critical: bool = False
    target: tuple[float, float] | None = None


class Annotator(ABC, Generic[W, S]):
    """The base class of all virtual annotators.

    A task must provide `annotate` and `verify`. It may also provide `explore`, `blunder` (without
    it the annotator makes no mistakes), `visible`, `begins_check`, `repair`, `weights` and
    `decisions`. This class runs the phases, draws mistakes, and notices and repairs them.

    A subclass declares its memory as class attributes with an immutable default (`scan: int = -1`)
    and only ever assigns new immutable values to them on `self`: `fork` makes a shallow copy. It
    also needs `interface` declared again if it uses more of the task's interface than the contract.

    Attributes:
        weights: How the mistake rate is divided among the kinds of mistakes.
        decisions: Buttons that always are a critical decision.
        task: The task.
        world: The world to annotate.
        interface: The interface to that world.
        style: How the annotator works.
        rng: The source of its randomness.
        noticed: The mistakes it is aware of, by `key`.
        phase: Phase of its last step; empty before the first.
        edits: Annotations in the state of its last step; None before the first.
        checked: Annotations at the end of its last completed check; None before the first.
        meant: Whether its last step was meant to be right.
        slipped: Distance of its last step from its target, logical px, if that was a slip.
        offsets: Its own slips, by `key`, each with this distance.
        looked_at: The mistakes that it has had in view, by `key`.
        overlooked: Those of them that it takes for right, and will never notice.
    """

    meant: bool = False
    slipped: float | None = None
    offsets: frozenset[tuple[Hashable, float]] = frozenset()
    looked_at: Noticed = frozenset()
    overlooked: Noticed = frozenset()

    weights: ClassVar[dict[str, float]] = {"slip": 0.4, "confusion": 0.3, "lapse": 0.3}
    decisions: ClassVar[frozenset[str]] = frozenset({"undo", "done"})

    interface: Interface[W, S]

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
        self.edits: tuple[Any, ...] | None = None
        self.checked: tuple[Any, ...] | None = None

    # What a task must provide.

    @abstractmethod
    def annotate(self, state: S) -> Intent | None:
        """Return the next correct step of the work, or None when everything is annotated.

        This is a placement (see `put`) or a step towards it.
        """

    @abstractmethod
    def verify(self, state: S) -> Intent | None:
        """Return the next step of the final check, or None when the check is over."""

    # What a task may provide.

    def explore(self, state: S) -> Intent | None:
        """Return the next step of looking around, or None when the annotator has seen enough."""
        return None

    def blunder(self, state: S, kind: str) -> Intent | None:
        """Return a mistake that could replace the correct step in this state.

        Args:
            state: The state.
            kind: The kind of mistake, one of `MISTAKES`. See `beside` for slips.

        Returns:
            The mistake, with the correct point as its `target` if it is a placement; None if no
            mistake of this kind is possible here.
        """
        return None

    def visible(self, state: S, mistake: Mistake) -> bool:
        """Return whether the screen shows a mistake, so that it can be noticed."""
        return True

    def visibility(self, state: S, mistake: Mistake) -> float:
        """Return how plain a mistake in view is to see, from 0 to 1.

        A slip of its own is the plainer the farther it is from where it belongs.
        """
        key = self.key(state, mistake)
        return next((min(1.0, off / PLAIN) for one, off in self.offsets if one == key), 1.0)

    def begins_check(self, state: S) -> bool:
        """Return whether to look at this state as closely as in the final check.

        This is for annotators who recheck what they see as soon as the work is complete.
        """
        return False

    def repair(self, state: S, mistakes: tuple[Mistake, ...]) -> Intent:
        """Return the next step towards repairing the noticed mistakes, of which there are some.

        By default, undo until they are gone.
        """
        return Intent("undo")

    # What all annotators share.

    def next(self, state: S) -> Intent:
        """Return the annotator's next step in a state, and remember having taken it.

        Raises:
            ValueError: The state is finished.
        """
        if state.done:
            raise ValueError("the annotator was asked for a step in a finished state")
        mistakes = self.task.mistakes(self.world, state)
        self._learn(state, mistakes)
        self._notice(state, mistakes)
        noticed = tuple(m for m in mistakes if self.key(state, m) in self.noticed)

        # Repairs come first; then each phase hands over to the next when it has nothing to do.
        before = self.phase
        intent = self.repair(state, noticed)._replace(phase="correct") if noticed else None
        if intent is None and self.style.explores:
            intent = _in_phase(self.explore(state), "explore")
        if intent is None:
            intent = _in_phase(self._work(state), "annotate")
        if intent is None and self.style.verifies and self.checked != state.edits:
            intent = _in_phase(self.verify(state), "verify")
            if intent is None:
                self.checked = state.edits
        if intent is None:
            intent = Intent("done", "finish")

        self.phase = intent.phase
        self.edits = state.edits
        self.meant = not intent.mistake
        self.slipped = None
        if intent.mistake == "slip" and intent.target is not None:
            self.slipped = math.dist((intent.u, intent.v), intent.target)
        starts_check = intent.phase == "verify" and before != "verify"
        resumes_work = intent.phase == "annotate" and before in ("verify", "correct")
        critical = starts_check or resumes_work or intent.widget in self.decisions
        return intent._replace(critical=critical)

    def fork(self, rng: np.random.Generator) -> Self:
        """Return a copy of the annotator at this moment, with other random numbers ahead."""
        other = copy.copy(self)
        other.rng = rng
        return other

    def beside(
        self, state: S, target: tuple[float, float], near: float = 6.5, far: float = 18.0
    ) -> Intent:
        """Return a slip: a placement next to a target, more often near to it than far from it.

        Args:
            state: The state.
            target: The correct point, canvas coordinates.
            near: Smallest distance from the target, logical px.
            far: Largest distance from the target, logical px.
        """
        # A target close to the border can need several draws until the slip is on the canvas.
        for _ in range(20):
            angle = self.rng.uniform(0, 2 * np.pi)
            distance = far - (far - near) * self.rng.random() ** 0.5
            u = target[0] + distance * np.cos(angle)
            v = target[1] + distance * np.sin(angle)
            if 2 <= u < CANVAS - 2 and 2 <= v < CANVAS - 2:
                break
        return Intent("canvas", u=u, v=v, mistake="slip", target=target)

    def put(self, target: tuple[float, float]) -> Intent:
        """Return a placement at a target, with the jitter of the style.

        The jitter is Gaussian, with a tail of placements made in haste. It is never a mistake in
        itself, and so is drawn again beyond `FARTHEST`.
        """
        for _ in range(20):
            factor = HASTY_JITTER if self.rng.random() < HASTE else 1.0
            shift = self.rng.normal(0, factor * self.style.jitter, 2)
            if math.hypot(*shift) <= FARTHEST:
                break
        else:
            shift = np.zeros(2)
        u, v = np.clip(np.asarray(target) + shift, 0, CANVAS - 1)
        return Intent("canvas", u=float(u), v=float(v), target=target)

    def key(self, state: S, mistake: Mistake) -> Hashable:
        """Return what a mistake is remembered by.

        This is more than its index: another annotation in the same place is another mistake.
        """
        if mistake.edit is None:
            return mistake.omitted, mistake.kind
        return mistake.edit, state.edits[mistake.edit]

    def _work(self, state: S) -> Intent | None:
        """Return the next correct step, or a mistake in its place."""
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

    def _learn(self, state: S, mistakes: tuple[Mistake, ...]) -> None:
        """Remember how far off its last step was, or doubt what it took for right until now.

        What was meant to be right and is wrong must rest on an earlier mistake.
        """
        newest = len(state.edits) - 1
        for mistake in mistakes:
            if mistake.edit != newest or state.edits == self.edits:
                continue
            if self.slipped is not None:
                self.offsets |= {(self.key(state, mistake), self.slipped)}
            elif self.meant:
                self.overlooked = frozenset()

    def _notice(self, state: S, mistakes: tuple[Mistake, ...]) -> None:
        """Update which mistakes have been noticed."""
        phase = self.phase
        if mistakes and self.begins_check(state):
            # Notice as in the final check, and as one who did not just make the mistake.
            self.phase = "verify"
            self.edits = state.edits
        self.noticed = self.style.noticing(self, state, mistakes)
        self.phase = phase


def _in_phase(intent: Intent | None, phase: str) -> Intent | None:
    return None if intent is None else intent._replace(phase=phase)


class Movie(Protocol):
    """A world with frames."""

    @property
    def frames(self) -> int:
        """Number of frames."""


MovieW = TypeVar("MovieW", bound=Movie)
"""The world of a task on a movie."""
MovieS = TypeVar("MovieS", bound=MovieState)
"""The state of a task on a movie."""


class MovieAnnotator(Annotator[MovieW, MovieS]):
    """The base class of annotators of movies: they check by walking through all frames once more.

    A task must provide `annotate` and `complete`. Its buttons for the frames are `-t` and `+t`.

    Attributes:
        seen: Frames looked at in the current check.
    """

    seen: frozenset[int] = frozenset()

    @abstractmethod
    def complete(self, state: MovieS) -> bool:
        """Return whether all frames are annotated, correctly or not."""

    def verify(self, state: MovieS) -> Intent | None:
        """Walk through the frames that have not been seen since the work ended."""
        if self.phase == "annotate":
            self.seen = frozenset()
        self.seen |= {state.t}

        # Who checks less thoroughly skips the first quarter.
        frames = self.world.frames
        first = 0 if self.style.verify > 0.5 else frames // 4
        left = [t for t in range(first, frames) if t not in self.seen]
        if not left:
            return None
        return Intent("-t" if left[0] < state.t else "+t")

    def begins_check(self, state: MovieS) -> bool:
        """Begin the check with a second look at the frame in which the work ended."""
        return self.phase in ("annotate", "correct") and self.complete(state)


def click(intent: Intent, screen: Screen, rng: np.random.Generator) -> tuple[int, int]:
    """Return the click that carries out an intent.

    A click on a button is Gaussian around its center with a standard deviation of 0.2 of its size,
    clipped to the range from 0.1 to 0.9 of its size (Chandok and Park, 2026). A click on the canvas
    is the intended point, rounded.

    Args:
        intent: What to do.
        screen: The screen to click on.
        rng: The source of randomness; not used on the canvas.

    Returns:
        The click (x, y), logical px on the screen.
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
    """Return the virtual annotator of a task.

    Args:
        task: The task.
        world: The world to annotate.
        interface: The interface to that world.
        style: How to work: a `Style` or the name of one.
        rng: The source of the annotator's randomness.

    Raises:
        UnknownNameError: No style has this name.
    """
    if isinstance(style, str):
        style = get_style(style)
    if style.mistake_rate is not None:
        style = replace(style, mistakes=style.mistake_rate / task.mistake_rate)
    return task.annotator(task, world, interface, style, rng)
