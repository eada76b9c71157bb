"""The folder in which Snakemake works: one Snakemake at a time, no damaged result in it, and no job that outlives the Snakemake that started it.

Snakemake's own lock stays behind when it is killed, and then stops the next one. Here the kernel holds a second lock (`flock`) for as long as the
process lives: if nobody holds it, what is left of the other is stale and is taken away.
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

from lastmile import provenance
from lastmile.errors import LastmileError
from lastmile.provenance.verify import ManifestError, is_manifest, read_manifest
from lastmile.storage import files

PARENT = "LASTMILE_SNAKEMAKE"
"""Environment variable with the process that a job belongs to."""
GRACE = 60
"""Seconds that a job has to end in order after its Snakemake died."""
PATIENCE = 5
"""Seconds that a Snakemake waits for another one that is about to end, or only plans."""
_LOCK = Path(".snakemake") / "lastmile.lock"
_LOOKING = {
    "--dry-run",
    "--dryrun",
    "--summary",
    "--detailed-summary",
    "--lint",
    "--unlock",
    "--list-rules",
    "--report",
    "--dag",
    "--rulegraph",
}

_held: IO[str] | None = None


class WorkplaceError(LastmileError):
    """Another Snakemake works in this folder."""


def prepare(results: str | Path) -> None:
    """Before the plan is made: take away the lock of a Snakemake that was killed, and results that are damaged. Not while another one works."""
    os.environ[PARENT] = str(os.getpid())
    handle = _try_lock()
    if handle is None:
        return
    with handle:
        looking = any(
            option in _LOOKING
            or (option[:1] == "-" and option[1:2] != "-" and set("nDS") & set(option))
            for option in sys.argv[1:]
        )
        locks = Path(".snakemake") / "locks"
        if not looking and locks.is_dir() and any(locks.iterdir()):
            shutil.rmtree(locks)
            say(
                "a Snakemake that worked here was killed; its lock was taken away, and its work goes on"
            )
        for path, problem in damaged(results):
            if looking:
                say(f"{path}: {problem}; it will be made again")
            else:
                path.unlink(missing_ok=True)
                say(f"{path}: {problem}; it was taken away, to be made again if it is needed")


def claim() -> None:
    """When work begins: hold the folder until this process ends. Raises WorkplaceError naming the process that holds it."""
    global _held
    for _ in range(PATIENCE):
        if (_held := _try_lock()) is not None:
            break
        time.sleep(1)  # somebody may only be looking
    else:
        holder = _LOCK.read_text(encoding="utf-8").strip() or "unknown process"
        raise WorkplaceError(
            f"another Snakemake ({holder}) works in {Path.cwd()}; wait until it ends, or stop it, and give the same command again"
        )
    _held.truncate(0)
    _held.write(f"process {os.getpid()} on {files.HOST}")
    _held.flush()


def _try_lock() -> IO[str] | None:
    """The lock file, locked; None if another process holds it. Where the file system has no locks, as if nobody did."""
    _LOCK.parent.mkdir(exist_ok=True)
    handle = open(_LOCK, "a+", encoding="utf-8")  # noqa: SIM115 (held by the caller)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    except OSError:
        pass
    return handle


def damaged(results: str | Path) -> list[tuple[Path, str]]:
    """Results that are not what their manifests say, with what is wrong: cut short, or written to after they were made.

    Fast: bytes are read only of files that are younger than their manifest.
    """
    found = []
    for path in sorted(path for path in Path(results).rglob("*manifest.json") if is_manifest(path)):
        try:
            manifest, made = read_manifest(path), path.stat().st_mtime_ns
        except ManifestError:
            found += [
                (item, "its manifest is damaged")
                for item in (path.with_name(path.name.removesuffix(".manifest.json")), path)
                if item.exists()
            ]
            continue
        for name, entry in manifest["outputs"].items():
            item = path.with_name(name)
            if not item.is_file():
                continue
            state = item.stat()
            if state.st_size != entry["bytes"]:
                found.append(
                    (item, f"has {state.st_size} bytes, where its manifest says {entry['bytes']}")
                )
            elif state.st_mtime_ns > made and provenance.file_digest(item) != entry["digest"]:
                found.append((item, "was changed after it was made"))
    return found


def end_with_snakemake() -> None:
    """In a job: end when the Snakemake that started it is gone, so that no job of yesterday writes over the results of today."""
    parent = os.environ.get(PARENT, "")
    if not parent.isdigit() or not files.alive(int(parent)):
        return

    def watch() -> None:
        while files.alive(int(parent)):
            time.sleep(1)
        say("the Snakemake that started this job is gone; the job ends")
        os.kill(os.getpid(), signal.SIGTERM)  # a training keeps its work first
        time.sleep(GRACE)
        os._exit(143)

    threading.Thread(target=watch, name="end with Snakemake", daemon=True).start()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
