"""The trainings that the studies need and what is measured of them: one list for all, so that nothing is trained twice.

A study names its runs by what they are (`single`, `joint`, `finetuned`, ...); the name is made of all that tells a run from the default one, so that equal
runs have equal names and studies share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lastmile.config import PolicySettings, Settings, task_list
from lastmile.errors import LastmileError


@dataclass(frozen=True)
class Run:
    """One training for each seed.

    tasks: of the mixture. policy: settings of the policy. frames: seen in training. episodes: the first so many of each task's. start: the run
    whose policy it starts from, of the same seed, or none.
    """

    name: str
    tasks: tuple[str, ...]
    policy: PolicySettings
    frames: int
    episodes: int
    start: Run | None = None


class Need(NamedTuple):
    """A table of measurements (skills, losses, closed_loop, recovery, probes, probe_transfer, speed) of a run on a task; TOGETHER: on all its tasks."""

    table: str
    run: Run
    task: str


TOGETHER = "together"


def make(
    settings: Settings,
    tasks: tuple[str, ...],
    frames: int,
    episodes: int | None = None,
    start: Run | None = None,
    **policy: str,
) -> Run:
    """A run, with its name. policy: what differs from `settings.policy`. Without `episodes`: all there are."""
    everything = task_list(settings)
    tasks = tuple(sorted(tasks))
    chosen = settings.policy.model_copy(update=policy)
    episodes = min(episodes or settings.episodes.train, settings.episodes.train)
    if len(tasks) == 1:
        parts = [tasks[0]]
    else:
        parts = [
            "all"
            if len(tasks) == len(everything)
            else "without-" + "-".join(sorted(set(everything) - set(tasks)))
        ]
    parts += [
        str(getattr(chosen, key))
        for key in type(chosen).model_fields
        if getattr(chosen, key) != getattr(settings.policy, key)
    ]
    if frames != settings.training.frames:
        parts.append(f"{frames // 1000}k" if frames % 1000 == 0 else str(frames))
    if episodes != settings.episodes.train:
        parts.append(f"{episodes}episodes")
    if start is not None:
        parts.append(f"from-{start.name}")
    return Run(".".join(parts), tasks, chosen, frames, episodes, start)


def single(settings: Settings, task: str) -> Run:
    """A policy for one task."""
    return make(settings, (task,), settings.training.frames)


def joint(settings: Settings, size: str | None = None, episodes: int | None = None) -> Run:
    """A policy for all tasks."""
    return make(
        settings,
        task_list(settings),
        settings.scaling.frames,
        episodes,
        size=size or settings.policy.size,
    )


def held_out(settings: Settings) -> list[tuple[str, ...]]:
    """The groups of tasks that are left out of a pretraining: those that are studied, if something is left to pretrain on."""
    studied = set(task_list(settings))
    groups = [
        tuple(task for task in group if task in studied) for group in settings.transfer.held_out
    ]
    return [group for group in groups if group and set(group) != studied]


def pretrained(settings: Settings, group: tuple[str, ...]) -> Run:
    """A policy for all tasks but those of a group."""
    return make(
        settings,
        tuple(task for task in task_list(settings) if task not in group),
        settings.scaling.frames,
    )


def finetuned(settings: Settings, task: str, group: tuple[str, ...]) -> Run:
    """A policy for one task of a group that starts from the one that never saw the group."""
    return make(
        settings,
        (task,),
        settings.transfer.frames,
        settings.transfer.episodes,
        pretrained(settings, group),
    )


def scratch(settings: Settings, task: str) -> Run:
    """A policy for one task with the frames and episodes of a fine-tuning, from nothing."""
    return make(settings, (task,), settings.transfer.frames, settings.transfer.episodes)


def with_starts(runs: list[Run]) -> dict[str, Run]:
    """Runs by name, each after the one that it starts from.

    Raises ValueError if one name stands for two runs.
    """
    found: dict[str, Run] = {}
    for run in runs:
        chain = [run]
        while chain[-1].start is not None:
            chain.append(chain[-1].start)
        for one in reversed(chain):
            if found.setdefault(one.name, one) != one:
                raise LastmileError(f"two different runs are called '{one.name}'")
    return found
