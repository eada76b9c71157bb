"""Real worlds wherever a world is opened: studies, environments, evaluations, the browser."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lastmile
from lastmile.cli import main
from lastmile.config import Settings, parse
from lastmile.errors import LastmileError
from lastmile.evaluation import leaderboard
from lastmile.pipeline.plan import Jobs, plan
from lastmile.pipeline.runner import run_stage
from lastmile.pipeline.stages import get_stage, stage_names
from lastmile.simulation import people, people_trajectories, trajectory
from lastmile.simulation.env import AnnotationEnv
from lastmile.simulation.source import Source
from lastmile.tasks import real
from lastmile.tasks.task import digest
from people_at_work import app_at, page
from test_real import read

TASK = "colored_dots"


@pytest.fixture(autouse=True)
def crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real worlds are made of the crops, not of what was fetched."""
    data = {task: read(task) for task in (TASK, "channel_alignment")}
    monkeypatch.setattr(real, "_data", lambda task, folder: data[task])


def settings(**sections: Any) -> Settings:
    return parse(
        {
            "name": "small",
            "tasks": [TASK],
            "worlds": {"source": "real"},
            "episodes": {"train": 2, "validation": 1, "test": 2, "shared_test": 2},
            "policy": {"size": "xs", "window": 4},
            "training": {"frames": 80, "batch": 4, "snapshots": 1, "seeds": [0]},
            "evaluation": {"max_steps": 1},
            "scaling": {"sizes": ["xs"], "frames": [80], "joint": None, "episodes": []},
            "transfer": {"held_out": []},
            **sections,
        }
    )


def test_a_study_of_real_worlds_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a training run keeps its work
    results, jobs = tmp_path / "results", Jobs(settings())
    name = next(labels[0] for labels in jobs.specs("closed_loop"))
    for stage in ("record", "tokenize", "train", "closed_loop"):
        for labels, spec in jobs.specs(stage).items():
            if stage not in ("train", "closed_loop") or labels[0] == name:
                run_stage(stage, spec.canonical(), results)

    table = pd.read_parquet(next(results.rglob("*closed_loop*.parquet")))
    assert sorted(table["who"]) == ["annotator"] * 2 + ["policy"] * 2
    recording = trajectory.read(next(results.rglob("test.parquet")))
    assert recording.source.worlds == "real"
    assert recording.open(0).world.data == real.archive_of(TASK).digest


def test_every_job_that_opens_real_worlds_depends_on_their_code() -> None:
    synthetic, of_real = Jobs(settings(worlds={})), Jobs(settings())
    for stage in stage_names():
        module = get_stage(stage)
        for labels, spec in of_real.specs(stage).items():
            parts = set(module.parts(spec))
            usual = set(module.parts(synthetic.specs(stage)[labels]))
            opens = f"tasks.{TASK}" in usual and stage != "speed"  # which times synthetic ones
            assert parts == usual | ({f"tasks.{TASK}.real"} if opens else set()), stage
            assert "source" not in json.loads(synthetic.specs(stage)[labels].canonical())
    assert [work.stage for work in plan(settings())] == [w.stage for w in plan(settings(worlds={}))]


def test_recordings_and_environments_open_real_worlds() -> None:
    recording = lastmile.record(TASK, episodes=1, source="real")
    world = Source(TASK, "test", 0, worlds="real").world(0)
    assert recording.source.worlds == "real" and recording.episodes["world"][0] == digest(world)

    env = lastmile.make_env(TASK, source="real")
    inner = env.unwrapped
    assert isinstance(inner, AnnotationEnv)
    env.reset(options={"world": 0})
    assert digest(inner.world) == digest(world)
    env.reset(seed=0)
    nuclei = set(inner.world.nuclei)
    train = {n for i in range(40) for n in Source(TASK, "train", 0, worlds="real").world(i).nuclei}
    assert nuclei <= train
    first = inner.world
    env.reset(seed=0)
    assert digest(inner.world) == digest(first) != digest(world)
    with pytest.raises(LastmileError, match="task 'object_exploration' has no real worlds"):
        lastmile.make_env("object_exploration", source="real")


def middle(observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
    return 224, 168


def test_evaluations_on_real_worlds_are_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = lastmile.evaluate(middle, TASK, worlds=1, source="real", max_steps=2)
    assert len(table) == 1

    out = tmp_path / "scores" / "a.json"
    words = ["evaluate", "random", "--tasks", TASK, "--worlds", "1", "--out", str(out)]
    assert main([*words, "--source", "real"]) == 0
    values = json.loads(out.read_text())
    assert values["conditions"]["source"] == "real"
    assert main(["verify", str(out)]) == 0
    assert main(["leaderboard", str(out.parent)]) == 0
    assert "## Worlds: real, test, short" in capsys.readouterr().out
    entries = leaderboard.collect(out.parent, lambda problem: None)
    (row, _) = csv.DictReader(leaderboard.as_csv(entries).splitlines())
    assert (row["source"], row["task"], row["episodes"]) == ("real", TASK, "1")

    assert main(words) == 0
    assert "source" not in json.loads(out.read_text())["conditions"]
    assert main([*words, "--source", "reel"]) == 1
    assert "did you mean 'real'" in capsys.readouterr().err


def test_people_work_on_real_worlds(tmp_path: Path) -> None:
    app = app_at(tmp_path, TASK, worlds=1, source="real")
    with page(app) as one:
        one.hello()
        one.start(TASK)
        one.click(300, 300)
    (path,) = people.logs(tmp_path)
    log = people.read(path)
    assert path.name.startswith("real-") and log.opening.worlds == "real"
    people.check(log)
    assert people_trajectories.export(tmp_path / "a.parquet", [log]) == 1
    assert trajectory.read(tmp_path / "a.parquet").source.worlds == "real"
    opening = log.opening.model_copy(update={"worlds": "synthetic"})
    assert '"worlds"' not in opening.model_dump_json()
