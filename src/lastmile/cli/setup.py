"""Commands about the command line and the settings: `schema`, `completion`."""

from __future__ import annotations

from pathlib import Path

import click

from lastmile.cli.options import FILE_OUT

COMPLETIONS = {
    "bash": ("~/.bashrc", 'eval "$(_LASTMILE_COMPLETE=bash_source lastmile)"'),
    "zsh": ("~/.zshrc", 'eval "$(_LASTMILE_COMPLETE=zsh_source lastmile)"'),
    "fish": ("~/.config/fish/config.fish", "_LASTMILE_COMPLETE=fish_source lastmile | source"),
}
"""For each shell, its start-up file and the line that turns completion on."""


@click.command()
@click.option("--out", metavar="FILE", type=FILE_OUT, help="Write the schema here, not print it.")
def schema(out: Path | None) -> None:
    """Print the JSON schema of the settings."""
    from lastmile.config import schema as settings_schema

    if out is None:
        click.echo(settings_schema(), nl=False)
        return

    from lastmile.storage import files

    files.write_text(out, settings_schema())


@click.command()
@click.argument("shell", type=click.Choice(list(COMPLETIONS)))
def completion(shell: str) -> None:
    """Print the line that completes commands and options in SHELL.

    For example: lastmile completion bash >> ~/.bashrc
    """
    start_up_file, line = COMPLETIONS[shell]
    click.echo(f"# Completion of lastmile. This line goes into {start_up_file}.")
    click.echo(line)
