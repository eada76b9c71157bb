"""Manifests: what was made, from what, by which code, with which packages.

A JSON file beside the results, sealed by a digest of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lastmile.errors import LastmileError
from lastmile.provenance.fingerprints import code_files, code_packages
from lastmile.storage import files

FORMAT = "lastmile.manifest/1"
PACKAGES = (
    "numpy",
    "torch",
    "pytorch-lightning",
    "opencv-python-headless",
    "pyarrow",
    "scikit-learn",
    "snakemake",
    "transformers",
)
LARGEST = 64_000_000
"""Bytes of the largest manifest that is read."""


class ManifestError(LastmileError):
    """A manifest that cannot be used; the message names the file and what was expected."""


class ManifestReadError(ManifestError):
    """A manifest that exists but cannot be read now: a disk or server does not answer."""


def file_digest(path: str | Path) -> str:
    """Return a hash of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def input_digest(path: str | Path) -> str:
    """Return a hash of a file's bytes, read once by this process as long as nobody touches it.

    A job checks its inputs, names its work by them, and lists them in its manifest.
    """
    state = os.stat(path)
    # The time of the last change cannot be set, so a file that was written to is read again.
    touched = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    return _digest_of(os.path.abspath(path), touched)


@lru_cache(maxsize=10_000)
def _digest_of(path: str, touched: tuple[int, ...]) -> str:
    return file_digest(path)


def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def check_inputs(
    inputs: Iterable[Path],
    remedy: str = "run the same command again: it is put aside, and made again",
) -> None:
    """Check that results are as they were made, before other results are made from them.

    Files without a manifest beside them are not checked. What has the name of a manifest and is
    none is left alone, unless it may be the one of an input.

    Args:
        inputs: The files.
        remedy: What to do about a file that was changed, for the message.

    Raises:
        ManifestError: A file was changed after it was made, or its manifest is damaged; the message
            names it.
    """
    folders: dict[Path, tuple[dict[str, Any], list[ManifestError]]] = {}
    for path in inputs:
        if path.parent not in folders:
            folders[path.parent] = _listed(path.parent)
        listed, broken = folders[path.parent]
        entry = listed.get(path.name)
        if entry is None and broken:
            raise broken[0]
        if entry is not None and entry != _entry(path, input_digest(path)):
            raise ManifestError(f"{path}: was changed after it was made; {remedy}")


def _listed(folder: Path) -> tuple[dict[str, Any], list[ManifestError]]:
    """Return what the manifests of a folder say of its files, and errors of those beside a file."""
    listed: dict[str, Any] = {}
    broken = []
    for manifest in sorted(folder.glob("*manifest.json")):
        if is_manifest(manifest):
            try:
                listed.update(read_manifest(manifest)["outputs"])
            except ManifestError as error:
                of = manifest.name.removesuffix(".manifest.json")
                if manifest.name == "manifest.json" or (folder / of).is_file():
                    broken.append(error)
    return listed, broken


def is_manifest(path: Path) -> bool:
    """Whether a file has the name of a manifest."""
    return path.name == "manifest.json" or path.name.endswith(".manifest.json")


def manifest_path(output: Path) -> Path:
    """Return where the manifest of an output is: beside it."""
    return output.with_name(f"{output.name}.manifest.json")


def by_manifest(outputs: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return the outputs of a job by the manifest that covers them.

    A folder has one manifest: the one that is itself among the outputs, or else beside the first.
    """
    folders: dict[Path, list[Path]] = {}
    for path in outputs:
        folders.setdefault(path.parent, []).append(path)
    groups = {}
    for together in folders.values():
        manifest = next(filter(is_manifest, together), manifest_path(together[0]))
        groups[manifest] = [path for path in together if path != manifest]
    return groups


def write_manifests(
    stage: str,
    spec: dict[str, Any],
    code: str,
    inputs: list[Path],
    outputs: list[Path],
    **facts: Any,
) -> None:
    """Write the manifests of a job, one into each folder that has outputs.

    Arguments as for `write_manifest`.
    """
    for manifest, together in by_manifest(outputs).items():
        write_manifest(manifest, stage, spec, code, inputs, together, **facts)


def write_manifest(
    path: Path,
    stage: str,
    spec: dict[str, Any],
    code: str,
    inputs: list[Path],
    outputs: list[Path],
    **facts: Any,
) -> None:
    """Write a manifest.

    Args:
        path: Where to, in the folder of the outputs.
        stage: Name of the stage that made the outputs.
        spec: What it was asked to do.
        code: A label as of `fingerprints.code_label`.
        inputs: Files that were read; kept by their path from the manifest's folder.
        outputs: Files that were made; kept by their name.
        **facts: Device, threads, seconds.
    """
    folder = os.path.realpath(path.parent)
    manifest = {
        "format": FORMAT,
        "stage": stage,
        "spec": spec,
        "code": {"label": code, "files": code_files(code), "packages": code_packages(code)},
        "inputs": {
            Path(os.path.relpath(os.path.realpath(item), folder)).as_posix(): _entry(
                item, input_digest(item)
            )
            for item in inputs
        },
        "outputs": {item.name: _entry(item, file_digest(item)) for item in outputs},
        "packages": packages(),
        "system": {"platform": platform.platform(), "cpus": os.cpu_count(), **facts},
    }
    files.write_text(path, manifest_text(manifest))


def manifest_text(manifest: dict[str, Any]) -> str:
    """Return a manifest as it is written; its last line holds the digest of the rest."""
    content = {name: value for name, value in manifest.items() if name != "~digest"}
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16)
    return json.dumps({**content, "~digest": digest.hexdigest()}, indent=2, sort_keys=True) + "\n"


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest.

    Raises:
        ManifestReadError: It exists but cannot be read now.
        ManifestError: It is missing or damaged, was changed, or names files outside its folder.
    """
    try:
        if path.exists() and not path.is_file():
            raise ManifestError(f"{path}: is no regular file")
        if path.stat().st_size > LARGEST:
            raise ManifestError(
                f"{path}: has {path.stat().st_size} bytes, expected at most {LARGEST}"
            )
        text = path.read_text(encoding="utf-8")
        manifest = json.loads(text)
    except ManifestError:
        raise
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file") from None
    except OSError as error:
        raise ManifestReadError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ManifestError(f"{path}: expected a manifest of format '{FORMAT}'")
    if manifest_text(manifest) != text:
        raise ManifestError(f"{path}: was changed after it was written")
    _check_entries(path, manifest)
    return manifest


def _check_entries(path: Path, manifest: dict[str, Any]) -> None:
    for part in ("inputs", "outputs"):
        entries = manifest.get(part)
        if not isinstance(entries, dict) or not all(
            isinstance(entry, dict) and {"bytes", "digest"} <= entry.keys()
            for entry in entries.values()
        ):
            raise ManifestError(f"{path}: expected '{part}' with bytes and digest of each file")
    for name in manifest["outputs"]:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ManifestError(f"{path}: the output '{name}' leads outside its folder")
    for name in manifest["inputs"]:
        if os.path.isabs(name) or "\0" in name:
            raise ManifestError(f"{path}: the input '{name}' leads outside its folder")


def _entry(path: Path, digest: str) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "digest": digest}
