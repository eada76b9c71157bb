"""Write folders whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lastmile.errors import LastmileError
from lastmile.storage import files

SIDECAR = "lastmile.json"
"""The file by which an export is known."""


@contextmanager
def writing(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Make a folder of what the block writes.

    When the block ends without an error, everything in the temporary folder is synced to disk, and
    the folder is renamed to `path`. On an error it is removed, and `path` is as it was. Leftovers
    of killed processes of this machine are removed first.

    Args:
        path: Folder to make; the folder it is in is made if it is missing.
        replace: Whether to replace an earlier export of this name.

    Yields:
        A temporary folder beside `path`, to be filled by the block.

    Raises:
        LastmileError: There is something of this name, and it is not to be replaced or no export.
    """
    path = Path(path).absolute()
    _check(path, replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)

    mine = f".{path.name}.{files.HOST}.{os.getpid()}"
    temporary = path.with_name(f"{mine}.part")
    try:
        temporary.mkdir()
        yield temporary
        for part in (temporary, *temporary.rglob("*")):
            if part.is_dir():
                files.sync_folder(part)
            else:
                with open(part, "rb") as handle:
                    os.fsync(handle.fileno())

        _check(path, replace)  # again: making it may have taken an hour
        if path.exists():
            # A folder cannot be renamed over another one.
            old = path.with_name(f"{mine}.old")
            os.rename(path, old)
            try:
                os.rename(temporary, path)
            except BaseException:
                os.rename(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
        files.sync_folder(path.parent)
    except BaseException:  # an interrupt leaves nothing behind either
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check(path: Path, replace: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        LastmileError: As in `writing`.
    """
    if not os.path.lexists(path):
        return
    if not replace:
        raise LastmileError(f"{path}: exists; name another folder, or replace it with --force")
    if path.is_symlink() or not (path / SIDECAR).is_file():
        raise LastmileError(
            f"{path}: is not replaced, as it is not an export (a folder with a file {SIDECAR})"
        )


def _remove_leftovers(path: Path) -> None:
    pattern = f".{glob.escape(path.name)}.{glob.escape(files.HOST)}.*.part"
    for leftover in path.parent.glob(pattern):
        process = leftover.name.split(".")[-2]
        if process.isdigit() and not files.alive(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)
