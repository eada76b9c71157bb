"""Scripts and the other players without training: what they know, and what they reach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import SETTINGS, Evaluations
from lastmile.cli import main
from lastmile.errors import LastmileError
from lastmile.evaluation.players import opened, play_worlds
from lastmile.evaluation.references import PLAYERS, reference_table, training_episodes
from lastmile.evaluation.trigram import TrigramPlayer
from lastmile.pipeline.stages import reference_players
from lastmile.provenance.fingerprints import closure
from lastmile.screen import HEIGHT, WIDTH, Look, draw_small
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Source, read, record, write
from lastmile.studies.baselines import study as baselines
from lastmile.studies.labels import ALL
from lastmile.tasks import get_task, task_names
from lastmile.tasks.script import SIDE, make_script

LEAST = {
    "behavior_tracking": 0.4,
    "cell_lineage": 0.6,
    "channel_alignment": 0.8,
    "colored_dots": 1.0,
    "limb_tracking": 0.35,
    "neuron_tracing": 0.95,
    "object_exploration": 1.0,
    "plume_finding": 0.5,
    "road_mapping": 0.9,
    "shape_matching": 0.8,
}
"""Mean scores on two validation worlds that the scripts must reach: below what they do reach."""


BEATS = "policies beat scripts"


def session(task: str, number: int = 0) -> Session:
    return Session(get_task(task), Source(task, "validation", 0).world(number), Look())


@pytest.mark.parametrize("task", task_names())
def test_a_script_knows_the_buttons_of_its_task(task: str) -> None:
    script = make_script(task)
    for difficulty in get_task(task).difficulties:
        world = Source(task, "validation", 0, difficulty).world(0)
        widgets = Session(get_task(task), world, Look()).screen().widgets
        assert script.buttons == {widget.button.id: widget.rect for widget in widgets}


@pytest.mark.parametrize("task", task_names())
def test_a_script_reads_off_the_pixels_which_buttons_are_enabled(task: str) -> None:
    script = make_script(task)
    source = Source(task, "validation", 0)
    columns = record(source, 0).columns
    played = session(task)
    for x, y in zip(columns["x"][:40], columns["y"][:40]):
        script.screen = draw_small(played.screen())
        for button, _ in played.screen().widgets:
            # An active button that is disabled looks active: nothing happens there.
            if not (button.active and not button.enabled):
                assert script.enabled(button.id) == button.enabled, button.id
                assert script.active(button.id) == (button.active and button.enabled), button.id
        played.click(x, y)


@pytest.mark.parametrize("task", task_names())
def test_a_script_does_most_of_its_task(task: str) -> None:
    rollouts = play_worlds(make_script(task), Source(task, "validation", 0), 2, Look(), 200, 1.0)
    assert all(rollout.done for rollout in rollouts)
    assert np.mean([rollout.score.score for rollout in rollouts]) >= LEAST[task]


@pytest.mark.parametrize("task", task_names())
def test_a_script_sees_the_screen_alone(task: str) -> None:
    """It does the same without `info`, and on screens that are noise it clicks somewhere."""
    played = session(task, 1)
    script, blind = make_script(task), make_script(task)
    for _ in range(12):
        screen = draw_small(played.screen())
        click = script(screen, {"task": task})
        assert blind(screen, {}) == click
        played.click(*click)

    rng = np.random.default_rng(0)
    script.reset()
    for _ in range(25):
        noise = draw_small(session(task).screen())
        noise[15 : 15 + SIDE, 6 : 6 + SIDE] = rng.integers(0, 256, (SIDE, SIDE, 3))
        x, y = script(noise, {})
        assert 0 <= x < WIDTH and 0 <= y < HEIGHT
    script.reset()
    black = draw_small(session(task).screen())
    black[15 : 15 + SIDE, 6 : 6 + SIDE] = 0
    for _ in range(25):
        script(black, {})


@pytest.mark.parametrize("task", task_names())
def test_nothing_but_the_reference_players_depends_on_a_script(task: str) -> None:
    for stage in ("record", "tokenize", "train", "closed_loop", "skills"):
        files = closure(f"pipeline.stages.{stage}", (f"tasks.{task}",))
        assert not [path for path in files if path.name == "script.py"]
    spec = reference_players.Spec(task=task, max_steps=1, seed=0)
    files = closure("pipeline.stages.reference_players", reference_players.parts(spec))
    assert len([path for path in files if path.name == "script.py"]) == 2


def test_a_task_without_a_script_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastmile.tasks.script.has_script", lambda task: False)
    with pytest.raises(LastmileError, match="the task 'colored_dots' has no script"):
        make_script("colored_dots")


def test_a_script_refuses_a_look_that_it_does_not_know() -> None:
    source = Source("colored_dots", "validation", 0)
    with pytest.raises(LastmileError, match="scripts know the layout 'right'"):
        play_worlds(make_script("colored_dots"), source, 1, Look("left"), 10, 1.0)


def test_the_trigram_follows_habits_without_looking() -> None:
    episodes = [(["+z", "+z", "canvas"], np.array([(1, 1), (2, 2), (3, 3)]))]
    player = TrigramPlayer("colored_dots", 0, episodes)
    nothing = np.zeros((0, 0, 3), np.uint8)
    assert player(nothing, {"step": 0, "widget": ""}) == (1, 1)
    assert player(nothing, {"step": 1, "widget": "+z"}) == (2, 2)
    assert player(nothing, {"step": 2, "widget": "+z"}) == (3, 3)
    # Two widgets that never followed each other: it goes by the last one.
    assert player(nothing, {"step": 3, "widget": "mip"}) in {(1, 1), (2, 2), (3, 3)}
    assert player(nothing, {"step": 4, "widget": "canvas"}) in {(1, 1), (2, 2), (3, 3)}
    player.reset()
    assert player(nothing, {"step": 0, "widget": ""}) == (1, 1)


def test_reference_players_work_on_the_recorded_worlds(tmp_path: Path) -> None:
    source = Source("colored_dots", "test", 0, layouts=("left",))
    write(tmp_path / "test.parquet", source, 2)
    write(tmp_path / "train.parquet", replace(source, split="train"), 3)
    test, training = read(tmp_path / "test.parquet"), read(tmp_path / "train.parquet")
    assert [len(widgets) for widgets, _ in training_episodes(training)] == list(
        training.episodes["steps"]
    )
    table = reference_table(test, training, 2, 0)
    assert table["who"].tolist() == list(PLAYERS) * 2
    assert table["episode"].tolist() == [0] * len(PLAYERS) + [1] * len(PLAYERS)
    by_who = table.groupby("who")["score"].mean()
    assert by_who["oracle"] == by_who["script"] == 1 > by_who["trigram"] >= 0
    assert (table["steps"] <= 2 * np.median(test.episodes["steps"])).all()
    assert reference_table(test, training, 2, 0).equals(table)


def test_claims_compare_the_same_worlds_with_tasks_as_units(evaluations: Evaluations) -> None:
    """In the made-up measurements policies score 0.85, scripts 0.7, annotators 0.97."""
    inputs = evaluations["baselines"]
    by_key = {(one.claim, one.task): one for one in baselines.claims(inputs, SETTINGS)}
    tasks = set(inputs["closed_loop"]["task"])
    for claim in (BEATS, "scripts do not suffice"):
        gaps = [by_key[claim, task].value for task in sorted(tasks)]
        whole = by_key[claim, ALL]
        assert min(gaps) > 0 and whole.value == pytest.approx(np.mean(gaps))
        assert whole.unit == f"task ({len(tasks)})" and whole.verdict == "not testable"
        assert f"{len(tasks)} units" in whole.reason

    players = inputs["reference_players"]
    better = players.assign(success=players["success"] | (players["who"] == "script"))
    turned = baselines.claims({**inputs, "reference_players": better}, SETTINGS)
    verdicts = {one.verdict for one in turned if one.claim == BEATS and one.task != ALL}
    assert "contradicted" in verdicts and "shown" not in verdicts
    table = baselines.table({**inputs, "reference_players": better}, SETTINGS)
    script = table[(table["who"] == "script") & (table["measure"] == "success")]
    assert (script["value"] == 1).all() and set(script["task"]) == {ALL, *players["task"]}


def test_scripts_and_habits_come_through_the_door_of_all_players(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastmile.evaluation.players.TRIGRAM_EPISODES", 3)
    for name in ("scripted", "trigram"):
        out = tmp_path / f"{name}.json"
        asked = ["evaluate", name, "--tasks", "colored_dots", "--worlds", "2", "--out", str(out)]
        assert main(asked) == 0
        assert main(["verify", str(out)]) == 0
    scripted = json.loads((tmp_path / "scripted.json").read_text())
    assert "scripted" in json.dumps(scripted)
    with opened("scripted") as players:
        assert players.player_for("plume_finding").task == "plume_finding"  # type: ignore[union-attr]
