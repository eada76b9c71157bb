"""Checking results against their manifests: changed bytes, missing files, files that nobody answers for, paths that lead elsewhere."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lastmile import provenance
from lastmile.errors import LastmileError

APART = ("logs", "benchmarks")
"""Folders that hold no results: what jobs said, and how long they took."""
LARGEST = 64_000_000
"""Bytes of a manifest; a larger one is not read."""


class ManifestError(LastmileError):
    """A manifest that cannot be used; the message names the file and what was expected."""


@dataclass
class Report:
    """What a check found. problems: one line each. manifests, files: how many were checked. elsewhere: inputs outside the folder, not opened."""

    problems: list[str] = field(default_factory=list)
    manifests: int = 0
    files: int = 0
    elsewhere: int = 0


def is_manifest(path: Path) -> bool:
    return path.name == "manifest.json" or path.name.endswith(".manifest.json")


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest. Raises ManifestError, naming the file, for one that is unreadable, was changed, or names files outside its folder."""
    try:
        if path.stat().st_size > LARGEST:
            raise ManifestError(
                f"{path}: has {path.stat().st_size} bytes, expected at most {LARGEST}"
            )
        text = path.read_text(encoding="utf-8")
        manifest = json.loads(text)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != provenance.FORMAT:
        raise ManifestError(f"{path}: expected a manifest of format '{provenance.FORMAT}'")
    if provenance.manifest_text(manifest) != text:
        raise ManifestError(f"{path}: was changed after it was written")
    for part in ("inputs", "outputs"):
        entries = manifest.get(part)
        if not isinstance(entries, dict) or not all(
            isinstance(e, dict) and {"bytes", "digest"} <= e.keys() for e in entries.values()
        ):
            raise ManifestError(f"{path}: expected '{part}' with bytes and digest of each file")
    for name in manifest["outputs"]:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ManifestError(f"{path}: the output '{name}' leads outside its folder")
    for name in manifest["inputs"]:
        if os.path.isabs(name) or "\0" in name:
            raise ManifestError(f"{path}: the input '{name}' leads outside its folder")
    return manifest


def verify(folder: str | Path) -> Report:
    """Check every file of a folder, and of those in it, against the manifests that lie there.

    Every result must be the output of a manifest, with the bytes that it had then, and made from inputs that have not changed since.
    No file outside the folder is opened. Raises ManifestError if the folder holds no manifest at all.
    """
    root, report = Path(folder), Report()
    if not root.is_dir():
        raise ManifestError(f"{root}: no such folder; expected results")
    found = sorted(
        path for path in root.rglob("*") if not path.is_dir() and not _apart(path.relative_to(root))
    )
    manifests = [path for path in found if is_manifest(path)]
    if not manifests:
        raise ManifestError(f"{root}: holds no manifest; expected a folder of results")
    digests: dict[Path, str] = {}
    known: set[Path] = set()
    for path in manifests:
        report.manifests += 1
        try:
            manifest = read_manifest(path)
        except ManifestError as error:
            report.problems.append(str(error))
            continue
        for name, entry in manifest["outputs"].items():
            known.add(path.parent / name)
            _compare(
                report,
                root,
                path.parent / name,
                entry,
                digests,
                f"{path.parent / name}: was changed after it was made",
            )
        for name, entry in manifest["inputs"].items():
            source = Path(os.path.normpath(path.parent / name))
            if not Path(os.path.abspath(source)).is_relative_to(os.path.abspath(root)):
                report.elsewhere += 1
                continue
            _compare(
                report,
                root,
                source,
                entry,
                digests,
                f"{path}: was made from other bytes than {source} now has",
            )
    report.files = len(digests)
    report.problems += [
        f"{path}: no manifest tells where it comes from"
        for path in found
        if path not in known and not is_manifest(path)
    ]
    report.problems = list(dict.fromkeys(report.problems))
    return report


def _apart(path: Path) -> bool:
    return path.parts[0] in APART or any(part.startswith(".") for part in path.parts)


def _compare(
    report: Report,
    root: Path,
    path: Path,
    entry: dict[str, Any],
    digests: dict[Path, str],
    changed: str,
) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        report.problems.append(f"{path}: leads outside {root}, to {path.resolve()}")
    elif not path.is_file():
        report.problems.append(f"{path}: is missing")
    else:
        if path not in digests:
            digests[path] = provenance.file_digest(path)
        if path.stat().st_size != entry["bytes"] or digests[path] != entry["digest"]:
            report.problems.append(changed)
