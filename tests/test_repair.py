"""Demonstrations made with a policy: what is shown, what is learned from, and the study of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from lastmile.config import PolicySettings, Settings, parse
from lastmile.errors import LastmileError
from lastmile.evaluation import closed_loop, demonstrations
from lastmile.pipeline.plan import Jobs, plan
from lastmile.pipeline.runner import run_stage
from lastmile.policy.policy import Policy, initial
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.demonstrating import Demonstration
from lastmile.simulation.rows import NO_ANSWER
from lastmile.simulation.session import Session, Step
from lastmile.simulation.source import Source
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Trajectories, TrajectoryError
from lastmile.simulation.ways import WAYS, WITH_POLICY, Way
from lastmile.storage import csv_tables, files, parquet
from lastmile.studies.repair import study
from lastmile.tasks import get_task
from lastmile.training.windows import Window, read_batch
from made_up import inputs_of_studies

SOURCE = Source("behavior_tracking", "train", 3)
FIRST, COUNT = 7, 6


@pytest.fixture(scope="module")
def policy() -> Policy:
    return initial(PolicySettings(size="xs", window=4), 0)


@pytest.fixture(scope="module")
def made(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> dict[Way, Trajectories]:
    """Demonstrations of the same worlds, made in every way."""
    folder = tmp_path_factory.mktemp("demonstrations")
    numbers = range(FIRST, FIRST + COUNT)
    for way in WAYS:
        demonstrations.write(folder / f"{way}.parquet", SOURCE, way, policy, numbers, 0.4, 0)
    return {way: trajectory.read(folder / f"{way}.parquet") for way in WAYS}


def episodes(recording: Trajectories) -> Iterator[tuple[np.ndarray, np.ndarray, pd.DataFrame]]:
    for number in range(COUNT):
        start, stop = recording.starts[number : number + 2]
        yield recording.clicks(number), recording.answers(number), recording.steps[start:stop]


def test_plain_demonstrations_are_those_of_the_annotator(made: dict[Way, Trajectories]) -> None:
    ways: tuple[Way, ...] = ("plain", *WITH_POLICY)
    for way in ways:
        assert list(made[way].episodes["episode"]) == list(range(FIRST, FIRST + COUNT))
        for number, (clicks, answers, steps) in enumerate(episodes(made[way])):
            if way == "plain" or number % 2 == 0:
                columns = trajectory.record(SOURCE, FIRST + number).columns
                assert clicks.tolist() == [list(xy) for xy in zip(columns["x"], columns["y"])]
                assert list(steps["phase"]) == columns["phase"]
                assert np.array_equal(clicks, answers)


def test_all_states_of_the_policy_are_relabelled(made: dict[Way, Trajectories]) -> None:
    differing = 0
    for clicks, answers, steps in [*episodes(made["relabelled"])][1::2]:
        assert set(steps["phase"]) == {""} and (answers >= 0).all()
        differing += int((clicks != answers).any(1).sum())
    assert differing > 20


def test_only_what_comes_after_the_hand_over_is_learned(made: dict[Way, Trajectories]) -> None:
    for number, (clicks, answers, steps) in enumerate(episodes(made["handed-over"])):
        of_policy = (steps["phase"] == "").to_numpy()
        handed_over = int(of_policy.sum())
        assert (number % 2 == 1) == (handed_over > 0)
        assert of_policy[:handed_over].all() and handed_over < len(clicks)
        assert (answers[of_policy] == NO_ANSWER).all()
        assert np.array_equal(clicks[~of_policy], answers[~of_policy])
        assert list(steps["kind"]).index("done") == len(clicks) - 1  # not the policy's


def test_forced_mistakes_are_shown_and_not_learned(made: dict[Way, Trajectories]) -> None:
    forced, repaired = 0, 0
    for number, (clicks, answers, steps) in enumerate(episodes(made["noise"])):
        changed = (clicks != answers).any(1)
        rows = steps[changed]
        assert (answers >= 0).all() and (rows["mistake"] != "").all()
        forced += len(rows)
        repaired += int((steps["phase"] == "correct").sum())
        assert steps["kind"].iloc[-1] == "done"

        replay = made["noise"].open(number)
        for step, answer, differs in zip(replay.replay(), answers.tolist(), changed):
            if differs:  # what is learned would not have been that mistake
                meant = Session(replay.task, replay.world, replay.look, step.before)
                meant.click(*answer)
                assert len(meant.mistakes) <= len(replay.mistakes)
    assert forced > 5 and repaired > 5


def test_a_policy_that_would_finish_hands_over(made: dict[Way, Trajectories]) -> None:
    episode = Demonstration(SOURCE, FIRST, "handed-over", 50)
    middle = episode.screen().widget("done").rect.middle
    episode.click(10, 200)
    episode.click(*middle)
    assert episode.over and not episode.done and len(episode.steps) == 1
    episode.finish()
    assert episode.done and episode.columns["answer_x"][:2] != [NO_ANSWER[0]] * 2


def test_without_a_policy_it_says_so() -> None:
    with pytest.raises(LastmileError, match="demonstrations 'relabelled' need a policy"):
        next(demonstrations.demonstrate(SOURCE, "relabelled", None, range(2), 0.4, 0))


def test_tokens_hold_what_is_to_be_learned(made: dict[Way, Trajectories], tmp_path: Path) -> None:
    for way in WITH_POLICY:
        recording = made[way]
        tokens.write(tmp_path / f"{way}.tokens", recording)
        store = TokenStore(tmp_path / f"{way}.tokens")
        assert store.clicks.tolist() == recording.steps[["x", "y"]].to_numpy().tolist()
        answers = np.concatenate([recording.answers(number) for number in range(COUNT)])
        nothing = (answers == NO_ANSWER).all(1)
        assert ((store.targets == NO_ANSWER).all(1) == nothing).all()
        assert nothing.any() == (way == "handed-over")

        # Where in a button somebody would click says nothing.
        for number in range(COUNT):
            replay = recording.open(number)
            start = int(store.starts[number])
            for at, step in enumerate(replay.replay()):
                x, y = replay.answers[at].tolist()
                aim = x, y
                if aim != NO_ANSWER:
                    hit = replay.interface.hit(step.before, x, y, replay.look)
                    if hit.widget not in ("", "canvas"):
                        screen = replay.interface.screen(step.before, replay.look)
                        aim = screen.widget(hit.widget).rect.middle
                assert tuple(store.targets[start + at].tolist()) == tuple(aim)


def test_a_recording_with_impossible_answers_is_refused(
    made: dict[Way, Trajectories], tmp_path: Path
) -> None:
    recording = made["handed-over"]
    path = tmp_path / "bad.parquet"
    table = parquet.read(recording.path)
    meta = json.loads(table.schema.metadata[b"lastmile"])
    frame = table.to_pandas()
    frame.loc[3, "answer_x"] = 4000
    bad = pa.Table.from_pandas(frame, schema=table.schema.remove_metadata(), preserve_index=False)
    with files.writing(path) as temporary:
        parquet.write(bad, temporary, {k: v for k, v in meta.items() if k != "seal"})
    trajectory.episodes_path(path).write_bytes(
        trajectory.episodes_path(recording.path).read_bytes()
    )
    with pytest.raises(TrajectoryError, match="a click to learn lies outside the screen"):
        trajectory.read(path)


def test_nothing_is_learned_where_there_is_no_answer(
    policy: Policy, made: dict[Way, Trajectories], tmp_path: Path
) -> None:
    tokens.write(tmp_path / "x.tokens", made["handed-over"])
    store = TokenStore(tmp_path / "x.tokens")
    learned: np.ndarray = np.all(store.targets >= 0, axis=1)
    border = int(np.flatnonzero(~learned[:-1] & learned[1:])[0]) + 1
    batch = read_batch([store], [Window(0, border - 2, 4)], 4)
    nats = policy.loss(batch)
    assert (nats[0, :2] == 0).all() and (nats[0, 2:] > 0).all()
    # The loss of a plain window is what it was.
    plain = batch | {"targets": batch["targets"].clamp_min(0)}
    assert torch.equal(policy.loss(plain)[0, 2:], nats[0, 2:])
    # What comes before a hand-over is seen, though it is not learned.
    blind = batch | {"screens": batch["screens"].clone()}
    blind["screens"][0, :2] = 0
    assert not torch.allclose(policy.loss(blind)[0, 2:], nats[0, 2:])


def test_loops_are_counted() -> None:
    task = get_task("colored_dots")
    session = Session(task, Source("colored_dots", "test", 0).world(0))
    undo = session.screen().widget("undo").rect.middle
    canvas = session.screen().canvas
    here, there = (canvas.x + 60, canvas.y + 60), (canvas.x + 150, canvas.y + 60)
    look = session.screen().widget("mip").rect.middle

    def longest(*clicks: tuple[int, int]) -> int:
        session.state, session.steps = session.interface.start(), []
        steps: list[Step] = list(session.play(clicks))
        assert any(step.after.edits != step.before.edits for step in steps)
        return closed_loop.longest_loop(steps)

    near = (here[0] + 3, here[1] + 3)
    assert longest(here, there) == 0
    assert longest(here, undo) == 1
    assert longest(here, undo, near, undo, here, undo, here) == 3
    assert longest(here, undo, look, look, near, undo) == 2
    assert longest(here, undo, there, undo, here, undo) == 1
    assert longest(here, there, undo, undo, here, undo) == 1


def settings_of(seeds: Sequence[int] = (0,), **repair: object) -> Settings:
    return parse(
        {
            "name": "toy",
            "tasks": ["colored_dots", "road_mapping"],
            "episodes": {"train": 4, "validation": 1, "test": 3, "shared_test": 2},
            "policy": {"size": "xs", "window": 4},
            "training": {"frames": 40, "batch": 4, "snapshots": 1, "seeds": list(seeds)},
            "evaluation": {"max_steps": 1, "resamples": 100},
            "repair": {"tasks": ["road_mapping"], "frames": 30, "episodes": 4, **repair},
        }
    )


def test_the_study_from_nothing_to_its_claims(tmp_path: Path) -> None:
    settings = settings_of()
    jobs, results = Jobs(settings), tmp_path / "results"
    runs = study.runs(settings, "road_mapping")
    recordings = {"road_mapping", *(f"road_mapping.{way}" for way in study.ARMS.values())}
    here = os.getcwd()
    os.chdir(tmp_path)  # where a training run keeps its work
    try:
        for stage, names in (
            ("record", recordings),
            ("tokenize", {"road_mapping"}),
            ("train", {runs[study.BEFORE].name}),
            ("repair_record", recordings),
            ("tokenize", recordings - {"road_mapping"}),
            ("train", {run.name for run in runs.values()} - {runs[study.BEFORE].name}),
            ("closed_loop", {run.name for run in runs.values()}),
            ("study", {"repair"}),
        ):
            for labels, spec in jobs.specs(stage).items():
                if labels[0] in names:
                    run_stage(stage, spec.canonical(), results)
    finally:
        os.chdir(here)

    table = csv_tables.read(results / "figures" / "repair.csv", study.COLUMNS)
    assert set(table["arm"]) == {study.BEFORE, *study.ARMS}
    claims = json.loads((results / "claims" / "repair.json").read_text())
    assert len(claims) == len(study.HYPOTHESES)
    assert {claim["verdict"] for claim in claims} == {"not testable"}  # one training of each arm
    assert all(claim["value"] is not None for claim in claims if "success" in claim["claim"])
    weights = {
        (results / "models" / run.name / "seed0" / "policy.safetensors").read_bytes()
        for run in runs.values()
    }
    assert len(weights) == len(runs)


def test_all_learn_from_the_policy_that_was_at_work() -> None:
    jobs = Jobs(settings_of(rounds=2, seeds=[0, 1]))
    last = study.runs(jobs.request.settings, "road_mapping")["relabelled"]
    assert last.start is not None and last.start.round == 1
    trained: dict[Any, Any] = {
        labels: spec for labels, spec in jobs.specs("train").items() if "relabelled" in labels[0]
    }
    assert [*trained] == [(last.start.name, "0"), (last.name, "0"), (last.name, "1")]
    assert [spec.start_seed for spec in trained.values()] == [0, 0, 0]
    recorded: dict[Any, Any] = jobs.specs("repair_record")
    assert recorded["road_mapping.relabelled", "train"].start == "road_mapping"
    assert recorded["road_mapping.relabelled-2", "train"].start == last.start.name


def test_the_worlds_are_new_and_the_same_in_all_arms() -> None:
    specs: list[Any] = [*Jobs(settings_of(rounds=2)).specs("repair_record").values()]
    assert {(spec.first, spec.episodes) for spec in specs} == {(4, 4), (8, 4)}
    assert all((spec.start is None) == (spec.way not in WITH_POLICY) for spec in specs)


def test_without_tasks_nothing_is_made() -> None:
    assert not Jobs(settings_of(tasks=[])).specs("repair_record")
    stages = {work.stage for work in plan(settings_of())}
    assert "repair_record" in stages


def test_the_better_arm_is_shown() -> None:
    settings = parse(
        {
            "tasks": ["colored_dots", "road_mapping"],
            "training": {"seeds": [0, 1, 2]},
            "repair": {"tasks": ["colored_dots", "road_mapping"]},
            "evaluation": {"resamples": 300},
        }
    )
    inputs = inputs_of_studies(settings)["repair"]
    rows = inputs["closed_loop"].copy()
    better = rows["run"].str.contains("handed-over") & (rows["who"] == "policy")
    worse = rows["run"].str.contains("plain") & (rows["who"] == "policy")
    rows.loc[better, ["success", "finished", "mistakes"]] = [True, True, 0]
    rows.loc[worse & (rows["episode"] % 2 == 0), "success"] = False
    claims = {
        claim.claim: claim.verdict
        for claim in study.claims({"closed_loop": rows}, settings)
        if claim.task == "all tasks"
    }
    assert claims["handed over: more success"] == "shown"
    assert claims["handed over: fewer mistakes"] == "shown"
    assert claims["noise: fewer mistakes"] in ("null", "undecided")
    worst = study.claims({"closed_loop": rows.iloc[:0]}, settings)
    assert {claim.verdict for claim in worst} == {"not testable"}
