"""Read JSON and YAML that this package wrote, or that comes with it: bounded, typed and closed.

What a file may hold is a pydantic model (`Closed`) or a type of such; a key that is unknown,
missing or wrong is named with its place. Tables have their own readers (`storage.parquet`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from lastmile.errors import LastmileError

LARGEST = 64_000_000
"""Bytes of the largest file that is read."""
_SHOWN = 3  # problems that a message names

T = TypeVar("T")


class RecordError(LastmileError):
    """A file that cannot be used; the message names it, and the place in it."""


class PlainYaml(yaml.SafeLoader):
    """YAML without duplicate keys and without aliases, which can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"an alias, *{self.peek_event().anchor}: write the value out")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise yaml.YAMLError(f"'{twice}' is given twice")
        return node


def read_json(path: str | Path, kind: type[T], what: str, largest: int = LARGEST) -> T:
    """Read a JSON file.

    Args:
        path: The file.
        kind: Type of its content.
        what: What it should hold, in words, for messages.
        largest: Bytes of the largest file that is read.

    Raises:
        RecordError: The file is missing, unreadable or too large, is no JSON, gives a key twice, or
            holds something else; one line names the file and the place.
    """

    def parse(text: str) -> Any:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)

    return _read(path, kind, what, largest, parse, (ValueError, RecursionError))


def read_yaml(path: str | Path, kind: type[T], what: str, largest: int = LARGEST) -> T:
    """Read a YAML file, without aliases; arguments and errors as for `read_json`."""

    def parse(text: str) -> Any:
        return yaml.load(text, PlainYaml)

    # Its constructors raise all of these.
    raised = (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
    )
    return _read(path, kind, what, largest, parse, raised)


def _read(
    path: str | Path,
    kind: type[T],
    what: str,
    largest: int,
    parse: Callable[[str], Any],
    raised: tuple[type[Exception], ...],
) -> T:
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise RecordError(f"{path}: expected {what}, but it is no regular file")
        size = Path(path).stat().st_size
        if size > largest:
            raise RecordError(f"{path}: expected {what}, got {size} bytes (at most {largest})")
        values = parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None
    except RecordError:
        raise
    except raised as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path}: expected {what}, but it cannot be parsed ({reason})") from None
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'the whole'}: {item['msg'].lower()}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise RecordError(
            f"{path}: expected {what}; {'; '.join(problems[:_SHOWN])}{more}"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' given twice")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
