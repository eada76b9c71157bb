"""Import data of one's own, to make real worlds of them.

A task with real worlds whose folder has a file `importing.py` can import. That file provides

- `convert(images, tracks, diameter, out)`: read images and annotations, check them, and write what
  `real.read` reads into the folder `out`; it returns `Converted`, or raises a `DataError` with a
  line for each thing that is missing or wrong.
- `part(data, split)`: which part of the data a split has, in words.
- `size(world)`: how large a world is, in words.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from lastmile.config import SPLITS
from lastmile.datasets.cache import DataError
from lastmile.datasets.imported import Imported, write_about
from lastmile.errors import LastmileError, UnknownNameError
from lastmile.tasks import get_task, task_names
from lastmile.tasks.real import read_imported, real_tasks, real_world

TRIED = 10
"""Worlds of each split and difficulty that are made to see whether the data suffice."""
PATIENCE = 2
"""Worlds that cannot be made, one after the other, after which there are none."""


class Converted(NamedTuple):
    """What a task says about data that it converted.

    Attributes:
        annotations: Format that the annotations had.
        changes: What was done to the images, in words.
        summary: How much there is, in words.
    """

    annotations: str
    changes: str
    summary: str


@cache
def importing_tasks() -> tuple[str, ...]:
    """Return the names of the tasks that can import data, sorted."""
    folder = Path(__file__).parent
    return tuple(name for name in real_tasks() if (folder / name / "importing.py").is_file())


def import_data(
    task: str,
    images: Path,
    worlds: Path,
    tracks: Path | None = None,
    diameter: float | None = None,
    licence: str = "",
    credits: str = "",
) -> list[str]:
    """Import images with annotations into a folder of worlds.

    Nothing is left of an import that fails.

    Args:
        task: Name of a task that can import.
        images: Folder of the images.
        worlds: Folder of the worlds; it gets a folder of the task.
        tracks: File or folder of the annotations; by default they are looked for beside the images.
        diameter: Diameter of a typical object, px; by default images are not resized.
        licence: Licence of the data.
        credits: Who made the data.

    Returns:
        What was made: a line about the data, and a line about the worlds of each split.

    Raises:
        UnknownNameError: There is no such task.
        DataError: The data cannot be used, a line for each reason; or the folder holds data of the
            task already.
        LastmileError: The task cannot import data.
    """
    importer = _module(task)
    target = worlds / task
    if target.exists():
        raise DataError(f"{target}: there already; expected a new folder, or remove this one")
    partial = worlds / f".{task}-importing"
    shutil.rmtree(partial, ignore_errors=True)  # of an import that was killed
    (partial / task).mkdir(parents=True)
    try:
        converted = importer.convert(images, tracks, diameter, partial / task)
        members = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((partial / task).iterdir())
        }
        about = Imported(
            task=task,
            annotations=converted.annotations,
            images=images.resolve().name,
            changes=converted.changes,
            licence=licence,
            credits=credits,
            members=members,
        )
        write_about(partial, about)
        lines = _splits(importer, task, partial)
        (partial / task).rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [f"{target}: {converted.summary}; images: {converted.changes}", *lines]


def _module(task: str) -> ModuleType:
    if task not in task_names():
        raise UnknownNameError("task", task, task_names())
    if task not in importing_tasks():
        raise LastmileError(
            f"task '{task}' cannot import data yet (tasks that can: {', '.join(importing_tasks())})"
        )
    return importlib.import_module(f"lastmile.tasks.{task}.importing")


def _splits(importer: ModuleType, task: str, worlds: Path) -> list[str]:
    """Make some worlds of each split, and say how many came of it.

    Raises:
        DataError: A split has no world; a line for each.
    """
    data = read_imported(task, worlds)
    lines, problems = [], []
    for split in SPLITS:
        where = importer.part(data, split)
        counts = []
        for difficulty in get_task(task).difficulties:
            sizes: list[str] = []
            reason = ""
            for number in range(TRIED):
                try:
                    key = (0, SPLITS.index(split), number)
                    world = real_world(task, key, split, difficulty, str(worlds))
                except DataError as error:
                    reason = str(error)
                    if not sizes and number + 1 == PATIENCE:
                        break
                else:
                    sizes.append(importer.size(world))
            if not sizes:
                problems.append(f"split '{split}' ({where}), {difficulty}: {reason}")
                continue
            ends = sorted(set(sizes), key=lambda words: (len(words), words))
            span = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
            counts.append(f"{len(sizes)} of {TRIED} {difficulty} worlds ({span})")
        lines.append(f"{split}: {where}, {', '.join(counts)}")
    if problems:
        raise DataError("\n".join(problems))
    return lines
