"""Check results against their manifests.

Changed bytes, missing files, files without a manifest, paths that lead elsewhere.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lastmile.provenance.manifests import ManifestError, file_digest, is_manifest, read_manifest

ASIDE = "damaged"
"""Folder in the results of a study that keeps what was damaged."""
NO_RESULTS = ("logs", "benchmarks", ASIDE)
"""Folders that hold no results: what jobs printed, how long they took, what was damaged."""


@dataclass
class Report:
    """What a check found.

    Attributes:
        problems: One line each.
        stale: Those results that should be made again, each with its problem.
        manifests, files: How many were checked.
        elsewhere: Inputs outside the folder, which were not opened.
        absent: Inputs that are not here, neither they nor their manifests, as where only a part of
            the results is kept.
        mixed: What these results were made with that is not the same for all of them: versions of
            packages, arithmetic. One line each; no problem, but worth knowing.
    """

    problems: list[str] = field(default_factory=list)
    stale: dict[Path, str] = field(default_factory=dict)
    manifests: int = 0
    files: int = 0
    elsewhere: int = 0
    absent: int = 0
    mixed: list[str] = field(default_factory=list)


def verify(folder: str | Path) -> Report:
    """Check every file of a folder, and of the folders in it, against the manifests in it.

    Every result must be the output of a manifest, with the bytes that it had then, and made from
    inputs that have not changed since. No file outside the folder is opened.

    Raises:
        ManifestError: The folder holds no manifest at all.
    """
    root = Path(folder)
    report = Report()
    if not root.is_dir():
        raise ManifestError(f"{root}: no such folder; expected results")
    paths = result_files(root)
    manifests = [path for path in paths if is_manifest(path)]
    if not manifests:
        raise ManifestError(f"{root}: holds no manifest; expected a folder of results")

    digests: dict[Path, str] = {}
    read: dict[Path, dict[str, Any]] = {}
    for path in manifests:
        report.manifests += 1
        try:
            read[path] = read_manifest(path)
        except ManifestError as error:
            report.problems.append(str(error))
            report.stale[path] = str(error)
    known = {path.parent / name for path, manifest in read.items() for name in manifest["outputs"]}
    for path, manifest in read.items():
        for name, entry in manifest["outputs"].items():
            output = path.parent / name
            changed = f"{output}: was changed after it was made"
            _compare(report, root, output, entry, digests, changed, [output])
        for name, entry in manifest["inputs"].items():
            source = Path(os.path.normpath(path.parent / name))
            if not Path(os.path.abspath(source)).is_relative_to(os.path.abspath(root)):
                report.elsewhere += 1
                continue
            if source not in known and source not in read and not os.path.lexists(source):
                report.absent += 1
                continue
            changed = f"{path}: was made from other bytes than {source} now has"
            made = [path.parent / name for name in manifest["outputs"]]
            _compare(report, root, source, entry, digests, changed, made)

    report.files = len(digests)
    unknown = [path for path in paths if path not in known and not is_manifest(path)]
    report.problems += [f"{path}: no manifest tells where it comes from" for path in unknown]
    report.problems = list(dict.fromkeys(report.problems))
    report.mixed = _mixed(list(read.values()))
    return report


def _mixed(manifests: list[dict[str, Any]]) -> list[str]:
    """Return what differs between manifests: versions of packages, and arithmetic."""
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        used = dict(manifest.get("packages", {}))
        if "arithmetic" in manifest.get("system", {}):
            used["arithmetic"] = manifest["system"]["arithmetic"]
        for name, value in used.items():
            found.setdefault(name, Counter())[str(value)] += 1
    return [
        f"{name}: " + ", ".join(f"{value} in {count} manifests" for value, count in values.items())
        for name, values in sorted(found.items())
        if len(values) > 1
    ]


def result_files(root: Path) -> list[Path]:
    """Return all files below a folder that should have a manifest or be one, sorted."""
    return sorted(
        path
        for path in root.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and not _holds_no_result(path.relative_to(root))
    )


def _holds_no_result(path: Path) -> bool:
    return path.parts[0] in NO_RESULTS or any(part.startswith(".") for part in path.parts)


def _compare(
    report: Report,
    root: Path,
    path: Path,
    entry: dict[str, Any],
    digests: dict[Path, str],
    changed: str,
    made: list[Path],
) -> None:
    """Compare a file with what a manifest says of it.

    Args:
        report: Gets the problem, if there is one.
        root: Folder of the results.
        path: The file.
        entry: Its size and digest in the manifest.
        digests: Digests of files that were read already.
        changed: What to say if the bytes differ.
        made: The results that are then stale.
    """
    problem = ""
    if not path.resolve().is_relative_to(root.resolve()):
        problem = f"{path}: leads outside {root}, to {path.resolve()}"
    elif not path.is_file():
        problem = f"{path}: is missing"
    else:
        if path not in digests:
            digests[path] = file_digest(path)
        if path.stat().st_size != entry["bytes"] or digests[path] != entry["digest"]:
            problem = changed
    if problem:
        report.problems.append(problem)
        report.stale.update(dict.fromkeys(made, problem))
