"""What a format is, and what it gets of an episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.simulation.session import Session

CANVAS = "logical px on the canvas, 256 x 256, from its upper left corner: x right, y down"
"""What coordinates mean in most formats."""

Details = dict[str, Any]
"""What the sidecar says of an episode, besides where it comes from: always its `files`."""


@dataclass(frozen=True)
class Episode:
    """An episode, played to its end.

    Attributes:
        number: Its place in the recording, from 0. Unlike the number of its world it is unique.
        seed: The seed of its world, as for `Task.world`.
        difficulty: The difficulty of its world.
        world: Digest of the ground truth of its world.
        session: The session at its last state, with all steps.
    """

    number: int
    seed: tuple[int, ...]
    difficulty: str
    world: str
    session: Session[Any, Any]

    @property
    def name(self) -> str:
        """What its files are called, without an ending."""
        return f"episode_{self.number:05d}"

    @property
    def edits(self) -> tuple[Any, ...]:
        """All annotations of the last state, oldest first, as its task defines them."""
        return self.session.state.edits

    def about(self) -> Details:
        """Return where the episode comes from, for headers and the sidecar."""
        task = self.session.task
        return {
            "task": task.name,
            "task_version": task.version,
            "difficulty": self.difficulty,
            "episode": self.number,
            "world_seed": list(self.seed),
            "world": self.world,
        }


class Format(NamedTuple):
    """A format of another tool.

    Attributes:
        what: What it is, in a few words.
        tasks: What coordinates mean, by the name of each task that it fits.
        write: Writes episodes to a folder that exists and is empty, and returns the details of
            each.
        for_learning: Whether it holds screens and clicks, of any task and of unfinished episodes
            too; `tasks` then has one entry, for "".
    """

    what: str
    tasks: Mapping[str, str]
    write: Callable[[Path, Iterable[Episode]], list[Details]]
    for_learning: bool = False

    def fits(self, task: str) -> bool:
        """Return whether a task can be exported to it."""
        return self.for_learning or task in self.tasks

    def coordinates(self, task: str) -> str:
        """Return what its coordinates mean for a task that it fits."""
        return self.tasks["" if self.for_learning else task]


def one_by_one(
    write: Callable[[Path, Episode], Details],
) -> Callable[[Path, Iterable[Episode]], list[Details]]:
    """Return the `Format.write` of a format that writes each episode by itself."""

    def write_all(folder: Path, episodes: Iterable[Episode]) -> list[Details]:
        return [write(folder, episode) for episode in episodes]

    return write_all
