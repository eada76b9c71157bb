"""Where episodes come from: the seeds, worlds and looks of the recorded splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lastmile.config import SPLITS
from lastmile.errors import UnknownNameError
from lastmile.screen import Look
from lastmile.tasks import get_task
from lastmile.tasks.real import SYNTHETIC, real_world
from lastmile.tasks.styles import MIXED, MIXTURE
from lastmile.tasks.task import generator


@dataclass(frozen=True)
class Source:
    """Everything that, with an episode's number, determines a recorded episode.

    Attributes:
        task: Name of the task.
        split: One of `lastmile.config.SPLITS`.
        seed: Seed of the recording.
        difficulty: Name of one of the task's difficulties.
        style: Name of the annotator's style, with changes if any; or `mixed`.
        layouts: Layouts to draw from.
        themes: Themes to draw from.
        worlds: `synthetic`; `real`, made of real data; or the folder of imported worlds.
    """

    task: str
    split: str
    seed: int
    difficulty: str = "short"
    style: str = "typical"
    layouts: tuple[str, ...] = ("right",)
    themes: tuple[str, ...] = ("dark",)
    worlds: str = SYNTHETIC

    def values(self) -> dict[str, Any]:
        """Return the fields by name, as recordings keep them: `worlds` only if they are real."""
        return {k: v for k, v in self.__dict__.items() if k != "worlds" or v != SYNTHETIC}

    def key(self, episode: int) -> tuple[int, int, int]:
        """Return the seed of an episode; no two splits share one.

        Raises:
            UnknownNameError: There is no such split.
        """
        if self.split not in SPLITS:
            raise UnknownNameError("split", str(self.split), SPLITS)
        return self.seed, SPLITS.index(self.split), episode

    def generator(self, episode: int, purpose: str) -> np.random.Generator:
        """Return the random generator of an episode for one purpose."""
        return generator(self.key(episode), self.task, purpose)

    def world(self, episode: int) -> Any:
        """Make the world of an episode.

        Raises:
            LastmileError: The world is real, and the task has no real worlds, or their data are
                missing or damaged.
            UnknownNameError: There is no such split, or no such source of worlds.
        """
        key = self.key(episode)
        if self.worlds == SYNTHETIC:
            return get_task(self.task).world(key, self.difficulty)
        return real_world(self.task, key, self.split, self.difficulty, self.worlds)

    def style_of(self, episode: int) -> str:
        """Return the style of the annotator of an episode."""
        if self.style != MIXED:
            return self.style
        return str(self.generator(episode, "style").choice(MIXTURE))

    def look(self, episode: int) -> Look:
        """Draw the layout and theme of an episode."""
        rng = self.generator(episode, "look")
        return Look(str(rng.choice(self.layouts)), str(rng.choice(self.themes))).check()
