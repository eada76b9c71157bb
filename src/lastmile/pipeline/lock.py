"""Guard the folder in which Snakemake works.

One Snakemake works in it at a time, and no job outlives its Snakemake.

Snakemake's own lock stays behind when Snakemake is killed, and then stops the next one. So the
kernel holds a second lock (`flock`) for as long as the process lives: if nobody holds it,
Snakemake's own lock is stale and is removed. Where the file system has no such locks, Snakemake's
own lock is left alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from lastmile.errors import LastmileError
from lastmile.storage import files, locks

PARENT = "LASTMILE_SNAKEMAKE"
"""Environment variable with the process id of the Snakemake that started a job."""
PAGE = "LASTMILE_RUN"
"""Environment variable with the process id of the `lastmile run` that started a Snakemake."""
GRACE = 60
"""Seconds that a job has to shut down cleanly after its Snakemake died."""
PATIENCE = 5
"""Seconds to wait for another Snakemake, which may be about to end."""
ENDING = ", ending"
"""Written behind the process that holds a folder, when it is told to end."""
_LOCK = Path(".snakemake") / "lastmile.lock"
_LOOKING = {
    "--dag",
    "--detailed-summary",
    "--dry-run",
    "--dryrun",
    "--lint",
    "--list-rules",
    "--list-target-rules",
    "--list",
    "--report",
    "--rulegraph",
    "--summary",
    "--unlock",
}

_held: IO[str] | None = None


class WorkplaceError(LastmileError):
    """Another Snakemake is running in this folder."""


def claim() -> None:
    """Hold the folder until this process ends.

    The lock of a Snakemake that was killed is removed, and this Snakemake ends with the
    `lastmile run` that started it.

    Raises:
        WorkplaceError: Another Snakemake is running here; the message names its process.
    """
    global _held
    waited = 0
    while True:
        _held, lockable = _try_lock()
        if _held is not None:
            break
        if waited >= (GRACE if ENDING in _process() else PATIENCE):
            raise WorkplaceError(
                f"another Snakemake ({_process()}) works in {Path.cwd()}; wait until it ends, or "
                "stop it, and run the same command again"
            )
        waited += 1
        time.sleep(1)
    _held.truncate(0)
    _held.write(f"process {os.getpid()} on {files.HOST}")
    _held.flush()
    left = Path(".snakemake") / "locks"
    if not lockable:
        say("this file system has no locks: a Snakemake that was killed needs snakemake --unlock")
    elif left.is_dir() and any(left.iterdir()):
        shutil.rmtree(left)
        say("a Snakemake that worked here was killed; its lock was removed, and its work resumes")
    end_with(PAGE, "`lastmile run` that started this Snakemake", signal.SIGINT, _mark_ending)


def _mark_ending() -> None:
    """Tell the next Snakemake that this one is about to end."""
    if _held is not None:
        _held.write(ENDING)
        _held.flush()


def looking(arguments: list[str]) -> bool:
    """Return whether these arguments of Snakemake only ask for information, such as `-n`."""
    return any(
        option in _LOOKING
        or (option[:1] == "-" and option[1:2] != "-" and bool(set("nDSl") & set(option)))
        for option in arguments
    )


def holder() -> str | None:
    """Return the process (id and host) that holds this folder; None if nobody is known to."""
    if not _LOCK.exists():
        return None
    handle, _ = _try_lock()
    if handle is not None:
        handle.close()
        return None
    return _process()


def _process() -> str:
    return _LOCK.read_text(encoding="utf-8").strip() or "unknown process"


def _try_lock() -> tuple[IO[str] | None, bool]:
    """Return the lock file, or None if another process holds it, and whether there are locks."""
    _LOCK.parent.mkdir(exist_ok=True)
    handle = open(_LOCK, "a+", encoding="utf-8")
    held = locks.take(handle)
    if held is False:
        handle.close()
        return None, True
    return handle, held is not None


def end_with_snakemake() -> None:
    """End this job when the Snakemake that started it is gone.

    Otherwise a job left over from yesterday could overwrite the results of today.
    """
    end_with(PARENT, "Snakemake that started this job", signal.SIGTERM)


def end_with(
    variable: str,
    who: str,
    number: signal.Signals,
    before: Callable[[], None] = lambda: None,
) -> None:
    """End this process when another one, whose id is in an environment variable, is gone.

    Args:
        variable: Name of the environment variable; if it names no live process, nothing is done.
        who: That process in words.
        number: The signal by which this process shuts down; it has `GRACE` seconds for it.
        before: Called just before.
    """
    other = os.environ.get(variable, "")
    if not other.isdigit() or not files.alive(int(other)):
        return

    def watch() -> None:
        while files.alive(int(other)):
            time.sleep(1)
        say(f"the {who} is gone; this process ends")
        before()
        os.kill(os.getpid(), number)
        time.sleep(GRACE)
        os._exit(128 + number)

    threading.Thread(target=watch, name=f"end with {variable}", daemon=True).start()


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)
