"""Types and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from lastmile.errors import LastmileError, UnknownNameError

Command = TypeVar("Command", bound=Callable[..., Any])


class Names(click.Choice[str]):
    """A choice of names that are looked up when they are needed, not when the module is imported.

    An unknown name is refused with the closest known one.
    """

    def __init__(self, what: str, look_up: Callable[[], Iterable[str]]) -> None:
        """Make a choice.

        Args:
            what: What the names are names of, in the singular.
            look_up: Returns the names.
        """
        # Not the base class's: it would look the names up.
        self.case_sensitive = True
        self.what = what
        self.look_up = look_up

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]  # looked up, not stored
        """The names."""
        return tuple(self.look_up())

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Return what is added to the message about a missing name."""
        return f"Choose from {', '.join(self.choices)}."

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message about an unknown name."""
        return str(UnknownNameError(self.what, str(value), self.choices))


class Difficulties(Names):
    """The names of difficulties.

    All tasks have `short` and `full`. What only some tasks have is accepted as well; the task
    refuses a difficulty that it does not have.
    """

    COMMON = ("short", "full")

    def __init__(self) -> None:
        super().__init__("difficulty", _difficulties)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the common names, without importing all tasks."""
        return f"[{'|'.join(self.COMMON)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a name; import all tasks only if it is not a common one."""
        return str(value) if value in self.COMMON else super().convert(value, param, ctx)


class Styles(Names):
    """The names of styles, and those of changed ones (see `lastmile.tasks.styles.get_style`)."""

    def __init__(self) -> None:
        super().__init__("style", _styles)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name of a style and its changes."""
        from lastmile.tasks.styles import check_style

        try:
            check_style(str(value))
        except LastmileError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Cores(click.ParamType[int]):
    """A number of cores, or `all`, which is as many as this process may use."""

    name = "cores"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show both forms."""
        return "[N|all]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of cores."""
        if value == "all":
            return usable_cores()
        try:
            cores = int(value)
        except ValueError:
            cores = 0
        if cores < 1:
            self.fail(f"expected 'all' or an integer of at least 1, got '{value}'", param, ctx)
        return cores


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _tasks() -> tuple[str, ...]:
    from lastmile.tasks import task_names

    return task_names()


def _tasks_or_all() -> tuple[str, ...]:
    return (*_tasks(), "all")


def _difficulties() -> list[str]:
    from lastmile.tasks import get_task

    names = [name for task in _tasks() for name in get_task(task).difficulties]
    return list(dict.fromkeys([*Difficulties.COMMON, *names]))


def _styles() -> tuple[str, ...]:
    from lastmile.tasks.styles import MIXED, STYLES

    return (*STYLES, MIXED)


def _real_tasks() -> tuple[str, ...]:
    from lastmile.tasks.real import real_tasks

    return real_tasks()


def _importing_tasks() -> tuple[str, ...]:
    from lastmile.tasks.importing import importing_tasks

    return importing_tasks()


def _players() -> tuple[str, ...]:
    from lastmile.evaluation.annotators import PLAYERS

    return PLAYERS


def _layouts() -> tuple[str, ...]:
    from lastmile.screen import LAYOUTS

    return tuple(LAYOUTS)


def _themes() -> tuple[str, ...]:
    from lastmile.screen import THEMES

    return tuple(THEMES)


def _kinds() -> tuple[str, ...]:
    from lastmile.tasks._template.create import KINDS

    return KINDS


def _sizes() -> tuple[str, ...]:
    from lastmile.config import SIZES

    # The published size is too large to be measured on the machines that `bench` is for.
    return tuple(size for size in SIZES if size != "paper")


TASK = Names("task", _tasks)
TASK_OR_ALL = Names("task", _tasks_or_all)
REAL_TASK = Names("task with real worlds", _real_tasks)
IMPORTING_TASK = Names("task that can import data", _importing_tasks)
DIFFICULTY = Difficulties()
STYLE = Styles()
PLAYER = Names("style", _players)
LAYOUT = Names("layout", _layouts)
THEME = Names("theme", _themes)
SIZE = Names("size", _sizes)
KIND = Names("kind of task", _kinds)

AT_LEAST_0 = click.IntRange(min=0)
AT_LEAST_1 = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)

FILE_IN = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE_OUT = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class TaskCommand(click.Command):
    """A command with an argument TASK; its help lists the tasks."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names of the tasks at the end of the help."""
        with formatter.section("Tasks"):
            formatter.write_text(", ".join(_tasks()))


def study_options(command: Command) -> Command:
    """Add the options that choose the settings of a study."""
    command = click.option(
        "--config",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Change a setting, such as seed=1, training.frames=50000 or 'tasks=[colored_dots]'; "
        "repeatable.",
    )(command)
    return click.option(
        "--configfile",
        "configfiles",
        metavar="FILE",
        type=FILE_IN,
        multiple=True,
        help="Settings that are laid over config.yaml, such as workflow/presets/smoke.yaml; "
        "repeatable.",
    )(command)


def difficulty_option(command: Command) -> Command:
    """Add the option `--difficulty`."""
    return click.option(
        "--difficulty", type=DIFFICULTY, default="short", help="Difficulty of the worlds."
    )(command)


def source_option(command: Command) -> Command:
    """Add the option `--source`."""
    return click.option(
        "--source",
        metavar="synthetic|real|FOLDER",
        default="synthetic",
        help="Where worlds come from: `real` data that `lastmile fetch real` fetched, or a folder "
        "that `lastmile import` made.",
    )(command)


def seed_option(command: Command) -> Command:
    """Add the option `--seed`."""
    return click.option("--seed", type=AT_LEAST_0, default=0, help="Seed of the worlds.")(command)


def json_option(command: Command) -> Command:
    """Add the option `--json`."""
    return click.option(
        "--json", "json_file", metavar="FILE", type=FILE_OUT, help="Also write the result here."
    )(command)
