"""The annotation tasks. A task is one folder here that defines `TASK`; it registers by existing."""

from __future__ import annotations

import difflib
import importlib
from functools import cache, lru_cache
from pathlib import Path

from lastmile.errors import LastmileError
from lastmile.tasks.task import Task

__all__ = ["Task", "get_task", "task_names"]


@lru_cache(maxsize=1)
def task_names() -> tuple[str, ...]:
    """Names of all tasks, sorted: the folders beside this file that hold a `world.py`."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("[!_]*/world.py")))


@cache
def get_task(name: str) -> Task:
    """The task of that name.

    Raises ValueError naming the tasks that exist.
    """
    if name not in task_names():
        close = difflib.get_close_matches(name, task_names(), n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise LastmileError(f"unknown task '{name}'{hint} (known: {', '.join(task_names())})")
    task = importlib.import_module(f"lastmile.tasks.{name}").TASK
    if task.name != name:
        raise LastmileError(
            f"the task in folder '{name}' calls itself '{task.name}': both names must be the same"
        )
    return task
