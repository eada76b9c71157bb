"""Fingerprints: a hash of all code that a result depends on.

A fingerprint begins at one module of this package and follows its imports inside the package, lazy ones
too. It hashes the syntax of every file without comments, docstrings and formatting: prose is free, and no
change of code is missed. Modules that are loaded by name (tasks, studies) cannot be seen that way; they
are named as `parts`, so that an edited task makes only its own results stale.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lastmile.errors import LastmileError

ROOT = Path(__file__).parents[1]
"""Folder of the package."""
PLANNING = ("cost", "wanted")
"""Functions of a stage that only decide what is planned: their result is the spec, which is compared itself."""
_STAGES = "pipeline/stages"
_SYNTAX_ONLY = ("ctx", "kind", "type_comment", "type_ignores")  # fields that change no behavior


class CodeError(LastmileError):
    """A job that would run other code than it was planned with; the message names both."""


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


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the modules of this package that a file imports, anywhere in it, sorted."""
    names: set[str] = set()
    for node in _walk(_parse(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(name for name in names if module_file(name)))


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only a type checker reads."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.If) or getattr(child.test, "id", "") != "TYPE_CHECKING":
                waiting.append(child)


@cache
def syntax_digest(path: Path) -> str:
    """Return a hash of a file's syntax: comments, docstrings and formatting do not change it.

    It is the same in all versions of Python that parse the file to the same tree.
    """
    tree = _parse(path)
    if path.parent.relative_to(ROOT).as_posix() == _STAGES:
        body = [node for node in tree.body if getattr(node, "name", None) not in PLANNING]
        tree = ast.Module(body, [])
    tokens: list[str] = []
    _serialize(tree, tokens)
    return hashlib.blake2b("".join(tokens).encode(), digest_size=16).hexdigest()


def _serialize(node: object, tokens: list[str]) -> None:
    """Append a syntax tree as text. Empty fields are left out: versions of Python differ in them."""
    if isinstance(node, ast.AST):
        tokens.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _SYNTAX_ONLY:
                continue
            tokens.append(f"{name}=")
            _serialize(value, tokens)
        tokens.append(")")
    elif isinstance(node, list):
        tokens.append("[")
        for item in node:
            if not _is_prose(item):
                _serialize(item, tokens)
        tokens.append("]")
    else:
        tokens.append(repr(node))


def _is_prose(node: object) -> bool:
    """Whether a statement is nothing but a string: a docstring of a module, class, function or constant."""
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
    seen: set[Path] = set()
    waiting = [f"{ROOT.name}.{name}" for name in (module, *parts)]
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
def fingerprint(module: str, parts: tuple[str, ...] = ()) -> str:
    """Return the hash of all code that a module, with the parts it loads by name, depends on."""
    code = hashlib.blake2b(digest_size=8)
    for path in closure(module, parts):
        code.update(f"{path.relative_to(ROOT).as_posix()}\0{syntax_digest(path)}\0".encode())
    return code.hexdigest()


def code_label(module: str, parts: tuple[str, ...] = ()) -> str:
    """Return a fingerprint with the names of what it covers: `module:part+part:hash`. Plans and manifests hold it."""
    parts = tuple(sorted(parts))
    return f"{module}:{'+'.join(parts)}:{fingerprint(module, parts)}"


def code_files(label: str) -> dict[str, str]:
    """Return the syntax digest of every file that a label covers, by its path in the package.

    Raises:
        CodeError: This is not a label.
    """
    module, parts = _split(label)
    return {
        path.relative_to(ROOT).as_posix(): syntax_digest(path) for path in closure(module, parts)
    }


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
            f"this job was planned with the code {label}, but the package in {ROOT} is {now}: it was "
            "edited after the plan was made, or another copy is installed here; start snakemake again, "
            "so that it plans with this code"
        )


def _split(label: str) -> tuple[str, tuple[str, ...]]:
    fields = label.split(":")
    if len(fields) != 3 or not all(re.fullmatch(r"[\w.+]*", field) for field in fields):
        raise CodeError(f"--code: expected module:part+part:hash, got '{label}'")
    return fields[0], tuple(part for part in fields[1].split("+") if part)
