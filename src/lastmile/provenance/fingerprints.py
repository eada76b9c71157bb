"""Fingerprints: a hash of all code that a result depends on.

A fingerprint begins at one module of this package and follows its imports inside the package, lazy
ones too. It hashes the syntax of every file without comments, docstrings and formatting: prose is
free, and no change of code is missed. Modules that are loaded by name (tasks, studies) cannot be
seen that way; they are named as `parts`, so that an edited task makes only its own results stale.
It also covers the versions of the packages that these files import, if numbers or pictures depend
on them.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from lastmile.errors import LastmileError

ROOT = Path(__file__).parents[1]
"""Folder of the package."""
PLANNING = ("cost", "wanted")
"""Functions of a stage that only decide what is planned.

Their result is the spec, which is compared itself.
"""
_STAGES = "pipeline/stages"
PACKAGES = {
    "cv2": "opencv-python-headless",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "pytorch_lightning": "pytorch-lightning",
    "scipy": "scipy",
    "seaborn": "seaborn",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "transformers": "transformers",
}
"""Packages whose versions are part of the code, by the names that they are imported by."""
_VERSION = 3  # of what is remembered of a file
_SYNTAX_ONLY = ("ctx", "kind", "type_comment", "type_ignores")  # fields that change no behavior


class CodeError(LastmileError):
    """A job that would run other code than it was planned with; the message names both."""


@cache
def module_file(name: str) -> Path | None:
    """Return the file of a module of this package, or None if there is no such module."""
    parts = name.split(".")
    if parts[0] != ROOT.name:
        return None
    base = ROOT.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


class _Facts(NamedTuple):
    """What is known of a source file: the digest of its syntax, and the names that it imports.

    Attributes:
        digest: A hash of its syntax.
        imports: Names inside this package.
        packages: Distributions of `PACKAGES`.
    """

    digest: str
    imports: tuple[str, ...]
    packages: tuple[str, ...]


_remembered: dict[str, _Facts] = {}
"""Facts by a digest of the file's bytes, of this process and of those before it."""


@cache
def _facts(path: Path) -> _Facts:
    """Read a source file.

    Parsing takes a second for the whole package, so it is done once for equal bytes.
    """
    source = path.read_bytes()
    is_stage = path.parent.relative_to(ROOT).as_posix() == _STAGES
    salt = f"{_VERSION} {is_stage}".encode()
    key = hashlib.blake2b(source, digest_size=16, key=salt).hexdigest()
    if not _remembered:
        _remembered.update(_read_memory())
    if key not in _remembered:
        tree = ast.parse(source, str(path))
        if is_stage:
            body = [node for node in tree.body if getattr(node, "name", None) not in PLANNING]
            tree = ast.Module(body, [])
        names = _imported_names(tree)
        tokens: list[str] = []
        _serialize(tree, tokens)
        digest = hashlib.blake2b("".join(tokens).encode(), digest_size=16).hexdigest()
        own = tuple(name for name in names if name.split(".")[0] == ROOT.name)
        roots = {name.split(".")[0] for name in names}
        packages = tuple(sorted(PACKAGES[name] for name in roots & PACKAGES.keys()))
        _remembered[key] = _Facts(digest, own, packages)
        _new.append(key)
    return _remembered[key]


_new: list[str] = []


MEMORY = Path(".snakemake") / "lastmile-fingerprints.json"
"""Where facts are kept between processes, in the folder of a study."""


def _read_memory() -> dict[str, _Facts]:
    try:
        entries = json.loads(MEMORY.read_text(encoding="utf-8"))
        return {
            key: _Facts(digest, tuple(names), tuple(packages))
            for key, (digest, names, packages) in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@atexit.register
def _write_memory() -> None:
    """Keep what was parsed for the next process, where Snakemake works."""
    if _new and MEMORY.parent.is_dir():
        try:
            temporary = MEMORY.with_name(f"fingerprints.{os.getpid()}.part")
            temporary.write_text(json.dumps(_remembered), encoding="utf-8")
            temporary.replace(MEMORY)
        except OSError:
            pass


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the modules of this package that a file imports, anywhere in it, sorted."""
    return tuple(name for name in _facts(path).imports if module_file(name))


def syntax_digest(path: Path) -> str:
    """Return a hash of a file's syntax: comments, docstrings and formatting do not change it.

    It is the same in all versions of Python that parse the file to the same tree.
    """
    return _facts(path).digest


def _imported_names(tree: ast.Module) -> tuple[str, ...]:
    names: set[str] = set()
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(names))


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only a type checker reads."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.If) or getattr(child.test, "id", "") != "TYPE_CHECKING":
                waiting.append(child)


def _serialize(node: object, tokens: list[str]) -> None:
    """Append a syntax tree as text.

    Empty fields are left out: versions of Python differ in them.
    """
    if isinstance(node, ast.AST):
        tokens.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                value = [item for item in value if not _is_prose(item)]
            if value is None or value == [] or name in _SYNTAX_ONLY:
                continue
            tokens.append(f"{name}=")
            _serialize(value, tokens)
        tokens.append(")")
    elif isinstance(node, list):
        tokens.append("[")
        for item in node:
            _serialize(item, tokens)
        tokens.append("]")
    else:
        tokens.append(repr(node))


def _is_prose(node: object) -> bool:
    """Whether a statement is nothing but a string.

    A docstring of a module, class, function or constant.
    """
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def closure(module: str, parts: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Return the files that a module depends on, sorted.

    Args:
        module: Name inside the package, as `pipeline.stages.train`.
        parts: Further modules that it loads by name, as `tasks.colored_dots`.

    Raises:
        LastmileError: A module does not exist.
    """
    return tuple(ROOT / name for name, _ in _closure(module, parts))


@cache
def _module(name: str) -> tuple[str, str, tuple[str, ...]]:
    """Return a module's path, the digest of its syntax, and the modules it imports."""
    path = module_file(name)
    if path is None:
        raise LastmileError(f"no module '{name}' in {ROOT}")
    return path.relative_to(ROOT).as_posix(), syntax_digest(path), imports(path)


@cache
def installed_version(distribution: str) -> str:
    """Return the public version of an installed distribution, or "not installed".

    What follows a `+`, such as the kind of a build, is left out: one study may run on machines with
    and without a GPU.
    """
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def _packages(files: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that these files import."""
    names = {name for path in files for name in _facts(ROOT / path).packages}
    return {name: installed_version(name) for name in sorted(names)}


def _closure(module: str, parts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return path and syntax digest of every file that a module depends on, sorted."""
    seen: set[str] = set()
    files: dict[str, str] = {}
    waiting = [f"{ROOT.name}.{name}" for name in (module, *parts)]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            path, digest, imported = _module(name)
            files[path] = digest
            waiting.extend(imported)
    return sorted(files.items())


@cache
def fingerprint(module: str, parts: tuple[str, ...] = ()) -> str:
    """Return the hash of all code that a module, with the parts it loads by name, depends on."""
    code = hashlib.blake2b(digest_size=8)
    files = _closure(module, parts)
    for path, digest in files:
        code.update(f"{path}\0{digest}\0".encode())
    for name, number in _packages(path for path, _ in files).items():
        code.update(f"{name}\0{number}\0".encode())
    return code.hexdigest()


def code_label(module: str, parts: tuple[str, ...] = ()) -> str:
    """Return a fingerprint with the names of what it covers: `module:part+part:hash`.

    Plans and manifests hold it.
    """
    parts = tuple(sorted(parts))
    return f"{module}:{'+'.join(parts)}:{fingerprint(module, parts)}"


def code_files(label: str) -> dict[str, str]:
    """Return the syntax digest of every file that a label covers, by its path in the package.

    Raises:
        CodeError: This is not a label.
    """
    module, parts = _split(label)
    return dict(_closure(module, parts))


def code_packages(label: str) -> dict[str, str]:
    """Return the versions of the packages that a label covers, by their names.

    Raises:
        CodeError: This is not a label.
    """
    return _packages(code_files(label))


def check_code(label: str) -> None:
    """Check that the code that a label covers is still the code it was made from.

    Raises:
        CodeError: It was edited since, or this is another copy of the package.
    """
    module, parts = _split(label)
    try:
        now = code_label(module, parts)
    except LastmileError as error:
        raise CodeError(f"--code {label}: {error}") from None
    if now != label:
        raise CodeError(
            f"this job was planned with the code {label}, but the package in {ROOT} is {now}: "
            "it was edited after the plan was made, or another copy, or other versions of its "
            "packages, are installed here; start snakemake again, so that it plans with this code"
        )


def _split(label: str) -> tuple[str, tuple[str, ...]]:
    fields = label.split(":")
    if len(fields) != 3 or not all(re.fullmatch(r"[\w.+]*", field) for field in fields):
        raise CodeError(f"--code: expected module:part+part:hash, got '{label}'")
    return fields[0], tuple(part for part in fields[1].split("+") if part)
