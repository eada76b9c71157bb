"""`lastmile stage NAME` and `lastmile fingerprint`: derived from the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lastmile.pipeline.stages import get_stage, stage_names


class StageGroup(click.Group):
    """One command per stage; the module of a stage is imported when its command is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(stage_names())

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return _stage_command(name) if name in stage_names() else None


def _stage_command(name: str) -> click.Command:
    from lastmile.pipeline.runner import run_stage

    stage = get_stage(name)
    text = (getattr(stage, "__doc__", "") or "").strip()
    fields = [
        f"  {key}: {_type(field.annotation)}"
        + ("" if field.is_required() else f" (default {field.default!r})")
        for key, field in stage.Spec.model_fields.items()
    ]
    keys = "\b\nKeys of --spec:\n" + "\n".join(fields)

    def call(**options: Any) -> None:
        run_stage(name, **options)

    options: list[click.Parameter] = [
        click.Option(["--spec"], required=True, metavar="JSON", help="What to do."),
        click.Option(
            ["--results"],
            required=True,
            type=click.Path(path_type=Path),
            help="Folder of the study's results; inputs and outputs are below it.",
        ),
        click.Option(["--code"], help="Code that the job was planned with; other code is refused."),
    ]
    return click.Command(
        name, params=options, callback=call, help=text, epilog=keys, short_help=text.split("\n")[0]
    )


def _type(annotation: Any) -> str:
    return (
        getattr(annotation, "__name__", str(annotation))
        if not hasattr(annotation, "__args__")
        else str(annotation)
    )


def stage_group() -> click.Group:
    """Return the command group `lastmile stage`."""
    return StageGroup(
        "stage",
        help="Run one job of a stage by hand, as the rules of the workflow do.",
        short_help="Run one job of a stage.",
    )


def print_fingerprint(stage: str, tasks: tuple[str, ...], studies: tuple[str, ...] = ()) -> None:
    """Print the fingerprint of a stage and every file that it covers.

    Raises:
        UnknownNameError: There is no such stage.
    """
    from lastmile.provenance.fingerprints import code_files, code_label, code_packages

    get_stage(stage)
    part = "figure" if stage == "figure" else "study"
    parts = [f"tasks.{task}" for task in tasks] + [f"studies.{name}.{part}" for name in studies]
    label = code_label(f"pipeline.stages.{stage}", tuple(parts))
    click.echo(label)
    for path, digest in code_files(label).items():
        click.echo(f"  {digest}  {path}")
    for name, number in code_packages(label).items():
        click.echo(f"  {number:<32}  package {name}")
