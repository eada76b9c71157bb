"""The pages: in step with the code, and true to what they promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lastmile import docs, provenance
from lastmile.tasks import task_names

NAME = "point_counting"


def test_the_pages_are_those_of_the_code(root):
    assert (root / "docs" / "tasks.md").read_text(encoding="utf-8") == docs.page(), (
        "run: python -m lastmile docs"
    )


def test_every_task_has_its_picture(root):
    pictures = {root / "docs" / "tasks" / f"{name}.png": docs.EPISODE for name in task_names()} | {
        root / "docs" / "tasks.png": docs.ALL
    }
    assert set((root / "docs" / "tasks").iterdir()) == set(pictures) - {root / "docs" / "tasks.png"}
    for path, (widest, largest) in pictures.items():
        assert path.stat().st_size <= largest and 800 <= Image.open(path).width <= widest


@pytest.mark.parametrize("length", [1, 5, 10, 11, 300])
def test_moments_of_an_episode_are_ten_at_most_with_the_first_and_the_last(length):
    phases = [
        "explore" if i < length // 3 else "annotate" if i % 7 else "correct" for i in range(length)
    ]
    chosen = docs.moments(phases, ["undo" if phase == "correct" else "place" for phase in phases])
    assert len(chosen) == min(length, docs.SHOWN) == len(set(chosen))
    assert chosen == sorted(chosen) and chosen[0] == 0 and chosen[-1] == length - 1


@pytest.fixture(scope="module")
def extended(root, tmp_path_factory) -> Path:
    """A copy of the package with the task of adding_a_task.md in it."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(
        provenance.ROOT, folder / "lastmile", ignore=shutil.ignore_patterns("__pycache__")
    )
    page = (root / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^`(\w+\.py)`\n\n```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert sorted(name for name, _ in blocks) == [
        "__init__.py",
        "annotator.py",
        "interface.py",
        "world.py",
    ]
    (folder / "lastmile" / "tasks" / NAME).mkdir()
    for name, code in blocks:
        (folder / "lastmile" / "tasks" / NAME / name).write_text(code, encoding="utf-8")
    return folder


def python(folder: Path, *arguments: str) -> str:
    """What Python prints with the copy of the package."""
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_task_is_a_folder_and_nothing_else(extended):
    code = f"""
import json, gymnasium, lastmile.docs as docs, lastmile.env
from lastmile.check import check
from lastmile.config import parse, task_list
from lastmile.tasks import task_names
env = gymnasium.make("lastmile/PointCounting-v0")
screen, _ = env.reset(seed=0)
facts = {{
    "file": docs.__file__, "tasks": task_names(), "studied": task_list(parse({{}})), "screen": screen.shape, "page": docs.page(),
    "picture": docs.episode_picture("{NAME}").shape,
    "oracle": check("{NAME}", 20, "oracle")["success"], "anywhere": check("{NAME}", 20, "oracle", "random")["success"],
    "typical": check("{NAME}", 20), "blind": check("{NAME}", 5, "blind")["success"],
}}
print(json.dumps(facts))
"""
    facts = json.loads(python(extended, "-c", code))
    assert facts["file"].startswith(str(extended))
    assert set(facts["tasks"]) == {*task_names(), NAME} and facts["studied"] == facts["tasks"]
    assert facts["screen"] == [126, 168, 3] and len(facts["picture"]) == 3
    assert (
        "## Point counting" in facts["page"]
        and "| `smooth` | View: Smooth | look |" in facts["page"]
        and "lastmile/PointCounting-v0" in facts["page"]
    )
    assert facts["oracle"] == facts["anywhere"] == 1 and facts["blind"] == 0
    assert (
        facts["typical"]["success"] >= 0.95
        and 0.05 <= facts["typical"]["mistakes_per_placement"] <= 0.3
    )


def test_the_new_task_can_be_recorded(extended):
    spec = json.dumps({"task": NAME, "split": "test", "seed": 0, "episodes": 2})
    python(extended, "-m", "lastmile", "trajectories", "--spec", spec, "--out", "test.parquet")
    python(
        extended,
        "-m",
        "lastmile",
        "tokens",
        "--trajectories",
        "test.parquet",
        "--out",
        "test.tokens",
    )
    assert (extended / "test.tokens").stat().st_size > 1000


def test_the_new_task_fulfils_the_contract(extended, root):
    tests = extended / "tests"
    tests.mkdir()
    shutil.copy(root / "tests" / "test_tasks.py", tests)
    out = python(
        extended,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "tests/test_tasks.py",
        "-k",
        NAME,
    )
    assert " passed" in out and "failed" not in out
