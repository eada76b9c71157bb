"""Locks that the kernel holds for as long as a process lives, where the file system has them."""

from __future__ import annotations

import errno
import fcntl
from typing import IO

NONE_HERE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)
"""What file systems without locks answer; on clusters they are common."""


def take(handle: IO[str], wait: bool = False) -> bool | None:
    """Lock a file until it is closed, or its process ends.

    Args:
        handle: The file, open for writing.
        wait: Wait for another process that holds it.

    Returns:
        True if the lock is held now, False if another process holds it, None if the file system
        has no locks.

    Raises:
        OSError: For any other reason.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NONE_HERE:
            raise
        return None
    return True
