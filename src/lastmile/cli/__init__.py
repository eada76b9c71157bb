"""The command line: `lastmile VERB ...`, for people, and `lastmile stage NAME ...`, for rules.

Commands import what they need when they run, so that `lastmile --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

import lastmile
from lastmile.cli.datasets import fetch, import_
from lastmile.cli.exports import export
from lastmile.cli.performance import bench, rates, sizes, speedrun
from lastmile.cli.policies import evaluate, from_inspect, leaderboard
from lastmile.cli.setup import completion, schema
from lastmile.cli.study import clean, figures, fingerprint, plan, run, status, verify, why
from lastmile.cli.tasks import check, new_task, watch
from lastmile.cli.training import finetune
from lastmile.cli.view import view
from lastmile.cli.web import play, recordings
from lastmile.cli.workflow import stage
from lastmile.errors import LastmileError
from lastmile.extras import needed_for

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Commands": (
        run,
        status,
        plan,
        why,
        verify,
        clean,
        watch,
        view,
        play,
        recordings,
        check,
        fetch,
        import_,
        finetune,
        evaluate,
        from_inspect,
        leaderboard,
        export,
        bench,
        sizes,
        speedrun,
        rates,
        figures,
        schema,
        fingerprint,
        new_task,
        completion,
    ),
    "Commands for the rules of the workflow": (stage,),
}
"""The commands, by the section of the help they are in."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""


class SectionedGroup(click.Group):
    """A group whose help lists its commands by section."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section."""
        width = max(map(len, self.commands))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                limit = formatter.width - width - 6
                rows = [
                    ((command.name or "").ljust(width), command.get_short_help_str(limit))
                    for command in commands
                ]
                formatter.write_dl(rows)


@click.group(
    cls=SectionedGroup,
    invoke_without_command=True,
    context_settings={"show_default": True, "max_content_width": 100},
)
@click.version_option(lastmile.__version__, prog_name="lastmile")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Teach models to annotate scientific data the way people do, click by click."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _commands in SECTIONS.values():
    for _command in _commands:
        group.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    This is the only place that turns errors into messages. An error that a user can mend is one
    message without a traceback.

    Args:
        arguments: The words after `lastmile`; by default those of the command line.

    Returns:
        The exit code: 0; 1 after an error; 2 if the command line was wrong; 130 after Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with needed_for(" ".join(["lastmile", *words[:1]])):
            code = group.main(words, prog_name="lastmile", standalone_mode=False)
        # Output that waits in the buffer must not fail after this function, out of its reach.
        sys.stdout.flush()
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
            click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
        click.echo(f"error: {error.format_message()}", err=True)
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to resume", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit: let it write into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LastmileError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        return 1
    return code if isinstance(code, int) else 0
