"""Where results come from: fingerprints of the code that a result depends on, digests of files, manifests.

A fingerprint covers the import closure of a module inside this package: every file that it imports, and what those import. An edit anywhere
else leaves it as it was. Tasks are left out of the closure unless named, so that an edited task makes only its own results stale.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lastmile.errors import LastmileError
from lastmile.storage import files

ROOT = Path(__file__).parents[1]
"""Folder of the package."""
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


def module_file(name: str) -> Path | None:
    """File of a module of this package, or None if there is no such module."""
    parts = name.split(".")
    if parts[0] != ROOT.name:
        return None
    base = ROOT.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Modules of this package that a file imports, anywhere in it, sorted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(name for name in found if module_file(name)))


def closure(module: str, tasks: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Files that a module depends on, sorted; of the folders in `tasks/` only those named.

    Raises ValueError for a module that does not exist.
    """
    seen: set[Path] = set()
    waiting = [module, *(f"lastmile.tasks.{task}" for task in tasks)]
    while waiting:
        name = waiting.pop()
        path = module_file(name)
        if path is None:
            raise LastmileError(f"no module '{name}' in {ROOT}")
        if path not in seen:
            seen.add(path)
            waiting.extend(imports(path))
    return tuple(sorted(seen))


@cache
def fingerprint(module: str, tasks: tuple[str, ...] = ()) -> str:
    """Hash of the sources that a module depends on."""
    code = hashlib.blake2b(digest_size=8)
    for path in closure(module, tasks):
        code.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return code.hexdigest()


def file_digest(path: str | Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class CodeError(LastmileError):
    """A job that would run other code than it was planned with; the message names both."""


def code_label(module: str, tasks: tuple[str, ...] = ()) -> str:
    """Fingerprint with the names of what it covers: `module:task+task:hash`. The plan of a job holds it."""
    tasks = tuple(sorted(tasks))
    return f"{module}:{'+'.join(tasks)}:{fingerprint(f'{ROOT.name}.{module}', tasks)}"


def code_files(label: str) -> dict[str, str]:
    """Digest of every source file that a label covers, by its path in the package. Raises CodeError for what is no label."""
    module, tasks = _parts(label)
    return {
        path.relative_to(ROOT).as_posix(): file_digest(path)
        for path in closure(f"{ROOT.name}.{module}", tasks)
    }


def check_code(label: str) -> None:
    """Raises CodeError if the sources that a label covers are no longer those that it was made from."""
    module, tasks = _parts(label)
    try:
        now = code_label(module, tasks)
    except ValueError as error:
        raise CodeError(f"--code {label}: {error}") from None
    if now != label:
        raise CodeError(
            f"this job was planned with the code {label}, but the package in {ROOT} is {now}: it was edited after the plan, or another copy is "
            "installed here; start snakemake again, so that it plans with this code"
        )


def _parts(label: str) -> tuple[str, tuple[str, ...]]:
    parts = label.split(":")
    if len(parts) != 3 or not all(re.fullmatch(r"[\w.+]*", part) for part in parts):
        raise CodeError(f"--code: expected module:task+task:hash, got '{label}'")
    return parts[0], tuple(task for task in parts[1].split("+") if task)


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output lies, beside it."""
    return output.with_name(f"{output.name}.manifest.json")


def write_manifests(
    verb: str,
    spec: dict[str, Any],
    code: str,
    inputs: list[Path],
    outputs: list[Path],
    **facts: Any,
) -> None:
    """A manifest in each folder that has outputs, beside the first of them."""
    folders: dict[Path, list[Path]] = {}
    for path in outputs:
        folders.setdefault(path.parent, []).append(path)
    for made in folders.values():
        write_manifest(manifest_path(made[0]), verb, spec, code, inputs, made, **facts)


def write_manifest(
    path: Path,
    verb: str,
    spec: dict[str, Any],
    code: str,
    inputs: list[Path],
    outputs: list[Path],
    **facts: Any,
) -> None:
    """What was made, from what, by which code, with which packages: a JSON file beside the outputs, closed by a digest of itself.

    code: a label as of `code_label`. Outputs are known by name, inputs by their path from the manifest's folder. facts: device, threads, seconds.
    """
    folder = os.path.realpath(path.parent)
    manifest = {
        "format": FORMAT,
        "verb": verb,
        "spec": spec,
        "code": {"label": code, "files": code_files(code)},
        "inputs": {
            Path(os.path.relpath(os.path.realpath(item), folder)).as_posix(): _entry(item)
            for item in inputs
        },
        "outputs": {item.name: _entry(item) for item in outputs},
        "packages": packages(),
        "system": {"platform": platform.platform(), "cpus": os.cpu_count(), **facts},
    }
    files.write_text(path, manifest_text(manifest))


def manifest_text(manifest: dict[str, Any]) -> str:
    """A manifest as it is written; its last line holds the digest of the rest."""
    body = json.dumps(
        {name: value for name, value in manifest.items() if name != "~digest"}, sort_keys=True
    )
    return (
        json.dumps(
            {**manifest, "~digest": hashlib.blake2b(body.encode(), digest_size=16).hexdigest()},
            indent=2,
            sort_keys=True,
        )
        + "\n"
    )


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "digest": file_digest(path)}
