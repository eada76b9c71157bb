"""Other looks of the interface: the same episodes on other screens, what clicks come to there, and the study."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from conftest import SETTINGS, Evaluations
from lastmile.config import parse
from lastmile.evaluation import other_looks
from lastmile.evaluation.closed_loop import closed_loop
from lastmile.evaluation.other_looks import OUTCOMES
from lastmile.pipeline import paths, plan
from lastmile.pipeline.runner import run_stage
from lastmile.pipeline.stages import record
from lastmile.policy.policy import Policy
from lastmile.screen import LAYOUTS, THEMES, Look
from lastmile.simulation import trajectory
from lastmile.simulation.redrawing import redraw
from lastmile.simulation.trajectory import Trajectories, TrajectoryError
from lastmile.storage import parquet
from lastmile.studies.layouts import arms, figure, study
from lastmile.tasks import task_names


@pytest.mark.parametrize("task", task_names())
def test_the_same_episode_is_recorded_in_every_look(task: str) -> None:
    """Demonstrations of all arms are the same: only screens differ."""
    plain = trajectory.record(trajectory.Source(task, "train", 3), 0)
    for layout, theme in zip(LAYOUTS, itertools.cycle(THEMES)):
        source = trajectory.Source(task, "train", 3, layouts=(layout,), themes=(theme,))
        other = trajectory.record(source, 0)
        assert other.look == Look(layout, theme) and other.world == plain.world
        assert other.state == plain.state and other.score == plain.score
        for name in ("widget", "kind", "phase", "mistake", "position", "verdict"):
            assert other.columns[name] == plain.columns[name]


def test_a_recording_is_drawn_in_another_look(recorded: Trajectories) -> None:
    same = redraw(recorded, Look("right", "dark"))
    for name in ("x", "y", "target_x", "target_y", "kind", "mistake"):
        assert same.steps[name].to_numpy().tolist() == recorded.steps[name].to_numpy().tolist()
    assert same.episodes.equals(recorded.episodes.assign(layout="right", theme="dark"))

    moved = redraw(recorded, Look("bottom", "retro"))
    placing = (recorded.steps["widget"] == "canvas").to_numpy()
    shift = np.subtract(LAYOUTS["bottom"].canvas[:2], LAYOUTS["right"].canvas[:2])
    before, after = (part.steps[["x", "y"]].to_numpy() for part in (recorded, moved))
    assert (after[placing] - before[placing] == shift).all()
    for number in range(len(moved.episodes)):
        replay = moved.open(number)
        assert replay.look == Look("bottom", "retro")
        assert [step.hit.widget for step in replay.replay()] == (
            recorded.steps.loc[recorded.steps["episode"] == number, "widget"].tolist()
        )
        assert replay.done


def test_a_look_or_recording_that_does_not_fit_is_named(recorded: Trajectories) -> None:
    with pytest.raises(ValueError, match="unknown layout 'lower'"):
        redraw(recorded, Look("lower", "dark"))
    steps = recorded.steps.assign(
        widget=recorded.steps["widget"].astype(str).replace("undo", "mip")
    )
    edited = Trajectories(recorded.path, recorded.source, steps, recorded.episodes)
    with pytest.raises(TrajectoryError, match="takes other steps .*record the trajectories again"):
        redraw(edited, Look("left", "dark"))


class Recalled:
    """Clicks as in a recording, whatever the screen shows: the layout learned by heart."""

    def __init__(self, recording: Trajectories) -> None:
        self.clicks = iter([recording.clicks(n) for n in range(len(recording.episodes))])

    def predict_episode(self, screens: np.ndarray, clicks: Any, targets: Any) -> Any:
        assert len(screens) == len(clicks) == len(targets)
        return next(self.clicks), np.zeros(len(clicks))


def judged(recording: Trajectories, look: Look, first: str = "right") -> pd.DataFrame:
    """What clicks learned by heart from the recording come to in a look."""
    policy = cast(Policy, Recalled(recording))
    return other_looks.judge(policy, redraw(recording, look), first)


def test_clicks_that_fit_the_look_are_right(recorded: Trajectories) -> None:
    for theme in THEMES:
        rows = judged(recorded, Look("right", theme))
        assert rows["right"].equals(rows["judged"]) and rows["widget"].equals(rows["judged"])
    assert rows["clicks"].sum() == len(recorded.steps)
    canvas = rows[rows["due"] == "canvas"]
    kinds = recorded.steps[recorded.steps["widget"] == "canvas"]
    assert canvas["clicks"].sum() == len(kinds)
    assert canvas["judged"].sum() == (kinds["mistake"] == "").sum() < len(kinds)
    # Placements are learned where they are; buttons in their middle, which is not where they are hit.
    assert canvas["within"].equals(canvas["clicks"])
    assert 0 < rows["within"].sum() < rows["clicks"].sum()


@pytest.mark.parametrize("layout", ["bottom", "left", "split", "top"])
def test_a_layout_that_is_known_by_heart_is_told_from_chance(
    recorded: Trajectories, layout: str
) -> None:
    rows = judged(recorded, Look(layout, "retro"))
    assert (rows[list(OUTCOMES)].sum(axis=1) == rows["judged"]).all()
    assert rows["old_place"].sum() > 0.9 * rows["judged"].sum()
    assert rows["off"].sum() == rows["wrong_widget"].sum() == rows["nothing"].sum() == 0
    # The same clicks, if that layout had never been learned: they miss, or hit something else.
    stranger = judged(recorded, Look(layout, "retro"), first=layout)
    assert stranger["old_place"].sum() == 0
    assert stranger["right"].equals(rows["right"])
    missed = stranger[["off", "wrong_widget", "nothing"]].sum(axis=1)
    assert missed.equals(rows["old_place"])


def test_in_its_own_look_a_policy_plays_as_in_the_closed_loop(
    policy: Policy, recorded: Trajectories
) -> None:
    looks = [Look("right", "dark"), Look("bottom", "dark")]
    clicks, played = other_looks.measure(policy, recorded.first(2), looks, "right", 0.4, 1, 5)
    alone = closed_loop(policy, recorded.first(2), 0.4, 1, 5)
    same = played[played["layout"] == "right"].drop(columns=["layout", "theme"])
    assert same.reset_index(drop=True).equals(alone)
    keys = ["layout", "theme", "episode"]
    assert played[keys].to_numpy().tolist() == [
        [look.layout, look.theme, number] for look in looks for number in range(2)
    ]
    assert set(map(tuple, clicks[keys].to_numpy())) == set(map(tuple, played[keys].to_numpy()))


TOY = parse(
    {
        "name": "toy",
        "tasks": ["colored_dots"],
        "episodes": {"train": 4, "validation": 1, "test": 3, "shared_test": 2},
        "policy": {"size": "xs", "window": 4},
        "training": {"batch": 4, "snapshots": 1, "seeds": [0]},
        "evaluation": {"max_steps": 1, "resamples": 100},
        "layouts": {"tasks": ["colored_dots"], "frames": 80},
    }
)


def test_arms_differ_in_their_looks_alone() -> None:
    runs = study.runs(TOY, "colored_dots")
    assert list(runs) == list(arms.ARMS) and len({run.name for run in runs.values()}) == len(runs)
    assert {runs[arm].frames for arm in arms.LEARNED} == {80}
    assert {runs[arm].frames for arm in arms.FINE_TUNED} == {20}
    assert {run.start for run in runs.values()} == {None, runs[arms.ONE]}
    assert len({(run.policy, run.episodes, run.style, run.tasks) for run in runs.values()}) == 1
    # The held-out layout and theme are in no look that is learned, and in one that is tested.
    held_out = arms.TESTED[arms.BOTH]
    for layouts, themes in arms.LEARNED.values():
        assert held_out[0] not in layouts and held_out[1] not in themes
        assert arms.TESTED[arms.SEEN][0] in layouts and arms.TESTED[arms.SEEN][1] in themes
    recordings = record.wanted(plan.request(TOY))
    assert {(one.layouts, one.themes) for one in recordings} == set(arms.ARMS.values())
    assert len({(one.seed, one.style, one.difficulty) for one in recordings}) == 1


def test_the_study_runs_from_nothing_to_its_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    jobs = plan.Jobs(TOY)
    runs = {run.name for run in study.runs(TOY, "colored_dots").values()}
    for stage in ("record", "tokenize", "train", "other_looks", "study", "figure"):
        for labels, spec in jobs.specs(stage).items():
            wanted = {
                "train": labels[0] in runs,
                "study": labels[0] == "layouts",
                "figure": labels[0] == "layouts",
            }
            if wanted.get(stage, True):
                run_stage(stage, spec.canonical(), results)
    assert sorted(os.listdir(results / "evaluations")) == sorted(runs)

    one = study.runs(TOY, "colored_dots")[arms.ONE].name
    rows = parquet.frame(paths.evaluation(results, one, "colored_dots", 0, "other_looks"))
    assert set(zip(rows["layout"], rows["theme"])) == set(arms.TESTED.values())
    assert (rows[list(OUTCOMES)].sum(axis=1) == rows["judged"]).all() and rows["judged"].sum() > 0

    table = pd.read_csv(paths.table(results, "layouts"))
    looks = table.groupby("arm")["look"].agg(set).to_dict()
    assert looks == {arm: set(arms.tested(arm)) for arm in arms.ARMS}
    for due in study.DUE.values():
        ends = table[table["measure"].isin([f"{due}: {end}" for end in study.OUTCOMES.values()])]
        assert ends.groupby(["arm", "look"])["value"].sum().to_numpy() == pytest.approx(1)
    words = paths.table(results, "layouts").with_suffix(".md").read_text()
    assert words.startswith("**Does a policy work on another interface?**")
    assert "not measured" not in words.lower()


def test_the_study_finds_what_was_put_into_its_measurements(evaluations: Evaluations) -> None:
    inputs = evaluations["layouts"]
    found = {one.claim: one for one in study.claims(inputs, SETTINGS) if one.task == "all tasks"}
    assert set(found) == {hypothesis.claim for hypothesis in study.HYPOTHESES}
    for claim in ("an unseen look costs", "fine-tuning forgets", "mixing avoids forgetting"):
        for end in ("", ", teacher-forced"):
            assert found[claim + end].verdict == "shown"
    for claim in (
        "many looks cost less than one, teacher-forced",
        "fine-tuning restores, teacher-forced",
        "a layout costs more than a theme",
        "buttons are missed, not confused",
    ):
        assert found[claim].verdict == "shown" and found[claim].low > 0
    assert "2 tasks as strata, 3 training run(s)" in found["an unseen look costs"].unit

    # Looks are paired: a policy that does the same on all of them loses nothing, for certain.
    same = inputs["other_looks"].assign(widget=inputs["other_looks"]["judged"])
    alike = {one.claim: one for one in study.claims({**inputs, "other_looks": same}, SETTINGS)}
    assert alike["an unseen look costs, teacher-forced"].value == 0

    table = study.table(inputs, SETTINGS)
    whole = table[(table["task"] == "all tasks") & (table["measure"] == "success")]
    values = whole.set_index(["arm", "look"])["value"]
    words = figure.caption(table)
    assert f"{values[arms.ONE, arms.BOTH]:.2f}" in words
    assert f"{values[arms.MANY, arms.BOTH]:.2f}" in words
