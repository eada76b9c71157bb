"""The contract of a task: what a folder in `tasks/` has to provide, and what it gets for it.

A task is four things, each in a file of its own:

- `world.py`: what exists. A frozen dataclass of arrays and `make_world(rng, difficulty)`.
- `interface.py`: what can be seen and done. An `Interface`: values of `State`, pure functions from state and action to the next state.
- `annotator.py`: what a person would do. An `Annotator` (see `lastmile.annotator`).
- `__init__.py`: a `Task` that holds the three together and says how to judge one annotation and how to score a finished state.

Nothing here draws random numbers but from the generator that is passed in.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import CANVAS, Button, Group, Hit, Look, Mark, Screen, Widget
from lastmile.screen.layout import LAYOUTS, places, shape
from lastmile.screen.widgets import Kind

if TYPE_CHECKING:
    from lastmile.tasks.annotator import Annotator

E = TypeVar("E")
"""A task's annotation: what `State.edits` holds."""
RIGHT = "right"
"""Verdict on an annotation that is as it should be. Every other verdict is the kind of a mistake."""
MISTAKES = ("slip", "confusion", "lapse")
"""Kinds of mistakes: beside the target; the wrong object; the wrong slice, frame, tab or mode, or a step left out."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the work has come: a value. Tasks add the view (slice, frame, mode, ...).

    Attributes:
        edits: The annotations in the order in which they were made; `Undo` removes the last one.
        done: Whether `Done` was pressed.
    """

    edits: tuple[Any, ...] = ()
    done: bool = False


W = TypeVar("W")
"""A task's world."""
S = TypeVar("S", bound=State)
"""A task's state."""


class Score(NamedTuple):
    """How good a state is: `score` from 0 to 1, `success` yes or no, and the task's own measures by name."""

    score: float
    success: bool
    details: Mapping[str, float]


class Mistake(NamedTuple):
    """A mistake in a state: a wrong annotation, or one that was left out.

    Attributes:
        kind: One of MISTAKES.
        edit: Position of the wrong annotation in `state.edits`; None where one was left out.
        omitted: What was left out (a slice, a key point of a frame); None for a wrong annotation.
    """

    kind: str
    edit: int | None = None
    omitted: Hashable = None


class Interface(ABC, Generic[W, S]):
    """A task's graphical interface to one world. Holds caches, never the state.

    Subclasses say what there is (`groups`, `image`, `marks`, `status`) and what actions do (`act`, `place`); `Undo` and `Done`, validity
    and screens are the same for all tasks and stand here.
    """

    title: ClassVar[str]

    def __init__(self, world: W) -> None:
        self.world = world
        self._shown: tuple[S | None, Look | None, Screen | None] = (None, None, None)

    # What a task says

    @abstractmethod
    def start(self) -> S:
        """The state in which an episode begins."""

    @abstractmethod
    def groups(self, state: S) -> tuple[Group, ...]:
        """The buttons beyond Undo and Done."""

    @abstractmethod
    def image(self, state: S) -> np.ndarray:
        """The canvas without marks: (256, 256, 3) uint8, not to be written to. Called only when a screen is drawn."""

    @abstractmethod
    def marks(self, state: S) -> tuple[Mark, ...]:
        """What is drawn over the image: the annotations that are visible in this view."""

    @abstractmethod
    def status(self, state: S) -> tuple[str, ...]:
        """Short texts for the status bar: position and counts."""

    @abstractmethod
    def position(self, state: S) -> float:
        """Where in the data the view is, from 0 to 1."""

    @abstractmethod
    def act(self, state: S, button: str) -> S:
        """The state after an enabled button of the task was pressed."""

    def live(self, state: S) -> bool:
        """Whether a click on the canvas means something in this state."""
        return True

    def place(self, state: S, u: float, v: float) -> S:
        """The state after a click on the live canvas at (u, v)."""
        raise NotImplementedError

    def place_kind(self, state: S, u: float, v: float) -> Kind:
        """Kind of action of a canvas click; `place` unless a click there selects or turns something."""
        return "place"

    # What is the same for all

    def controls(self, state: S) -> tuple[Group, ...]:
        """All groups of buttons; the last one holds Undo and Done."""
        finish = Group(
            "",
            (
                Button("undo", "Undo", "undo", bool(state.edits) and not state.done),
                Button("done", "Done", "done", not state.done),
            ),
        )
        groups = self.groups(state)
        if state.done:
            groups = tuple(
                group._replace(
                    buttons=tuple(button._replace(enabled=False) for button in group.buttons)
                )
                for group in groups
            )
        return (*groups, finish)

    def press(self, state: S, button: str) -> S:
        """The state after pressing a button. A disabled button changes nothing; KeyError for a button that does not exist."""
        for group in self.controls(state):
            for known in group.buttons:
                if known.id == button:
                    if not known.enabled:
                        return state
                    if button == "done":
                        return replace(state, done=True)
                    if button == "undo":
                        return self.undo(state)
                    return self.act(state, button)
        raise KeyError(f"no button '{button}' in {self.title}")

    def undo(self, state: S) -> S:
        """The state with the last annotation taken back; the view stays where it is."""
        return replace(state, edits=state.edits[:-1])

    def touch(self, state: S, u: float, v: float) -> S:
        """The state after a click on the canvas at (u, v); a canvas that is not live changes nothing."""
        if state.done or not self.live(state) or not (0 <= u < CANVAS and 0 <= v < CANVAS):
            return state
        return self.place(state, u, v)

    def screen(self, state: S, look: Look = Look()) -> Screen:  # noqa: B008 (an immutable value)
        """What is seen and can be clicked in a state. Cheap: pixels are drawn only by `lastmile.screen.draw`. The last one is kept."""
        if self._shown[0] is state and self._shown[1] == look and self._shown[2] is not None:
            return self._shown[2]
        screen = self._screen(state, look)
        self._shown = (state, look, screen)
        return screen

    def _screen(self, state: S, look: Look) -> Screen:
        groups = self.controls(state)
        frame, rects = LAYOUTS[look.layout], places(shape(groups), look.layout)
        buttons = [button for group in groups for button in group.buttons]
        return Screen(
            title=self.title,
            widgets=tuple(map(Widget, buttons, rects.buttons)),
            groups=tuple((group.title, rect) for group, rect in zip(groups, rects.titles)),
            canvas=frame.canvas,
            status_bar=frame.status_bar,
            title_bar=frame.title_bar,
            canvas_live=not state.done and self.live(state),
            status=partial(self.status, state),
            image=partial(self.image, state),
            marks=partial(self.marks, state),
            look=look,
        )

    def hit(self, state: S, x: float, y: float, look: Look = Look()) -> Hit:  # noqa: B008
        """What a click at logical pixel (x, y) of the screen hits, with the kind of action that it is."""
        hit = self.screen(state, look).hit(x, y)
        return (
            hit._replace(kind=self.place_kind(state, hit.u, hit.v))
            if hit.widget == "canvas"
            else hit
        )

    def apply(self, state: S, hit: Hit) -> S:
        """The state after a hit; nothing hit, nothing changed."""
        if hit.widget == "canvas":
            return self.touch(state, hit.u, hit.v)
        return self.press(state, hit.widget) if hit.widget else state


class Task(ABC, Generic[W, S, E]):
    """A registered task. The class docstring is its page in the documentation, with the sections What it is, What is seen, What can be
    done, When it ends, How it is scored, Mistakes, Sources."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever worlds, interface or scores change, so that old trajectories are refused."""
    difficulties: ClassVar[Mapping[str, Any]]
    """Named difficulties, at least `short` and `full`."""
    make_world: ClassVar[Callable[[np.random.Generator, Any], Any]]
    """A world from a generator, which is the world's own from then on, and one value of `difficulties` (a static method)."""
    interface: ClassVar[type[Interface[Any, Any]]]
    annotator: ClassVar[type[Annotator[Any, Any]]]
    mistake_rate: ClassVar[float]
    """Share of placements that the `typical` style gets wrong."""
    chance: ClassVar[float] = 0.0
    """Score that is reached without looking (for classifications)."""

    @abstractmethod
    def judge(self, world: W, earlier: tuple[E, ...], edit: E) -> str:
        """Verdict on one annotation, given those made before it: `right` or the kind of the mistake."""

    @abstractmethod
    def score(self, world: W, state: S) -> Score:
        """How good a state is, whoever made it."""

    def mistakes(self, world: W, state: S) -> tuple[Mistake, ...]:
        """The mistakes that stand in a state. By default every edit is judged in turn; tasks where a later annotation replaces an earlier
        one, or where something can be left out, say so here."""
        edits = state.edits
        verdicts = ((i, self.judge(world, edits[:i], edit)) for i, edit in enumerate(edits))
        return tuple(Mistake(verdict, i) for i, verdict in verdicts if verdict != RIGHT)

    def difficulty(self, name: str) -> Any:
        """A difficulty by name; ValueError naming those that exist."""
        try:
            return self.difficulties[name]
        except KeyError:
            known = ", ".join(self.difficulties)
            raise LastmileError(
                f"unknown difficulty '{name}' of task '{self.name}': expected one of {known}"
            ) from None

    def world(self, seed: tuple[int, ...] | int, difficulty: str) -> W:
        """The world of a seed: the same on every machine, and never that of another task or seed.

        Raises ValueError for a negative seed or an unknown difficulty.
        """
        parts = (seed,) if isinstance(seed, int) else tuple(seed)
        if any(part < 0 for part in parts):
            raise LastmileError(f"seed {seed} is out of range: expected integers of at least 0")
        return type(self).make_world(
            generator(parts, self.name, "world"), self.difficulty(difficulty)
        )


def generator(seed: tuple[int, ...], task: str, purpose: str) -> np.random.Generator:
    """A generator of its own for each (seed, task, purpose)."""
    words = hashlib.blake2b(f"{task}/{purpose}".encode(), digest_size=8).digest()
    return np.random.default_rng(
        np.random.SeedSequence([*seed, *np.frombuffer(words, "<u4").tolist()])
    )


def digest(world: Any) -> str:
    """Short digest of a world's ground truth: of every array and number in it but those called `image*`, rounded to a hundredth so that
    the last bits of different processors do not matter."""
    code = hashlib.blake2b(digest_size=8)

    def feed(value: Any) -> None:
        if is_dataclass(value):
            for item in fields(value):
                if not item.name.startswith("image"):
                    code.update(item.name.encode())
                    feed(getattr(value, item.name))
        elif isinstance(value, (tuple, list)):
            code.update(f"[{len(value)}".encode())
            for part in value:
                feed(part)
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            code.update(str(value.shape).encode())
            code.update(np.round(value.astype(np.float64) * 100).astype(np.int64).tobytes())
        elif isinstance(value, np.ndarray) and value.dtype.itemsize == 1:
            code.update(str(value.shape).encode())
            code.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, np.ndarray):
            code.update(str(value.shape).encode())
            code.update(np.ascontiguousarray(value).astype(np.int64).tobytes())
        elif isinstance(value, float):
            code.update(str(round(value * 100)).encode())
        else:
            code.update(repr(value).encode())

    feed(world)
    return code.hexdigest()
