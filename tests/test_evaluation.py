"""Evaluation with stand-ins whose results are known: the annotator itself, and policies that always
click one point."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lastmile.config import PolicySettings, Settings, task_list
from lastmile.evaluation import closed_loop, recovery, skills
from lastmile.evaluation.annotators import check
from lastmile.performance import bench, rates, speed
from lastmile.policy import parameter_count
from lastmile.policy.head import bin_of, click_of
from lastmile.policy.policy import Policy, initial
from lastmile.probing import generalization, pairs, steering
from lastmile.probing.activations import Inputs, sample
from lastmile.probing.probes import fit_probes
from lastmile.probing.steering import Sample, undo_chances
from lastmile.screen import draw_small
from lastmile.screen.widgets import KINDS
from lastmile.simulation.counterfactuals import branches, forks
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import Session
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Source, Trajectories, read, write
from lastmile.tasks import get_task
from lastmile.tasks.annotator import click, make_annotator
from lastmile.tasks.task import RIGHT


@pytest.fixture(scope="module")
def measured(recorded: Trajectories) -> pd.DataFrame:
    clicks = {
        "itself": recorded.steps[["x", "y"]].to_numpy(),
        "ceiling": skills.ceiling(recorded),
        "floor": skills.floor(recorded),
        "trigram": skills.trigram(recorded),
    }
    clicks["nowhere"] = np.zeros_like(clicks["itself"])
    return skills.measure(recorded, clicks)


def share(table: pd.DataFrame, predictor: str, skill: str) -> float:
    part = table[(table["predictor"] == predictor) & (table["skill"] == skill)]
    return part["hits"].sum() / part["total"].sum()


@pytest.mark.parametrize(
    "skill",
    [
        "valid",
        "action",
        "button",
        "placement@10",
        "decision",
        "decision by sight",
        "undo",
        "done",
        "look",
    ],
)
def test_the_annotator_agrees_with_itself(measured: pd.DataFrame, skill: str) -> None:
    assert share(measured, "itself", skill) == 1
    assert share(measured, "ceiling", skill) <= 1


def test_skills_are_ordered_as_they_must_be(measured: pd.DataFrame) -> None:
    for predictor in ("itself", "ceiling", "floor"):
        within = [share(measured, predictor, f"placement@{k}") for k in skills.RADII]
        assert within == sorted(within)
        assert share(measured, predictor, "valid") >= share(measured, predictor, "action")
    assert (
        share(measured, "ceiling", "action") > 0.8
        and share(measured, "ceiling", "placement@5") > 0.7
    )
    assert share(measured, "ceiling", "button") > share(measured, "floor", "button")


def test_the_floor_is_one_click_that_is_often_valid(
    measured: pd.DataFrame, recorded: Trajectories
) -> None:
    assert len(np.unique(skills.floor(recorded), axis=0)) == 1
    assert 0 < share(measured, "floor", "valid") <= 1
    assert share(measured, "floor", "done") == 0


def test_a_click_on_nothing_is_right_in_nothing(measured: pd.DataFrame) -> None:
    nowhere = measured[(measured["predictor"] == "nowhere")]
    assert nowhere["hits"].sum() == 0 and nowhere["total"].sum() > 0


def test_steps_are_counted_by_episode(measured: pd.DataFrame, recorded: Trajectories) -> None:
    part = measured[measured["predictor"] == "itself"].pivot(
        index="skill", columns="episode", values="total"
    )
    assert part.loc["valid"].tolist() == recorded.episodes["steps"].tolist()
    assert part.loc["done"].tolist() == [1] * len(recorded.episodes)
    placed = recorded.steps[(recorded.steps["kind"] == "place") & (recorded.steps["mistake"] == "")]
    assert part.loc["placement@5"].sum() == len(placed)


def test_of_a_run_of_undos_the_first_counts(measured: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", Source("plume_finding", "test", 0, style="hasty"), 6)
    trajectories = read(tmp_path / "test.parquet")
    steps = trajectories.steps
    undo = (steps["kind"] == "undo").to_numpy()
    follows = np.concatenate([[False], undo[:-1] & (steps["step"].to_numpy()[1:] > 0)])
    assert (undo & follows).any()
    table = skills.measure(trajectories, {"itself": steps[["x", "y"]].to_numpy()})
    assert table[table["skill"] == "undo"]["total"].sum() == (undo & ~follows).sum()


def test_the_trigram_knows_the_procedure_and_does_not_look(
    measured: pd.DataFrame, recorded: Trajectories
) -> None:
    assert 0.2 < share(measured, "trigram", "decision") < share(measured, "ceiling", "decision")
    assert share(measured, "trigram", "decision by sight") == 0
    assert share(measured, "trigram", "button") > share(measured, "floor", "button")
    assert share(measured, "trigram", "valid") > 0.85  # in the middle of what it means
    counted = measured[measured["predictor"] == "ceiling"].groupby("skill")["total"].sum()
    assert 0 < counted["decision by sight"] < counted["decision"]


def test_annotations_are_judged_in_states_without_a_mistake(
    measured: pd.DataFrame, recorded: Trajectories
) -> None:
    clean = recorded.steps[recorded.steps["open_mistakes"] == 0]["verdict"].astype(str)
    assert share(measured, "itself", "annotation") == (clean == RIGHT).sum() / (clean != "").sum()
    nowhere = measured[measured["predictor"] == "nowhere"]
    assert nowhere[nowhere["skill"] == "annotation"]["total"].sum() == 0


def test_the_wrong_number_of_clicks_is_refused(recorded: Trajectories) -> None:
    with pytest.raises(ValueError, match="predictor 'short' has 3 clicks"):
        skills.measure(recorded, {"short": np.zeros((3, 2), int)})


def test_the_training_split_has_no_ceiling(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", Source("colored_dots", "train", 0), 1)
    with pytest.raises(ValueError, match="was not asked again"):
        skills.ceiling(read(tmp_path / "train.parquet"))


def test_predictions_are_teacher_forced(policy: Policy, token_file: Path) -> None:
    store = TokenStore(token_file)
    clicks, nats = skills.predictions(policy, store)
    assert clicks.shape == (store.frames, 2) and nats.shape == (store.frames,) and (nats > 0).all()
    assert (clicks >= 0).all() and (clicks < [448, 336]).all()
    a, b = store.starts[1:3]
    alone = policy.predict_episode(store.screens(a, b), store.clicks[a:b], store.targets[a:b])
    assert np.array_equal(clicks[a:b], alone[0]) and np.allclose(nats[a:b], alone[1], atol=1e-5)


def test_the_annotators_table_is_what_was_recorded(recorded: Trajectories) -> None:
    table = closed_loop.annotator_table(recorded)
    assert (
        np.allclose(table["score"], recorded.episodes["score"])
        and table["success"].tolist() == recorded.episodes["success"].tolist()
    )
    assert (
        table["steps"].tolist() == recorded.episodes["steps"].tolist() and table["finished"].all()
    )
    assert (table[list(KINDS)].sum(axis=1) == table["steps"]).all()
    verdicts = recorded.steps.assign(verdict=recorded.steps["verdict"].astype(str)).groupby(
        "episode"
    )["verdict"]
    assert table["placements"].tolist() == verdicts.agg(lambda v: (v != "").sum()).tolist()
    assert (
        table["mistakes"].tolist() == verdicts.agg(lambda v: (~v.isin(["", RIGHT])).sum()).tolist()
    )
    assert (table["left"] == 0)[table["success"]].all()


Cases = tuple[Trajectories, list[recovery.Case]]


@pytest.fixture(scope="module", params=["colored_dots", "object_exploration"])
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cases:
    path = tmp_path_factory.mktemp("cases") / "test.parquet"
    write(path, Source(request.param, "test", 0), 5)
    trajectories = read(path)
    return trajectories, recovery.cases(trajectories, 12, (0, 2), 4)


def halves(cases: list[recovery.Case]) -> list[tuple[recovery.Case, recovery.Case]]:
    """Return mistakes with their controls."""
    return list(zip(cases[::2], cases[1::2]))


def test_every_episode_has_forks_and_no_two_are_the_same(cases: Cases) -> None:
    found = forks(cases[0])
    assert {fork.episode for fork in found[:5]} == {fork.episode for fork in found} == set(range(5))
    assert len({(fork.episode, fork.kind) for fork in found}) == len(found)
    assert len({(fork.episode, fork.step) for fork in found}) == len(found)
    assert {case.fork.episode for case in cases[1]} == set(range(5))
    assert forks(cases[0]) == found


def test_a_mistake_and_its_control_differ_in_one_annotation(cases: Cases) -> None:
    """They share world, step, action and past: nothing but the annotation tells them apart."""
    trajectories, chosen = cases
    task = get_task(trajectories.source.task)
    pairs = halves(chosen)
    assert {case.delay for case in chosen} == (
        {0} if task.name == "object_exploration" else {0, 2}
    )  # there the wrong choice is the last step but one
    for mistake, control in pairs:
        fork, world = mistake.fork, trajectories.open(mistake.fork.episode).world
        assert (mistake.condition, control.condition) == ("mistake", "control")
        assert (control.fork, control.delay) == (fork, mistake.delay)
        assert not mistake.branch.state.done and not control.branch.state.done
        wrong = [one.edit for one in task.mistakes(world, mistake.branch.state)]
        assert fork.edit_index in wrong and not task.mistakes(world, control.branch.state)
        assert mistake.edit != control.edit  # both exist: a control always holds an annotation
        for branch in (mistake.branch, control.branch):
            assert (
                len(branch.screens) == len(branch.clicks) == min(4, fork.step + 1 + mistake.delay)
            )
        if mistake.delay == 0:
            assert np.array_equal(mistake.branch.screens, control.branch.screens)
            assert np.array_equal(mistake.branch.clicks[:-1], control.branch.clicks[:-1])
            recorded_click = trajectories.clicks(fork.episode)[fork.step]
            assert np.array_equal(control.branch.clicks[-1], recorded_click)
            before = mistake.branch.state.edits[: fork.edit_index]
            assert before == control.branch.state.edits[: fork.edit_index]
            assert len(mistake.branch.state.edits) == len(control.branch.state.edits)
            steps = trajectories.steps
            row = int(trajectories.starts[fork.episode]) + fork.step
            assert steps["kind"][row] == fork.action and steps["open_mistakes"][row] == 0


def test_with_a_delay_the_annotator_goes_on_without_noticing(cases: Cases) -> None:
    trajectories, chosen = cases
    later = [pair for pair in halves(chosen) if pair[0].delay == 2 and pair[0].fork.step >= 4]
    assert later or trajectories.source.task == "object_exploration"
    for mistake, control in later:
        fork = mistake.fork
        replay = trajectories.open(fork.episode)
        states = [step.before for step in replay.replay()]
        assert np.array_equal(
            control.branch.screens[0],
            draw_small(replay.interface.screen(states[fork.step - 1], replay.look)),
        )
        session = Session(replay.task, replay.world, replay.look, states[fork.step])
        for step in session.play(mistake.branch.clicks[-3:].tolist()):
            assert step.hit.kind not in ("undo", "done")
        assert session.state == mistake.branch.state


def test_the_memory_ends_with_the_screen_on_which_the_mistake_was_made(cases: Cases) -> None:
    trajectories, chosen = cases
    mistake = chosen[0]
    replay = trajectories.open(mistake.fork.episode)
    states = [step.before for step in replay.replay()]
    assert mistake.delay == 0
    assert np.array_equal(
        mistake.branch.screens[-1],
        draw_small(replay.interface.screen(states[mistake.fork.step], replay.look)),
    )
    assert np.array_equal(
        mistake.branch.screen,
        draw_small(replay.interface.screen(mistake.branch.state, replay.look)),
    )


def test_the_oracle_repairs_every_injection(cases: Cases) -> None:
    trajectories, chosen = cases
    task = get_task(trajectories.source.task)
    for case in chosen[::2]:
        rng = np.random.default_rng(0)
        replay = trajectories.open(case.fork.episode)
        session = Session(task, replay.world, replay.look, case.branch.state)
        annotator = make_annotator(task, replay.world, session.interface, "oracle", rng)
        repaired = -1
        while not session.done and len(session.steps) < 500:
            session.click(*click(annotator.next(session.state), session.screen(), rng))
            remains = recovery.is_mistake(
                task, replay.world, session.state, case.fork.edit_index, case.edit
            )
            if repaired < 0 and not remains:
                repaired = len(session.steps)
        assert repaired > 0 and session.score.success


def player(x: int, y: int) -> Any:
    """Make a policy that always clicks one point."""
    return SimpleNamespace(
        settings=SimpleNamespace(window=4),
        begin=lambda rows: SimpleNamespace(reset=lambda rows: None),
        remember=lambda memory, row, screens, previous: None,
        act=lambda memory, rows, screens, previous, *more: torch.tensor([[x, y]] * len(screens)),
    )


def button(cases: Cases, name: str) -> tuple[int, int]:
    replay = cases[0].open(0)
    rect = replay.interface.screen(replay.interface.start(), replay.look).widget(name).rect
    return rect.x + 2, rect.y + 2


def test_a_check_names_the_worlds_that_failed() -> None:
    oracle = check("colored_dots", 3, "oracle", difficulty="short")
    assert oracle["success"] == 1 and oracle["failed"] == []
    clicks = check("colored_dots", 3, "random", difficulty="short")
    assert clicks["success"] == 0 and clicks["failed"] == [0, 1, 2]


def test_who_undoes_everything_takes_back_what_is_right_too(cases: Cases) -> None:
    table = recovery.measure(player(*button(cases, "undo")), cases[0], 6, 1, 0.4, 0, delays=(0,))
    assert tuple(table.columns) == recovery.COLUMNS
    wrong, control = table[table["condition"] == "mistake"], table[table["condition"] == "control"]
    assert len(wrong) == len(control) >= 5 and wrong["episode"].nunique() == 5
    assert wrong["repaired"].all() and not control["repaired"].any()
    assert (table["gone"] & table["undone"] & (table["after"] == 1)).all()


@pytest.mark.parametrize("where", ["nothing", "done"])
def test_who_does_nothing_repairs_nothing(cases: Cases, where: str) -> None:
    table = recovery.measure(
        player(*((0, 0) if where == "nothing" else button(cases, "done"))),
        cases[0],
        6,
        3,
        0.4,
        0,
        delays=(0,),
    )
    assert (
        not (table["repaired"] | table["gone"] | table["undone"]).any()
        and (table["after"] == -1).all()
    )


def test_closed_loop_is_cut_off_and_counts(recorded: Trajectories) -> None:
    table = closed_loop.closed_loop(player(0, 0), recorded, 0.4, 2, 0)
    limit = int(2 * np.median(recorded.episodes["steps"]))
    assert table["episode"].tolist() == [0, 1, 2, 3]
    assert (table["steps"] == limit).all() and (table["invalid"] == limit).all()
    assert (
        not table["finished"].any() and not table["success"].any() and (table["score"] == 0).all()
    )


def test_probed_frames_are_whole_episodes_with_their_labels(
    policy: Policy, token_file: Path, recorded: Trajectories
) -> None:
    store, ends = TokenStore(token_file), recorded.starts
    inputs = sample(policy, store, recorded, int(ends[1]) + 1)
    assert len(inputs.episode) == ends[2] and all(
        len(values) == ends[2] for values in inputs.features.values()
    )
    kinds = recorded.steps["kind"].tolist()
    expected = [
        len(KINDS) if step == 0 else KINDS.index(kinds[i - 1])
        for i, step in enumerate(recorded.steps["step"][: ends[2]])
    ]
    assert inputs.last_action.tolist() == expected
    layers = [
        name
        for name in inputs.features
        if name not in ("screen", "metadata", "chance") and not name.startswith("random:")
    ]
    assert layers and all(f"random:{name}" in inputs.features for name in layers)
    assert len(sample(policy, store, recorded, 10**6).episode) == store.frames


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread: several would divide a product by its rows, and round by a row's position."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "kind", [{}, {"context": "patch"}, {"encoder": "vit", "context": "patch", "head": "bins"}]
)
def test_a_rollout_does_not_depend_on_the_batch(
    recorded: Trajectories, kind: dict[str, str]
) -> None:
    """A rollout depends neither on the batch size nor on which others are played with it."""
    policy = initial(PolicySettings(size="xs", window=3, **kind), 0)

    def play(chosen: list[int], rows: int) -> dict[int, list[tuple[int, int]]]:
        source = recorded.source
        rollouts = [
            Rollout(i, "colored_dots", source.world(i), source.look(i), 6 + i) for i in chosen
        ]
        return {
            rollout.number: [step.click for step in rollout.steps]
            for rollout in closed_loop.play_rollouts(policy, rollouts, 1.0, rows=rows)
        }

    everything = play(list(range(5)), 32)
    assert sum(map(len, everything.values())) > 20  # some press Done before they are cut off
    for rows in (1, 3):
        assert play(list(range(5)), rows) == everything
    assert play([3, 1], 2) | play([4, 0, 2], 2) == everything


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"context": "patch"},
        {"encoder": "vit"},
        {"encoder": "vit", "context": "patch", "head": "bins"},
    ],
)
def test_in_groups_of_one_size_rows_are_the_same_to_the_bit(kind: dict[str, str]) -> None:
    """What the policy computes for a row depends neither on its position nor on its neighbors."""
    policy, rng = initial(PolicySettings(size="xs", window=3, **kind), 0), np.random.default_rng(0)
    count = 2 * closed_loop.GROUP
    screens = torch.from_numpy(rng.integers(0, 256, (4, count, 126, 168, 3), np.uint8))
    previous = torch.from_numpy(rng.integers(0, 336, (4, count, 2)))

    def contexts(order: np.ndarray) -> torch.Tensor:
        memory, last_contexts = policy.begin(count), torch.zeros(4, count, policy.size.width)
        with torch.inference_mode():
            for t in range(4):
                for rows in torch.from_numpy(order).split(closed_loop.GROUP):
                    tokens = policy.encode(screens[t, rows], previous[t, rows]).tokens
                    last_contexts[t, rows] = policy.context.last(*memory.append(rows, tokens))[0]
        return last_contexts

    assert torch.equal(contexts(np.arange(count)), contexts(rng.permutation(count)))


@pytest.mark.parametrize("head", ["pointer", "bins"])
def test_the_chance_of_a_rectangle_is_that_of_its_clicks(head: str) -> None:
    policy = initial(PolicySettings(size="xs", window=2, head=head), 0)
    screens = torch.from_numpy(
        np.random.default_rng(0).integers(0, 255, (3, 126, 168, 3), dtype=np.uint8)
    )
    frames = policy.encode(screens, torch.tensor([[-1, -1], [100, 80], [447, 335]]))
    context = torch.randn(3, frames.vectors.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = policy.head.chance(context, frames.cells, frames.patches, (0, 0, 448, 336))
        assert torch.allclose(whole, torch.ones(3), atol=1e-4)
        x, y, width, height = 90, 70, 31, 23
        part = policy.head.chance(context, frames.cells, frames.patches, (x, y, width, height))
        clicks = [(u, v) for u in range(x, x + width) for v in range(y, y + height)]
        bins = {
            tuple(bin_of(torch.tensor(c)).tolist())
            if head == "pointer"
            else (c[0] // 4, c[1] // 4): c
            for c in clicks
        }
        points = {
            b: click_of(torch.tensor(b)).tolist()
            if head == "pointer"
            else [b[0] * 4 + 2, b[1] * 4 + 2]
            for b in bins
        }
        inside = [c for c in points.values() if x <= c[0] < x + width and y <= c[1] < y + height]
        for row in range(3):
            contexts, cells, patches = (
                value[row : row + 1].expand(len(inside), *value.shape[1:])
                for value in (context, frames.cells, frames.patches)
            )
            losses = policy.head.loss(contexts, cells, patches, torch.tensor(inside))
            summed = (-losses).exp().sum()
            assert part[row].item() == pytest.approx(summed.item(), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("task", ["limb_tracking", "object_exploration"])
def test_what_does_not_look_cannot_tell_the_halves_of_pairs_apart(
    policy: Policy, tmp_path: Path, task: str
) -> None:
    """On a recording, with its types: metadata and a constant are at chance, to the digit."""
    write(tmp_path / "test.parquet", Source(task, "test", 0), 10)
    trajectories = read(tmp_path / "test.parquet")
    assert trajectories.steps["step"].dtype == np.int32
    sampled = pairs.sample(policy, trajectories)
    assert len(set(sampled.episode.tolist())) >= 9 and len(sampled.right) == len(sampled.episode)
    for name in ("metadata", "chance"):
        assert np.array_equal(sampled.features[name][:, 0], sampled.features[name][:, 1])
    # All halves differ on the screen or in the click, and so do the activations.
    for name in ("token", "layer2", "random:token", "random:layer2"):
        differs = np.abs(sampled.features[name][:, 0] - sampled.features[name][:, 1]).max(axis=1)
        assert (differs > 0).all()
    flat = sampled.features["layer2"].reshape(2 * len(sampled.episode), -1)
    assert len(np.unique(flat.round(5), axis=0)) == len(flat)  # no half serves twice

    nothing = Inputs({}, *(np.zeros(0, int) for _ in range(5)))
    table = fit_probes(nothing, sampled)
    shares = table[table["feature"].isin(["metadata", "chance"])]
    assert set(shares["target"]) >= {"mistake", "mistake AUC"}
    assert (shares["score"] == shares["total"] / 2).all()


def test_activations_of_pairs_are_those_of_the_whole_past(
    policy: Policy, recorded: Trajectories
) -> None:
    sampled = pairs.sample(policy, recorded)
    fork = forks(recorded)[0]
    found = branches(recorded, fork, policy.settings.window - 1)
    assert found is not None
    for half, branch in enumerate(found):
        screens = np.concatenate([branch.screens, branch.screen[None]])
        clicks = np.concatenate([branch.clicks, [[0, 0]]])
        for name, values in policy.activations(screens, clicks).items():
            assert np.allclose(sampled.features[name][0, half], values[-1], atol=1e-5)


def planted(task: str, direction: np.ndarray, seed: int) -> Sample:
    """Make pairs whose wrong halves are moved along a direction."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(60, 2, len(direction)))
    raw[:, 0] += direction
    untrained = rng.normal(size=raw.shape)
    return Sample(task, generalization.scaled(raw), raw, untrained, raw, np.repeat(range(12), 5))


def test_a_shared_direction_is_found_and_a_foreign_one_is_not() -> None:
    one, other = np.zeros(8), np.zeros(8)
    one[:2], other[6] = 2.0, 3.0
    samples = [planted("a", one, 0), planted("b", one, 1), planted("c", other, 2)]
    sums = (
        pd.DataFrame(generalization._accuracies(samples, 0))
        .groupby(["measure", "source", "target"])[["score", "total"]]
        .sum()
    )
    share = sums["score"] / sums["total"]
    accuracy = share["accuracy"]
    assert (
        accuracy["a", "b"] > 0.8
        and accuracy["b", "a"] > 0.8
        and accuracy["c", "c"] > 0.8
        and 0.3 < accuracy["a", "c"] < 0.7
    )
    assert share["auc"]["a", "b"] > accuracy["a", "b"]
    assert 0.3 < share["accuracy:random"]["others", "b"] < 0.7
    cosines = pd.DataFrame(generalization._cosines(samples, 0)).set_index(["source", "target"])
    near, far = cosines.loc[("a", "b")], cosines.loc[("a", "c")]
    assert (
        near["score"] > 0.8 > near["high"] and far["low"] - 0.2 < far["score"] < far["high"] + 0.2
    )
    shared = steering.shared_direction(samples[0], samples)
    assert shared @ one > 0
    length = np.linalg.norm(steering.direction(samples[0].middle))
    assert np.linalg.norm(shared) == pytest.approx(length, rel=1e-5)
    redrawn = steering.shared_direction(samples[0], samples, np.random.default_rng(0))
    assert 0.8 < redrawn @ shared / length**2 < 1


def test_pairs_of_an_episode_are_swapped_together() -> None:
    """Five pairs that are all alike are worth one, and the null must be as wide."""
    rng = np.random.default_rng(0)
    once = rng.normal(size=(12, 2, 8))
    alone = Sample("a", once, once, once, once, np.arange(12))
    repeated = np.repeat(once, 5, axis=0)
    five = Sample("a", repeated, repeated, repeated, repeated, np.repeat(range(12), 5))
    one_null, other_null = (
        generalization._shuffled(one, np.random.default_rng(0)) for one in (alone, five)
    )
    assert np.allclose(one_null, other_null)


@pytest.mark.parametrize("kind", [{}, {"context": "patch"}], ids=["frame", "patch"])
def test_moving_acts_on_the_newest_frame_alone(kind: dict[str, str]) -> None:
    """By nothing: the same clicks. By much: others, but what is remembered stays."""
    policy = initial(PolicySettings.model_validate({"size": "xs", "window": 6, **kind}), 0)
    rng = np.random.default_rng(0)
    screens = torch.from_numpy(rng.integers(0, 255, (4, 126, 168, 3), np.uint8))

    def play(shift: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        memory = policy.begin(2)
        policy.remember(memory, 1, screens[:3], torch.tensor([[5, 5]] * 3))
        rows, previous = torch.tensor([0, 1]), torch.tensor([[3, 4], [7, 8]])
        with steering.moved(policy, shift) if shift is not None else nullcontext():
            frames = policy.encode(screens[2:], previous)
            context, layers = policy.context.last(*memory.append(rows, frames.tokens))
        return context, layers[steering.middle_layer(len(layers)) - 1]

    plain, before = play(None)
    same, _ = play(torch.zeros(policy.size.width))
    assert torch.equal(plain, same)
    shift = torch.randn(policy.size.width, generator=torch.Generator().manual_seed(0))
    there, after = play(shift)
    # The window of one row is full of frames, the other one holds a single frame.
    assert torch.allclose(after - before, shift.expand(2, -1), atol=1e-5)
    assert (there - plain).abs().max() > 0.1
    assert torch.equal(play(None)[0], plain) and "last" not in vars(policy.context)


def test_mistakes_across_tasks_are_measured_in_one_table(policy: Policy, tmp_path: Path) -> None:
    recordings: list[Trajectories] = []
    for task in ("cell_lineage", "limb_tracking"):
        write(tmp_path / f"{task}.parquet", Source(task, "test", 0), 9)
        recordings.append(read(tmp_path / f"{task}.parquet"))
    table = generalization.measure(policy, recordings, 4, 0.4)
    assert set(table["measure"]) == {
        "accuracy",
        "accuracy:random",
        "auc",
        "cosine",
        "undo:shared",
        "undo:random",
        "gone:shared",
        "gone:random",
    }
    moved = table[table["measure"].str.startswith("undo") & (table["draw"] == 0)].pivot_table(
        index=["target", "episode"], columns=["measure", "strength"], values="score"
    )
    assert (
        np.allclose(moved["undo:shared"][0.0], moved["undo:random"][0.0], atol=1e-5)
        and (moved > 0).all().all()
    )
    assert not np.allclose(moved["undo:shared"][4.0], moved["undo:shared"][0.0])
    redrawn = table[table["draw"] > 0]
    assert redrawn["draw"].nunique() == steering.REDRAWN
    assert set(redrawn["strength"]) == {steering.TESTED}
    gone = table[table["measure"].str.startswith("gone")]
    arms = gone.groupby(["measure", "strength"])[["score", "total"]].sum()
    assert len(arms) == 3 and arms["total"].nunique() == 1 and (gone["draw"] == 0).all()
    assert gone["total"].sum() <= 3 * 2 * steering.PLAYED
    tested = table[(table["measure"] == "accuracy") & (table["target"] == "limb_tracking")]
    assert (
        set(tested["source"]) == {"cell_lineage", "limb_tracking", "others"}
        and (tested["score"] <= tested["total"]).all()
    )
    assert tuple(table.columns) == generalization.COLUMNS
    nothing = generalization.measure(policy, recordings[:1], 4, 0.4)
    assert nothing.empty and tuple(nothing.columns) == generalization.COLUMNS


def test_an_activation_is_moved_at_the_newest_frame_before_the_last_layer(
    policy: Policy, recorded: Trajectories
) -> None:
    found = branches(recorded, forks(recorded)[0], policy.settings.window - 1)
    assert found is not None
    screen = recorded.open(0).interface.screen(found[1].state)
    shifts = torch.zeros(3, policy.size.width)
    shifts[1, 0] = 2.0
    chances = undo_chances(policy, found[1], screen.widget("undo").rect, shifts)
    assert chances[0] == chances[2] != chances[1]
    assert not policy.context.layers[0]._forward_hooks  # and left as it was


def test_a_benchmark_is_a_table_with_units() -> None:
    figures = {"annotator_steps_per_s": 1234.5, "env_steps_per_s": 99.95, "world_ms": 1.234}
    result = {"task": "colored_dots", "size": "s", "cores": 2, "tasks": {"colored_dots": figures}}
    text = bench.table({**result, "screens_per_s": 1600.2, "chromium_screens_per_s": None})
    assert "annotator, steps/s" in text and "1,234" in text and "1.23" in text
    assert "1,600 screens/s" in text and "Chromium" not in text
    policy = {"threads": 2, "arithmetic": "bfloat16", "train_flops_share_of_gemm": 0.5}
    text = bench.table({**result, **policy})
    assert "on 2 threads" in text
    line = next(line for line in text.splitlines() if line.startswith("training in bfloat16"))
    assert line.split()[-2:] == ["50", "%"]


def test_a_task_that_was_not_measured_has_the_median_rates() -> None:
    table = json.loads(rates.RATES.read_text())
    assert set(table["tasks"]) == set(task_list(Settings()))
    known = table["tasks"].values()
    new = rates.task_rates(table, "tenth_task")
    assert rates.task_rates(table, "colored_dots") is table["tasks"]["colored_dots"]
    assert new.keys() == table["tasks"]["colored_dots"].keys()
    assert sum(one["record"] <= new["record"] for one in known) == 5
    assert sum(one["steps"]["full"] <= new["steps"]["full"] for one in known) == 5


def test_the_table_of_sizes() -> None:
    variants = [
        {"size": "xs"},
        {"size": "xs", "encoder": "vit", "context": "patch", "head": "bins"},
    ]
    table = speed.size_table(0.0, variants)
    assert [row["variant"] for row in table["rows"]] == variants and all(
        row["train_frames_per_s"] > 0 for row in table["rows"]
    )
    assert table["rows"][0]["parameters"] == parameter_count(PolicySettings(size="xs"))
    page = speed.sizes_page(table)
    assert "| xs | conv | frame | pointer | 0." in page and "| xs | vit | patch | bins | 0." in page
