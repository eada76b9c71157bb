"""New tasks, made by `lastmile new-task` in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lastmile
from lastmile.cli import main
from lastmile.config import Settings, task_list
from lastmile.errors import LastmileError
from lastmile.tasks import task_names
from lastmile.tasks._template.create import FILES, KINDS, check_name, create_task

PACKAGE = Path(lastmile.__file__).parent
NAMES = {"place": "zebra_counting", "decide": "apple_sorting"}
"""A name that sorts after those of the modules of the package, and one that sorts before them."""


@pytest.fixture(scope="module")
def extended(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with two new tasks."""
    folder = tmp_path_factory.mktemp("extended")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "src" / "lastmile", ignore=ignore)
    shutil.copytree(root / "tests", folder / "tests", ignore=ignore)
    for name in ("config.yaml", "Snakefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(root / name, folder)
    for kind, name in NAMES.items():
        out = python(folder, "-m", "lastmile", "new-task", name, "--kind", kind)
        assert out.splitlines()[: len(FILES)] == [
            str(folder / "src" / "lastmile" / "tasks" / name / file) for file in FILES
        ]
        assert f"python -m pytest tests/test_tasks.py -k {name}" in out
        assert f"python tests/golden.py {name}" in out
    return folder


def python(folder: Path, *arguments: str) -> str:
    """What Python prints with the copy of the package."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "src"), str(folder / "tests")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_task_is_a_folder_and_nothing_else(extended: Path) -> None:
    code = """
import json, gymnasium, lastmile, lastmile.tasks
from lastmile.config import parse, task_list
from lastmile.evaluation.annotators import check
facts = {"file": lastmile.__file__, "names": lastmile.task_names()}
facts["studied"] = task_list(parse({}))
for name, id in (("zebra_counting", "ZebraCounting"), ("apple_sorting", "AppleSorting")):
    env = gymnasium.make(f"lastmile/{id}-v0")
    task = lastmile.tasks.get_task(name)
    facts[name] = {
        "screen": env.reset(seed=0)[0].shape,
        "title": task.interface.title,
        "class": type(task).__name__,
        "page": type(task).__doc__,
        "oracle": check(name, 20, "oracle", "start", "short")["success"],
        "anywhere": check(name, 20, "oracle", "random", "full")["success"],
        "typical": check(name, 40, "typical", "start", "short"),
        "blind": check(name, 10, "blind", "start", "short")["success"],
    }
print(json.dumps(facts))
"""
    facts = json.loads(python(extended, "-c", code))
    assert facts["file"].startswith(str(extended))
    assert facts["names"] == sorted({*task_names(), *NAMES.values()})
    assert facts["studied"] == sorted({*task_list(Settings()), *NAMES.values()})
    for name, stem, title in (
        ("zebra_counting", "ZebraCounting", "Zebra counting"),
        ("apple_sorting", "AppleSorting", "Apple sorting"),
    ):
        task = facts[name]
        assert task["screen"] == [126, 168, 3]
        assert (task["class"], task["title"]) == (stem, title)
        assert "**What it is.**" in task["page"]
        assert task["oracle"] == task["anywhere"] == 1 and task["blind"] <= 0.2
        assert task["typical"]["success"] >= 0.85
        assert 0.05 <= task["typical"]["mistakes_per_placement"] <= 0.3


@pytest.mark.parametrize("name", NAMES.values())
def test_a_new_task_can_be_recorded_and_tokenized(extended: Path, name: str) -> None:
    code = f"""
import lastmile
from lastmile.simulation import tokens
recording = lastmile.record("{name}", episodes=2, out="{name}.parquet")
tokens.write("{name}.tokens", recording)
print(len(recording.steps), tokens.TokenStore("{name}.tokens").frames)
"""
    steps, frames = python(extended, "-c", code).split()
    assert int(steps) == int(frames) > 10
    assert (extended / f"{name}.tokens").stat().st_size > 1000


def test_new_tasks_have_a_place_in_every_study(extended: Path) -> None:
    arguments = ["-m", "lastmile", "plan", "--cores", "2"]
    everything = python(extended, *arguments)
    assert everything.startswith(f"desk: {len(task_list(Settings())) + len(NAMES)} tasks")
    for name in NAMES.values():
        one = python(extended, *arguments, "--config", f"tasks=[{name}]")
        assert one.startswith("desk: 1 task")


def test_a_new_task_fulfills_the_contract(extended: Path) -> None:
    selected = " or ".join(NAMES.values())
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    out = python(extended, "-m", "pytest", *quiet, "tests/test_tasks.py", "-k", selected)
    assert re.search(r"\d+ passed", out) or set(out.split()[0]) == {"."}
    assert "failed" not in out and "F" not in out


def test_a_new_task_has_golden_digests(extended: Path) -> None:
    python(extended, "tests/golden.py", *NAMES.values())
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    selected = " or ".join(NAMES.values())
    out = python(extended, "-m", "pytest", *quiet, "tests/test_golden.py", "-k", selected)
    assert "failed" not in out


def test_a_new_task_is_typed_and_tidy(root: Path, extended: Path) -> None:
    pytest.importorskip("mypy")
    pytest.importorskip("ruff")
    known = root / ".mypy_cache"  # of what has not changed, if the repository was checked before
    if known.is_dir():
        shutil.copytree(known, extended / known.name)
    folders = [f"src/lastmile/tasks/{name}" for name in NAMES.values()]
    python(extended, "-m", "ruff", "check", *folders)
    python(extended, "-m", "ruff", "format", "--check", *folders)
    python(extended, "-m", "mypy", *folders)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_template_is_left(tmp_path: Path, kind: str) -> None:
    paths = create_task("point_counting", kind, tmp_path)
    assert sorted(path.name for path in (tmp_path / "point_counting").iterdir()) == list(FILES)
    for path in paths:
        assert "template" not in path.read_text(encoding="utf-8").lower()
    assert "class PointCounting(Task[PointCountingWorld, " in paths[0].read_text(encoding="utf-8")


def test_templates_are_not_tasks() -> None:
    assert not any("template" in name for name in task_names())


@pytest.mark.parametrize(
    "name, words",
    [
        ("PointCounting", "expected snake case, such as point_counting"),
        ("point-counting", "expected snake case"),
        ("point__counting", "expected snake case"),
        ("_counting", "expected snake case"),
        ("1_point", "expected snake case"),
        ("../point", "expected snake case"),
        ("", "expected snake case"),
        ("class", "expected snake case"),
        ("colored_dots", "task 'colored_dots' already exists"),
        ("annotator", "lastmile.tasks.annotator is a module"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    before = sorted((PACKAGE / "tasks").iterdir())
    with pytest.raises(LastmileError, match=re.escape(words)):
        check_name(name)
    assert main(["new-task", name]) == 1
    assert words in capsys.readouterr().err
    assert sorted((PACKAGE / "tasks").iterdir()) == before


def test_an_existing_folder_is_left_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["new-task", "point_counting", "--folder", str(tmp_path)]) == 0
    path = tmp_path / "point_counting" / "world.py"
    path.write_text("mine")
    capsys.readouterr()
    assert main(["new-task", "point_counting", "--folder", str(tmp_path)]) == 1
    assert "already exists" in capsys.readouterr().err and path.read_text() == "mine"
