"""Reference pages made from the code when the documentation is built: settings and command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lastmile.config import Settings

ROOT = Path(__file__).parents[1]


def write(folder: Path) -> None:
    """Write all reference pages."""
    folder.mkdir(exist_ok=True)
    write_if_changed(folder / "settings.md", settings_page())
    write_if_changed(folder / "command_line.md", command_line_page())


def write_if_changed(path: Path, content: str) -> None:
    """Write a page unless it has this content already, so that Sphinx reads only what changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")


def settings_page() -> str:
    """Return the page of all settings, with their values in `config.yaml`."""
    desk = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    lines = [
        "# Settings",
        "",
        "Every key of `config.yaml` and of the presets. The values are those of `config.yaml`, the",
        "preset `desk`. How to change them: [Change settings](../howto/change_settings.md).",
    ]
    plain, sections = [], []
    for key, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections.append((key, field.annotation))
        else:
            plain.append((key, field))

    lines += ["", "## Top level", "", *_table(plain, desk)]
    for key, model in sections:
        purpose = (model.__doc__ or "").splitlines()[0]
        lines += ["", f"## `{key}`", "", purpose, ""]
        lines += _table(list(model.model_fields.items()), desk.get(key, {}))
    return "\n".join(lines) + "\n"


def _table(fields: list[tuple[str, FieldInfo]], values: dict[str, Any]) -> list[str]:
    rows = []
    for key, field in fields:
        value = json.dumps(values.get(key, field.get_default(call_default_factory=True)))
        rows.append(f"| `{key}` | `{value}` | {field.description or ''} |")
    return ["| key | value | meaning |", "| --- | --- | --- |", *rows]


def root_command() -> click.Group:
    """Return the command `lastmile`."""
    from lastmile.cli import group

    return group


def verbs(group: click.Group, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every verb of a group with its full name, such as `stage record`."""
    context = click.Context(group, info_name="lastmile")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield " ".join((*prefix, name)), command
        if isinstance(command, click.Group):
            yield from verbs(command, (*prefix, name))


def command_line_page() -> str:
    """Return the page with the help of every verb."""
    root = click.Context(root_command(), info_name="lastmile")
    lines = [
        "# Command line",
        "",
        "What `lastmile VERB --help` prints. `python -m lastmile` is the same command.",
    ]
    for name, command in verbs(root_command()):
        context = click.Context(command, info_name=name, parent=root)
        lines += ["", f"## `lastmile {name}`", "", "```text", command.get_help(context), "```"]
    return "\n".join(lines) + "\n"
