"""The workflow from nothing to the report, in a folder of its own, and what it says it would do after a change."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lastmile.provenance import file_digest
from lastmile.tasks import task_names

pytestmark = pytest.mark.xdist_group("workflow")  # one run for all tests here
TASKS = ("colored_dots", "object_exploration")


def snakemake(folder: Path, *arguments: str, **settings) -> subprocess.CompletedProcess:
    """Snakemake with the preset `smoke` on two tasks, and `settings` laid over it. The environment is not activated."""
    overlay = folder / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"tasks": list(TASKS), **settings}))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "workflow/presets/smoke.yaml", overlay.name]
    env = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(folder / "src")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=1500)


def planned(folder: Path, *targets: str, **settings) -> dict[str, int]:
    """The jobs of a dry run: how many of each rule."""
    done = snakemake(folder, *targets, "-n", **settings)
    assert done.returncode == 0, done.stderr
    table = re.search(r"^Job stats:\n.*\n-.*\n((?:\S+ +\d+\n)+)", done.stdout + done.stderr, re.MULTILINE)
    jobs = dict(line.split() for line in table[1].splitlines()) if table else {}
    return {rule: int(count) for rule, count in jobs.items() if rule not in ("total", "all")}


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory) -> Path:
    """A copy of the workflow and the package, without results."""
    copy = tmp_path_factory.mktemp("workflow")
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(root / name, copy)
    for name in ("rules", "profiles", "workflow", "src"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def finished(folder) -> Path:
    """The same after a whole run."""
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return folder


def figures(folder: Path) -> list[str]:
    """Names of the figures in the copy; each shows the study of its name."""
    return sorted(path.stem for path in (folder / "src" / "lastmile" / "figures").glob("[!_]*.py") if path.stem != "style")


def test_a_figure_needs_no_more_than_it_shows(folder):
    jobs = planned(folder, "emergence", name="fresh")
    assert jobs == {"record": 6, "tokenize": 6, "train": 2, "skills": 2, "study": 1, "emergence": 1}
    assert not (folder / "results" / "fresh").exists()
    assert set(planned(folder, "tasks", name="fresh")) == {"study_with_screens", "tasks"}


@pytest.mark.parametrize(
    "settings, words",
    [({"training": {"frmes": 10}}, "unknown setting 'training.frmes'; did you mean 'frames'?"), ({"worlds": {"style": "hastyy"}}, "did you mean 'hasty'?")],
)
def test_a_misspelt_setting_is_named(folder, settings, words):
    done = snakemake(folder, "all", "-n", **settings)
    assert done.returncode != 0 and words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_everything_is_made(finished):
    results = finished / "results" / "smoke"
    expected = [f"figures/{name}.{form}" for name in figures(finished) for form in ("png", "svg", "pdf", "rst", "csv")]
    expected += [f"claims/{name}.json" for name in figures(finished)] + ["findings.json", "findings.md", "report.html"]
    for task in TASKS:
        expected += [f"models/{task}/seed0/{name}" for name in ("config.json", "policy.safetensors", "snapshots.safetensors", "progress.csv")]
        expected += [f"evaluations/{task}/seed0/{name}.parquet" for name in ("skills", "losses", "closed_loop", "recovery", "probes")]
    assert [name for name in expected if not (results / name).is_file() or not (results / name).stat().st_size] == []
    assert not [path for path in results.rglob("*.part")]


def test_manifests_tell_what_was_made_from_what(finished):
    results = finished / "results" / "smoke"
    for task in TASKS:
        manifest = json.loads((results / "models" / task / "seed0" / "manifest.json").read_text())
        assert manifest["spec"]["run"] == {"task": task, "seed": 0} and manifest["spec"]["policy"]["size"] == "xs" and manifest["packages"]["torch"]
        assert manifest["inputs"] == {f"{task}/{s}.tokens": file_digest(results / "tokens" / task / f"{s}.tokens") for s in ("train", "validation")}
        assert manifest["outputs"] and all(file_digest(results / "models" / task / "seed0" / name) == d for name, d in manifest["outputs"].items())


def test_findings_and_report_tell_every_claim_and_figure(finished):
    results = finished / "results" / "smoke"
    claims = json.loads((results / "findings.json").read_text())
    assert {claim["task"] for claim in claims} == set(TASKS)
    assert len(claims) == sum(len(json.loads((results / "claims" / f"{name}.json").read_text())) for name in figures(finished))
    ledger, report = (results / "findings.md").read_text(), (results / "report.html").read_text()
    assert f"{len(claims)} claims tested" in ledger and all(claim["statement"] in ledger for claim in claims)
    assert all(f"{name}.png" in report for name in figures(finished)) and "findings.md" in report


def test_a_second_run_has_nothing_to_do(finished):
    done = snakemake(finished, "all")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert planned(finished, "all") == {}


def test_another_temperature_trains_nothing(finished):
    jobs = planned(finished, "all", evaluation={"temperature": 0.9})
    assert jobs == {"closed_loop": 2, "recovery": 2, "study": 1, "mistakes": 1, "findings": 1, "report_html": 1}


def test_another_seed_of_training_records_nothing(finished):
    jobs = planned(finished, "all", training={"seeds": [0, 1]})
    assert jobs["train"] == jobs["skills"] == jobs["fit_probes"] == 2 and not {"record", "tokenize", "study_with_screens"} & set(jobs)


def test_another_learning_rate_trains_again(finished):
    jobs = planned(finished, "models", training={"learning_rate": 0.0123})
    assert jobs == {"train": 2, "models": 1}


def test_one_more_task_leaves_the_others_alone(finished):
    third = next(name for name in task_names() if name not in TASKS)
    assert planned(finished, "models", tasks=[*TASKS, third]) == {"record": 2, "tokenize": 2, "train": 1, "models": 1}
    assert planned(finished, "models", tasks=[TASKS[1]]) == {}


@pytest.mark.parametrize(
    "file, target, expected",
    [
        ("figures/emergence.py", "all", {"emergence": 1, "report_html": 1}),
        ("studies/emergence.py", "figures", {"study": 1, "emergence": 1, "figures": 1}),
        (f"tasks/{TASKS[0]}/world.py", "models", {"record": 2, "tokenize": 2, "train": 1, "models": 1}),
        ("policy/head.py", "models", {"train": 2, "models": 1}),
    ],
)
def test_edited_code_makes_again_what_depends_on_it(finished, file, target, expected):
    path = finished / "src" / "lastmile" / file
    before = path.read_text()
    path.write_text(before + "\n# edited\n")
    try:
        assert planned(finished, target) == expected
    finally:
        path.write_text(before)


def test_a_lost_result_alone_is_made_again(finished):
    lost = finished / "results" / "smoke" / "figures" / "emergence.svg"
    kept = lost.read_bytes()
    lost.unlink()
    assert planned(finished, "emergence") == {"emergence": 1}
    assert snakemake(finished, "emergence").returncode == 0
    assert lost.read_bytes() == kept
