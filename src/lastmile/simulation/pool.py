"""Episodes played side by side, for the evaluation of policies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import Look, draw_small
from lastmile.simulation.session import Session
from lastmile.tasks import get_task
from lastmile.tasks.task import State


class Rollout(Session[Any, Any]):
    """A session with its place in a queue and a limit.

    Attributes:
        number: Place in the queue.
        max_steps: Clicks after which the episode is cut off.
    """

    def __init__(
        self,
        number: int,
        task: str,
        world: Any,
        look: Look,
        max_steps: int,
        state: State | None = None,
    ) -> None:
        super().__init__(get_task(task), world, look, state)
        self.number = number
        self.max_steps = max_steps

    @property
    def over(self) -> bool:
        """Whether the episode is finished or cut off."""
        return self.done or len(self.steps) >= self.max_steps

    def observe(self) -> np.ndarray:
        """The small screen, (126, 168, 3) uint8."""
        return draw_small(self.screen())


class Pool:
    """Up to `size` episodes at a time, refilled from a queue. What becomes of an episode depends on neither the size nor its neighbors."""

    def __init__(self, rollouts: Iterable[Rollout], size: int) -> None:
        if size < 1:
            raise LastmileError(f"size: expected at least 1, got {size}")
        self._queue = iter(rollouts)
        self.rows: list[Rollout | None] = [None] * size

    def refill(self) -> list[int]:
        """Put waiting episodes into the free rows; the rows that hold a new episode now."""
        new = []
        for row, rollout in enumerate(self.rows):
            if rollout is None:
                following = next(self._queue, None)
                if following is not None:
                    self.rows[row] = following
                    new.append(row)
        return new

    def active(self) -> list[int]:
        """Rows that hold an episode."""
        return [row for row, rollout in enumerate(self.rows) if rollout is not None]

    def collect(self) -> list[Rollout]:
        """Take out the episodes that are over."""
        finished = []
        for row, rollout in enumerate(self.rows):
            if rollout is not None and rollout.over:
                finished.append(rollout)
                self.rows[row] = None
        return finished
