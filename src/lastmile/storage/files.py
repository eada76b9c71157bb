"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = socket.gethostname().replace(".", "-")


def _umask() -> int:
    """Return the umask of this process, which the system only tells when it is set."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


MODE = 0o666 & ~_umask()
"""Permissions of any new file. Read once, at import, since other threads see the umask change."""


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place, synced to disk, when the block ends without an error.

    On an error (a full disk, an interrupt) the temporary file is removed and `path` stays as it was. What a process left here that was killed
    on this machine is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(HOST)}.*.part"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not alive(int(process)):
            left.unlink(missing_ok=True)
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.chmod(temporary, MODE)  # safetensors creates files that only their owner can read
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk: a file that was moved into place is there after a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some file systems have no such call for folders
            raise
    finally:
        os.close(handle)


def alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_text(path: str | Path, content: str) -> None:
    """Write a text file whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
