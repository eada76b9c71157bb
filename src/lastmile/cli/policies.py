"""Commands about players: `evaluate`, `from-inspect`, `leaderboard`; and a part of `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lastmile
from lastmile.cli.options import (
    AT_LEAST_1,
    FILE_IN,
    FILE_OUT,
    FOLDER,
    LAYOUT,
    POSITIVE,
    THEME,
    difficulty_option,
    seed_option,
    source_option,
)
from lastmile.errors import LastmileError, UnknownNameError

if TYPE_CHECKING:
    from lastmile.evaluation.leaderboard import Summary


class Tasks(click.ParamType[tuple[str, ...]]):
    """Names of tasks, with commas between them, or `all`."""

    name = "tasks"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, each once, in the order in which they are given."""
        from lastmile.tasks import task_names

        if value == "all":
            return task_names()
        names = tuple(dict.fromkeys(str(value).split(",")))
        for name in names:
            if name not in task_names():
                self.fail(str(UnknownNameError("task", name, (*task_names(), "all"))), param, ctx)
        return names


@click.command()
@click.argument("player")
@click.option(
    "--tasks", type=Tasks(), metavar="all|A,B", default="all", help="Tasks, with commas between."
)
@click.option("--worlds", type=AT_LEAST_1, default=20, help="Worlds of each task.")
@difficulty_option
@seed_option
@source_option
@click.option(
    "--split",
    type=click.Choice(("train", "validation", "test")),
    default="test",
    help="Split of the worlds.",
)
@click.option("--layout", type=LAYOUT, default="right", help="Layout of the interface.")
@click.option("--theme", type=THEME, default="dark", help="Theme of the interface.")
@click.option(
    "--temperature", type=POSITIVE, default=0.4, help="Sampling temperature of a policy of ours."
)
@click.option(
    "--timeout", type=POSITIVE, default=60.0, help="Seconds that a process may take for a click."
)
@click.option("--name", help="Name of the player in tables.  [default: PLAYER]")
@click.option("--out", metavar="FILE", type=FILE_OUT, help="File to write, .json.")
def evaluate(
    player: str,
    tasks: tuple[str, ...],
    worlds: int,
    difficulty: str,
    seed: int,
    source: str,
    split: Any,
    layout: str,
    theme: str,
    temperature: float,
    timeout: float,
    name: str | None,
    out: Path | None,
) -> None:
    """Score any player on held-out worlds.

    PLAYER is the name of a policy that comes with the package (joint), a task for the released
    policy that does it, the folder of a policy, MODULE:FACTORY (FACTORY(task) or FACTORY() returns
    a player), "pipe:COMMAND" (a process that answers JSON lines with clicks), scripted
    (hand-written solvers), trigram (habit without eyes), or random.
    """
    if out is not None:
        _expect_json(out)
    from lastmile.evaluation import results_file
    from lastmile.evaluation.leaderboard import ALL, summaries, summarize
    from lastmile.tasks import task_names
    from lastmile.tasks.real import SYNTHETIC, tasks_with

    conditions = results_file.Conditions(
        split=split,
        difficulty=difficulty,
        seed=seed,
        worlds=worlds,
        layout=layout,
        theme=theme,
        source=source,
    )
    if source != SYNTHETIC and tasks == task_names():
        tasks = tasks_with(source)  # all that have such worlds
    results = results_file.evaluate(
        player,
        tasks,
        conditions,
        package=lastmile.__version__,
        name=name or "",
        temperature=temperature,
        timeout=timeout,
        progress=lambda result: click.echo(f"{result.task}: {_line(summarize(result.episodes))}"),
    )
    if len(tasks) > 1:
        click.echo(f"{len(tasks)} tasks: {_line(summaries(results)[ALL])}")
    if out is not None:
        results_file.write(out, results)
        click.echo(str(out))


@click.command()
@click.argument("logs", type=FILE_IN, nargs=-1, required=True, metavar="LOG...")
@click.option("--name", help="Name of the player in tables.  [default: model and what it saw]")
@click.option("--out", metavar="FILE", type=FILE_OUT, required=True, help="File to write, .json.")
def from_inspect(logs: tuple[Path, ...], name: str | None, out: Path) -> None:
    """Make the file of an evaluation from logs of Inspect.

    Each LOG is what `inspect eval lastmile/TASK` wrote for one task, all of the same model. The
    file is one that `lastmile verify` and `lastmile leaderboard` take.
    """
    _expect_json(out)
    from lastmile.agents.logs import results as results_of
    from lastmile.evaluation import results_file
    from lastmile.evaluation.leaderboard import summarize

    results = results_of(logs, name or "")
    for result in results.tasks:
        click.echo(f"{result.task}: {_line(summarize(result.episodes))}")
    results_file.write(out, results)
    click.echo(str(out))


def _expect_json(out: Path) -> None:
    if out.suffix != ".json":
        raise LastmileError(f"{out}: expected a file that ends in .json")


def _line(numbers: Summary) -> str:
    return (
        f"success {numbers.success}, score {numbers.score}, "
        f"mistakes per placement {numbers.mistakes.value:.3f}, {numbers.steps:.1f} steps, "
        f"{numbers.episodes} episodes"
    )


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--out", metavar="FILE", type=FILE_OUT, help="File to write, .md or .csv.")
def leaderboard(folder: Path, out: Path | None) -> None:
    """Make a table of evaluations, each checked by replay.

    It takes the .json files in FOLDER that `lastmile evaluate` wrote. Without a file the table is
    printed. An evaluation whose clicks do not give its scores is named and left out.
    """
    from lastmile.evaluation.leaderboard import as_csv, as_markdown, collect
    from lastmile.storage import files

    formats = {".md": as_markdown, ".csv": as_csv}
    if out is not None and out.suffix not in formats:
        raise LastmileError(f"{out}: expected a file that ends in .md or .csv")

    problems: list[str] = []
    entries = collect(folder, problems.append)
    for problem in problems:
        click.echo(problem, err=True)
    if entries:
        text = formats[out.suffix if out else ".md"](entries)
        if out is None:
            click.echo(text, nl=False)
        else:
            files.write_text(out, text)
            click.echo(str(out))
    if problems:
        raise LastmileError(
            f"{folder}: left out {len(problems)} of {len(entries) + len(problems)} files"
        )


def verify_evaluation(path: Path) -> None:
    """Replay the clicks of an evaluation.

    Raises:
        LastmileError: It is no evaluation, or a score does not come out the same.
    """
    from lastmile.evaluation.results_file import read, replay

    results = read(path)
    problems = replay(results)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise LastmileError(f"{path}: {len(problems)} problems")
    count = sum(len(result.episodes) for result in results.tasks)
    click.echo(f"{path}: the clicks of {count} episodes give the scores in it")
