"""Trajectories and scores are those that another machine recorded."""

from __future__ import annotations

import json

import pytest

from golden import FILE, of_task
from lastmile.tasks import task_names

GOLDEN = json.loads(FILE.read_text())


def test_every_task_has_its_digests():
    assert sorted(GOLDEN) == sorted(task_names()), "refresh them: python tests/golden.py"


@pytest.mark.parametrize("task", sorted(GOLDEN))
def test_episodes_are_the_same_on_every_machine(task):
    assert of_task(task) == GOLDEN[task], (
        "if the change of the task is meant: python tests/golden.py"
    )
