"""The contract of a task: what a folder in `tasks/` provides, and what it gets in return.

A task has four parts, each in its own file:

- `world.py`: the data to annotate and its ground truth. A frozen dataclass of arrays, and
  `make_world(rng, difficulty)`.
- `interface.py`: what an annotator sees and can do. A `State` and an `Interface`, whose methods are
  pure functions from a state and an action to the next state.
- `annotator.py`: what a person would do. An `Annotator` (see `lastmile.tasks.annotator`).
- `__init__.py`: a `Task` that ties the three together, judges single annotations and scores states;
  and `TASK`, its only instance.

In return the task gets screens in every layout and theme, hit-testing, undo, recordings, a
Gymnasium environment, a page in the documentation, and its place in every study. The tests in
`tests/test_tasks.py` check the contract for every task.

All randomness comes from the generators that are passed in.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
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

RIGHT = "right"
"""Verdict on a correct annotation. Every other verdict is a kind of mistake."""

MISTAKES = ("slip", "confusion", "lapse")
"""Kinds of mistakes: next to the target (slip); on the wrong object (confusion); in the wrong
slice, frame, tab or mode, or a step left out (lapse)."""

VIEW_ONLY = "View only: no clicks"
"""What the status bar says of a view in which the canvas takes no clicks."""

_DEFAULT_LOOK = Look()


@dataclass(frozen=True, slots=True)
class State:
    """The progress of an annotation: an immutable, hashable value.

    A task derives its own `State`. It declares `edits` again with the type of its annotations and
    adds the view (slice, frame, mode, ...), every field with a default.

    Attributes:
        edits: All annotations, oldest first. `Undo` removes the last one.
        done: Whether `Done` was pressed.
    """

    edits: tuple[Any, ...] = ()
    done: bool = False


@dataclass(frozen=True, slots=True)
class MovieState(State):
    """The state of a task on a movie.

    Attributes:
        t: The frame on display, from 0.
    """

    t: int = 0


W = TypeVar("W")  # the world of a task
S = TypeVar("S", bound=State)  # its state
E = TypeVar("E")  # one of its annotations, as stored in `State.edits`


class Score(NamedTuple):
    """How good a state is.

    Attributes:
        score: From 0 to 1.
        success: Whether the task is finished and done well enough.
        details: The task's own measures by name, always with `coverage`, the share of the work
            that is done correctly.
    """

    score: float
    success: bool
    details: Mapping[str, float]


class Mistake(NamedTuple):
    """A mistake in a state: a wrong annotation or an omission.

    Attributes:
        kind: One of `MISTAKES`.
        edit: Index of the wrong annotation in `state.edits`; None for an omission.
        omitted: What was left out, such as a slice; None for a wrong annotation.
    """

    kind: str
    edit: int | None = None
    omitted: Hashable = None


class Interface(ABC, Generic[W, S]):
    """The graphical interface of a task to one world. It may hold caches, but never the state.

    A task must provide `title`, `start`, `groups`, `image`, `marks`, `status`, `position` and
    `act`.

    It may also provide

    - `place`, if the canvas takes clicks;
    - `live`, if the canvas takes no clicks in some states;
    - `place_kind`, if some clicks on the canvas do not place an annotation but select or turn
      something;
    - `undo`, if taking back an annotation also changes the view.

    Everything else is the same in all tasks: the buttons Undo and Done, the rejection of invalid
    clicks, screens and hit-testing. Coordinates (u, v) are logical pixels on the canvas, from its
    top left corner.

    Attributes:
        title: Name of the task on the screen and in the documentation.
        world: The world to annotate.
    """

    title: ClassVar[str]

    def __init__(self, world: W) -> None:
        self.world = world
        self._last_screen: tuple[S, Look, Screen] | None = None
        self._controls: tuple[S, tuple[Group, ...]] | None = None

    # What a task must provide.

    @abstractmethod
    def start(self) -> S:
        """Return the state in which an episode begins."""

    @abstractmethod
    def groups(self, state: S) -> tuple[Group, ...]:
        """Return the task's own buttons, in groups.

        Every state has the same buttons in the same groups, so that nothing on the screen moves. A
        button that cannot be used in a state is disabled, not left out.
        """

    @abstractmethod
    def image(self, state: S) -> np.ndarray:
        """Return the canvas without marks, (256, 256, 3) uint8; callers never write to it.

        It is called only when a screen is drawn, so an image that is slow to make is best made
        here, not in `make_world`.
        """

    @abstractmethod
    def marks(self, state: S) -> tuple[Mark, ...]:
        """Return what is drawn over the image: the annotations that this view shows."""

    @abstractmethod
    def status(self, state: S) -> tuple[str, ...]:
        """Return the short texts of the status bar, such as position and counts."""

    @abstractmethod
    def position(self, state: S) -> float:
        """Return where in the data the view is, from 0 to 1."""

    @abstractmethod
    def act(self, state: S, button: str) -> S:
        """Return the state after a press of one of the task's own buttons, which is enabled."""

    # What a task may provide.

    def live(self, state: S) -> bool:
        """Return whether the canvas takes clicks in this state."""
        return True

    def place(self, state: S, u: float, v: float) -> S:
        """Return the state after a click on the live canvas at (u, v)."""
        raise NotImplementedError(f"{type(self).__name__} has a live canvas but no `place`")

    def place_kind(self, state: S, u: float, v: float) -> Kind:
        """Return the kind of action of a click on the live canvas at (u, v)."""
        return "place"

    def undo(self, state: S) -> S:
        """Return the state without the last annotation. By default the view does not change."""
        return replace(state, edits=state.edits[:-1])

    # What all tasks share.

    def controls(self, state: S) -> tuple[Group, ...]:
        """Return all groups of buttons. The last group holds Undo and Done.

        Those of the last state are kept: drawing, hit-testing and pressing ask for them in turn.
        """
        if self._controls is None or self._controls[0] is not state:
            self._controls = (state, self._list_controls(state))
        return self._controls[1]

    def _list_controls(self, state: S) -> tuple[Group, ...]:
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
        """Return the state after a press of a button. A disabled button changes nothing.

        Raises:
            KeyError: The interface has no such button.
        """
        for group in self.controls(state):
            for known in group.buttons:
                if known.id != button:
                    continue
                if not known.enabled:
                    return state
                if button == "done":
                    return replace(state, done=True)
                if button == "undo":
                    return self.undo(state)
                return self.act(state, button)
        raise KeyError(f"no button '{button}' in {self.title}")

    def touch(self, state: S, u: float, v: float) -> S:
        """Return the state after a click at (u, v). Only a click on the live canvas changes it."""
        if state.done or not self.live(state) or not (0 <= u < CANVAS and 0 <= v < CANVAS):
            return state
        return self.place(state, u, v)

    def screen(self, state: S, look: Look = _DEFAULT_LOOK) -> Screen:
        """Return what can be seen and clicked. This is cheap: no pixels are drawn."""
        last = self._last_screen
        if last is not None and last[0] is state and last[1] == look:
            return last[2]
        screen = self._screen(state, look)  # cached, as a step asks for it more than once
        self._last_screen = (state, look, screen)
        return screen

    def _screen(self, state: S, look: Look) -> Screen:
        groups = self.controls(state)
        frame = LAYOUTS[look.layout]
        rects = places(shape(groups), look.layout)
        buttons = [button for group in groups for button in group.buttons]
        return Screen(
            title=self.title,
            widgets=tuple(map(Widget, buttons, rects.buttons)),
            groups=tuple((group.title, rect) for group, rect in zip(groups, rects.titles)),
            canvas=frame.canvas,
            status_bar=frame.status_bar,
            title_bar=frame.title_bar,
            canvas_live=not state.done and self.live(state),
            # Deferred: recordings need the widgets of every screen, but no pixels.
            status=partial(self.status, state),
            image=partial(self.image, state),
            marks=partial(self.marks, state),
            look=look,
        )

    def hit(self, state: S, x: float, y: float, look: Look = _DEFAULT_LOOK) -> Hit:
        """Return what a click at logical pixel (x, y) of the screen hits, and its kind of action.

        Raises:
            LastmileError: The click is outside the screen.
        """
        hit = self.screen(state, look).hit(x, y)
        if hit.widget != "canvas":
            return hit
        return hit._replace(kind=self.place_kind(state, hit.u, hit.v))

    def apply(self, state: S, hit: Hit) -> S:
        """Return the state after a hit. An invalid hit changes nothing."""
        if hit.widget == "canvas":
            return self.touch(state, hit.u, hit.v)
        return self.press(state, hit.widget) if hit.widget else state


class Task(ABC, Generic[W, S, E]):
    """A task. It has no state: one instance, `TASK` in the task's folder, serves everything.

    Its type parameters are the task's world, state and annotation. It must provide
    `make_world`, `judge`, `score` and all attributes below without a default. It must also provide
    `mistakes` if a later annotation can replace an earlier one or if something can be left out.

    The class docstring is the task's page in the documentation. It has the sections *What it is*,
    *What is seen*, *What can be done*, *When it ends*, *How it is scored*, *Mistakes* and
    *Sources*, each opened by its title in bold with a period.

    Attributes:
        name: The name of the task and of its folder.
        version: Increased with every change of worlds, interface, scores or annotators, so that
            recordings made before the change are rejected.
        difficulties: Settings of `make_world` by name, at least `short` and `full`.
        interface: The class of the interface.
        annotator: The class of the virtual annotator.
        mistake_rate: Probability that a step of work of the `typical` style is a mistake, if every
            kind of mistake is possible in it.
        overlooked: Share of slips and confusions that the `typical` style takes for right.
        chance: Score expected from guessing, for tasks that are classifications.
        held_out: Whether no study trains on it by default: it is kept for transfer.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    difficulties: ClassVar[Mapping[str, Any]]
    interface: type[Interface[W, S]]
    annotator: type[Annotator[W, S]]
    mistake_rate: ClassVar[float]
    overlooked: ClassVar[float] = 0.03
    chance: ClassVar[float] = 0.0
    held_out: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def make_world(rng: np.random.Generator, difficulty: Any) -> W:
        """Make a world.

        Args:
            rng: The only source of randomness. It belongs to the world from then on: the world may
                store it and draw its images from a copy of it later.
            difficulty: One of the values of `difficulties`.
        """

    @abstractmethod
    def judge(self, world: W, earlier: tuple[E, ...], edit: E) -> str:
        """Judge an annotation, given those made before it: `RIGHT` or the kind of mistake."""

    @abstractmethod
    def score(self, world: W, state: S) -> Score:
        """Score a state, whoever produced it. Only a finished state can be a success."""

    def mistakes(self, world: W, state: S) -> tuple[Mistake, ...]:
        """Return the mistakes that are present in a state.

        By default these are the annotations that `judge` finds wrong, each judged after those made
        before it.
        """
        edits = state.edits
        verdicts = ((i, self.judge(world, edits[:i], edit)) for i, edit in enumerate(edits))
        return tuple(Mistake(verdict, i) for i, verdict in verdicts if verdict != RIGHT)

    def difficulty(self, name: str) -> Any:
        """Return the difficulty with this name.

        Raises:
            LastmileError: The task has no such difficulty.
        """
        try:
            return self.difficulties[name]
        except KeyError:
            known = ", ".join(self.difficulties)
            raise LastmileError(
                f"unknown difficulty '{name}' of task '{self.name}': expected one of {known}"
            ) from None

    def world(self, seed: tuple[int, ...] | int, difficulty: str) -> W:
        """Make the world of a seed. It is the same on every machine, and no two tasks share one.

        Raises:
            LastmileError: The seed is negative or the difficulty is unknown.
        """
        parts = (seed,) if isinstance(seed, int) else tuple(seed)
        if any(part < 0 for part in parts):
            raise LastmileError(f"seed {seed} is out of range: expected integers of at least 0")
        return self.make_world(generator(parts, self.name, "world"), self.difficulty(difficulty))


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun for a status bar, such as "1 marker" or "2 markers"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def generator(seed: tuple[int, ...], task: str, purpose: str) -> np.random.Generator:
    """Return an independent random generator for each combination of seed, task and purpose."""
    name = hashlib.blake2b(f"{task}/{purpose}".encode(), digest_size=8).digest()
    return np.random.default_rng(
        np.random.SeedSequence([*seed, *np.frombuffer(name, "<u4").tolist()])
    )


def digest(world: object) -> str:
    """Return a short digest of a world's ground truth, the same on every machine.

    It covers all fields but those whose names begin with `image`. Floating-point values are rounded
    to a hundredth, so that the last bits, which differ between processors, do not matter.
    """
    code = hashlib.blake2b(digest_size=8)

    def feed(value: object) -> None:
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
        # Masks and label maps are large: their bytes are hashed as they are.
        elif isinstance(value, np.ndarray) and value.dtype.itemsize == 1:
            code.update(str(value.shape).encode())
            code.update(np.ascontiguousarray(value).tobytes())
        # Other integers are widened, because their default width differs between platforms.
        elif isinstance(value, np.ndarray):
            code.update(str(value.shape).encode())
            code.update(np.ascontiguousarray(value).astype(np.int64).tobytes())
        elif isinstance(value, float):
            code.update(str(round(value * 100)).encode())
        else:
            code.update(repr(value).encode())

    feed(world)
    return code.hexdigest()
