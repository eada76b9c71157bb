"""Commands for people at the screens: `play`, `recordings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lastmile.cli.options import (
    AT_LEAST_1,
    DIFFICULTY,
    FILE_OUT,
    FOLDER,
    LAYOUT,
    POSITIVE,
    TASK,
    THEME,
    TaskCommand,
    difficulty_option,
    seed_option,
    source_option,
)

if TYPE_CHECKING:
    from lastmile.simulation.people import Log


@click.command(cls=TaskCommand)
@click.argument("task", type=TASK, metavar="[TASK]", required=False)
@difficulty_option
@click.option("--layout", type=LAYOUT, default="right", help="Layout of the interface.")
@click.option("--theme", type=THEME, default="dark", help="Theme of the interface.")
@click.option(
    "--worlds", type=AT_LEAST_1, default=5, help="Worlds that count, for each task and person."
)
@seed_option
@source_option
@click.option(
    "--policy",
    metavar="PLAYER",
    help="Policy that works beside people, who may take over and hand back: `joint`, which comes "
    "with the package, a folder, or any other PLAYER of `lastmile evaluate`.",
)
@click.option("--temperature", type=POSITIVE, default=0.4, help="Sampling temperature of --policy.")
@click.option("--host", default="127.0.0.1", help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8710, help="Port; 0 for any that is free."
)
@click.option(
    "--folder",
    type=FOLDER,
    default=Path("recordings"),
    help="Where the recordings go, in a folder for each person.",
)
def play(
    task: str | None,
    difficulty: str,
    layout: str,
    theme: str,
    worlds: int,
    seed: int,
    source: str,
    policy: str | None,
    temperature: float,
    host: str,
    port: int,
    folder: Path,
) -> None:
    """Annotate in the browser, and record it.

    Prints an address to open. Every click is on the disk before the next screen is shown. Without
    TASK all tasks are offered.
    """
    from lastmile.screen import Look
    from lastmile.web.live import Helpers
    from lastmile.web.server import serve
    from lastmile.web.work import Settings

    tasks = (task,) if task else ()
    settings = Settings(folder, tasks, difficulty, Look(layout, theme), worlds, seed, source)

    def say(address: str) -> None:
        click.echo(f"Open {address}\nRecordings go to {folder}. Stop with Ctrl-C.")

    def open_helpers() -> Helpers:
        assert policy is not None
        return Helpers(policy, temperature, seed)

    try:
        serve(settings, host, port, say, None if policy is None else open_helpers)
    except KeyboardInterrupt:
        pass
    click.echo(f"Stopped. See: lastmile recordings list {folder}")


@click.group(context_settings={"show_default": True})
def recordings() -> None:
    """List, check and export recordings of people."""


@recordings.command("list")
@click.argument("folder", type=FOLDER)
def list_recordings(folder: Path) -> None:
    """List the recordings in FOLDER.

    World p0 is the first one for practice. Pauses of more than 30 s count as 30 s.
    """
    from lastmile.errors import LastmileError
    from lastmile.simulation import people

    click.echo(
        f"{'person':<16} {'task':<20} {'level':<6} {'world':>8} {'clicks':>7} {'time':>7}  ended"
    )
    for path in people.logs(folder):
        try:
            log = people.read(path)
        except LastmileError as error:
            click.echo(f"{path.parent.name:<16} {error}")
            continue
        opening = log.opening
        world = str(opening.episode)
        if opening.practice:
            world = f"p{opening.episode - people.PRACTICE}"
        click.echo(
            f"{opening.person:<16} {opening.task:<20} {opening.difficulty:<6} {world:>8} "
            f"{len(log.clicks):>7} {people.working_ms(log) / 1000:>5.0f} s  {log.ending or 'open'}"
            f"{_beside(log)}"
        )


def _beside(log: Log) -> str:
    """Return who worked beside the person, and how much; empty if nobody did."""
    count = sum(click.via == "policy" for click in log.clicks)
    return f", {count} clicks by {log.helper.policy}" if log.helper and count else ""


@recordings.command("check")
@click.argument("folder", type=FOLDER)
def check_recordings(folder: Path) -> int:
    """Replay the recordings in FOLDER.

    Every world must be the one that was worked on, and every screen the one that was clicked on.
    """
    from lastmile.errors import LastmileError
    from lastmile.simulation import people

    paths = people.logs(folder)
    bad = 0
    for path in paths:
        try:
            people.check(people.read(path))
        except LastmileError as error:
            bad += 1
            click.echo(str(error), err=True)
    click.echo(f"{folder}: {len(paths) - bad} of {len(paths)} recordings can be replayed")
    return 1 if bad else 0


@recordings.command("export")
@click.argument("folder", type=FOLDER)
@click.option("--task", type=TASK, help="Only this task.")
@click.option("--difficulty", type=DIFFICULTY, help="Only this difficulty.")
@click.option("--practice", is_flag=True, help="Also the worlds for practice.")
@click.option(
    "--out",
    metavar="FILE.parquet",
    type=FILE_OUT,
    required=True,
    help="File of the clicks; that of the episodes goes beside it.",
)
def export_recordings(
    folder: Path, task: str | None, difficulty: str | None, practice: bool, out: Path
) -> None:
    """Export the recordings in FOLDER as trajectories.

    A file holds one task at one difficulty. Finished and unfinished episodes are exported; their
    column `ended` tells them apart.
    """
    from lastmile.simulation import people
    from lastmile.simulation.people_trajectories import export

    logs = [
        log
        for log in map(people.read, people.logs(folder))
        if (task is None or log.opening.task == task)
        and (difficulty is None or log.opening.difficulty == difficulty)
        and (practice or not log.opening.practice)
    ]
    count = export(out, logs)
    click.echo(f"{out}: {count} episodes")
