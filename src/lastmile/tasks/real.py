"""Real worlds: which tasks have them, and how one is made.

A task whose folder has a file `real.py` has real worlds. That file provides

- `ARCHIVES`: the archives with the data (see `lastmile.datasets.archives`), at least one;
- `read(folder, ...)`: the data, as a value that worlds share, from the folders with the members of
  each archive, in that order;
- `make_world(data, rng, split, difficulty)`: a world of the task's own class, or of one derived
  from it, with the name of a difficulty. Worlds of different splits share no field, no span of time
  and no object. The world has an attribute `data`, the joint digest of the archives.

Where worlds come from is said in one word: `synthetic`, `real`, or the folder of imported worlds.
A task that can import data (see `lastmile.tasks.importing`) has an argument `digest` of `read`.

Importing the tasks reads no data: they are read when the first real world is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lastmile.datasets.archives import Archive, joint_digest
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


def is_imported(source: str) -> bool:
    """Return whether worlds come from a folder of imported ones."""
    return source not in (SYNTHETIC, REAL)


def tasks_with(source: str) -> tuple[str, ...]:
    """Return the names of the tasks that have worlds of a source, sorted.

    Raises:
        UnknownNameError: There is no such source.
        DataError: It looks like a folder, but there is none.
    """
    if source == SYNTHETIC:
        return task_names()
    if source == REAL:
        return real_tasks()

    from lastmile.datasets.imported import imported_tasks

    if Path(source).is_dir():
        return imported_tasks(Path(source))
    if "/" in source or "\\" in source:
        raise DataError(f"{source}: no such folder; expected worlds that `lastmile import` made")
    known = (SYNTHETIC, REAL, "FOLDER of `lastmile import`")
    raise UnknownNameError("source of worlds", source, known)


def check_source(source: str, *tasks: str) -> None:
    """Check that tasks have worlds of a source, without reading their data.

    Raises:
        UnknownNameError: There is no such source or task.
        LastmileError: A task has no such worlds.
    """
    having = tasks_with(source)
    for task in tasks:
        if source == REAL:
            check_real(task)
        elif is_imported(source) and task not in having:
            raise DataError(
                f"{source}: holds no worlds of task '{task}' "
                f"(it has: {', '.join(having) or 'none'}); make some with `lastmile import {task}`"
            )


def data_digest(source: str, tasks: Iterable[str]) -> str | None:
    """Return the digests of imported data of tasks, joined by commas; None for other sources.

    Raises:
        DataError: The folder holds no data of a task, or what it says about them is damaged.
    """
    if not is_imported(source):
        return None

    from lastmile.datasets.imported import read_about

    check_source(source, *tasks)
    return ",".join(read_about(Path(source), task).digest for task in tasks)


def archives_of(task: str) -> tuple[Archive, ...]:
    """Return the archives with the real data of a task, at least one.

    Raises:
        LastmileError: The task has no real worlds, or does not exist.
    """
    archives: tuple[Archive, ...] = _module(task).ARCHIVES
    return archives


def file_prefix(source: str, task: str) -> str:
    """Return what names of files begin with that keep worlds of different sources apart."""
    if source == SYNTHETIC:
        return ""
    return f"{data_digest(source, [task]) or source}-"


def data_facts(source: str, task: str) -> dict[str, str]:
    """Return what manifests say of the data of a task: package or folder, digest and licence.

    Raises:
        LastmileError: The task has no such data.
    """
    if is_imported(source):
        from lastmile.datasets.imported import read_about

        about = read_about(Path(source), task)
        return {"imported": about.images, "digest": about.digest, "licence": about.licence}
    archives = archives_of(task)
    return {
        "package": " ".join(archive.name for archive in archives),
        "digest": joint_digest(archives),
        "licence": " ".join(dict.fromkeys(archive.licence for archive in archives)),
    }


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


@lru_cache(maxsize=16)
def _imported_data(task: str, worlds: Path, digest: str) -> Any:
    """Read imported data, once for all worlds of this process and as long as they are the same."""
    from lastmile.datasets.imported import check_imported

    about = check_imported(worlds, task)
    return _module(task).read(worlds / task, digest=about.digest)


def read_imported(task: str, worlds: Path) -> Any:
    """Read the imported data of a task, once for all worlds of this process.

    Raises:
        DataError: The folder holds none, or they are damaged.
    """
    from lastmile.datasets.imported import read_about

    return _imported_data(task, worlds.resolve(), read_about(worlds, task).digest)


def real_world(
    task: str, seed: tuple[int, ...], split: str, difficulty: str, source: str = REAL
) -> Any:
    """Make the real world of a seed: the same on every machine that has the data.

    Args:
        task: Name of a task that has real worlds.
        seed: Seed of the world, integers of at least 0.
        split: One of `lastmile.config.SPLITS`.
        difficulty: Name of one of the task's difficulties.
        source: `real`, or the folder of imported worlds.

    Raises:
        DataError: The data are not there, or damaged; the message says how to fetch them.
        LastmileError: The task has no real worlds, or a name or the seed is wrong.
    """
    check_source(source, task)
    module = _module(task)
    get_task(task).difficulty(difficulty)
    if any(part < 0 for part in seed):
        raise LastmileError(f"seed {seed} is out of range: expected integers of at least 0")
    rng = generator(seed, task, "real world")
    if is_imported(source):
        data = read_imported(task, Path(source))
    else:
        data = _data(task, tuple(data_folder(archive) for archive in archives_of(task)))
    return module.make_world(data, rng, split, difficulty)
