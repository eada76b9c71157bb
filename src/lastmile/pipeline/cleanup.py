"""Clean up work in progress: training runs in `runs/` that nothing will resume."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lastmile.provenance.manifests import ManifestError, read_manifest
from lastmile.storage import locks
from lastmile.training.spec import run_key


class Work(NamedTuple):
    """A folder of work in progress.

    Attributes:
        folder: The folder.
        size: Its bytes.
        state: "finished" if its policy is in the results, "running", or "unfinished".
    """

    folder: Path
    size: int
    state: str


def find(runs: Path, results: Path) -> Iterator[Work]:
    """Yield all work in progress.

    Args:
        runs: Folder of all runs.
        results: Folder of the results of all studies.
    """
    finished = set()
    for path in results.glob("*/models/*/seed*/manifest.json"):
        try:
            manifest = read_manifest(path)
        except ManifestError:
            continue
        if all(
            path.with_name(name).is_file() and path.with_name(name).stat().st_size == entry["bytes"]
            for name, entry in manifest["outputs"].items()
        ):
            finished.add(run_key(manifest["spec"]))
    for folder in sorted(path for path in runs.glob("*") if path.is_dir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        state = "finished" if folder.name in finished else "unfinished"
        yield Work(
            folder, size, "running" if locks.is_held(folder / ".lock", otherwise=True) else state
        )


def clean(runs: Path, results: Path, unfinished: bool = False, dry: bool = False) -> list[Work]:
    """Remove finished work, and unfinished work if asked to; never what is running.

    Args:
        runs: Folder of all runs.
        results: Folder of the results of all studies.
        unfinished: Remove unfinished work, too: it can then no longer be resumed.
        dry: Only say what would be removed.

    Returns:
        What was removed.
    """
    removed = []
    for work in find(runs, results):
        if work.state == "finished" or (unfinished and work.state == "unfinished"):
            if not dry:
                shutil.rmtree(work.folder)
            removed.append(work)
    return removed
