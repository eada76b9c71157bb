"""Recorded episodes and their scores are the same on every machine."""

from __future__ import annotations

import json

import pytest

from golden import compute_digests, golden_path
from lastmile.tasks import task_names


@pytest.mark.parametrize("task", task_names())
def test_episodes_are_the_same_on_every_machine(task: str) -> None:
    path = golden_path(task)
    assert path.is_file(), (
        f"task '{task}' has no golden digests ({path}); "
        f"look at an episode, then write them: python tests/golden.py {task}"
    )

    assert compute_digests(task) == json.loads(path.read_text(encoding="utf-8")), (
        f"episodes of '{task}' have changed; "
        f"if this is intended, raise its version and run: python tests/golden.py {task}"
    )
