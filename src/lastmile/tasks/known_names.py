"""The names in settings, checked against the tasks, styles and looks that there are."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from lastmile.errors import LastmileError
from lastmile.screen import LAYOUTS, THEMES
from lastmile.tasks import get_task, task_names
from lastmile.tasks.real import is_imported, tasks_with
from lastmile.tasks.styles import check_style

if TYPE_CHECKING:
    from lastmile.config import Settings


def check_names(settings: Settings, source: str) -> None:
    """Check names that types do not know: tasks, difficulties, styles, layouts, themes.

    Args:
        settings: The settings.
        source: Where they come from, for error messages.

    Raises:
        LastmileError: Naming the key, the unknown name, the closest known one, and all of them.
    """

    def known(key: str, name: str, names: Any) -> None:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise LastmileError(
                f"{source}: setting '{key}': unknown '{name}'{hint} (known: {', '.join(names)})"
            )

    held_out = [task for group in settings.transfer.held_out for task in group]
    for key, tasks in (
        ("tasks", settings.tasks),
        ("transfer.held_out", held_out),
        ("heads.tasks", settings.heads.tasks),
        ("composition.tasks", settings.composition.tasks),
        ("repair.tasks", settings.repair.tasks),
        ("memory.tasks", settings.memory.tasks),
        ("layouts.tasks", settings.layouts.tasks),
    ):
        for task in tasks:
            known(key, task, task_names())
    if len(set(settings.tasks)) != len(settings.tasks):
        raise LastmileError(
            f"{source}: setting 'tasks': a task is named twice in {list(settings.tasks)}"
        )
    if len(set(held_out)) != len(held_out):
        raise LastmileError(
            f"{source}: setting 'transfer.held_out': a task is named twice in {held_out}"
        )
    try:
        check_style(settings.worlds.style)
    except LastmileError as error:
        raise LastmileError(f"{source}: setting 'worlds.style': {error}") from None
    for layout in settings.worlds.layouts:
        known("worlds.layouts", layout, LAYOUTS)
    for theme in settings.worlds.themes:
        known("worlds.themes", theme, THEMES)
    _check_worlds(settings, source)
    for task in settings.tasks or task_names():
        known("worlds.difficulty", settings.worlds.difficulty, get_task(task).difficulties)


def _check_worlds(settings: Settings, source: str) -> None:
    """Check that all tasks of a study have worlds of its source.

    Raises:
        LastmileError: There is no such source, or tasks have none; the message names them.
    """
    origin = settings.worlds.source
    try:
        having = tasks_with(origin)
    except LastmileError as error:
        raise LastmileError(f"{source}: setting 'worlds.source': {error}") from None
    without = [task for task in settings.tasks or task_names() if task not in having]
    if without:
        kind = "imported" if is_imported(origin) else origin
        raise LastmileError(
            f"{source}: setting 'worlds.source': no {kind} worlds of {', '.join(without)}; "
            f"expected 'tasks' to name some of {', '.join(having)}"
        )
