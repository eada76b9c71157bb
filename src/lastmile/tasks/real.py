"""Real worlds: which tasks have them, and how one is made.

A task whose folder has a file `real.py` has real worlds. That file provides

- `ARCHIVES`: the archives with the data (see `lastmile.datasets.archives`), at least one;
- `read(folder, ...)`: the data, as a value that worlds share, from the folders with the members of
  each archive, in that order;
- `make_world(data, rng, split, difficulty)`: a world of the task's own class, or of one derived
  from it, with the name of a difficulty. Worlds of different splits share no field, no span of time
  and no object. The world has an attribute `data`, the joint digest of the archives.

Importing the tasks reads no data: they are read when the first real world is made.
"""

from __future__ import annotations

import importlib
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lastmile.datasets.archives import Archive
from lastmile.datasets.cache import DataError, check, data_folder
from lastmile.errors import LastmileError, UnknownNameError
from lastmile.tasks import get_task, task_names
from lastmile.tasks.task import generator

SYNTHETIC = "synthetic"
REAL = "real"


@cache
def real_tasks() -> tuple[str, ...]:
    """Return the names of the tasks that have real worlds, sorted."""
    folder = Path(__file__).parent
    return tuple(name for name in task_names() if (folder / name / "real.py").is_file())


def check_real(task: str) -> None:
    """Check that a task has real worlds.

    Raises:
        UnknownNameError: There is no such task.
        LastmileError: It has none; the message names the tasks that have some.
    """
    if task not in task_names():
        raise UnknownNameError("task", task, task_names())
    if task not in real_tasks():
        raise LastmileError(
            f"task '{task}' has no real worlds yet (tasks that have: {', '.join(real_tasks())})"
        )


def archives_of(task: str) -> tuple[Archive, ...]:
    """Return the archives with the real data of a task, at least one.

    Raises:
        LastmileError: The task has no real worlds, or does not exist.
    """
    archives: tuple[Archive, ...] = _module(task).ARCHIVES
    return archives


def _module(task: str) -> ModuleType:
    check_real(task)
    return importlib.import_module(f"lastmile.tasks.{task}.real")


@lru_cache(maxsize=16)
def _data(task: str, folders: tuple[Path, ...]) -> Any:
    """Read the data of a task, once for all worlds of this process."""
    for archive, folder in zip(archives_of(task), folders):
        try:
            check(archive, folder)
        except DataError as error:
            raise DataError(f"{error}; run: lastmile fetch real {task}") from None
    return _module(task).read(*folders)


def real_world(task: str, seed: tuple[int, ...], split: str, difficulty: str) -> Any:
    """Make the real world of a seed: the same on every machine that has the data.

    Args:
        task: Name of a task that has real worlds.
        seed: Seed of the world, integers of at least 0.
        split: One of `lastmile.config.SPLITS`.
        difficulty: Name of one of the task's difficulties.

    Raises:
        DataError: The data are not there, or damaged; the message says how to fetch them.
        LastmileError: The task has no real worlds, or a name or the seed is wrong.
    """
    module = _module(task)
    get_task(task).difficulty(difficulty)
    if any(part < 0 for part in seed):
        raise LastmileError(f"seed {seed} is out of range: expected integers of at least 0")
    rng = generator(seed, task, "real world")
    data = _data(task, tuple(data_folder(archive) for archive in archives_of(task)))
    return module.make_world(data, rng, split, difficulty)
