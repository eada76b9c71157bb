"""Find damaged results, and put them aside so that they are made again.

Only the files that the jobs of a study make are looked at; whatever else lies in the folder is
left alone. Looking is fast: a file is read once, and then only if it was touched since.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lastmile.pipeline.lock import say
from lastmile.provenance.manifests import (
    ManifestError,
    ManifestReadError,
    by_manifest,
    file_digest,
    read_manifest,
)
from lastmile.provenance.verify import ASIDE, result_files, verify
from lastmile.storage import files

MEMORY = Path(".snakemake") / "lastmile-checked.json"
"""Where it is kept which files were found as their manifests say, in the folder of a study."""


class Damage(NamedTuple):
    """A result that is not as it was made.

    Attributes:
        path: The file.
        problem: What is wrong, in words.
    """

    path: Path
    problem: str


class Checked:
    """The files that were found as their manifests say, for as long as nobody touches them."""

    def __init__(self, memory: Path = MEMORY) -> None:
        self.memory = memory
        self._states: dict[str, list[int]] = {}
        self._new = False
        try:
            states = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            states = None
        if isinstance(states, dict):
            self._states = states

    def __contains__(self, path: Path) -> bool:
        return self._states.get(str(path)) == _state(path)

    def add(self, path: Path) -> None:
        """Remember a file as it is now."""
        if path not in self:
            self._states[str(path)] = _state(path)
            self._new = True

    def save(self) -> None:
        """Keep what is remembered for the next process."""
        if self._new and self.memory.parent.is_dir():
            kept = {path: state for path, state in self._states.items() if os.path.exists(path)}
            files.write_text(self.memory, json.dumps(kept))


def _state(path: Path) -> list[int]:
    """Return what changes when a file is touched; the time of the last change cannot be set."""
    try:
        state = path.stat()
    except FileNotFoundError:  # a link that leads nowhere
        return []
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def find(jobs: Iterable[tuple[Path, ...]], checked: Checked) -> Iterator[Damage]:
    """Yield the results that are not as they were made.

    Args:
        jobs: The outputs of each job.
        checked: Files that need not be read again; what is found in order is added.

    Raises:
        OSError, ManifestReadError: A file exists but cannot be read now.
    """
    for outputs in jobs:
        for manifest, together in by_manifest(outputs).items():
            yield from _find_in_folder(manifest, together, checked)


def _find_in_folder(manifest: Path, together: list[Path], checked: Checked) -> Iterator[Damage]:
    there = [path for path in together if os.path.lexists(path)]
    if manifest.is_file() and all(path in checked for path in (manifest, *there)):
        return
    if not os.path.lexists(manifest):
        yield from (Damage(path, "has lost its manifest") for path in there)
        return
    try:
        entries = read_manifest(manifest)["outputs"]
    except ManifestReadError:
        raise
    except ManifestError as error:
        yield from (Damage(path, f"its manifest is damaged ({error})") for path in there)
        yield Damage(manifest, "is damaged")
        return
    checked.add(manifest)
    for path in there:
        entry = entries.get(path.name)
        if entry is None:
            yield Damage(path, "is not in its manifest")
        elif not path.is_file():
            yield Damage(path, "is no regular file")
        elif path.stat().st_size != entry["bytes"]:
            problem = f"has {path.stat().st_size} bytes, where its manifest says {entry['bytes']}"
            yield Damage(path, problem)
        elif path not in checked and file_digest(path) != entry["digest"]:
            yield Damage(path, "was changed after it was made")
        else:
            checked.add(path)


def report(results: Path, jobs: Iterable[tuple[Path, ...]]) -> None:
    """Name damaged results on stderr; change none."""
    checked = Checked()
    for path, problem in find(jobs, checked):
        say(f"{path}: {problem}; it will be made again, and this one kept in {results / ASIDE}")
    checked.save()


def mend(results: Path, jobs: Iterable[tuple[Path, ...]]) -> int:
    """Put damaged results aside, so that Snakemake makes them again; return how many."""
    checked = Checked()
    damage = list(find(jobs, checked))
    for path, problem in damage:
        kept = put_aside(results, path)
        say(f"{path}: {problem}; it was moved to {kept}, to be made again")
    checked.save()
    return len(damage)


def verified(results: Path) -> bool:
    """Verify all results of a finished study; put aside what does not hold.

    What was verified, and not touched since, is not read again.

    Returns:
        Whether all hold. If not, Snakemake makes again what was put aside.
    """
    memory = MEMORY.with_name("lastmile-verified")
    if memory.is_file() and memory.read_text(encoding="utf-8") == _state_of_all(results):
        return True
    found = verify(results)
    for path, problem in found.stale.items():
        if os.path.lexists(path):
            say(f"{problem}; {path} was moved to {put_aside(results, path)}, to be made again")
        else:
            say(problem)
    if found.stale:
        return False
    for problem in found.problems:
        say(f"{problem} (left alone)")
    files.write_text(memory, _state_of_all(results))
    return True


def _state_of_all(results: Path) -> str:
    digest = hashlib.blake2b(str(results.resolve()).encode(), digest_size=16)
    for path in result_files(results):
        if path.exists():
            digest.update(f"{path}\0{_state(path)}\0".encode())
    return digest.hexdigest()


def put_aside(results: Path, path: Path) -> Path:
    """Move a result to the folder of damaged ones, beside earlier ones, and return where."""
    target = results / ASIDE / path.relative_to(results)
    number = 1
    while os.path.lexists(target):
        number += 1
        target = target.with_name(f"{path.name}.{number}")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    return target
