"""Releasing a policy of a study: its bytes, its card, and that it is then found by its name."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import lastmile
from lastmile import released
from lastmile.config import Settings
from lastmile.errors import LastmileError
from lastmile.evaluation.statistics import wilson
from lastmile.simulation import trajectory
from lastmile.tasks import get_task

pytestmark = pytest.mark.xdist_group("small study")
Study = tuple[Settings, Path]


@pytest.fixture(scope="module")
def script(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location(
        "release_policy", root / "scripts" / "release_policy.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_policy_of_a_study_is_released_and_found_by_its_name(
    root: Path, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, results = small_study
    command = [sys.executable, str(root / "scripts" / "release_policy.py"), str(results), "all"]
    command += ["--name", "colored_dots", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder, source = tmp_path / "colored_dots", results / "models" / "all" / "seed0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colored_dots"]
    for file in ("config.json", "policy.safetensors"):
        assert (folder / file).read_bytes() == (source / file).read_bytes()

    monkeypatch.setattr(released, "HERE", tmp_path)
    released.releases.cache_clear()
    try:
        policy = lastmile.Policy.load("colored_dots")
        assert policy.settings.window == 4
        assert released.trained_on(folder) == ("colored_dots", "plume_finding")
        (folder / "config.json").write_text("{}")
        with pytest.raises(LastmileError, match="expected the file of the released policy 'col"):
            lastmile.Policy.load("colored_dots")
    finally:
        released.releases.cache_clear()

    # The card says what was measured.
    card = (folder / "README.md").read_text(encoding="utf-8")
    frames = sum(
        trajectory.read(results / "trajectories" / task / "train.parquet").episodes["steps"].sum()
        for task in ("colored_dots", "plume_finding")
    )
    manifest = json.loads((source / "manifest.json").read_text())
    assert f"| data | {frames:,} frames in 8 episodes of 2 tasks: split `train`, seed 0" in card
    assert "| training | 80 frames, 4 windows an update, AdamW at 0.001 and Muon at 0.02" in card
    assert "| weights | stored as float32 |" in card
    assert manifest["outputs"]["policy.safetensors"]["digest"] in card
    for task in ("colored_dots", "plume_finding"):
        table = pd.read_parquet(results / f"evaluations/all/{task}/seed0/closed_loop.parquet")
        wins = table[table["who"] == "policy"]["success"]
        version = get_task(task).version
        assert f"| {task} | {version} | {wilson(int(wins.sum()), len(wins))} | " in card


@pytest.mark.parametrize(
    ("run", "name", "words"),
    [
        ("all", "Joint policy", "--name Joint policy: expected up to 64 small letters"),
        ("all", "taken", "taken: exists; remove it first"),
        ("all", "road_mapping", "was trained on colored_dots, plume_finding, not on road_mapping"),
        ("none", "new", "models/none/seed0/config.json: no such file"),
    ],
)
def test_what_cannot_be_released(
    small_study: Study, script: Any, tmp_path: Path, run: str, name: str, words: str
) -> None:
    _, results = small_study
    (tmp_path / "taken").mkdir()
    with pytest.raises(LastmileError, match=words):
        script.release(results, run, 0, name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_results_that_were_changed_or_lost_are_not_released(
    small_study: Study, script: Any, tmp_path: Path
) -> None:
    _, results = small_study
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    table = copy / "evaluations/all/plume_finding/seed0/closed_loop.parquet"
    table.write_bytes(table.read_bytes() + b" ")
    with pytest.raises(LastmileError, match="was changed after it was made"):
        script.release(copy, "all", 0, "new", tmp_path / "out")
    table.unlink()
    with pytest.raises(LastmileError, match="no such file; expected its closed loop on 'plume_f"):
        script.release(copy, "all", 0, "new", tmp_path / "out")
    assert not (tmp_path / "out").exists()
