"""The study of memory, end to end at toy size: recorded episodes to table, claims and figure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lastmile.config import ConfigError, Settings, parse
from lastmile.pipeline import paths
from lastmile.pipeline.plan import Jobs
from lastmile.pipeline.runner import run_stage
from lastmile.pipeline.stages.train import Spec as TrainSpec
from lastmile.policy.policy import read_settings
from lastmile.simulation.tokens import TokenStore
from lastmile.storage import parquet
from lastmile.studies import left_out, tables
from lastmile.studies.claims import from_json
from lastmile.studies.memory.kinds import CEILING, KINDS, NATS
from lastmile.studies.memory.study import CONTRASTS, PLAYED, claims, runs, table, tasks
from lastmile.training.windows import WindowSampler

TASK = "plume_finding"
WINDOWS = (1, 3, 8)
SETTINGS = parse(
    {
        "name": "toy",
        "tasks": [TASK],
        "episodes": {"train": 3, "validation": 1, "test": 3, "shared_test": 2},
        "policy": {"size": "xs", "window": 8},
        "training": {"batch": 3, "snapshots": 1, "seeds": [0]},
        "evaluation": {"max_steps": 1, "resamples": 100},
        "memory": {"tasks": [TASK, "colored_dots"], "windows": WINDOWS, "frames": 70},
    }
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the workflow makes of these settings for this study."""
    folder = tmp_path_factory.mktemp("memory")
    jobs, mine = Jobs(SETTINGS), [run.name for run in runs(SETTINGS, TASK).values()]
    wanted = {
        **dict.fromkeys(("record", "tokenize"), [TASK]),
        **dict.fromkeys(("train", "skills", "closed_loop"), mine),
        **dict.fromkeys(("study", "figure"), ["memory"]),
    }
    here = os.getcwd()
    os.chdir(folder)  # where a training run keeps its work
    try:
        for stage, names in wanted.items():
            for labels, spec in jobs.specs(stage).items():
                if labels[0] in names:
                    run_stage(stage, spec.canonical(), folder / "results")
    finally:
        os.chdir(here)
    return folder / "results"


def train_specs(settings: Settings, task: str) -> dict[int, TrainSpec]:
    """What the arms of a task are trained with, by window, for the first seed."""
    specs = Jobs(settings).specs("train")
    found = {w: specs[run.name, "0"] for w, run in runs(settings, task).items()}
    return {window: TrainSpec.model_validate(spec.model_dump()) for window, spec in found.items()}


def test_arms_differ_in_the_window_alone() -> None:
    specs = train_specs(SETTINGS, TASK)
    assert tuple(specs) == WINDOWS
    for window, spec in specs.items():
        assert spec.policy.window == window and spec.stretch == 8 and spec.training.batch == 3
    alike = {
        spec.model_copy(
            update={"run": "", "policy": spec.policy.model_copy(update={"window": 1})}
        ).canonical()
        for spec in specs.values()
    }
    assert len(alike) == 1


def test_an_update_has_about_as_many_frames_as_with_ordinary_windows() -> None:
    specs = train_specs(parse({"memory": {"tasks": [TASK]}}), TASK)
    assert {(spec.stretch, spec.training.batch) for spec in specs.values()} == {(40, 1)}
    larger = parse({"memory": {"tasks": [TASK]}, "training": {"batch": 64}})
    assert {spec.training.batch for spec in train_specs(larger, TASK).values()} == {32}


def test_every_update_holds_the_same_frames_in_all_arms(results: Path) -> None:
    store = TokenStore(paths.tokens(results, TASK, "train"))
    specs = train_specs(SETTINGS, TASK)
    samplers = {
        window: WindowSampler([store.starts], window, spec.training.batch, 0, spec.stretch)
        for window, spec in specs.items()
    }
    for update in range(12):
        frames = {
            tuple(begin + i for _, begin, n in sampler.windows(update) for i in range(n))
            for sampler in samplers.values()
        }
        assert len(frames) == 1

    seen = []
    for window, run in runs(SETTINGS, TASK).items():
        folder = paths.model(results, run.name, 0)
        assert read_settings(folder).window == window
        progress = np.genfromtxt(folder / "progress.csv", delimiter=",", names=True)
        seen.append((progress["step"].tolist(), progress["frames"].tolist()))
    assert seen[0] == seen[1] == seen[2] and seen[0][1][-1] >= SETTINGS.memory.frames


def test_the_table_has_every_measure_of_every_arm(results: Path) -> None:
    rows = tables.read("memory", paths.table(results, "memory"))
    policies = rows[rows["who"] != CEILING]
    assert set(rows["task"]) == {TASK}
    measured = {"button", "placement@5", "decision", "done", NATS, *PLAYED}
    for _, part in policies.groupby("measure"):
        assert sorted(part["window"]) == list(WINDOWS)
    assert measured <= set(policies["measure"]) <= {*KINDS, NATS, *PLAYED}
    # Nats lie below those of a uniform guess over all pixels.
    assert set(policies["n"]) == {SETTINGS.episodes.test}
    nats = policies[policies["measure"] == NATS]["value"]
    assert ((0 < nats) & (nats < np.log(448 * 336) + 1)).all()
    ceiling = rows[rows["who"] == CEILING].set_index("measure")["value"]
    assert ceiling["placement@5"] > 0.8 and set(ceiling.index) <= set(KINDS)


def test_each_contrast_is_tested_where_there_is_something_to_count(results: Path) -> None:
    tested = {claim.claim: claim for claim in from_json(paths.claims(results, "memory"))}
    known = {contrast.hypothesis.claim for contrast in CONTRASTS}
    assert set(tested) == known
    claim = tested["past screens make clicks predictable"]
    assert "windows of 3 screens minus windows of 1" in claim.statistic
    assert claim.unit == "episode (3, 1 training run(s) of each arm)"
    rows = tables.read("memory", paths.table(results, "memory"))
    nats = rows[rows["measure"] == NATS].set_index("window")["value"]
    assert claim.value == pytest.approx(nats[1] - nats[3], abs=1e-4)
    more = tested["still more screens make clicks predictable"]
    assert more.value == pytest.approx(nats[3] - nats[8], abs=1e-4)
    # Nobody succeeds after 70 frames: equal arms mean nothing.
    success = tested["still more screens bring success"]
    assert success.verdict == "not testable" and "nothing is learned" in success.reason


def test_a_task_without_such_steps_has_no_claim_about_them(results: Path) -> None:
    inputs: dict[str, pd.DataFrame] = {}
    for name in ("skills", "losses", "closed_loop"):
        parts = [
            parquet.frame(paths.evaluation(results, run.name, TASK, 0, name))
            for run in runs(SETTINGS, TASK).values()
        ]
        inputs[name] = pd.concat(parts, ignore_index=True)
    skills = inputs["skills"]
    none = {
        **inputs,
        "skills": skills.assign(total=skills["total"].where(skills["skill"] != "look", 0)),
    }
    assert {claim.claim for claim in claims(inputs, SETTINGS)} - {
        claim.claim for claim in claims(none, SETTINGS)
    } == {"the past helps: look"}
    assert "look" not in set(table(none, SETTINGS)["measure"])


def test_the_figure_tells_the_numbers(results: Path) -> None:
    figure = paths.table(results, "memory")
    assert figure.with_suffix(".png").stat().st_size > 10_000
    caption = figure.with_suffix(".md").read_text()
    rows = tables.read("memory", figure)
    nats = rows[(rows["measure"] == NATS) & (rows["window"] == 8)].iloc[0]
    assert f"{nats['value']:.2f} [{nats['low']:.2f}, {nats['high']:.2f}] with 8" in caption


def test_without_tasks_it_is_left_out_with_a_word() -> None:
    assert "memory.tasks=" in left_out(Settings())["memory"]
    assert tasks(SETTINGS) == (TASK,)  # colored_dots is not studied there


@pytest.mark.parametrize("windows", [[20, 5, 1], [1, 5, 5], [1, 20], [0, 5, 20]])
def test_windows_that_cannot_be_compared_are_refused(windows: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"memory\.windows"):
        parse({"memory": {"windows": windows}})
