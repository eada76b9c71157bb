"""The directions of the house: who imports whom, who does without torch, and that a fingerprint covers what a result depends on."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lastmile import provenance
from lastmile.tasks import task_names

PACKAGE = provenance.ROOT
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {
    "files": 0,
    "seal": 0,
    "parquet": 1,
    "verify": 1,
    "workplace": 2,
    "why": 2,
    "status": 3,
    "live": 4,
    "progress": 0,
    "config": 0,
    "provenance": 0,
    "screen": 0,
    "": 0,
    "tasks": 1,
    "annotator": 1,
    "trajectory": 2,
    "env": 2,
    "tokens": 3,
    "policy": 4,
    "evaluation": 5,
    "probing": 5,
    "check": 5,
    "studies": 6,
    "figures": 6,
    "plan": 7,
    "rates": 8,
    "steps": 8,
    "overview": 7,
    "watch": 7,
    "bench": 7,
    "docs": 7,
    "__main__": 9,
}
"""From the ground up. A part imports from itself and from lower levels; parts of one level know nothing of each other."""
ALLOWED = {
    ("annotator", "tasks"),
    ("tasks", "annotator"),
    ("screen", ""),
    ("provenance", "files"),
    ("progress", "files"),
}
"""What all annotators share knows the contract of a task, and the annotators of tasks build on it."""
LAZY = {"config": {"annotator", "screen", "tasks"}}
"""Imported inside functions: names are checked against what exists."""
LONG: dict[str, str] = {}
"""Files of more than 420 lines, with the reason."""


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def name_of(path: Path) -> str:
    return ".".join(["lastmile", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


def eager(path: Path) -> set[str]:
    """Parts of the package that are imported outside of functions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            node.body = []
    return parts_of(tree)


def parts_of(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not seen by fingerprints"
            found |= (
                {f"lastmile.{alias.name}" for alias in node.names}
                if node.module == "lastmile"
                else {node.module}
            )
    return {part(name) for name in found if name.split(".")[0] == "lastmile"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_to_the_ground(path):
    mine = part(name_of(path))
    assert mine in LEVELS, f"say at which level '{mine}' stands"
    for other in parts_of(ast.parse(path.read_text())) - {mine}:
        lower = LEVELS[other] < LEVELS[mine]
        lazy = other in LAZY.get(mine, ()) and other not in eager(path)
        assert lower or lazy or (mine, other) in ALLOWED, f"{name_of(path)} must not import {other}"


def test_screen_and_figures_know_little():
    for path in (PACKAGE / "screen").glob("*.py"):
        assert parts_of(ast.parse(path.read_text())) <= {"screen"}
    for path in (PACKAGE / "figures").glob("*.py"):
        assert parts_of(ast.parse(path.read_text())) <= {"figures", "files"}


def test_no_task_is_known_by_name():
    """A task is a folder and nothing else: no code outside it imports it."""
    known = {
        path.relative_to(PACKAGE).parts[1]
        for path in provenance.closure("lastmile.__main__")
        if path.parent.parent == PACKAGE / "tasks"
    }
    assert not known


def test_what_does_without_torch():
    parts = [
        "screen",
        "annotator",
        "trajectory",
        "env",
        "config",
        "tokens",
        "check",
        "watch",
        "__main__",
    ]
    folders = [
        f"lastmile.{folder}.{path.stem}"
        for folder in ("figures", "studies")
        for path in (PACKAGE / folder).glob("[!_]*.py")
    ]
    names = (
        [f"lastmile.{name}" for name in parts]
        + [f"lastmile.tasks.{task}" for task in task_names()]
        + folders
    )
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_figures_import_no_tasks():
    code = "import sys, lastmile.figures as f; [f.get_figure(n) for n in f.figure_names()]; sys.exit(any('lastmile.tasks' in m for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_files_stay_readable(root):
    assert len((root / "Snakefile").read_text().splitlines()) < 80
    for path in [*MODULES, *(root / "rules").glob("*.smk")]:
        lines = len(path.read_text().splitlines())
        assert lines <= 420 or path.relative_to(PACKAGE).as_posix() in LONG, (
            f"{path} has {lines} lines"
        )


def test_rules_hold_no_logic(root):
    for path in [root / "Snakefile", *(root / "rules").glob("*.smk")]:
        found = re.findall(
            r"^\s*(?:script|run|notebook|checkpoint)\b.*:|\blambda\b|import torch",
            path.read_text(),
            re.MULTILINE,
        )
        assert not found, f"{path}: {found}"


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package that fingerprints are taken of."""
    copy = tmp_path / "lastmile"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", copy)
    forget()
    yield copy
    forget()


def forget() -> None:
    provenance.imports.cache_clear()
    provenance.fingerprint.cache_clear()


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# edited\n")
    forget()


DOTS, SEARCH = "tasks/colored_dots/world.py", "tasks/object_exploration/world.py"


@pytest.mark.parametrize(
    "module, tasks, inside, outside",
    [
        (
            "trajectory",
            ("colored_dots",),
            ["trajectory.py", "annotator.py", "screen/layout.py", "tasks/task.py", DOTS],
            ["env.py", "tokens.py", SEARCH],
        ),
        (
            "tokens",
            ("colored_dots",),
            ["tokens.py", "screen/raster.py", "trajectory.py", DOTS],
            ["policy/policy.py", "figures/style.py", SEARCH],
        ),
        (
            "policy.runs",
            (),
            ["policy/head.py", "policy/training.py", "tokens.py", "files.py"],
            ["evaluation/skills.py", "studies/emergence.py", DOTS],
        ),
        (
            "evaluation.skills",
            ("colored_dots",),
            ["evaluation/skills.py", "policy/policy.py", DOTS],
            ["evaluation/rollout.py", "policy/training.py", SEARCH],
        ),
        (
            "evaluation.rollout",
            ("colored_dots",),
            ["env.py", "policy/head.py"],
            ["evaluation/recovery.py", "probing/probes.py"],
        ),
        (
            "probing.probes",
            ("colored_dots",),
            ["probing/activations.py", "policy/context.py"],
            ["evaluation/skills.py", "figures/probes.py"],
        ),
        (
            "studies.emergence",
            (),
            ["studies/claims.py", "evaluation/statistics.py"],
            ["studies/mistakes.py", "figures/emergence.py", "policy/policy.py"],
        ),
        (
            "figures.emergence",
            (),
            ["figures/emergence.py", "figures/style.py"],
            ["figures/mistakes.py", "studies/emergence.py", "screen/raster.py"],
        ),
    ],
)
def test_a_fingerprint_changes_with_its_files_and_with_no_other(
    package, module, tasks, inside, outside
):
    def taken() -> str:
        return provenance.fingerprint(f"lastmile.{module}", tasks)

    first = taken()
    for name in outside:
        edit(package / name)
        assert taken() == first, name
    seen = {first}
    for name in inside:
        edit(package / name)
        assert taken() not in seen, name
        seen.add(taken())


def test_an_edited_task_changes_its_own_line_alone(package):
    modules = (
        "trajectory",
        "tokens",
        "evaluation.skills",
        "evaluation.rollout",
        "evaluation.recovery",
        "probing.probes",
    )
    tasks = task_names()

    def taken() -> dict:
        return {
            (module, task): provenance.fingerprint(f"lastmile.{module}", (task,))
            for module in modules
            for task in tasks
        }

    before = taken()
    edit(package / DOTS)
    after = taken()
    assert {key for key in before if before[key] != after[key]} == {
        (module, "colored_dots") for module in modules
    }


def test_a_module_that_does_not_exist_has_no_fingerprint():
    with pytest.raises(ValueError, match="no module 'lastmile.nothing'"):
        provenance.closure("lastmile.nothing")
    with pytest.raises(ValueError, match="no module 'lastmile.tasks.colored_cats'"):
        provenance.closure("lastmile.tokens", ("colored_cats",))
