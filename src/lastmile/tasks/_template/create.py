"""Make a new task from a template."""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from pathlib import Path

from lastmile.errors import LastmileError, UnknownNameError

KINDS = ("place", "decide")
"""The templates: a task whose annotations are placed on the canvas, or decided with buttons."""

FILES = ("__init__.py", "annotator.py", "interface.py", "world.py")
"""What a task consists of."""

TASKS = Path(__file__).parents[1]
"""Folder of the tasks."""


def class_name(name: str) -> str:
    """Return the name of a task's class, and the stem of its other classes.

    >>> class_name("point_counting")
    'PointCounting'
    """
    return "".join(word.capitalize() for word in name.split("_"))


def title(name: str) -> str:
    """Return a task's title.

    >>> title("point_counting")
    'Point counting'
    """
    return name.replace("_", " ").capitalize()


def check_name(name: str, folder: Path = TASKS) -> None:
    """Check that a new task can have this name.

    Raises:
        LastmileError: The name is not in snake case, is reserved, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise LastmileError(
            f"cannot name a task '{name}': expected snake case, such as point_counting "
            "(lower-case letters, digits and single underscores, starting with a letter)"
        )
    if (folder / name).exists():
        raise LastmileError(f"task '{name}' already exists in {folder / name}; choose another name")
    # `lastmile.tasks.task` and `lastmile.tasks.annotator` are modules.
    if (TASKS / f"{name}.py").exists():
        raise LastmileError(f"cannot name a task '{name}': lastmile.tasks.{name} is a module")


def create_task(name: str, kind: str = "place", folder: Path = TASKS) -> list[Path]:
    """Make a new task: copy a template and rename it.

    Args:
        name: Name of the task, in snake case.
        kind: One of `KINDS`.
        folder: Folder of the tasks. A task is registered by being in the package.

    Returns:
        The files of the new task.

    Raises:
        LastmileError: A task cannot have this name, or there is no such template.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of task", kind, KINDS)
    check_name(name, folder)

    template = f"template_{kind}"
    renames = (
        (f"lastmile.tasks._template.{kind}", f"lastmile.tasks.{name}"),
        (class_name(template), class_name(name)),
        (template, name),
        (title(template), title(name)),
        (title(template).lower(), title(name).lower()),
    )
    paths = []
    for file in FILES:
        text = (TASKS / "_template" / kind / file).read_text(encoding="utf-8")
        for old, new in renames:
            text = text.replace(old, new)
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    _tidy(paths)
    return paths


def _tidy(paths: list[Path]) -> None:
    """Sort and wrap by the new name, with ruff where it is installed; the code works as it is."""
    for command in (["check", "--quiet", "--fix", "--select", "I"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *paths], stderr=subprocess.DEVNULL)
