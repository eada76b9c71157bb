"""Styles of annotators: how thoroughly they work, how often they err, and how they notice it.

Noticing is a chance per step (a hazard), not a date drawn in advance: asked again in the same state
with other random numbers, an annotator may act differently. How often it does not is the annotator
self-agreement, the ceiling of a policy's accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.tasks.task import Mistake, State

if TYPE_CHECKING:
    from lastmile.tasks.annotator import Annotator


class StyleError(LastmileError):
    """The name of a style that cannot be; the message says what was expected."""


Noticed = frozenset[Hashable]
"""The mistakes that an annotator has noticed, by `Annotator.key`."""
Noticing = Callable[["Annotator[Any, Any]", State, tuple[Mistake, ...]], Noticed]
"""A strategy of noticing: maps an annotator, a state and the mistakes in it to the mistakes that
the annotator is aware of."""


@dataclass(frozen=True, slots=True)
class NoticeByChance:
    """Notice mistakes as people do: with some probability at every step that shows them.

    The probabilities p are for a mistake that is plain to see. With a visibility of v (see
    `Annotator.visibility`) they are p ** (1 / v). Some mistakes are taken for right, and stay.

    Attributes:
        at_once: Probability to notice a mistake right after making it.
        later: Probability at each later step with the mistake in view.
        checking: Probability at each step of the verification with the mistake in view.
        overlooked: Factor on the share of mistakes in a task that are never noticed.
    """

    at_once: float
    later: float
    checking: float
    overlooked: float = 0.0

    def __call__(
        self, annotator: Annotator[Any, Any], state: State, mistakes: tuple[Mistake, ...]
    ) -> Noticed:
        """Return the mistakes that the annotator knew already, and those it notices now."""
        # What is no longer a mistake is forgotten.
        noticed = annotator.noticed & {annotator.key(state, mistake) for mistake in mistakes}
        if len(noticed) == len(mistakes):
            return noticed

        before = annotator.edits
        newest = len(state.edits) - 1
        added = before is not None and state.edits != before and len(state.edits) > len(before)

        for mistake in mistakes:
            key = annotator.key(state, mistake)
            if key in noticed or not annotator.visible(state, mistake):
                continue
            visibility = annotator.visibility(state, mistake)
            if key not in annotator.looked_at:
                annotator.looked_at |= {key}
                taken_for_right = mistake.kind in ("slip", "confusion")  # a lapse spoils the work
                share = self.overlooked * annotator.task.overlooked
                if taken_for_right and annotator.rng.random() < share:
                    annotator.overlooked |= {key}
            if key in annotator.overlooked:
                continue
            if added and mistake.edit == newest:
                chance = self.at_once
            else:
                chance = self.checking if annotator.phase == "verify" else self.later
            if annotator.rng.random() < chance ** (1 / visibility):
                noticed |= {key}
        return noticed


def notice_everything(
    annotator: Annotator[Any, Any], state: State, mistakes: tuple[Mistake, ...]
) -> Noticed:
    """Notice every mistake at once, in view or not."""
    return frozenset(annotator.key(state, mistake) for mistake in mistakes)


def notice_nothing(
    annotator: Annotator[Any, Any], state: State, mistakes: tuple[Mistake, ...]
) -> Noticed:
    """Never notice a mistake."""
    return frozenset()


@dataclass(frozen=True, slots=True)
class Style:
    """How a person works.

    Attributes:
        name: The name of the style.
        explore: How thoroughly they look around before they annotate, from 0 to 1.
        verify: How thoroughly they check their work at the end, from 0 to 1.
        mistakes: Factor on the mistake rate of the task.
        noticing: How they become aware of mistakes.
        jitter: Standard deviation of most placements around their target, logical px.
        mistake_rate: Mistake rate in every task; None for the rate of the task times `mistakes`.
        explores: Whether they look around before they annotate at all.
        verifies: Whether they check their work at the end at all.
    """

    name: str
    explore: float
    verify: float
    mistakes: float
    noticing: Noticing
    jitter: float
    mistake_rate: float | None = None
    explores: bool = True
    verifies: bool = True


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("careful", 1.0, 1.0, 0.5, NoticeByChance(0.85, 0.6, 0.98, 0.5), jitter=0.7),
        Style("typical", 0.6, 0.6, 1.0, NoticeByChance(0.75, 0.5, 0.95, 1.0), jitter=1.0),
        Style("hasty", 0.2, 0.2, 1.7, NoticeByChance(0.6, 0.35, 0.9, 2.0), jitter=1.4),
        Style("oracle", 0.6, 0.6, 0.0, notice_everything, jitter=0.7),
    )
}
"""Styles by name. `oracle` makes no mistakes and notices every one."""


MIXED = "mixed"
"""Stands for three people: each episode is by one of `MIXTURE`."""
MIXTURE = ("careful", "typical", "hasty")
MOST_MISTAKES = 0.5
"""Largest mistake rate that a style can be given."""

MODIFIERS: dict[str, Callable[[Style], Style]] = {
    "uncorrected": lambda style: replace(style, noticing=notice_nothing),
    "noticed_at_once": lambda style: replace(style, noticing=NoticeByChance(1.0, 1.0, 1.0)),
    "noticed_late": lambda style: replace(style, noticing=NoticeByChance(0.0, 0.0, 0.95)),
    "unexplored": lambda style: replace(style, explores=False),
    "unverified": lambda style: replace(style, verifies=False),
}
"""What can be changed in a style, by name.

Mistakes are never corrected; noticed as soon as they are seen; noticed in the final check alone; no
looking around at first; no check at the end.
"""


def get_style(name: str) -> Style:
    """Return the style with this name.

    Args:
        name: One of `STYLES`; changes may follow, each after a `+`: one of `MODIFIERS`, or
            `mistakes=RATE` for a mistake rate that is the same in every task. An example is
            `typical+mistakes=0.2+uncorrected`.

    Raises:
        UnknownNameError: There is no such style or change.
        StyleError: A mistake rate is impossible.
    """
    base, *changes = name.split("+")
    if base not in STYLES:
        raise UnknownNameError("style", base, STYLES)
    style = STYLES[base]
    for change in changes:
        key, _, value = change.partition("=")
        if key == "mistakes":
            style = replace(style, mistake_rate=_rate(value, name))
        elif change in MODIFIERS:
            style = MODIFIERS[change](style)
        else:
            raise UnknownNameError("change of a style", change, (*MODIFIERS, "mistakes=RATE"))
    return replace(style, name=name)


def _rate(text: str, name: str) -> float:
    """Return a mistake rate from the name of a style."""
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= MOST_MISTAKES:  # also what is not a number
        raise StyleError(
            f"style '{name}': expected a mistake rate from 0 to {MOST_MISTAKES}, got '{text}'"
        )
    return rate


def check_style(name: str) -> None:
    """Raise the error of `get_style` unless this is `MIXED` or the name of a style."""
    if name != MIXED:
        get_style(name)
