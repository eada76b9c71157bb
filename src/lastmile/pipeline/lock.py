"""Guard the folder in which Snakemake works.

One Snakemake works in it at a time, damaged results are removed, and no job outlives its Snakemake.

Snakemake's own lock stays behind when Snakemake is killed, and then stops the next one. So the
kernel holds a second lock (`flock`) for as long as the process lives: if nobody holds it,
Snakemake's own lock is stale and is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from lastmile.errors import LastmileError
from lastmile.provenance.manifests import ManifestError, file_digest, is_manifest, read_manifest
from lastmile.storage import files

PARENT = "LASTMILE_SNAKEMAKE"
"""Environment variable with the process id of the Snakemake that started a job."""
GRACE = 60
"""Seconds that a job has to shut down cleanly after its Snakemake died."""
PATIENCE = 5
"""Seconds to wait for another Snakemake that is about to end."""
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


def prepare(results: str | Path) -> None:
    """Prepare the folder before Snakemake plans its jobs.

    A Snakemake that only looks reports damaged results and changes nothing. One that works holds
    the folder until it ends, removes the lock of a Snakemake that was killed, and removes damaged
    results.

    Args:
        results: Folder of the study's results.

    Raises:
        WorkplaceError: Another Snakemake is running here; the message names its process.
    """
    os.environ[PARENT] = str(os.getpid())
    if looking(sys.argv[1:]):
        for path, problem in damaged(results):
            say(f"{path}: {problem}; it will be made again")
        return

    _claim()
    locks = Path(".snakemake") / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        shutil.rmtree(locks)
        say("a Snakemake that worked here was killed; its lock was removed, and its work resumes")
    for path, problem in damaged(results):
        path.unlink(missing_ok=True)
        say(f"{path}: {problem}; it was removed, to be made again if it is needed")


def looking(arguments: list[str]) -> bool:
    """Return whether these arguments of Snakemake only ask for information, such as `-n`."""
    return any(
        option in _LOOKING
        or (option[:1] == "-" and option[1:2] != "-" and bool(set("nDSl") & set(option)))
        for option in arguments
    )


def holder() -> str | None:
    """Return the process (id and host) that holds this folder, or None if nobody does."""
    if not _LOCK.exists():
        return None
    handle = _try_lock()
    if handle is not None:
        handle.close()
        return None
    return _LOCK.read_text(encoding="utf-8").strip() or "unknown process"


def _claim() -> None:
    """Hold the folder until this process ends."""
    global _held
    for _ in range(PATIENCE):
        _held = _try_lock()
        if _held is not None:
            break
        time.sleep(1)
    else:
        process = _LOCK.read_text(encoding="utf-8").strip() or "unknown process"
        raise WorkplaceError(
            f"another Snakemake ({process}) works in {Path.cwd()}; wait until it ends, or stop it, "
            "and run the same command again"
        )
    _held.truncate(0)
    _held.write(f"process {os.getpid()} on {files.HOST}")
    _held.flush()


def _try_lock() -> IO[str] | None:
    """Return the lock file, locked; None if another process holds it.

    Where the file system has no locks, nobody holds it.
    """
    _LOCK.parent.mkdir(exist_ok=True)
    handle = open(_LOCK, "a+", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    except OSError:
        pass
    return handle


def damaged(results: str | Path) -> list[tuple[Path, str]]:
    """Return the results that differ from their manifests, each with what is wrong.

    A result is damaged if it is truncated, if it was changed after it was made, or if its manifest
    cannot be read. This is fast: only files that are newer than their manifest are read.
    """
    problems: list[tuple[Path, str]] = []
    for path in sorted(path for path in Path(results).rglob("*manifest.json") if is_manifest(path)):
        try:
            manifest = read_manifest(path)
            made = path.stat().st_mtime_ns
        except ManifestError:
            output = path.with_name(path.name.removesuffix(".manifest.json"))
            problems += [
                (item, "its manifest is damaged") for item in (output, path) if item.exists()
            ]
            continue
        for name, entry in manifest["outputs"].items():
            item = path.with_name(name)
            if not item.is_file():
                continue
            state = item.stat()
            if state.st_size != entry["bytes"]:
                problem = f"has {state.st_size} bytes, where its manifest says {entry['bytes']}"
                problems.append((item, problem))
            elif state.st_mtime_ns > made and file_digest(item) != entry["digest"]:
                problems.append((item, "was changed after it was made"))
    return problems


def end_with_snakemake() -> None:
    """End this job when the Snakemake that started it is gone.

    Otherwise a job left over from yesterday could overwrite the results of today.
    """
    parent = os.environ.get(PARENT, "")
    if not parent.isdigit() or not files.alive(int(parent)):
        return

    def watch() -> None:
        while files.alive(int(parent)):
            time.sleep(1)
        say("the Snakemake that started this job is gone; the job ends")
        os.kill(os.getpid(), signal.SIGTERM)  # a training run saves a checkpoint first
        time.sleep(GRACE)
        os._exit(143)

    threading.Thread(target=watch, name="end with Snakemake", daemon=True).start()


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)
