"""The processes of a training run: which one this is, and which one may work in a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lastmile.storage import locks


def rank() -> int:
    """Return the number of this process within its training run.

    Lightning starts one process per device and numbers them in an environment variable. Number 0
    keeps and writes everything.
    """
    return int(os.environ.get("LOCAL_RANK", 0))


def say(line: str) -> None:
    """Write a line to the log, once per training run."""
    if rank() == 0:
        print(line, file=sys.stderr, flush=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, so that no other training works in it at the same time.

    Waits for a training that does. The lock ends with its process, however that ends.
    """
    if rank():
        yield  # process 0 of this training run holds the lock
        return
    with open(folder / ".lock", "w") as handle:
        held = locks.take(handle)
        if held is None:
            say(f"{folder}: this file system has no locks; do not start this training twice")
        elif not held:
            say(f"{folder}: another process is training here; waiting for it to finish")
            locks.take(handle, wait=True)
        yield
