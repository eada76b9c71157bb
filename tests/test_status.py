"""What `status` tells: trainings as their folders show them, jobs to go, in 80 columns."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from lastmile.config import parse
from lastmile.pipeline import plan, run, status
from lastmile.pipeline.pace import pace
from lastmile.pipeline.why import Job
from lastmile.storage import parquet
from lastmile.training.runs import RunSpec, keep_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three trainings.

    One begun and stopped, one done and measured, one of a name that does not fit.
    """
    for key, name, frames in (
        ("a", "colored_dots", 300),
        ("b", "neuron_tracing", 1000),
        ("c", "x" * 60, 10),
    ):
        run = tmp_path / "runs" / key
        spec = RunSpec.parse(
            {
                "run": {"run": name, "seed": 0},
                "seed": 0,
                "policy": {},
                "training": {"frames": 1000},
            }
        )
        keep_spec(tmp_path / "runs", key, {**spec.values(), "data": {}, "code": "abc"})
        row = {
            "step": 3,
            "frames": frames,
            "loss": 3.21987,
            "learning_rate": 0.001,
            "validation_loss": None,
            "wait_share": 0.01,
            "frames_per_s": 311.6,
            "seconds_left": 271.0,
        }
        (run / "progress.jsonl").write_text(
            json.dumps(row) + '\n{"step": 4, "fra' if key == "a" else json.dumps(row) + "\n"
        )
        (run / ".lock").touch()
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "spec.json").write_text('{"run"')
    rows = [
        {"predictor": who, "frames": at, "skill": skill, "hits": hits, "total": 20}
        for who, at, skill, hits in (
            ("policy", 0, "placement@5", 0),
            ("policy", 1000, "placement@5", 17),
            ("policy", 1000, "valid", 20),
            ("ceiling", 0, "placement@5", 20),
        )
    ]
    path = (
        tmp_path
        / "results"
        / "evaluations"
        / "neuron_tracing"
        / "neuron_tracing"
        / "seed0"
        / "skills.parquet"
    )
    path.parent.mkdir(parents=True)
    parquet.write(pd.DataFrame(rows), path)
    return tmp_path


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", '{"run": 3}', '{"run": {}, "seed": 0}', "\0", "[" * 10_000, '"\\ud800"'],
)
@pytest.mark.parametrize("name", ["spec.json", "progress.jsonl"])
def test_odd_files_are_left_out(folder: Path, name: str, content: str) -> None:
    before = seen(folder)
    (folder / "runs" / "a" / name).write_text(content)
    (folder / "runs" / "b" / name).write_text(content + "\n" + content)
    now = seen(folder)
    if name == "spec.json":
        assert now.keys() == before.keys() - {"colored_dots seed0", "neuron_tracing seed0"}
    else:
        assert now.keys() == before.keys() and now["colored_dots seed0"].loss is None
    keep_spec(folder / "runs", "d", {"run": {"run": "colored_dots", "seed": 0}})


def seen(folder: Path) -> dict[str, status.TrainingRun]:
    return {one.name: one for one in status.training_runs(folder / "runs", folder / "results")}


def test_trainings_are_told_apart(folder: Path) -> None:
    found = seen(folder)
    assert len(found) == 3
    assert found["neuron_tracing seed0"][1:] == ("done", 1000, 1000, 311.6, 3.21987, 0.85, None)
    assert (
        found["colored_dots seed0"].state == "stopped" and found["colored_dots seed0"].skill is None
    )
    with open(folder / "runs" / "a" / ".lock") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        running = seen(folder)["colored_dots seed0"]
        assert next(iter(seen(folder))) == "colored_dots seed0", "running ones come first"
    assert running.state == "running"


def test_a_torn_line_is_left_out(folder: Path) -> None:
    path = folder / "runs" / "a" / "progress.jsonl"
    assert seen(folder)["colored_dots seed0"].frames == 300
    path.write_text("")
    assert seen(folder)["colored_dots seed0"].frames == 0


def test_the_newest_of_a_name_counts(folder: Path) -> None:
    again = folder / "runs" / "again"
    again.mkdir()
    (again / "spec.json").write_text(
        (folder / "runs" / "b" / "spec.json").read_text().replace("1000", "5000")
    )
    assert seen(folder)["neuron_tracing seed0"].total == 5000


def test_jobs_that_made_their_outputs_are_over(tmp_path: Path) -> None:
    jobs = [
        Job("a", [str(tmp_path / "a"), str(tmp_path / "b")], "", ""),
        Job("c", [str(tmp_path / "c")], "", ""),
    ]
    (tmp_path / "c").touch()
    since = time.time_ns()
    time.sleep(0.02)
    (tmp_path / "a").touch()
    assert status.remaining(jobs, since) == jobs
    (tmp_path / "b").touch()
    assert status.remaining(jobs, since) == jobs[1:]


def test_a_page_fits_80_columns_and_is_plain(folder: Path) -> None:
    jobs = [Job(f"rule_of_some_length_{number % 9}", ["x"], "", "") for number in range(40)]
    text = status.page(parse({}), jobs, status.training_runs(folder / "runs", folder / "results"))
    assert (
        text.startswith("desk: 40 jobs to go, nothing is running\n")
        and text.isascii()
        and "\x1b" not in text
    )
    assert max(map(len, text.splitlines())) <= 80
    assert (
        "neuron_tracing seed0        done        1.0k of 1.0k    312   3.220  0.85      -" in text
    )
    assert status.page(parse({}), [], []) == "desk: everything is made\n"


def test_a_task_without_placements_has_no_skill(
    folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = folder / "results/evaluations/neuron_tracing/neuron_tracing/seed0/skills.parquet"
    table = parquet.frame(path)
    parquet.write(table.assign(total=0, hits=0), path)
    assert seen(folder)["neuron_tracing seed0"].skill is None and not recwarn.list


def test_names_that_differ_at_their_end_are_told_apart() -> None:
    names = [f"a_long_name_of_a_training_run.{size}.seed0" for size in ("xs", "s")]
    shown = {status._fit(name) for name in names}
    assert len(shown) == 2 and all(len(name) <= 27 for name in shown)


def test_a_page_fits_the_terminal_and_tells_the_time_left(folder: Path) -> None:
    found = status.training_runs(folder / "runs", folder / "results")
    jobs = [Job("record", ["x"], "", ""), Job("train_joint", ["y"], "", "")]
    text = status.page(parse({}), jobs, found * 30, {"x": 60.0, "y": 600.0}, True, 24)
    assert len(text.splitlines()) <= 24 and "more" in text and status.LEGEND in text
    assert re.search(r"2 jobs to go, about \d+:\d\d left", text)


def test_the_time_left_goes_by_the_jobs_that_are_done(tmp_path: Path) -> None:
    settings = parse({"tasks": ["colored_dots", "plume_finding"], "training": {"seeds": [0]}})
    estimates = plan.Estimates(plan.request(settings), plan.rates())
    planned = plan.Jobs(settings).specs("train")

    def expect(run: str) -> float:
        return estimates.cost("train", planned[run, "0"]).seconds

    weights = "models/{}/seed0/policy.safetensors"
    before = pace(settings, tmp_path)
    assert before.jobs == 0 and set(before.stages.values()) == {1.0}
    assert before.seconds[str(tmp_path / weights.format("colored_dots"))] == expect("colored_dots")

    # As Snakemake writes it; a table that is cut off tells nothing.
    folder = tmp_path / "benchmarks" / "train"
    folder.mkdir(parents=True)
    head = "s\th:m:s\tmax_rss"
    (folder / "colored_dots.seed0.tsv").write_text(
        f"{head}\n{4 * expect('colored_dots')}\t0:10:00\t17.05\n"
    )
    (folder / "plume_finding.seed0.tsv").write_text(head)
    after = pace(settings, tmp_path)
    assert after.jobs == 1 and list(after.stages.values()) == pytest.approx(
        [4.0] * len(after.stages)
    )
    here = after.seconds[str(tmp_path / weights.format("plume_finding"))]
    assert here == pytest.approx(4 * expect("plume_finding"))
    said = plan.to_text(settings, 2, paces=after.stages)
    assert "on this machine, by the jobs that it has done" in said
    assert "on this machine" not in plan.to_text(settings, 2)


def test_follow_ends_when_nothing_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(status, "planned", lambda targets, overlay: [Job("a", ["x"], "", "")])
    status.show(parse({}), follow=True)
    assert "nothing is running" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_snakemake_and_its_jobs(tmp_path: Path, number: signal.Signals) -> None:
    """Also where SIGINT is ignored, as by what `nohup ... &` starts."""
    begun = tmp_path / "begun"
    job = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(1000)"
    workflow = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {job!r}])"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with (
            open(tmp_path / "said.txt", "wb+") as said,
            run._started([sys.executable, "-c", workflow], os.environ, said) as (process, stopped),
        ):
            while not begun.exists():
                assert process.poll() is None
                time.sleep(0.01)
            os.kill(os.getpid(), number)
            assert process.wait() and stopped.is_set()
            with contextlib.suppress(ProcessLookupError):
                while True:  # until nobody is left in the group
                    os.killpg(process.pid, 0)
                    time.sleep(0.01)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
