"""Locks that the kernel holds for as long as a process lives, where the file system has them."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO

NONE_HERE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)
"""What file systems without locks answer; on clusters they are common."""


def take(handle: IO[str], wait: bool = False, shared: bool = False) -> bool | None:
    """Lock a file until it is closed, or its process ends.

    Args:
        handle: The file, open for writing, or for reading if the lock is shared.
        wait: Wait for another process that holds it.
        shared: Hold it together with others who share it.

    Returns:
        True if the lock is held now, False if another process holds it, None if the file system
        has no locks.

    Raises:
        OSError: For any other reason.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NONE_HERE:
            raise
        return None
    return True


def is_held(path: Path, otherwise: bool) -> bool:
    """Return whether a process holds the lock of a file; without the file, none does.

    Args:
        path: The file, opened for reading only: a look changes nothing.
        otherwise: The answer where that cannot be told.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            return take(handle, shared=True) is False
    except FileNotFoundError:
        return False
    except OSError:
        return otherwise
