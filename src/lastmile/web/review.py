"""What was missed, is misplaced or wrong at the end of an episode, and where on the screen.

Wrong annotations are those that the task finds wrong; each is where it was clicked. What is missed
is what the virtual annotator would still do: asked to go on, it repairs what is wrong and adds what
is left out, and what it adds is compared with what is there. So every task has a review, without a
line of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lastmile.screen import Screen
from lastmile.simulation.annotating import work_on
from lastmile.simulation.people import screen_digest
from lastmile.simulation.session import Session, Step
from lastmile.tasks.task import RIGHT, State

STYLE = "oracle"
"""Style of the annotator that goes on: it makes no mistakes and notices all."""
LONGEST = 1000
"""Its clicks, at most: if it needs more, what it would do after them stays unmarked."""
SAME = 8.0
"""Annotations of one view that are this close, in logical px, are of the same thing."""
NEAR = 30.0
"""A wrong annotation this close to something missed, in logical px, is meant for it."""

MISSED, MISPLACED, WRONG = "missed", "misplaced", "wrong"


class Mark(NamedTuple):
    """A mark over a screen; all coordinates are logical px.

    Attributes:
        kind: `missed`, nothing is annotated here; `misplaced`, an annotation that belongs to a
            place nearby; or `wrong`, an annotation that belongs to nothing nearby.
        x: To the right.
        y: Down.
        to_x: Where a misplaced annotation belongs; else as `x`.
        to_y: Where a misplaced annotation belongs; else as `y`.
    """

    kind: str
    x: int
    y: int
    to_x: int
    to_y: int


class View(NamedTuple):
    """A view of the data, with its marks.

    Attributes:
        screen: What is to be seen.
        marks: The marks over it.
    """

    screen: Screen
    marks: tuple[Mark, ...]


class _Placed(NamedTuple):
    """Where an annotation was made: in which view, and at which pixel.

    Attributes:
        view: Digest of the image; empty for a button, which is in all views.
        x: Logical px to the right.
        y: Logical px down.
        step: The click that made it.
    """

    view: str
    x: int
    y: int
    step: Step

    def distance(self, other: _Placed) -> float:
        """Return the distance in logical px; infinite between views."""
        if self.view != other.view:
            return math.inf
        return math.hypot(self.x - other.x, self.y - other.y)


def review(session: Session[Any, Any], rng: np.random.Generator) -> list[View]:
    """Return the views in which something is missed or wrong, the last screen first.

    Args:
        session: The episode.
        rng: The source of randomness of the annotator that goes on.

    Returns:
        The last screen, whether it has marks or not, and the other views in the order in which the
        annotator would come to them. A view in which the person has been is shown as they saw it
        last, another one without annotations.
    """
    images = _Images(session)
    own = _placed(session, images)
    done = replace(session.state, done=False)
    further = _go_on(session, done, rng)
    todo = _placed(further, images)

    bad = [mistake.edit for mistake in session.mistakes if mistake.edit is not None]
    wrong = [own[number] for number in bad if number in own]
    right = [
        placed for number, placed in own.items() if number not in bad and _is_right(session, number)
    ]
    missed = [
        placed for placed in todo.values() if all(placed.distance(other) > SAME for other in right)
    ]

    marks: dict[str, list[Mark]] = {}
    for kind, placed, target in _matched(wrong, missed):
        mark = Mark(kind, placed.x, placed.y, target.x, target.y)
        marks.setdefault(placed.view, []).append(mark)

    last = images.digest(session.state)
    on_last = [*marks.pop(last, []), *marks.pop("", [])]
    views = [View(session.screen(), tuple(on_last))]
    steps = {placed.view: placed.step for placed in (*wrong, *missed)}
    for view, of_view in marks.items():
        views.append(View(_screen(session, images, view, steps[view]), tuple(of_view)))
    return views


class _Images:
    """Tells views apart by their images."""

    def __init__(self, session: Session[Any, Any]) -> None:
        self._interface = session.interface
        self._digests: dict[int, str] = {}
        self._kept: list[object] = []  # arrays and states, so that no identity is used twice

    def digest(self, state: State) -> str:
        """Return a digest of the image that a state shows."""
        if id(state) not in self._digests:
            image = self._interface.image(state)
            if id(image) not in self._digests:
                self._digests[id(image)] = screen_digest(np.ascontiguousarray(image))
                self._kept.append(image)
            self._digests[id(state)] = self._digests[id(image)]
            self._kept.append(state)
        return self._digests[id(state)]


def _go_on(session: Session[Any, Any], state: State, rng: np.random.Generator) -> Session[Any, Any]:
    """Let the annotator go on from a state until it is done."""
    further: Session[Any, Any] = Session(session.task, session.world, session.look, state)
    work_on(further, STYLE, rng, LONGEST)
    return further


def _placed(session: Session[Any, Any], images: _Images) -> dict[int, _Placed]:
    """Return where the annotations that the steps of a session left were made, by their number."""
    made: dict[int, Step] = {}
    for step in session.steps:
        if len(step.after.edits) > len(step.before.edits):
            made[len(step.before.edits)] = step
    placed = {}
    for number, step in made.items():
        if number < len(session.state.edits):
            view = images.digest(step.before) if step.hit.widget == "canvas" else ""
            placed[number] = _Placed(view, *step.click, step)
    return placed


def _is_right(session: Session[Any, Any], number: int) -> bool:
    edits = session.state.edits
    return session.task.judge(session.world, edits[:number], edits[number]) == RIGHT


def _matched(
    wrong: Sequence[_Placed], missed: Sequence[_Placed]
) -> list[tuple[str, _Placed, _Placed]]:
    """Pair what is wrong with what is missed nearby, the nearest first; with kind and target."""
    pairs = sorted(
        ((a.distance(b), i, j) for i, a in enumerate(wrong) for j, b in enumerate(missed)),
    )
    meant: dict[int, int] = {}
    for distance, i, j in pairs:
        if distance <= NEAR and i not in meant and j not in meant.values():
            meant[i] = j
    matched = [
        (MISPLACED, placed, missed[meant[i]]) if i in meant else (WRONG, placed, placed)
        for i, placed in enumerate(wrong)
    ]
    left = [placed for j, placed in enumerate(missed) if j not in meant.values()]
    return [*matched, *((MISSED, placed, placed) for placed in left)]


def _screen(session: Session[Any, Any], images: _Images, view: str, step: Step) -> Screen:
    """Return the screen of a view: as it was seen last or, if it never was, without marks."""
    for state in reversed(session.states):
        if images.digest(state) == view:
            return session.interface.screen(state, session.look)
    other = session.interface.screen(step.before, session.look)
    return replace(session.screen(), image=other.image, status=other.status, marks=tuple)
