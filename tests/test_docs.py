"""The documentation agrees with the code: pages, pictures, code blocks, commands, links."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from PIL import Image

from fault_log import FAILED
from lastmile.tasks import task_names

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if path.parent.name not in ("api", "reference")),
]
GENERATED = ("api/", "reference/")
"""Folders that only exist after `make docs`."""
NOT_RUN = "<!-- not run:"
"""Starts the line before a block of Python that cannot be run by itself; the reason follows."""


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def docs_modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The scripts `task_pages` and `reference_pages`."""
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module("task_pages"), importlib.import_module("reference_pages")
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def task_pages(docs_modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return docs_modules[0]


@pytest.fixture(scope="module")
def reference(docs_modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return docs_modules[1]


# Task pages


def test_task_pages_are_current(task_pages: ModuleType) -> None:
    pages = task_pages.pages()
    written = {
        path.name: path.read_text(encoding="utf-8") for path in (DOCS / "tasks").glob("*.md")
    }
    assert written == pages, "run: python docs/task_pages.py"


@pytest.mark.usefixtures("docs_modules")
def test_the_page_about_faults_is_current() -> None:
    fault_table = importlib.import_module("fault_table")
    faults = fault_table.read(fault_table.RECORD)
    assert fault_table.PAGE.read_text() == fault_table.page(faults), (
        "run: python docs/fault_table.py"
    )
    assert not [fault for fault in faults if fault["outcome"] == FAILED]


def test_every_task_has_a_picture(task_pages: ModuleType) -> None:
    limits = {DOCS / "tasks" / f"{name}.png": task_pages.EPISODE_LIMITS for name in task_names()}
    assert set((DOCS / "tasks").glob("*.png")) == set(limits)
    for path, (widest, largest) in {
        **limits,
        DOCS / "tasks.png": task_pages.OVERVIEW_LIMITS,
    }.items():
        assert path.stat().st_size <= largest
        assert 800 <= Image.open(path).width <= widest


@pytest.mark.parametrize("length", [1, 5, 10, 11, 300])
def test_moments_of_an_episode_are_ten_at_most_with_the_first_and_the_last(
    task_pages: ModuleType, length: int
) -> None:
    phases = [
        "explore" if i < length // 3 else "annotate" if i % 7 else "correct" for i in range(length)
    ]
    kinds = ["undo" if phase == "correct" else "place" for phase in phases]
    steps = task_pages.moments(phases, kinds)
    assert len(steps) == min(length, task_pages.SHOWN) == len(set(steps))
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == length - 1


def test_meanings_of_numbers_come_from_the_docstring(task_pages: ModuleType) -> None:
    text = (
        "Numbers.\n\nAttributes:\n    a, b: First\n        and last.\n    c: Other.\n\nMore: text."
    )
    assert dict(task_pages._attributes(text)) == {
        "a": "First and last.",
        "b": "First and last.",
        "c": "Other.",
    }
    assert dict(task_pages._attributes("Without.")) == {}


# Blocks of code


def blocks(path: Path, language: str) -> list[tuple[str, bool]]:
    """Return the code blocks of a page, and whether each can be run."""
    text = path.read_text(encoding="utf-8")
    pattern = rf"^(<!--[^\n]*-->\n)?```{language}\n(.*?)^```$"
    matches = re.finditer(pattern, text, re.MULTILINE | re.DOTALL)
    return [(match[2], not (match[1] or "").startswith(NOT_RUN)) for match in matches]


PYTHON = [
    pytest.param(code, runs, id=f"{page_id(path)}-{number}")
    for path in PAGES
    for number, (code, runs) in enumerate(blocks(path, "python"))
]


@pytest.mark.parametrize("code, runs", PYTHON)
def test_python_in_the_pages_works(
    code: str, runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if runs:
        exec(compile(code, "page", "exec"), {"__name__": "page"})
    else:
        check_names(code)


def check_names(code: str) -> None:
    """Check that the names of lastmile that some code uses exist."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lastmile"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                found = hasattr(module, alias.name)
                module_name = f"{node.module}.{alias.name}"
                assert found or importlib.util.find_spec(module_name), ast.unparse(node)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lastmile":
            assert hasattr(importlib.import_module("lastmile"), node.attr), ast.unparse(node)


def test_the_notebook_runs_and_holds_no_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads((DOCS / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)
    namespace: dict[str, object] = {"__name__": "notebook"}
    for cell in code:
        exec(compile("".join(cell["source"]), "notebook", "exec"), namespace)
    assert namespace["terminated"] is True
    assert namespace["info"]["success"] is True  # type: ignore[index]  # a dictionary


# Commands


def commands(path: Path) -> set[str]:
    """Return the commands of lastmile in a page's shell blocks and code spans."""
    text = path.read_text(encoding="utf-8")
    lines = [line for code, _ in blocks(path, "sh") for line in code.splitlines()]
    spans = re.findall(r"`((?:python -m )?lastmile [^`\n]+)`", text)
    return {
        line.partition("  #")[0].strip().removeprefix("python -m ")
        for line in [*lines, *spans]
        if re.match(r"\s*(python -m )?lastmile [a-z]", line)
    }


COMMANDS = sorted({command for path in PAGES for command in commands(path)})
PLACEHOLDERS = {
    "NAME": "record",  # `lastmile stage NAME`
    "VERB": "run",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_the_pages_exist(reference: ModuleType, command: str) -> None:
    """Every verb exists and takes the options that the pages give it."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)[1:] if word != "..."]
    group: click.Command = reference.root_command()
    while isinstance(group, click.Group):
        child = group.get_command(click.Context(group), words.pop(0))
        assert child is not None, f"no such verb: {command}"
        group = child
        if not words:
            return  # a verb that is only named

    options = {name for parameter in group.params for name in parameter.opts}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used - {"--help"} <= options, f"unknown options in: {command}"
    if "--help" not in used:
        group.make_context(words[0], words, resilient_parsing=True)


def test_every_verb_is_mentioned(reference: ModuleType) -> None:
    """People find every verb in the pages; `stage` and its jobs are for the workflow."""
    text = "".join(path.read_text(encoding="utf-8") for path in [*PAGES, ROOT / "CHANGELOG.md"])
    named = set(re.findall(r"[\w-]+", text))
    root_command = reference.root_command()
    assert set(root_command.list_commands(click.Context(root_command))) <= named


def test_every_stage_is_described() -> None:
    from lastmile.pipeline.stages import stage_names

    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Stages")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(stage_names())


# Links


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in link and not link.removeprefix("../").startswith(GENERATED):
            assert (path.parent / link).exists(), f"{page_id(path)} links to {link}"
