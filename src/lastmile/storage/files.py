"""Write files atomically: a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import glob
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lastmile.errors import LastmileError

HOST = socket.gethostname().replace(".", "-")
"""Name of this machine, without dots."""


def _umask() -> int:
    """Return the umask of this process, which the system only tells when it is set."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


MODE = 0o666 & ~_umask()
"""Permissions of any new file. Read once, at import, since other threads see the umask change."""


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Replace a file atomically by what the block writes.

    When the block ends without an error, the temporary file is synced to disk and renamed to
    `path`. On an error (a full disk, an interrupt) it is removed, and `path` keeps its content.
    Leftovers of killed processes of this machine are removed first.

    Args:
        path: File to write; its folder is made if it is missing.

    Yields:
        A temporary path in the same folder, to be written by the block.

    Raises:
        LastmileError: There is a folder or a device of this name.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        # Renaming over a device, such as /dev/null, would replace it.
        raise LastmileError(f"{path}: exists, and is no regular file; it is not replaced")
    path.parent.mkdir(parents=True, exist_ok=True)

    # The name carries host and process: on a shared file system, only this machine can tell
    # whether the writer is still alive.
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    pattern = f".{glob.escape(path.name)}.{glob.escape(HOST)}.*.part"
    for leftover in path.parent.glob(pattern):
        process = leftover.name.split(".")[-2]
        if process.isdigit() and not alive(int(process)):
            leftover.unlink(missing_ok=True)

    try:
        yield temporary
        # Without this, a loss of power could leave the new name with none of the content.
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.chmod(temporary, MODE)  # safetensors creates files that only their owner can read
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:  # an interrupt leaves nothing behind either
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, so that a renamed file survives a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot sync folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def alive(process: int) -> bool:
    """Return whether a process with this id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # It runs under another user, or the number is too large to tell: keep its files.
        pass
    return True


def write_text(path: str | Path, content: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with writing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
