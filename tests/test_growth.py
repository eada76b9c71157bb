"""Memory and command lines while a study grows: more episodes, snapshots and seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import made_up
from lastmile.config import Settings, load
from lastmile.pipeline import paths, plan
from lastmile.pipeline.stage import OnTask
from lastmile.pipeline.stages import get_stage, record
from lastmile.pipeline.stages._shared import write_table
from lastmile.simulation import trajectory
from lastmile.storage import parquet
from lastmile.studies import get_study
from lastmile.studies.claims import from_json

SEEDS = 30

RECORDING = """
from lastmile.simulation import trajectory

source = trajectory.Source("colored_dots", "train", 0)
episodes = [trajectory.record(source, number) for number in range(4)]

def stand_in(source, number, again=False):
    # An episode that was recorded before, with numbers of its own.
    episode = episodes[number % 4]
    columns = {name: [value + 0 for value in values] if name in ("x", "y", "position") else values
               for name, values in episode.columns.items()}
    columns["episode"] = [number] * len(columns["x"])
    return episode._replace(columns=columns)

trajectory.record = stand_in
trajectory.write(folder / "train.parquet", source, count)
"""
TOKENIZING = """
from lastmile.simulation import tokens, trajectory

trajectory.write(folder / "train.parquet", trajectory.Source("colored_dots", "train", 0), count)
tokens.write(folder / "train.tokens", trajectory.read(folder / "train.parquet"))
"""
SNAPSHOTS = """
import torch
from lastmile.config import PolicySettings
from lastmile.policy.policy import Policy
from lastmile.training import checkpoints

policy = Policy(PolicySettings(size="s"))
counts = [1000 * number for number in range(1, count + 1)]
for frames in counts:
    checkpoints.save_snapshot(folder, frames, policy)
checkpoints.merge_snapshots(folder / "snapshots.safetensors", folder, policy, counts)
seen = [frames for frames, _ in checkpoints.load_snapshots(folder / "snapshots.safetensors")]
assert seen == counts
assert checkpoints.lost_snapshot(folder, counts) == ""
"""


def peak(folder: Path, work: str, count: int) -> float:
    """Return the most memory, in MB, of a process that does `work` in an empty folder."""
    folder.mkdir()
    script = f"""
import resource, sys
from pathlib import Path

folder, count = Path(sys.argv[1]), int(sys.argv[2])
{work}
unit = 1 << (20 if sys.platform == "darwin" else 10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(count)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.mark.parametrize(
    "work, few, file, size",
    [
        # Screens come to 2 kB a frame, snapshots to 7 MB each.
        pytest.param(TOKENIZING, 60, "train.tokens", 25, id="tokenizing", marks=pytest.mark.slow),
        pytest.param(SNAPSHOTS, 4, "snapshots.safetensors", 100, id="snapshots"),
    ],
)
def test_memory_does_not_grow_with_the_data(
    tmp_path: Path, work: str, few: int, file: str, size: float
) -> None:
    """Four times the data takes about the same memory, though the file is far larger."""
    small = peak(tmp_path / "small", work, few)
    large = peak(tmp_path / "large", work, 4 * few)
    assert (tmp_path / "large" / file).stat().st_size > size * 1e6
    assert large < small + 40


@pytest.mark.slow
def test_thirty_thousand_episodes_are_recorded_in_half_a_gigabyte(tmp_path: Path) -> None:
    few = peak(tmp_path / "few", RECORDING, 12_000)  # more than a row group
    many = peak(tmp_path / "many", RECORDING, 48_000)
    assert many < few + 60 and many < 500
    assert record.ROWS == trajectory.GROUP


@pytest.fixture(scope="module")
def overnight(root: Path) -> Settings:
    settings = load(root / "config.yaml", root / "workflow" / "presets" / "overnight.yaml")
    training = settings.training.model_copy(update={"seeds": tuple(range(SEEDS))})
    # A tenth of the resamples: they take most of the time, and none of the memory.
    evaluation = settings.evaluation.model_copy(update={"resamples": 200})
    return settings.model_copy(update={"training": training, "evaluation": evaluation})


@pytest.mark.slow
def test_thirty_seeds_reach_claims_and_figures(
    overnight: Settings, tmp_path: Path, root: Path
) -> None:
    """Trainings and measurements are made up; specs, inputs, studies and figures are real.

    A study runs as its rule runs it: by its command line, in a process of its own.
    """
    jobs = plan.Jobs(overnight)
    estimates = plan.Estimates(jobs.request, plan.rates())
    results = tmp_path / "results"
    needs = dict.fromkeys(need for of_study in jobs.request.needs.values() for need in of_study)
    for need in needs:
        rows = pd.DataFrame(
            made_up.MEASURES[need.table](need, overnight, np.random.default_rng(len(need.task)))
        )
        for seed in range(SEEDS):
            path = paths.evaluation(results, need.run.name, need.task, seed, need.table)
            path.parent.mkdir(parents=True, exist_ok=True)
            labels = OnTask(run=need.run.name, seed=seed, task=need.task)
            write_table(path, rows.copy(), labels)

    code = root / "src"
    for stage in ("study", "figure"):
        for spec in jobs.specs(stage).values():
            command = [sys.executable, "-m", "lastmile", "stage", stage]
            command += ["--spec", spec.canonical(), "--results", str(results)]
            script = (
                "import resource, subprocess, sys\n"
                "code = subprocess.run(sys.argv[1:]).returncode\n"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)\n"
                "sys.exit(code)"
            )
            done = subprocess.run(
                [sys.executable, "-c", script, *command],
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            used = float(done.stdout.split()[-1])
            assert used < estimates.mem_mb(stage, spec), spec

    for name in jobs.request.needs:
        claims = from_json(paths.claims(results, name))
        assert bool(claims) == bool(get_study(name).HYPOTHESES)
        assert pd.read_csv(paths.table(results, name)).size
    for spec in jobs.specs("figure").values():
        assert all(path.stat().st_size for path in get_stage("figure").outputs(spec, results))


def test_a_study_reads_only_the_rows_that_it_keeps(tmp_path: Path) -> None:
    rows = pd.DataFrame({"predictor": ["policy", "floor"], "skill": ["button", "button"]})
    parquet.write(rows, tmp_path / "skills.parquet")
    stage = get_stage("study")
    kept = stage._kept(  # type: ignore[attr-defined]
        parquet.frame(tmp_path / "skills.parquet"), {"predictor": ("policy",)}
    )
    assert kept["predictor"].tolist() == ["policy"]


def test_memory_is_reserved_by_size(overnight: Settings, root: Path) -> None:
    """The measured desk study stays below, and a larger job reserves more."""
    desk = load(root / "config.yaml")
    reserved: dict[str, dict[str, int]] = {}
    for settings in (desk, overnight):
        jobs = plan.Jobs(settings)
        estimates = plan.Estimates(jobs.request, plan.rates())
        reserved[settings.name] = {
            stage: max(estimates.mem_mb(stage, spec) for spec in jobs.specs(stage).values())
            for stage in ("record", "tokenize", "train", "skills", "recovery", "study")
        }
    # What Snakemake measured (max_rss, MB) in the study `desk`.
    measured = {"record": 398, "tokenize": 617, "train": 1175, "skills": 704, "recovery": 967}
    assert all(reserved["desk"][stage] > used for stage, used in measured.items())
    assert all(reserved["overnight"][stage] >= used for stage, used in reserved["desk"].items())
    assert reserved["overnight"]["train"] > reserved["desk"]["train"]
    assert reserved["overnight"]["study"] > reserved["desk"]["study"]
