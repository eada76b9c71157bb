"""One player for all: annotators, policies, environments and replays click through a `Session`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, NamedTuple

from lastmile.screen import Hit, Look, Screen
from lastmile.tasks.task import Interface, Mistake, S, Score, State, Task, W

DEFAULT_LOOK = Look()


class Step(NamedTuple):
    """One click of a session.

    Attributes:
        before: The state before the click.
        click: Where it was, (x, y) in logical px.
        hit: What it hit.
        after: The state after it.
    """

    before: State
    click: tuple[int, int]
    hit: Hit
    after: State


class Session(Generic[W, S]):
    """Work on one world of one task, click by click.

    Attributes:
        task: The task.
        world: The world to annotate.
        look: Layout and theme of the interface.
        interface: The task's interface to the world.
        state: The current state.
        steps: The steps so far.
    """

    def __init__(
        self, task: Task[W, S, Any], world: W, look: Look = DEFAULT_LOOK, state: S | None = None
    ) -> None:
        """Start at the beginning, or in a given state."""
        self.task = task
        self.world = world
        self.look = look
        self.interface: Interface[W, S] = task.interface(world)
        self.state = self.interface.start() if state is None else state
        self.steps: list[Step] = []

    @property
    def done(self) -> bool:
        """Whether `Done` was pressed."""
        return self.state.done

    @property
    def score(self) -> Score:
        """The score of the current state."""
        return self.task.score(self.world, self.state)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes in the current state."""
        return self.task.mistakes(self.world, self.state)

    @property
    def states(self) -> list[State]:
        """All states so far: the one before the first step, then the one after each step."""
        first = self.steps[0].before if self.steps else self.state
        return [first, *(step.after for step in self.steps)]

    def screen(self) -> Screen:
        """Return the current screen. Cheap: only `lastmile.screen.draw` makes pixels of it."""
        return self.interface.screen(self.state, self.look)

    def click(self, x: float, y: float) -> Step:
        """Click at a logical pixel of the screen. A click that hits nothing changes nothing.

        Raises:
            LastmileError: The click is outside the screen.
        """
        before = self.state
        hit = self.interface.hit(before, x, y, self.look)
        self.state = self.interface.apply(before, hit)
        step = Step(before, (int(x), int(y)), hit, self.state)
        self.steps.append(step)
        return step

    def play(self, clicks: Iterable[tuple[int, int]]) -> Iterator[Step]:
        """Make the clicks one after the other and yield each step."""
        for x, y in clicks:
            yield self.click(x, y)

    def verdict(self, step: Step) -> str:
        """Return the verdict on the annotation that a step made; empty if it made none."""
        return verdict(self.task, self.world, step.before, step.after)


def verdict(task: Task[W, Any, Any], world: W, before: State, after: State) -> str:
    """Return what `Task.judge` says of the annotation between two states; empty without one."""
    if len(after.edits) <= len(before.edits):
        return ""
    return task.judge(world, before.edits, after.edits[-1])
