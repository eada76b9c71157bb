"""The command `view`."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from lastmile.cli.options import (
    FILE_OUT,
    POSITIVE,
    STYLE,
    TaskCommand,
    difficulty_option,
    seed_option,
    source_option,
)
from lastmile.cli.tasks import warn_of_other_task

_RECORDING = ".parquet"
_OF_TASKS = ("style", "difficulty", "seed", "source")  # options that say nothing about a recording


@click.command(cls=TaskCommand)
@click.argument("targets", nargs=-1, required=True, metavar="TASK|all|RECORDING.parquet ...")
@click.option(
    "--out", metavar="FILE", type=FILE_OUT, default="viewer.html", help="HTML file to write."
)
@click.option(
    "--policy",
    metavar="NAME|FOLDER",
    help="Policy that predicts every step: `joint`, which comes with the package, a task for the "
    "released policy that does it, or a folder.  [default: that of --play, if any]",
)
@click.option("--play", metavar="NAME|FOLDER", help="Policy that plays the same worlds.")
@click.option("--alone", is_flag=True, help="Show what --play does, without the annotator.")
@click.option("--temperature", type=POSITIVE, default=0.4, help="Sampling temperature of --play.")
@click.option(
    "--episodes",
    metavar="NUMBERS",
    help="Which episodes, such as 0,3,5 or 0-9.  [default: the first 10; 1 of each with `all`]",
)
@click.option("--style", type=STYLE, default="typical", help="Style of the annotator.")
@difficulty_option
@source_option
@seed_option
@click.pass_context
def view(
    ctx: click.Context,
    targets: tuple[str, ...],
    out: Path,
    policy: str | None,
    play: str | None,
    alone: bool,
    temperature: float,
    episodes: str | None,
    style: str,
    difficulty: str,
    source: str,
    seed: int,
) -> None:
    """Write a page that shows episodes step by step.

    It is one HTML file that needs neither a server nor a network. A TASK is recorded anew, by the
    virtual annotator on worlds of the test split.
    """
    from lastmile.released import policy_folder
    from lastmile.simulation.source import Source
    from lastmile.tasks.real import tasks_with
    from lastmile.viewer.build import view as write_page

    if alone and play is None:
        raise click.UsageError("--alone needs --play: there is nothing else to show")
    predictor, player = (None if p is None else policy_folder(p) for p in (policy, play))
    if all(target.endswith(_RECORDING) for target in targets):
        for name in _OF_TASKS:
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{name} is for tasks; a recording has its own")
    if episodes is None and "all" in targets:
        episodes = "0"

    sources: list[Source | Path] = []
    for target in targets:
        if target.endswith(_RECORDING):
            sources.append(Path(target))
        else:
            names = tasks_with(source) if target == "all" else (target,)
            sources += [
                Source(name, "test", seed, difficulty, style, worlds=source) for name in names
            ]

    def warn(task: str) -> None:
        for folder in dict.fromkeys((predictor, player)):
            if folder is not None:
                warn_of_other_task(folder, task)

    written = write_page(
        sources,
        out,
        policy=predictor,
        play=player,
        alone=alone,
        temperature=temperature,
        episodes=episodes,
        on_task=warn,
    )
    click.echo(
        f"{out}: {written.episodes} episodes, {written.steps} steps, "
        f"{out.stat().st_size / 1e6:.1f} MB"
    )
