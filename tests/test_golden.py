"""Recorded episodes, their screens and their scores are the same on every machine."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from golden import PIXELS, compute_digests, golden_path
from lastmile.tasks import task_names

DRAW = ("numpy", "opencv-python-headless", "pillow")
"""The packages that draw."""


def without_pixels(digests: dict[str, Any]) -> dict[str, Any]:
    """The digests that do not depend on the versions of these packages."""
    return {
        name: {key: value for key, value in digest.items() if key != PIXELS}
        if isinstance(digest, dict)
        else digest
        for name, digest in digests.items()
    }


@pytest.mark.parametrize("task", task_names())
def test_episodes_are_the_same_on_every_machine(task: str, root: Path) -> None:
    path = golden_path(task)
    assert path.is_file(), (
        f"task '{task}' has no golden digests ({path}); "
        f"look at an episode, then write them: python tests/golden.py {task}"
    )

    found, stored = compute_digests(task), json.loads(path.read_text(encoding="utf-8"))
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    if any(version(package) != locked[package] for package in DRAW):
        found, stored = without_pixels(found), without_pixels(stored)
    assert found == stored, (
        f"episodes of '{task}' have changed; "
        f"if this is intended, raise its version and run: python tests/golden.py {task}"
    )
