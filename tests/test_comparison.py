"""People beside virtual annotators and policies.

No recordings of people come with the package: virtual annotators stand in for them. They work
through the page of `lastmile play` and are called `person-stand-in-...`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from conftest import SETTINGS, Evaluations
from lastmile.errors import LastmileError
from lastmile.evaluation import exclusions, side_by_side
from lastmile.evaluation.exclusions import Recording, examine, logs_by_task
from lastmile.evaluation.side_by_side import Played, describe
from lastmile.evaluation.two_samples import (
    FEATURES,
    WINDOW,
    auc_samples,
    held_out_scores,
    windows,
)
from lastmile.pipeline.stages import side_by_side as stage
from lastmile.policy.policy import Policy
from lastmile.screen import Look
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record
from lastmile.storage import parquet
from lastmile.studies.comparison import study
from lastmile.studies.comparison.measures import MEASURES, by_task, samples_of
from lastmile.tasks import get_task
from people_at_work import app_at, page, stand_in

TASK = "colored_dots"
MADE = "person-stand-in-typical"
"""Pseudonym of the virtual annotator that stands in."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two worlds of a stand-in."""
    folder = tmp_path_factory.mktemp("recordings")
    stand_in(folder, "typical", "typical", (TASK,), worlds=2)
    return folder


def judged(*paths: Path) -> list[Recording]:
    return examine(paths, TASK, "short", ("right",), ("dark",))


def logs(folder: Path) -> list[Path]:
    return [Path(path) for path in logs_by_task([str(folder)], [TASK])[TASK]]


# Which recordings count


def test_what_was_finished_counts(recordings: Path) -> None:
    found = judged(*logs(recordings))
    assert [one.rule for one in found] == [one.reason for one in found] == ["", ""]
    assert all(one.session and one.session.done and one.opening for one in found)
    assert {one.opening.person for one in found if one.opening} == {MADE}


def changed(path: Path, to: Path, **opening: Any) -> Path:
    """Copy a log with another opening."""
    first, *lines = path.read_text().splitlines(keepends=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps({**json.loads(first), **opening}) + "\n" + "".join(lines))
    return to


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "lastmile.people/0"}, "line 1 is no line of a log"),
        ({"task_version": 0}, "recorded with version 0"),
        ({"world": "0" * 16}, "another world"),
        ({"task": "road_mapping"}, "recorded"),
        ({"task": "sky_watching"}, "sky_watching"),
    ],
)
def test_logs_of_another_version_are_left_out_and_named(
    recordings: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = changed(logs(recordings)[0], tmp_path / "p" / "colored_dots-short-0-0.jsonl", **change)
    (found,) = judged(path)
    assert found.rule == exclusions.UNREADABLE and found.session is None
    assert words in found.reason and str(path) in found.reason


def test_damaged_logs_are_left_out_and_the_others_count(recordings: Path, tmp_path: Path) -> None:
    good, path = logs(recordings)
    damaged, empty, none = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    text = path.read_text().splitlines(keepends=True)
    damaged.write_text("".join([*text[:5], "{", *text[5:]]))
    empty.touch()
    none.write_text(text[0])  # no clicks
    found = judged(good, damaged, empty, none, tmp_path / "gone.jsonl")
    assert [one.rule for one in found] == ["", *4 * [exclusions.UNREADABLE]]
    assert "line 6" in found[1].reason and "is empty" in found[2].reason
    assert "has no clicks" in found[3].reason and "cannot be read" in found[4].reason


def test_the_rules_beyond_damage(recordings: Path, tmp_path: Path) -> None:
    first, second = logs(recordings)
    copy = shutil.copy(first, tmp_path / "copy.jsonl")
    lines = second.read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[:-2]))  # without Done and the last line
    stand_in(tmp_path / "left", "left", "typical", (TASK,), 1, look=Look("left", "dark"))
    with page(app_at(tmp_path / "two", TASK)) as one:
        one.hello()
        one.start(TASK, practice=True)
        one.click(365, 68)
        one.send(type="give up")
        one.receive()
        one.start(TASK)
        done = record(Source(TASK, "people", 0), 0).columns
        one.click(done["x"][-1], done["y"][-1])  # nothing but Done
    (other,) = logs(tmp_path / "left")
    at_once, practice = logs(tmp_path / "two")
    found = judged(first, Path(copy), cut, other, practice, at_once)
    assert [one.rule for one in found] == [
        "",
        exclusions.GIVEN_TWICE,
        exclusions.NOT_FINISHED,
        exclusions.OTHER_WORLDS,
        exclusions.PRACTICE,
        exclusions.TOO_FEW,
    ]
    assert str(first) in found[1].reason and "layout 'left'" in found[3].reason
    assert "has 1 clicks" in found[5].reason


def test_folders_that_hold_nothing_are_named(recordings: Path, tmp_path: Path) -> None:
    for folder, tasks, words in (
        (tmp_path / "none", [TASK], "no such folder"),
        (tmp_path, [TASK], "holds no recordings"),
        (recordings, ["road_mapping"], "they are of colored_dots"),
    ):
        with pytest.raises(LastmileError, match=words) as error:
            logs_by_task([str(recordings), str(folder)], tasks)
        assert "'recordings'" in str(error.value) and str(folder) in str(error.value)
    found = logs_by_task([str(recordings)], [TASK, "road_mapping"])
    assert found["road_mapping"] == () and len(found[TASK]) == 2


# What each did


def played(style: str, episodes: range, person: str = "", task: str = TASK) -> pd.DataFrame:
    """Return the clicks of a virtual annotator; one with a name stands in for a person."""
    rows = []
    for episode in episodes:
        source = Source(task, "people", len(person), style=style)
        columns = record(source, episode).columns
        session = Session(get_task(task), source.world(episode))
        for _ in session.play(zip(columns["x"], columns["y"])):
            pass
        who = "people" if person else style
        rows += describe(Played(who, person, episode, 0, session))
    return pd.DataFrame(rows, columns=list(side_by_side.CLICKS))


def test_distances_are_those_to_the_target_of_the_annotator() -> None:
    columns = record(Source(TASK, "people", 0), 0).columns
    rows = played("typical", range(1))
    right = (rows["verdict"] == "right").to_numpy()
    shift = np.subtract([columns["x"], columns["y"]], [columns["target_x"], columns["target_y"]])
    assert right.sum() > 5 and np.isfinite(rows["distance"][right]).mean() > 0.8
    known = right & rows["distance"].notna().to_numpy()
    assert np.allclose(rows["distance"][known], np.hypot(*shift)[known])
    assert rows["distance"][~right].isna().all()


def test_steps_from_a_mistake_to_its_repair_are_counted() -> None:
    source = Source(TASK, "people", 0)
    session = Session(get_task(TASK), source.world(0))
    screen = session.screen()
    undo = screen.widget("undo").rect.middle
    look = next(w.rect.middle for w in screen.widgets if w.button.enabled)
    dots = session.world.z.shape[0]
    assert dots
    corner = (screen.canvas.x + 1, screen.canvas.y + 1)
    for click in (corner, look, look, undo, corner):
        session.click(*click)
    rows = describe(Played("people", "one", 0, 0, session, (False, True, False, False, False)))
    assert [row["made"] for row in rows] == [1, 0, 0, 0, 1]
    assert [row["repaired"] for row in rows] == [0, 0, 0, 1, 0]
    assert [row["delay"] for row in rows] == [0, 0, 0, 3, 0]
    assert np.isnan(rows[1]["off_x"]) and abs(rows[2]["off_x"]) < 0.1  # a key, a click
    assert rows[2]["again"] and rows[2]["jump"] == 0


def test_everybody_does_the_worlds_of_people(
    recordings: Path, policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [*logs(recordings)[:1], tmp_path / "gone.jsonl"]
    spec = stage.Spec(
        run=TASK,
        seed=0,
        task=TASK,
        logs=tuple(map(str, paths)),
        difficulty="short",
        style="careful",
        layouts=("right",),
        themes=("dark",),
        temperature=0.4,
        max_steps=1,
    )
    policy.save(tmp_path / "models" / TASK / "seed0")
    outputs = stage.outputs(spec, tmp_path)
    outputs.side_by_side.parent.mkdir(parents=True)
    stage.run(spec, stage.inputs(spec, tmp_path), outputs)
    said = capsys.readouterr().out
    assert "left out (unreadable)" in said and "gone.jsonl" in said
    assert f"{TASK}: 1 of 2 recordings count" in said

    clicks, attempts = parquet.frame(outputs.side_by_side), parquet.frame(outputs.attempts)
    everybody = ["careful", "hasty", "people", "policy", "typical"]
    assert sorted(clicks["who"].unique()) == everybody
    counted = attempts[attempts["rule"] == ""]
    assert sorted(counted["who"]) == everybody and len(attempts) == len(everybody) + 1
    assert clicks.groupby("who").size().to_dict() == dict(zip(counted["who"], counted["steps"]))
    assert {*clicks.loc[clicks["predicted"], "who"]} == {"people", "careful"}
    seconds = counted.set_index("who")["seconds"]
    assert seconds["people"] > 20 and seconds.drop("people").isna().all()

    inputs = {"side_by_side": clicks, "attempts": attempts}
    settings = SETTINGS.model_copy(update={"tasks": (TASK,)})
    table = study.table(inputs, settings)
    people = table[(table["who"] == "people") & (table["person"] == "")].set_index("measure")
    assert people.loc["steps", "value"] == len(clicks[clicks["who"] == "people"])
    assert people.loc["left out:unreadable", "value"] == 1
    assert people.loc["completed", "n"] == 1
    for claim in study.claims(inputs, settings):
        assert claim.verdict == "not testable" and claim.reason


# The two-sample test


def test_windows_hold_every_feature() -> None:
    clicks = played("typical", range(2))
    rows = windows(clicks)
    lengths = clicks.groupby("episode").size()
    assert len(rows) == (lengths // WINDOW).clip(lower=1).sum()
    assert list(rows.columns) == ["who", "person", "episode", *FEATURES]
    shares = rows[[name for name in FEATURES if name.startswith("share of ")]]
    assert np.allclose(shares.sum(axis=1), 1)


def test_the_auc_is_the_one_that_is_known() -> None:
    rng = np.random.default_rng(0)
    first = np.arange(60) % 3 == 0
    scores = rng.normal(size=60) + first
    person, episode = np.where(first, "a", ""), np.arange(60) % 7
    samples = auc_samples(scores, first, person, episode, 200)
    assert samples[0] == pytest.approx(roc_auc_score(first, scores))
    assert samples.shape == (201,) and 0 < samples[1:].std() < 0.2
    two = np.where(first & (episode > 3), "b", person)
    each = [roc_auc_score(first[rows], scores[rows]) for rows in (~(two == "a"), ~(two == "b"))]
    assert auc_samples(scores, first, two, episode, 200)[0] == pytest.approx(np.mean(each))


def told(people: pd.DataFrame, others: pd.DataFrame) -> float:
    rows = windows(pd.concat([people, others]))
    first = (rows["who"] == "people").to_numpy()
    world = rows["episode"].to_numpy()
    scores = held_out_scores(rows[list(FEATURES)].to_numpy(float), first, world)
    return float(auc_samples(scores, first, rows["person"].to_numpy(), world, 100)[0])


def test_a_style_is_told_from_another_and_not_from_itself() -> None:
    careful, worlds = played("careful", range(20)), range(20)
    assert 0.3 < told(played("careful", worlds, "stand-in"), careful) < 0.65
    assert told(played("hasty", worlds, "stand-in"), careful) > 0.7


# Claims


def persons(inputs: dict[str, pd.DataFrame], *names: str) -> dict[str, pd.DataFrame]:
    """Return what is left with these people alone."""
    return {
        name: rows[(rows["who"] != "people") | rows["person"].isin(names)]
        for name, rows in inputs.items()
    }


def test_claims_about_one_person_are_not_testable(evaluations: Evaluations) -> None:
    inputs = evaluations["comparison"]
    verdicts = {one.verdict for one in study.claims(inputs, SETTINGS)}
    assert verdicts - {"not testable"}
    for claim in study.claims(persons(inputs, "person-1"), SETTINGS):
        assert claim.verdict == "not testable"
        assert "one person" in claim.reason or "nothing to measure" in claim.reason
    for claim in study.claims(persons(inputs), SETTINGS):
        assert claim.verdict == "not testable" and "no recordings" in claim.reason


def test_recordings_of_which_none_counts_are_told(evaluations: Evaluations) -> None:
    inputs = evaluations["comparison"]
    attempts = inputs["attempts"]
    people = attempts["who"] == "people"
    clicks = inputs["side_by_side"]
    none = {
        "side_by_side": clicks.iloc[:0],
        "attempts": attempts[people].assign(rule="not finished"),
    }
    for claim in study.claims(none, SETTINGS):
        assert claim.verdict == "not testable" and "none counts" in claim.reason
    table = study.table(none, SETTINGS)
    completed = table[table["measure"] == "completed"]
    assert len(completed) == 3 and not completed["value"].any()


def test_a_measure_is_the_mean_over_people(evaluations: Evaluations) -> None:
    task = by_task(evaluations["comparison"], (TASK,))[TASK]
    rows = task.rows("people")
    each = rows.groupby("person")[["wrong", "annotations"]].sum()
    expected = (each["wrong"] / each["annotations"]).mean()
    samples = samples_of(rows, MEASURES["mistakes per placement"], 300, 0)
    assert samples[0] == pytest.approx(expected)
    assert samples[1:].std() > 0
