"""Fingerprints: no change of code is missed, and no change of prose makes anything stale."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastmile.config import load
from lastmile.errors import LastmileError
from lastmile.pipeline.plan import Jobs
from lastmile.pipeline.stages import stage_names
from lastmile.provenance import fingerprints

PACKAGE = fingerprints.ROOT
DOTS, PLUME = "tasks/colored_dots/world.py", "tasks/plume_finding/world.py"
OWN = {
    "record": ('Progress(f"record ', 'Progress(f"recording '),
    "tokenize": ("trajectory.read(inputs.steps)", "trajectory.read(Path(inputs.steps))"),
    "train": ("seed=spec.seed,\n            policy", "seed=spec.seed + 0,\n            policy"),
    "repair_record": ("spec.temperature,", "spec.temperature + 1,"),
    "skills": ("starts[:-1], starts[1:]", "starts[:-2], starts[1:]"),
    "closed_loop": ('who="policy"', 'who="policies"'),
    "closed_loop_curve": ("frames=frames", "frames=frames + 1"),
    "recovery": ("            RECOVERY_STEPS,", "            RECOVERY_STEPS + 1,"),
    "reference_players": ("table.insert(0,", "table.insert(1,"),
    "deferral": ("spec.max_steps,", "spec.max_steps + 1,"),
    "other_looks": ("spec.max_steps,", "spec.max_steps + 1,"),
    "side_by_side": ("spec.max_steps,", "spec.max_steps + 1,"),
    "speed": ("steps=spec.updates", "steps=spec.updates + 1"),
    "linear_probes": ("spec.frames,", "spec.frames - 1,"),
    "cross_task_probes": ("spec.seed,", "spec.seed + 1,"),
    "example": ("int(spec.max_steps * median)", "int(spec.max_steps * median) + 1"),
    "study": ('float_format="%.6g"', 'float_format="%.5g"'),
    "figure": ('with_suffix("")', 'with_suffix(".x")'),
    "findings": ("to_json(claims)", "to_json(claims[:0])"),
    "run_table": ("round(frames / seconds, 1)", "round(frames / seconds, 2)"),
    "report": ("report_page(spec, inputs)", "report_page(spec, inputs)[1:]"),
}
"""A constant or a call in the `run` of every stage, and another one in its place."""
HELPERS = {
    "simulation/session.py": {*stage_names()} - {"figure", "run_table"},
    "training/loop.py": {"train"},
    "training/module.py": {"train", "speed"},
    "policy/head.py": {"train", "skills", "closed_loop", "closed_loop_curve", "recovery", "speed"}
    | {"linear_probes", "cross_task_probes", "example", "deferral", "side_by_side", "other_looks"}
    | {"repair_record"},
    "evaluation/demonstrations.py": {"repair_record"},
    "policy/regions.py": {"deferral"},
    "evaluation/deferral.py": {"deferral"},
    "evaluation/recovery.py": {"recovery", "cross_task_probes"},
    "evaluation/closed_loop.py": {"closed_loop", "closed_loop_curve", "recovery", "speed"}
    | {"cross_task_probes", "example", "deferral", "side_by_side", "other_looks", "repair_record"},
    "evaluation/other_looks.py": {"other_looks"},
    "simulation/redrawing.py": {"other_looks"},
    "evaluation/side_by_side.py": {"side_by_side"},
    "tasks/colored_dots/script.py": {"reference_players"},
    "tasks/script.py": {"reference_players"},
    "evaluation/players.py": set(),
    "evaluation/playing.py": {"reference_players"},
    "probing/generalization.py": {"cross_task_probes"},
    "probing/steering.py": {"cross_task_probes"},
    "studies/style.py": {"figure"},
    "pipeline/report_page.py": {"report"},
    "pipeline/report_examples.py": {"report"},
    "pipeline/examples.py": {"example", "report"},
    "viewer/page.py": {"example"},
    "pipeline/status.py": set(),
    "pipeline/plan.py": set(),
    "pipeline/runner.py": set(),
    "performance/bench.py": set(),
    "cli/study.py": set(),
}
"""Modules that stages use, and exactly the stages that go stale with them."""
PROSE = {
    "comment": lambda text: text + "\n\n# a comment\n",
    "docstring": lambda text: text.replace('"""', '"""Other words. ', 1),
    "blank lines": lambda text: text.replace("\n\n", "\n\n\n\n"),
    "a string that is no code": lambda text: text + '\n"""Words."""\n',
}


@pytest.fixture(scope="module")
def jobs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """All jobs of the preset `smoke`, with interfaces compared.

    Of recordings of people, planning reads the names.
    """
    recordings = tmp_path_factory.mktemp("recordings")
    (recordings / "person").mkdir()
    (recordings / "person" / "colored_dots-short-0-0.jsonl").touch()
    settings = load(root / "config.yaml", root / "workflow" / "presets" / "smoke.yaml")
    more = {
        "recordings": (str(recordings),),
        "layouts": settings.layouts.model_copy(update={"tasks": ("colored_dots",)}),
        "repair": settings.repair.model_copy(update={"tasks": ("colored_dots",)}),
    }
    return Jobs(settings.model_copy(update=more))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that fingerprints are taken of."""
    copy = tmp_path / "lastmile"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.json", "*.ttf"))
    monkeypatch.setattr(fingerprints, "ROOT", copy)
    forget()
    yield copy
    forget()


def forget() -> None:
    """Look at the files again; what was parsed is known by their bytes."""
    for cached in (
        "_facts",
        "module_file",
        "imports",
        "_module",
        "fingerprint",
        "installed_version",
    ):
        getattr(fingerprints, cached).cache_clear()


def labels(jobs: Jobs) -> dict[tuple[str, tuple[str, ...]], str]:
    """The code of every job, by stage and labels."""
    forget()
    return {
        (stage, key): jobs.code(stage, spec)
        for stage in stage_names()
        for key, spec in jobs.specs(stage).items()
    }


def stale(jobs: Jobs, before: dict) -> set[tuple[str, tuple[str, ...]]]:
    """The jobs whose code is another one now."""
    now = labels(jobs)
    return {key for key in before if before[key] != now[key]}


def test_every_stage_is_tried(jobs: Jobs) -> None:
    assert set(OWN) == set(stage_names())
    assert all(jobs.specs(stage) for stage in OWN)


def test_a_changed_call_in_a_stage_makes_exactly_its_results_stale(
    package: Path, jobs: Jobs
) -> None:
    for stage, (old, new) in OWN.items():
        before = labels(jobs)
        path = package / "pipeline" / "stages" / f"{stage}.py"
        text = path.read_text()
        assert old in text, stage
        path.write_text(text.replace(old, new))
        assert stale(jobs, before) == {key for key in before if key[0] == stage}, stage
        path.write_text(text)


def test_a_changed_helper_makes_exactly_those_stale_that_use_it(package: Path, jobs: Jobs) -> None:
    for name, stages in HELPERS.items():
        before = labels(jobs)
        path = package / name
        path.write_text(path.read_text() + "\nEDITED = 1\n")
        assert {stage for stage, _ in stale(jobs, before)} == stages, name


def test_a_changed_task_makes_exactly_its_own_results_stale(package: Path, jobs: Jobs) -> None:
    before = labels(jobs)
    path = package / PLUME
    path.write_text(path.read_text() + "\nEDITED = 1\n")
    expected = {
        (stage, key)
        for stage in stage_names()
        for key, spec in jobs.specs(stage).items()
        if "tasks.plume_finding" in before[stage, key]
    }
    assert stale(jobs, before) == expected
    stages = {stage for stage, _ in expected}
    assert {"record", "tokenize", "skills", "closed_loop", "cross_task_probes", "study"} <= stages
    assert not any("colored_dots" in key for stage, key in expected if stage != "cross_task_probes")


def test_a_changed_study_or_figure_is_its_own(package: Path, jobs: Jobs) -> None:
    before = labels(jobs)
    for name in ("study", "figure"):
        path = package / "studies" / "emergence" / f"{name}.py"
        path.write_text(path.read_text() + "\nEDITED = 1\n")
        expected: set[tuple[str, tuple[str, ...]]] = {(name, ("emergence",))}
        if name == "study":  # it also says how its claims are put into words
            expected |= {("findings", ()), ("report", ())}
        assert stale(jobs, before) == expected
        before = labels(jobs)


@pytest.mark.parametrize("change", PROSE)
def test_prose_makes_nothing_stale(package: Path, jobs: Jobs, change: str) -> None:
    before = labels(jobs)
    for path in package.rglob("*.py"):
        changed = PROSE[change](path.read_text())
        compile(changed, str(path), "exec")
        path.write_text(changed)
    assert stale(jobs, before) == set()


def test_formatting_makes_nothing_stale(package: Path, jobs: Jobs) -> None:
    pytest.importorskip("ruff")
    before = labels(jobs)
    sources = {path: path.read_text() for path in package.rglob("*.py")}
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "60"]
    subprocess.run([*command, str(package)], check=True, capture_output=True)
    assert sum(path.read_text() != text for path, text in sources.items()) > 50
    assert stale(jobs, before) == set()


def test_planning_is_no_code_of_a_stage(package: Path, jobs: Jobs) -> None:
    """What `wanted` decides is in the spec, and what `cost` says is in no result."""
    before = labels(jobs)
    path = package / "pipeline" / "stages" / "skills.py"
    text = path.read_text()
    path.write_text(text.replace("points = 1 + ", "points = 2 + "))
    assert path.read_text() != text and stale(jobs, before) == set()


def test_another_version_of_a_package_makes_exactly_those_stale_that_import_it(
    package: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = labels(jobs)
    version = fingerprints.version
    installed = {name for label in before.values() for name in fingerprints.code_packages(label)}
    for name, part in (("torch", "{}+cu126"), ("torch", "{}.1"), ("matplotlib", "{}.1")):
        other = part.format(version(name))
        versions = {**{known: version(known) for known in installed}, name: other}
        monkeypatch.setattr(fingerprints, "version", versions.__getitem__)
        changed = stale(jobs, before)
        using = {key for key in before if name in fingerprints.code_packages(before[key])}
        assert changed == (set() if "+" in other else using), (name, other)
        stages = {stage for stage, _ in using}
        if name == "torch":
            assert {"train", "skills", "linear_probes"} <= stages
            assert not {"record", "tokenize", "figure"} & stages
        else:
            assert "figure" in stages and not {"record", "train", "skills"} & stages


def test_imports_for_a_type_checker_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "ROOT", tmp_path / "house")
    (tmp_path / "house").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "house" / f"{name}.py").write_text("X = 1\n")
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.a\n"
    text += "def f():\n    from house import b\n    import house.c\n"
    (tmp_path / "house" / "main.py").write_text(text)
    forget()
    assert [path.stem for path in fingerprints.closure("main")] == ["b", "c", "main"]
    forget()


def test_what_does_not_exist_has_no_fingerprint() -> None:
    with pytest.raises(LastmileError, match=r"no module 'lastmile\.nothing'"):
        fingerprints.closure("nothing")
    with pytest.raises(LastmileError, match=r"no module 'lastmile\.tasks\.colored_cats'"):
        fingerprints.closure("simulation.tokens", ("tasks.colored_cats",))


def test_other_code_than_planned_is_refused(package: Path) -> None:
    label = fingerprints.code_label("simulation.tokens", ("tasks.colored_dots",))
    fingerprints.check_code(label)
    path = package / DOTS
    path.write_text(path.read_text() + "\nEDITED = 1\n")
    forget()
    with pytest.raises(fingerprints.CodeError, match="planned with the code"):
        fingerprints.check_code(label)
    with pytest.raises(fingerprints.CodeError, match="expected module:part"):
        fingerprints.check_code("nonsense")
