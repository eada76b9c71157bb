"""Print the lowest versions that pyproject.toml allows, as constraints (`make test-lowest`)."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path) -> dict[str, list[str]]:
    """Return the requirements by extra; those of the package itself are under the empty name."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def lowest_versions(pyproject: Path, extras: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return the lower bound of every package, by its name.

    Args:
        pyproject: The file to read.
        extras: Only these extras, with the base under the empty name; all by default.
    """
    bounds: dict[str, str] = {}
    for extra, items in requirements(pyproject).items():
        if extras is None or extra in extras:
            pairs = (re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,<[\w.]+)?", item) for item in items)
            bounds |= {pair[1]: pair[2] for pair in pairs if pair}
    return bounds


if __name__ == "__main__":
    # Tools for developers are not held to their lowest versions: no user meets them.
    TESTED = ("", "data", "train", "watch", "web", "workflow", "dinov2", "test")
    for name, version in lowest_versions(Path(sys.argv[1]), TESTED).items():
        print(f"{name}=={version}")
