"""What a player is, and how one works on a world. Nothing here depends on policies of ours."""

from __future__ import annotations

import operator
from typing import Any, Protocol

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH
from lastmile.simulation.pool import Rollout
from lastmile.tasks.task import generator


class Player(Protocol):
    """What `evaluate` takes as a policy: any callable from a screen to a click.

    If it also has a method `reset()`, that is called at the start of every episode. A player that
    remembers earlier screens forgets them there.
    """

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        """Return the next click.

        Args:
            observation: The screen, (126, 168, 3) uint8, shrunk to 3/8 of its size.
            info: What else a person would know: `task`; `step`, the number of clicks so far, and
                `max_steps`; `click`, the last click (x, y), or None; `widget` and `kind`, what it
                hit, empty before the first click. Nothing in it comes from the ground truth.

        Returns:
            The click (x, y) in logical px, 0 <= x < 448 and 0 <= y < 336.
        """


class RandomPlayer:
    """Clicks anywhere on the screen; what luck alone reaches."""

    def __init__(self, task: str, seed: int) -> None:
        self._rng = generator((seed,), task, "random player")

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        """Return a click that does not depend on the screen."""
        return int(self._rng.integers(WIDTH)), int(self._rng.integers(HEIGHT))


def play(player: Player, rollout: Rollout) -> None:
    """Let a player play a rollout to its end.

    Raises:
        LastmileError: A click is no pair of integers, or outside the screen.
    """
    begin(player)
    while not rollout.over:
        rollout.click(*ask(player, rollout))


def begin(player: Player) -> None:
    """Tell a player that an episode begins."""
    if hasattr(player, "reset"):
        player.reset()


def ask(player: Player, rollout: Rollout) -> tuple[int, int]:
    """Return what a player clicks next.

    Raises:
        LastmileError: It is no pair of integers.
    """
    last = rollout.steps[-1] if rollout.steps else None
    info = {
        "task": rollout.task.name,
        "max_steps": rollout.max_steps,
        "click": None if last is None else last.click,
        "widget": "" if last is None else last.hit.widget,
        "kind": "" if last is None else last.hit.kind,
        "step": len(rollout.steps),
    }
    return _pixel(player(rollout.observe(), info))


def _pixel(answer: Any) -> tuple[int, int]:
    """Return a click as two integers: what is recorded must be what was clicked."""
    try:
        x, y = answer
        return operator.index(x), operator.index(y)
    except (TypeError, ValueError):
        raise LastmileError(
            f"click: expected two integers (x, y) in logical px, got {answer!r}"
        ) from None
