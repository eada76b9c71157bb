"""Command about recordings: `export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from lastmile.cli.options import AT_LEAST_1, FILE_IN, FOLDER, Names


def _formats() -> Iterable[str]:
    from lastmile.exports import FORMATS

    return FORMATS


FORMAT = Names("format", _formats)


class ExportCommand(click.Command):
    """A command whose help lists the formats, with the tasks that each fits."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the formats at the end of the help."""
        from lastmile.exports import FORMATS

        with formatter.section("Formats"):
            formatter.write_dl(
                [
                    (name, f"{known.what} ({', '.join(filter(None, known.tasks)) or 'any task'})")
                    for name, known in FORMATS.items()
                ]
            )


@click.command(cls=ExportCommand)
@click.argument("recording", type=FILE_IN, metavar="RECORDING")
@click.option("--to", type=FORMAT, metavar="FORMAT", required=True, help="Format; listed below.")
@click.option("--out", metavar="FOLDER", type=FOLDER, required=True, help="Folder to make.")
@click.option(
    "--episodes",
    metavar="N",
    type=AT_LEAST_1,
    help="Export the first N episodes only.  [default: all]",
)
@click.option(
    "--screens",
    type=click.Choice(("small", "full")),
    help="Size of the screens for lerobot: 168 x 126 or 448 x 336 px.  [default: small]",
)
@click.option(
    "--skip-unfinished", is_flag=True, help="Leave out episodes in which Done was not pressed."
)
@click.option("--force", is_flag=True, help="Replace an earlier export in the same folder.")
def export(
    recording: Path,
    to: str,
    out: Path,
    episodes: int | None,
    screens: str | None,
    skip_unfinished: bool,
    force: bool,
) -> None:
    """Write RECORDING in the format of another tool.

    RECORDING is the Parquet file of the steps of an annotator, a person or a policy. The folder
    holds the files of the format and lastmile.json, which says what they are.
    """
    from lastmile.exports import export as export_recording

    count = export_recording(
        recording,
        to,
        out,
        episodes=episodes,
        screens=screens,
        skip_unfinished=skip_unfinished,
        force=force,
    )
    click.echo(f"{out}: {count} {'episode' if count == 1 else 'episodes'}")
