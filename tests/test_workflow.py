"""The workflow from nothing to the report, in a folder of its own, and what it says it would do after a change."""

from __future__ import annotations

import html
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from lastmile.config import Layouts, Settings, load
from lastmile.pipeline.plan import Jobs, plan
from lastmile.pipeline.stage import files_of
from lastmile.pipeline.stages import get_stage, stage_names
from lastmile.provenance.manifests import file_digest
from lastmile.provenance.verify import verify
from lastmile.studies import all_needs, all_runs
from lastmile.studies.composition.study import ARMS
from lastmile.studies.repair.arms import ARMS as REPAIRED
from lastmile.tasks import task_names

pytestmark = pytest.mark.xdist_group("workflow")  # one run for all tests here
TASKS = ("colored_dots", "plume_finding")
OVERLAY = "it's an over & lay.yaml"
"""Settings of the test, in a file whose name needs quoting."""


def snakemake(folder: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess:
    """Snakemake with the preset `smoke` on two tasks, and `settings` laid over it.

    The environment is not activated.
    """
    overlay = folder / OVERLAY
    overlay.write_text(yaml.safe_dump({"tasks": list(TASKS), **settings}))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        *arguments,
        "--configfile",
        "workflow/presets/smoke.yaml",
        overlay.name,
    ]
    env = {
        **os.environ,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(folder / "src"),
        "PYTHONDONTWRITEBYTECODE": "",  # every job would compile the package again
    }
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=1500
    )


def planned(folder: Path, *targets: str, **settings: Any) -> dict[str, int]:
    """The jobs of a dry run: how many of each rule."""
    done = snakemake(folder, *targets, "-n", **settings)
    assert done.returncode == 0, done.stderr
    table = re.search(
        r"^Job stats:\n.*\n-.*\n((?:\S+ +\d+\n)+)", done.stdout + done.stderr, re.MULTILINE
    )
    jobs = dict(line.split() for line in table[1].splitlines()) if table else {}
    stages = (*stage_names(), "study_with_screens", "train_joint", "train_longest")
    return {rule: int(count) for rule, count in jobs.items() if rule in stages}


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow and the package, without results, at a path that needs quoting."""
    copy = tmp_path_factory.mktemp("sp ace's & co ü;x")
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(root / name, copy)
    for name in ("rules", "profiles", "workflow", "src"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """The same after a whole run."""
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return folder


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    return load(root / "config.yaml", root / "workflow" / "presets" / "smoke.yaml")


def trained(jobs: dict[str, int]) -> int:
    """Trainings among planned jobs."""
    return sum(count for rule, count in jobs.items() if rule.startswith("train"))


def figures(folder: Path) -> list[str]:
    """Names of the figures in the copy; each shows the study of its name.

    That of people is left out: no recordings of people are given.
    """
    studies = folder / "src" / "lastmile" / "studies"
    names = sorted(path.parent.name for path in studies.glob("*/figure.py"))
    left_out = ("comparison", "composition", "layouts", "memory", "repair")
    return [name for name in names if name not in left_out]


def test_a_figure_needs_no_more_than_it_shows(folder: Path) -> None:
    jobs = planned(folder, "emergence", name="fresh")
    assert jobs == {
        "record": 6,
        "tokenize": 6,
        "train": 2,
        "train_longest": 1,
        "skills": 4,
        "study": 1,
        "figure": 1,
    }
    assert not (folder / "results" / "fresh").exists()
    assert set(planned(folder, "tasks", name="fresh")) == {"study_with_screens", "figure"}
    jobs = planned(folder, "heads", name="fresh")
    assert jobs["record"] == 3 and trained(jobs) == 3 and jobs["speed"] == 2 and jobs["skills"] == 3


def test_each_arm_learns_from_a_recording_of_its_own(folder: Path) -> None:
    arms, tasks = len(ARMS), ["colored_dots"]
    jobs = planned(folder, "composition", name="fresh", composition={"tasks": tasks})
    assert jobs["record"] == jobs["tokenize"] == arms + 2  # validation and test are shared
    assert trained(jobs) == jobs["skills"] == jobs["closed_loop"] == jobs["recovery"] == arms


def test_repair_is_taught_with_the_policy_before(folder: Path) -> None:
    jobs = planned(folder, "repair", name="fresh", repair={"tasks": ["colored_dots"]})
    ways = len(REPAIRED)
    assert jobs["record"] == 3 and jobs["repair_record"] == ways
    assert jobs["tokenize"] == ways + 2  # to train the policy before
    assert trained(jobs) == jobs["closed_loop"] == ways + 1


def test_arms_of_layouts_share_the_recording_of_the_first_look(folder: Path) -> None:
    jobs = planned(folder, "layouts", name="fresh", layouts={"tasks": ["colored_dots"]})
    assert jobs["record"] == 3 + 4  # drawn in four other sets of looks
    assert jobs["tokenize"] == 2 + 4  # the test worlds are drawn anew in each look
    assert trained(jobs) == jobs["other_looks"] == 5


def test_the_plan_counts_the_jobs_that_there_are(folder: Path, settings: Settings) -> None:
    jobs = planned(folder, "all", name="fresh")
    jobs["study"] += jobs.pop("study_with_screens")
    merged = {rule: count for rule, count in jobs.items() if not rule.startswith("train")}
    assert {work.stage: work.jobs for work in plan(settings)} == {**merged, "train": trained(jobs)}


def test_the_default_study_can_be_planned_with_the_task_that_is_held_out(folder: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "all", "-n", "--quiet", "rules"]
    env = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (done.stdout + done.stderr).partition("Job stats:")[2]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE))
    works = {work.stage: work.jobs for work in plan(load(folder / "config.yaml"))}
    assert int(jobs["record"]) == works["record"] == 3 * len(task_names())
    assert int(jobs["skills"]) == works["skills"]


def test_rules_name_the_files_of_their_stages(folder: Path, settings: Settings) -> None:
    """The rules hold paths, the stages name files: both say the same of every job."""
    compared = {"tasks": ["colored_dots"]}  # a stage that `smoke` has no use for
    done = snakemake(folder, "all", "-n", name="fresh", layouts=compared)
    blocks = re.findall(r"^rule (\S+):\n((?: {4}.*\n)+)", done.stdout + done.stderr, re.MULTILINE)
    shown = set()
    for rule, block in blocks:
        fields = dict(line.strip().split(": ", 1) for line in block.splitlines() if ": " in line)
        stage = "train" if rule.startswith("train") else rule.removesuffix("_with_screens")
        inputs, outputs = (
            frozenset(filter(None, fields.get(name, "").split(", ")))
            for name in ("input", "output")
        )
        shown.add((stage, inputs, outputs))
    more = {"name": "fresh", "layouts": Layouts(tasks=("colored_dots",))}
    jobs = Jobs(settings.model_copy(update=more))
    results = Path("results/fresh")
    named = set()
    for name in stage_names():
        stage = get_stage(name)
        for spec in jobs.specs(name).values():
            inputs, outputs = stage.inputs(spec, results), stage.outputs(spec, results)
            named.add(
                (name, *(frozenset(map(str, files_of(files))) for files in (inputs, outputs)))
            )
    assert {job for job in shown if job[2]} == named


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"training": {"frmes": 10}}, "unknown setting 'training.frmes'; did you mean 'frames'?"),
        ({"worlds": {"style": "hastyy"}}, "did you mean 'hasty'?"),
    ],
)
def test_a_misspelt_setting_is_named(folder: Path, settings: dict[str, Any], words: str) -> None:
    done = snakemake(folder, "all", "-n", **settings)
    assert done.returncode != 0 and words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_make_shows_the_status_where_there_is_a_terminal(finished: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lastmile",
        "run",
        "--cores",
        "2",
        "--configfile",
        "workflow/presets/smoke.yaml",
        "--configfile",
        OVERLAY,
    ]
    env = {**os.environ, "PYTHONPATH": str(finished / "src")}
    snakemake(finished, "-n")  # writes the overlay
    done = subprocess.run(
        command, cwd=finished, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    terminal, other = pty.openpty()
    child = subprocess.Popen(
        [*command[:4], "emergence", *command[4:]], cwd=finished, env=env, stdout=other, stderr=other
    )
    os.close(other)
    said = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how a terminal ends whose last user has gone
            break
        if not part:
            break
        said += part
    os.close(terminal)
    assert child.wait() == 0
    assert b"Nothing to be done" in said or b"everything is made" in said
    assert (
        "Nothing to be done"
        in (finished / "results" / "smoke" / "logs" / "snakemake.log").read_text()
    )


def test_everything_is_made(finished: Path, settings: Settings) -> None:
    results = finished / "results" / "smoke"
    expected = [
        f"figures/{name}.{form}"
        for name in figures(finished)
        for form in ("png", "svg", "pdf", "md", "csv")
    ]
    expected += [f"claims/{name}.json" for name in figures(finished)] + [
        "findings.json",
        "findings.md",
        "report.html",
    ]
    for run in all_runs(settings):
        expected += [
            f"models/{run}/seed0/{name}"
            for name in (
                "config.json",
                "policy.safetensors",
                "snapshots.safetensors",
                "progress.csv",
            )
        ]
    needs = {need for needs in all_needs(settings).values() for need in needs}
    expected += [
        f"evaluations/{need.run.name}/{need.task}/seed0/{need.table}.parquet" for need in needs
    ]
    expected += ["runs.csv"]
    expected += [f"examples/{task}.{form}" for task in TASKS for form in ("html", "json")]
    assert [
        name
        for name in expected
        if not (results / name).is_file() or not (results / name).stat().st_size
    ] == []
    assert not [path for path in results.rglob("*.part")]


def test_manifests_tell_what_was_made_from_what(finished: Path) -> None:
    results = finished / "results" / "smoke"
    for task in TASKS:
        manifest = json.loads((results / "models" / task / "seed0" / "manifest.json").read_text())
        assert (
            manifest["spec"]["run"] == {"run": task, "seed": 0}
            and manifest["spec"]["policy"]["size"] == "xs"
            and manifest["packages"]["torch"]
        )
        tokens = {
            s: file_digest(results / "tokens" / task / f"{s}.tokens")
            for s in ("train", "validation")
        }
        assert {
            Path(name).stem: entry["digest"] for name, entry in manifest["inputs"].items()
        } == tokens
        assert manifest["outputs"] and all(
            file_digest(results / "models" / task / "seed0" / name) == entry["digest"]
            for name, entry in manifest["outputs"].items()
        )


def test_every_result_is_as_its_manifest_says(finished: Path) -> None:
    report = verify(finished / "results" / "smoke")
    assert (
        report.problems == [] and report.elsewhere == 2 and report.manifests > 20
    )  # elsewhere: the published claims and figures
    for name in (
        "figures/emergence.pdf",
        "findings.md",
        "report.html",
        f"models/{TASKS[0]}/seed0/policy.safetensors",
    ):
        path = finished / "results" / "smoke" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        assert (
            f"{path}: was changed after it was made"
            in verify(finished / "results" / "smoke").problems
        )
        path.write_bytes(whole)


def test_findings_and_report_tell_every_claim_and_figure(finished: Path) -> None:
    results = finished / "results" / "smoke"
    claims = json.loads((results / "findings.json").read_text())
    assert {claim["task"] for claim in claims} == {*TASKS, "all tasks"} and any(
        claim["published"] for claim in claims
    )
    assert len(claims) == sum(
        len(json.loads((results / "claims" / f"{name}.json").read_text()))
        for name in figures(finished)
    )
    ledger, report = (results / "findings.md").read_text(), (results / "report.html").read_text()
    counted = f"{len({claim['claim'] for claim in claims})} claims tested"
    assert counted in ledger and all(claim["statement"] in ledger for claim in claims)
    assert all(f"<section id='{name}'>" in report for name in figures(finished))
    assert report.count("<figure>") == len(figures(finished)) and "id='runs'" in report
    links = set(re.findall(r"href='(examples/\w+\.html)#", report))
    assert links == {f"examples/{task}.html" for task in TASKS}
    assert all((results / link).is_file() for link in links)
    assert counted in report and all(html.escape(claim["statement"]) in report for claim in claims)


def test_the_table_of_runs_tells_settings_and_speed(finished: Path, settings: Settings) -> None:
    table = pd.read_csv(finished / "results" / "smoke" / "runs.csv").set_index("run")
    assert set(table.index) == set(all_runs(settings))
    for name, run in all_runs(settings).items():
        row = table.loc[name]
        assert (
            row["tasks"].split() == list(run.tasks)
            and row["frames"] == run.frames
            and row["size"] == run.policy.size
            and row["start"] == (run.start is not None)
        )
        assert row["frames_per_s"] > 0 and (
            row["episodes"] == run.episodes
            if run.episodes < settings.episodes.train
            else np.isnan(row["episodes"])
        )


def test_curves_go_to_the_end_of_training(finished: Path, settings: Settings) -> None:
    for study, measure, frames in (
        ("emergence", "share", settings.training.frames),
        ("scaling", "loss", max(settings.scaling.frames)),
        ("transfer", "loss", settings.transfer.frames),
        ("transfer", "success", settings.transfer.frames),
        ("transfer", "end of success", settings.transfer.frames),
    ):
        table = pd.read_csv(finished / "results" / "smoke" / "figures" / f"{study}.csv")
        ends = table[table["measure"] == measure]["frames"]
        assert ends.max() >= frames, (study, measure)


def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    done = snakemake(finished, "all")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert planned(finished, "all") == {}


def test_a_moved_folder_and_tasks_in_another_order_change_nothing(finished: Path) -> None:
    elsewhere = finished.with_name("moved")
    finished.rename(elsewhere)
    try:
        assert planned(elsewhere, "all") == {}
        assert planned(elsewhere, "all", tasks=list(reversed(TASKS))) == {}
        assert planned(elsewhere, "all", policy={"weights": "random", "backbone": "large"}) == {}
    finally:
        elsewhere.rename(finished)


def test_another_temperature_trains_nothing(finished: Path) -> None:
    jobs = planned(finished, "all", evaluation={"temperature": 0.9})
    assert jobs == {
        "closed_loop": 4,
        "recovery": 4,
        "closed_loop_curve": 2,
        "deferral": 2,
        "cross_task_probes": 1,
        "example": 2,
        "study": 5,
        "figure": 5,
        "findings": 1,
        "run_table": 1,
        "report": 1,
    }


def test_another_length_of_fine_tuning_trains_that_alone(
    finished: Path, settings: Settings
) -> None:
    jobs = planned(finished, "all", transfer={"frames": 700})
    assert (
        trained(jobs) == 2
        and jobs["skills"] == 2
        and jobs["closed_loop_curve"] == 2
        and jobs["study"] == jobs["figure"] == 1
    )
    assert not {"record", "tokenize", "scaling", "emergence"} & set(jobs)


def test_another_seed_of_training_records_nothing(finished: Path, settings: Settings) -> None:
    jobs = planned(finished, "all", training={"seeds": [0, 1]})
    training = settings.training.model_copy(update={"seeds": (0, 1)})
    again = all_runs(settings.model_copy(update={"training": training}))
    assert (
        trained(jobs) == sum(not run.once for run in again.values())
        and trained(planned(finished, "models", training={"seeds": [0, 1]})) == trained(jobs)
        and jobs["linear_probes"] == 2
        and not {"record", "tokenize", "study_with_screens"} & set(jobs)
    )


def test_another_learning_rate_trains_again(finished: Path, settings: Settings) -> None:
    assert trained(planned(finished, "models", training={"learning_rate": 0.0123})) == len(
        all_runs(settings)
    )


def test_one_more_task_leaves_the_others_alone(finished: Path) -> None:
    third = next(name for name in task_names() if name not in TASKS)
    jobs = planned(finished, "emergence", tasks=[*TASKS, third])
    # The policy for all tasks is another one with a third task, and is measured on each.
    assert jobs == {
        "record": 3,
        "tokenize": 3,
        "train": 1,
        "train_longest": 1,
        "skills": 4,
        "study": 1,
        "figure": 1,
    }


@contextmanager
def edited(folder: Path, file: str, *, prose: bool = False) -> Iterator[None]:
    """A source file with one more constant or, for prose, with other comments, docstrings and blank lines."""
    path = folder / "src" / "lastmile" / file
    before = path.read_text()
    words = before.replace('"""', '"""Other words. ', 1).replace("\n\n", "\n\n\n") + "\n# edited\n"
    path.write_text(words if prose else before + "\nEDITED = 1\n")
    try:
        yield
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("file", "target", "expected"),
    [
        ("studies/emergence/figure.py", "all", {"figure": 1, "report": 1}),
        ("studies/emergence/study.py", "figures", {"study": 1, "figure": 1}),
        ("pipeline/report_page.py", "all", {"report": 1}),
        ("pipeline/report_examples.py", "all", {"report": 1}),
        ("viewer/page.py", "all", {"example": 2, "report": 1}),
        (
            "pipeline/stages/linear_probes.py",
            "probes",
            {"linear_probes": 2, "study": 1, "figure": 1},
        ),
        ("pipeline/status.py", "all", {}),
        (
            f"tasks/{TASKS[1]}/world.py",
            "emergence",
            {
                "record": 3,
                "tokenize": 3,
                "train": 1,
                "train_longest": 1,
                "skills": 3,
                "study": 1,
                "figure": 1,
            },
        ),
    ],
)
def test_edited_code_makes_again_what_depends_on_it(
    finished: Path, file: str, target: str, expected: dict[str, int]
) -> None:
    with edited(finished, file):
        assert planned(finished, target) == expected


def test_prose_everywhere_makes_nothing_again(finished: Path) -> None:
    with ExitStack() as stack:
        for path in (finished / "src" / "lastmile").rglob("*.py"):
            file = path.relative_to(finished / "src" / "lastmile").as_posix()
            if "_template" not in file:
                stack.enter_context(edited(finished, file, prose=True))
        assert planned(finished, "all") == {}
        assert explained(finished, "all") == "all: fresh\n"


def test_an_edited_task_trains_its_own_line_and_what_learns_it_together(
    finished: Path, settings: Settings
) -> None:
    with edited(finished, f"tasks/{TASKS[1]}/world.py"):
        jobs = planned(finished, "models")
    concerned = [run for run in all_runs(settings).values() if TASKS[1] in run.tasks]
    assert trained(jobs) == len(concerned) < len(all_runs(settings))
    assert jobs["record"] == jobs["tokenize"] == 2


def explained(folder: Path, target: str, **settings: Any) -> str:
    """What `why` says of a target."""
    overlay = folder / OVERLAY
    overlay.write_text(yaml.safe_dump({"tasks": list(TASKS), **settings}))
    presets = ["--configfile", "workflow/presets/smoke.yaml", "--configfile", overlay.name]
    command = [sys.executable, "-m", "lastmile", "why", target, *presets]
    env = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_why_names_the_setting_or_the_source(finished: Path) -> None:
    assert explained(finished, "emergence") == "emergence: fresh\n"
    said = explained(finished, "models", training={"learning_rate": 0.0123})
    assert re.search(r"train\w*: results/smoke/models/colored_dots/seed0/config.json", said)
    assert "setting training.learning_rate: was 0.001, is 0.0123" in said
    assert "source file" not in said
    with edited(finished, "studies/emergence/figure.py"):
        said = explained(finished, "emergence")
    assert "emergence: stale; 1 job would run" in said
    assert "source file studies/emergence/figure.py: edited" in said and "setting" not in said
    lost = finished / "results" / "smoke" / "figures" / "emergence.pdf"
    kept = lost.read_bytes()
    lost.unlink()
    assert "results/smoke/figures/emergence.pdf is missing" in explained(finished, "emergence")
    lost.write_bytes(kept)
    os.utime(lost, ns=(lost.with_suffix(".png").stat().st_mtime_ns,) * 2)


def test_a_lost_result_alone_is_made_again(finished: Path) -> None:
    lost = finished / "results" / "smoke" / "figures" / "emergence.svg"
    kept = lost.read_bytes()
    lost.unlink()
    assert planned(finished, "emergence") == {"figure": 1}
    assert snakemake(finished, "emergence").returncode == 0
    assert lost.read_bytes() == kept


def test_settings_on_the_command_line_reach_every_page(finished: Path) -> None:
    """`--config` gives another study: its report, findings and plan are its own."""
    overlay = ["--config", "name=second", "--config", "seed=1"]
    env = {**os.environ, "PYTHONPATH": str(finished / "src")}
    presets = ["--configfile", "workflow/presets/smoke.yaml"]
    command = [sys.executable, "-m", "lastmile"]
    done = subprocess.run(
        [*command, "plan", *presets, *overlay],
        cwd=finished,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("second: "), done.stderr
    arguments = ["-n", "-p", "--config", "name=second", "seed=1"]
    done = snakemake(finished, "all", *arguments)
    commands = [line for line in done.stdout.splitlines() if "lastmile stage report" in line]
    assert len(commands) == 1 and '"name":"second"' in commands[0]
    assert '"seed":1' in commands[0] and "--results results/second" in commands[0]
