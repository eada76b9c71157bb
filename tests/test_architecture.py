"""The house.

No import cycles, who does without torch, files of readable length, rules without logic.
"""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from lastmile.pipeline.stages import stage_names
from lastmile.provenance import fingerprints
from lastmile.studies import study_names
from lastmile.studies.render import figure_names
from lastmile.tasks import task_names

PACKAGE = fingerprints.ROOT
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_template" not in path.parts)
LONGEST = 450
"""Lines of a file that is still read in one sitting."""
LONG: dict[str, str] = {}
"""Files that are longer, with the reason."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join([PACKAGE.name, *parts]).removesuffix(".__init__")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_imports_have_no_cycles() -> None:
    graph = {
        path: {
            file for name in fingerprints.imports(path) if (file := fingerprints.module_file(name))
        }
        # `from lastmile.screen import text` names the package, but takes a module of it.
        - {path.with_name("__init__.py")}
        for path in MODULES
    }
    try:
        list(
            TopologicalSorter(
                {path: files - {path} for path, files in graph.items()}
            ).static_order()
        )
    except CycleError as error:
        cycle = " -> ".join(name_of(path) for path in error.args[1])
        pytest.fail(f"these modules import each other: {cycle}")


def test_the_root_of_the_package_is_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) < 10


def test_no_code_outside_a_task_names_it() -> None:
    """A task is a folder and nothing else."""
    for path in MODULES:
        if path.parent.parent == PACKAGE / "tasks":
            continue
        imported = {
            name.split(".")[2] for name in fingerprints.imports(path) if name.count(".") > 1
        }
        assert not imported & set(task_names()), path


def test_what_does_without_torch() -> None:
    modules = [
        name_of(path)
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0]
        in ("screen", "storage", "tasks", "simulation", "studies")
        or path.parent == PACKAGE
        or path.parent.name in ("stages", "provenance")
    ]
    modules += [
        "lastmile.pipeline.plan",
        "lastmile.evaluation.annotators",
        "lastmile.evaluation.watch",
    ]
    modules.remove("lastmile.__main__")
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_figures_import_no_tasks() -> None:
    modules = [f"lastmile.studies.{name}.figure" for name in figure_names()]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "sys.exit(any('lastmile.tasks' in name for name in sys.modules))"
    )
    assert python(code).returncode == 0


def test_imports_are_absolute() -> None:
    """Relative imports are not seen by fingerprints."""
    for path in MODULES:
        assert not re.search(r"^\s*from \.", path.read_text(), re.MULTILINE), path


def test_names_of_rules_are_unique() -> None:
    """A stage and the target of a figure are both rules."""
    assert not set(stage_names()) & set(study_names())


def test_files_stay_readable(root: Path) -> None:
    assert len((root / "Snakefile").read_text().splitlines()) < 90
    for path in [*MODULES, *(root / "rules").glob("*.smk")]:
        lines = len(path.read_text().splitlines())
        name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
        assert lines <= LONGEST or name in LONG, f"{path} has {lines} lines"


def test_rules_hold_no_logic(root: Path) -> None:
    pattern = r"^\s*(?:script|run|notebook|checkpoint)\b.*:|\blambda\b|import torch"
    for path in [root / "Snakefile", *(root / "rules").glob("*.smk")]:
        found = re.findall(pattern, path.read_text(), re.MULTILINE)
        assert not found, f"{path}: {found}"


def test_every_stage_has_one_name(root: Path) -> None:
    """Module, rule, verb, log: all are called alike."""
    rules = "\n".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    for name in stage_names():
        assert re.search(rf"^rule {name}:", rules, re.MULTILINE), name
        assert f'f"{{RESULTS}}/logs/{name}/' in rules, name
        assert f'command("{name}")' in rules, name


def test_planning_does_without_tables() -> None:
    """Every `snakemake -n`, and every job on a cluster, imports what plans."""
    code = (
        "import sys; from pathlib import Path; from lastmile import config\n"
        "from lastmile.pipeline import damage, lock, plan\n"
        "jobs = plan.Jobs(config.parse({}, 'none'))\n"
        "jobs.outputs(Path('results'))\n"
        "sys.exit(' '.join({'torch', 'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules)) or None)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
