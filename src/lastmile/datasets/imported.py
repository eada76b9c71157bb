"""Data of one's own, as `lastmile import` keeps them: a folder with a folder for each task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lastmile.closed import Closed
from lastmile.datasets.archives import members_digest
from lastmile.datasets.cache import ABOUT, DataError, check
from lastmile.errors import LastmileError
from lastmile.storage import files
from lastmile.storage.records import read_json

FORMAT: Literal["lastmile.imported/1"] = "lastmile.imported/1"


class Imported(Closed):
    """The file `SOURCE.json` beside imported data.

    Attributes:
        format: `FORMAT`.
        task: The task that the data are for.
        annotations: Format that the annotations had, such as `ctc`.
        images: Name of the folder that was imported; no path, so that equal data give equal files.
        changes: What was done to the images, in words.
        licence: Licence of the data, in the words of who imported them.
        credits: Who made the data, in the same words.
        members: Digest (SHA-256) of each file, by its name.
    """

    format: Literal["lastmile.imported/1"] = FORMAT
    task: str
    annotations: str
    images: str
    changes: str
    licence: str
    credits: str
    members: dict[Annotated[str, Field(pattern=r"^[\w.-]+$")], str]

    @property
    def name(self) -> str:
        """What error messages call the data."""
        return f"the imported data of {self.task}"

    @property
    def digest(self) -> str:
        """Digest of all files: the version of the data, as in manifests and worlds."""
        return members_digest(self.members)

    def files(self) -> Mapping[str, str]:
        """Return the digest of each file by its name."""
        return self.members


def imported_tasks(worlds: Path) -> tuple[str, ...]:
    """Return the names of the tasks whose data a folder of worlds holds, sorted."""
    return tuple(sorted(path.parent.name for path in worlds.glob(f"*/{ABOUT}")))


def read_about(worlds: Path, task: str) -> Imported:
    """Read what is known of the data of a task.

    Raises:
        DataError: The folder holds no data of the task, or `SOURCE.json` is damaged.
    """
    path = worlds / task / ABOUT
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected worlds that `lastmile import {task}` made")
    try:
        about = read_json(path, Imported, "a file that `lastmile import` wrote")
    except LastmileError as error:
        raise DataError(str(error)) from None
    if about.task != task:
        raise DataError(f"{path}: is of task '{about.task}', expected '{task}'")
    return about


def check_imported(worlds: Path, task: str) -> Imported:
    """Check that imported data are whole, and return what is known of them.

    Raises:
        DataError: A file is missing or damaged.
    """
    about = read_about(worlds, task)
    check(about, worlds / task)
    return about


def write_about(worlds: Path, about: Imported) -> None:
    """Write `SOURCE.json` beside the data of a task."""
    files.write_text(worlds / about.task / ABOUT, about.model_dump_json(indent=2) + "\n")
