"""Where results come from: fingerprints of the code that a result depends on, digests of files, manifests.

A fingerprint covers the import closure of a module inside this package: every file that it imports, and what those import. An edit anywhere
else leaves it as it was. Tasks are left out of the closure unless named, so that an edited task makes only its own results stale.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lastmile import files

ROOT = Path(__file__).parent
"""Folder of the package."""
PACKAGES = ("numpy", "torch", "pytorch-lightning", "opencv-python-headless", "pyarrow", "scikit-learn", "snakemake", "transformers")


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
    found = set()
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
            raise ValueError(f"no module '{name}' in {ROOT}")
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


def write_manifest(path: str | Path, spec: dict[str, Any], inputs: dict[str, str | Path], outputs: list[Path], **facts: Any) -> None:
    """What was made, from what, by which code, with which packages: a JSON file beside the outputs."""
    manifest = {
        "spec": spec,
        "inputs": {name: file_digest(item) for name, item in sorted(inputs.items())},
        "outputs": {item.name: file_digest(item) for item in sorted(outputs)},
        "packages": packages(),
        **facts,
    }
    files.write_text(path, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
