"""A player without eyes: it clicks where annotators clicked after the same two widgets.

What it reaches, habit alone reaches: which button follows which, and where on the canvas things
usually are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from lastmile.tasks.task import generator

Episode = tuple[list[str], np.ndarray]
"""The widgets that an annotator hit, in order, and the clicks, (steps, 2) in logical px."""


class TrigramPlayer:
    """Draws its next click from those that followed the last two widgets in training episodes.

    Where these two never followed each other it goes by the last one, then by none. It cannot see,
    and it remembers no more than that.

    Args:
        task: Name of the task.
        seed: Seed of the clicks.
        episodes: The training episodes; at least one click.
    """

    def __init__(self, task: str, seed: int, episodes: Iterable[Episode]) -> None:
        self._rng = generator((seed,), task, "trigram player")
        followed: dict[tuple[str, ...], list[np.ndarray]] = defaultdict(list)
        for widgets, clicks in episodes:
            before = ["", "", *widgets]
            for k, click in enumerate(clicks):
                for length in range(3):
                    followed[tuple(before[k + 2 - length : k + 2])].append(click)
        self._followed = {context: np.array(clicks) for context, clicks in followed.items()}
        self.reset()

    def reset(self) -> None:
        """Forget the last two widgets."""
        self._last = ("", "")

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        """Return a click that depends on the last two widgets, and not on the screen."""
        if info["step"]:
            self._last = (self._last[1], info["widget"])
        contexts = (self._last, self._last[1:], ())
        clicks = next(self._followed[known] for known in contexts if known in self._followed)
        x, y = clicks[self._rng.integers(len(clicks))].tolist()
        return int(x), int(y)
