"""What people and agents are told of a task, from its docstring."""

from __future__ import annotations

import inspect
import re
from typing import Any

from lastmile.tasks import get_task

SECTIONS = ("What is seen", "What can be done", "When it ends", "How it is scored")
"""Sections of a task's docstring that say how it is done."""


def about(task: str) -> dict[str, Any]:
    """Return what is said of a task: `name`, `title`, a line `about` it, and a `guide`.

    The guide is how the task is done: pairs of a section's title and its text.
    """
    text = inspect.cleandoc(type(get_task(task)).__doc__ or "")
    sections = (
        (title, re.search(rf"^\*\*{title}\.\*\*(.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE))
        for title in SECTIONS
    )
    return {
        "name": task,
        "title": get_task(task).interface.title,
        "about": text.partition("\n")[0],
        "guide": [
            [title, " ".join(re.sub(r"[*`]", "", match[1]).split())]
            for title, match in sections
            if match
        ],
    }
