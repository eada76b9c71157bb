"""The annotation tasks: each folder here that defines `TASK` is one. No list names them."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.tasks.task import Task

__all__ = ["Task", "get_task", "task_names"]


@cache
def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, sorted: the folders beside this file with a `world.py`.

    Folders that begin with an underscore are none.
    """
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("[!_]*/world.py")))


@cache
def get_task(name: str) -> Task[Any, Any, Any]:
    """Return the task with this name.

    Raises:
        UnknownNameError: No task has this name.
        LastmileError: The task's `name` differs from the name of its folder.
    """
    if name not in task_names():
        raise UnknownNameError("task", name, task_names())

    task: Task[Any, Any, Any] = importlib.import_module(f"lastmile.tasks.{name}").TASK
    if task.name != name:
        raise LastmileError(
            f"the task in folder '{name}' is named '{task.name}': "
            f"give the folder and the class attribute `name` the same name"
        )
    return task
