"""Rollouts: episodes played by a policy, many side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import Look, draw_small
from lastmile.screen.widgets import KINDS
from lastmile.simulation.session import Session
from lastmile.tasks import get_task
from lastmile.tasks.task import RIGHT, State


class Rollout(Session[Any, Any]):
    """A session with a number and a limit on its clicks.

    Attributes:
        number: Number of the rollout; its random numbers are seeded by it.
        max_steps: Clicks after which the episode is truncated.
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
        """Start at the beginning, or in a given state."""
        super().__init__(get_task(task), world, look, state)
        self.number = number
        self.max_steps = max_steps

    @property
    def over(self) -> bool:
        """Whether the episode is finished or truncated."""
        return self.done or len(self.steps) >= self.max_steps

    def observe(self) -> np.ndarray:
        """Draw the small screen, (126, 168, 3) uint8."""
        return draw_small(self.screen())


def describe(rollout: Rollout) -> dict[str, float]:
    """Summarize a rollout in numbers.

    Returns:
        `episode` (its number), `score`, `success`, `finished`, `steps`, `coverage`, the number of
        clicks of each kind, `placements`, how many of them are `mistakes`, and how many mistakes
        are `left` at the end.
    """
    score = rollout.score
    counts = Counter(step.hit.kind for step in rollout.steps)
    verdicts = [verdict for verdict in map(rollout.verdict, rollout.steps) if verdict]
    return {
        "episode": rollout.number,
        "score": score.score,
        "success": score.success,
        "finished": rollout.done,
        "steps": len(rollout.steps),
        "coverage": score.details.get("coverage", score.score),
        **{kind: counts[kind] for kind in KINDS},
        "placements": len(verdicts),
        "mistakes": sum(verdict != RIGHT for verdict in verdicts),
        "left": len(rollout.mistakes),
    }


class Pool:
    """Hold up to `size` rollouts at a time, and refill free rows from a queue.

    Attributes:
        rows: The rollout in each row, or None in a free row.
    """

    def __init__(self, rollouts: Iterable[Rollout], size: int) -> None:
        """Queue the rollouts.

        Raises:
            LastmileError: `size` is below 1.
        """
        if size < 1:
            raise LastmileError(f"size: expected at least 1, got {size}")
        self._queue = iter(rollouts)
        self.rows: list[Rollout | None] = [None] * size

    def __getitem__(self, row: int) -> Rollout:
        """Return the rollout in a row.

        Raises:
            LookupError: The row is free.
        """
        rollout = self.rows[row]
        if rollout is None:
            raise LookupError(f"row {row} holds no rollout")
        return rollout

    def refill(self) -> list[int]:
        """Move rollouts from the queue into the free rows, and return the rows that changed."""
        changed = []
        for row, rollout in enumerate(self.rows):
            if rollout is None:
                following = next(self._queue, None)
                if following is not None:
                    self.rows[row] = following
                    changed.append(row)
        return changed

    def active(self) -> list[int]:
        """Return the rows that hold a rollout."""
        return [row for row, rollout in enumerate(self.rows) if rollout is not None]

    def collect(self) -> list[Rollout]:
        """Take out and return the rollouts that are over."""
        finished = []
        for row, rollout in enumerate(self.rows):
            if rollout is not None and rollout.over:
                finished.append(rollout)
                self.rows[row] = None
        return finished
