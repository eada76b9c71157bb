"""Handing steps over when unsure: confidences, thresholds, the control, and what is told of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lastmile.config import PolicySettings, parse
from lastmile.errors import LastmileError
from lastmile.evaluation import calibration, closed_loop, deferral
from lastmile.evaluation.deferral import Arm
from lastmile.policy.policy import Policy, initial
from lastmile.policy.regions import Region, chances, disc
from lastmile.simulation import trajectory
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Trajectories
from lastmile.studies.confidence import study
from made_up import inputs_of_studies

SETTINGS = parse({"tasks": ["colored_dots", "road_mapping"], "evaluation": {"resamples": 200}})


@pytest.fixture(scope="module")
def test_worlds(tmp_path_factory: pytest.TempPathFactory) -> Trajectories:
    path = tmp_path_factory.mktemp("deferral") / "test.parquet"
    trajectory.write(path, trajectory.Source("object_exploration", "test", 3), 2)
    return trajectory.read(path)


@pytest.fixture(scope="module")
def validation_worlds(tmp_path_factory: pytest.TempPathFactory) -> Trajectories:
    path = tmp_path_factory.mktemp("deferral") / "validation.parquet"
    trajectory.write(path, trajectory.Source("object_exploration", "validation", 3), 2)
    return trajectory.read(path)


@pytest.mark.parametrize("head", ["pointer", "bins"])
def test_the_chance_of_a_region_is_that_of_its_clicks(head: str) -> None:
    policy = initial(PolicySettings(size="xs", window=2, head=head), 0)
    rng = np.random.default_rng(0)
    screens = torch.from_numpy(rng.integers(0, 255, (4, 126, 168, 3), dtype=np.uint8))
    regions = [disc(100, 80, 5), disc(1, 334, 5), Region(90, 70, 31, 23), Region(0, 0, 448, 336)]
    with torch.inference_mode():
        frames = policy.encode(screens, torch.full((4, 2), -1))
        context = torch.randn(4, frames.vectors.shape[1], generator=torch.manual_seed(0))
        arguments = (context, frames.cells, frames.patches)
        values = chances(policy.head, *arguments, regions)
        assert torch.allclose(values[3], torch.ones(()), atol=1e-4)
        rectangle = policy.head.chance(*arguments, (90, 70, 31, 23))[2]
        assert torch.allclose(values[2], rectangle, atol=1e-6)

        for row, (x, y) in enumerate(((100, 80), (1, 334))):
            # The clicks that bins stand for, each once.
            px = 4 if head == "bins" else 0
            places = {
                (u // 4 * 4 + 2, v // 4 * 4 + 2)
                if px
                else ((u * 3 // 4 * 4 + 2) // 3, (v * 3 // 4 * 4 + 2) // 3)
                for u in range(max(x - 9, 0), x + 9)
                for v in range(max(y - 9, 0), min(y + 9, 336))
            }
            inside = [p for p in places if (p[0] - x) ** 2 + (p[1] - y) ** 2 <= 25]
            assert len(inside) > 2
            contexts, cells, patches = (
                values_of[row : row + 1].expand(len(inside), *values_of.shape[1:])
                for values_of in arguments
            )
            nats = policy.head.loss(contexts, cells, patches, torch.tensor(inside))
            assert torch.allclose((-nats).exp().sum(), values[row], rtol=1e-4)


def test_alone_it_is_the_closed_loop(policy: Policy, test_worlds: Trajectories) -> None:
    rollouts = deferral.play(policy, test_worlds, [Arm()], 0.4, 1, 5)
    expected = closed_loop.make_rollouts(test_worlds, 1)
    played = closed_loop.play_rollouts(policy, expected, 0.4, 5)
    for one, other in zip(rollouts, played, strict=True):
        assert [step.click for step in one.steps] == [step.click for step in other.steps]
        assert not any(one.deferred)
        assert len(one.confidences) == len(one.steps)
        assert all(0 <= confidence <= 1 for confidence in one.confidences)


def test_steps_below_the_threshold_are_the_annotators(
    policy: Policy, test_worlds: Trajectories
) -> None:
    alone = deferral.play(policy, test_worlds, [Arm()], 0.4, 2, 5)
    level = float(np.quantile(np.concatenate([one.confidences for one in alone]), 0.03))
    unsure, chance = Arm("unsure", "typical", 0.03, level), Arm("random", "typical", 0.03, 0.03)
    rollouts = deferral.play(policy, test_worlds, [unsure, chance], 0.4, 2, 5)
    assert [one.arm for one in rollouts] == [unsure, unsure, chance, chance]
    for one in rollouts[:2]:
        changed = [step.before.edits != step.after.edits for step in one.steps]
        at_work = False
        for deferred, confidence, edited in zip(one.deferred, one.confidences, changed):
            assert deferred == (at_work or confidence < level)
            at_work = deferred and not edited
        assert (one.calls > 0) == any(one.deferred)
    for part in (rollouts[:2], rollouts[2:]):
        assert {flag for one in part for flag in one.deferred} == {False, True}


def test_who_hands_everything_over_does_not_err(test_worlds: Trajectories) -> None:
    for one in deferral.annotate(test_worlds, "oracle", 3):
        assert one.score.success and one.done and all(one.deferred)


def test_a_step_cannot_be_handed_to_nobody(policy: Policy, test_worlds: Trajectories) -> None:
    replay = test_worlds.open(0)
    alone = deferral.Assisted(0, Arm(), test_worlds.source, 0, replay, 10)
    with pytest.raises(LastmileError, match="no annotator"):
        alone.hand_over()
    with pytest.raises(LastmileError, match="temperature: expected more than 0, got 0"):
        deferral.play(policy, test_worlds, [Arm()], 0, 1, 0)


def test_a_click_does_the_same_within_its_region(test_worlds: Trajectories) -> None:
    replay = test_worlds.open(0)
    session: Session = Session(replay.task, replay.world, replay.look)
    buttons = 0
    for x, y in replay.clicks.tolist():
        region = deferral.region_of(session, x, y)
        hit = session.interface.hit(session.state, x, y, session.look)
        if hit.widget == "canvas":
            assert region == disc(x, y, deferral.NEAR)
        else:
            buttons += 1
            corner = region.x + region.width - 1, region.y + region.height - 1
            assert session.interface.hit(session.state, *corner, session.look) == hit
        session.click(x, y)
    assert buttons


def test_thresholds_come_from_validation_worlds_alone(
    policy: Policy, validation_worlds: Trajectories, test_worlds: Trajectories
) -> None:
    tables = [
        deferral.measure(
            policy, validation_worlds, worlds, 0.4, 1, 0, temperatures=(1.0,), shares=(0.3,)
        )
        for worlds in (test_worlds, test_worlds.first(1))
    ]
    levels = [set(rows.loc[rows["rule"] == "unsure", "level"]) - {np.inf} for rows, _ in tables]
    assert levels[0] == levels[1] and len(levels[0]) == 1

    rows, annotations = tables[0]
    tuned = deferral.play(policy, validation_worlds, [Arm()], 0.4, 1, 0)
    confidences = np.concatenate([one.confidences for one in tuned])
    assert levels[0] == {np.quantile(confidences, 0.3)}
    # In the control the annotator takes over as often, where it is not at work already.
    unsure = rows[(rows["rule"] == "unsure") & (rows["helper"] == "typical") & (rows["share"] < 1)]
    control = rows[rows["rule"] == "random"]
    calls, policy_steps = unsure["calls"].sum(), (unsure["steps"] - unsure["deferred"]).sum()
    assert control["level"].eq(calls / (policy_steps + calls)).all() and calls > 0
    assert set(zip(rows["rule"], rows["helper"], rows["share"], rows["temperature"])) == {
        ("alone", "", 0, 0.4),
        ("alone", "", 0, 1.0),
        ("unsure", "typical", 0.3, 0.4),
        ("unsure", "oracle", 0.3, 0.4),
        ("unsure", "typical", 1, 0.4),
        ("unsure", "oracle", 1, 0.4),
        ("random", "typical", 0.3, 0.4),
    }
    assert rows.groupby(["rule", "helper", "share", "temperature"])["episode"].nunique().eq(2).all()
    alone = rows[(rows["rule"] == "alone") & (rows["temperature"] == 0.4)]
    assert len(annotations) == alone["placements"].sum()
    assert (~annotations["right"].astype(bool)).sum() == alone["mistakes"].sum()


def test_auc_is_the_share_of_pairs_that_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "episode": rng.integers(0, 6, 60),
            "confidence": rng.random(60).round(1),
            "right": rng.random(60) < 0.7,
        }
    )
    samples = calibration.auc(rows, 50)
    wrong, right = (rows.loc[rows["right"] == flag, "confidence"] for flag in (False, True))
    pairs = [(a < b) + 0.5 * (a == b) for a in wrong for b in right]
    assert samples.shape == (51,) and samples[0] == pytest.approx(np.mean(pairs))
    assert samples[1:].std() > 0
    told_apart = rows.assign(confidence=rows["right"].astype(float))
    assert np.all(calibration.auc(told_apart, 50)[:1] == 1)
    assert np.isnan(calibration.auc(rows.assign(right=True), 50)).all()


def test_calibration_error_is_the_gap_between_confidence_and_rightness() -> None:
    rows = pd.DataFrame(
        {
            "task": "a",
            "episode": [0, 0, 1, 1],
            "confidence": [0.82, 0.88, 0.31, 1.0],
            "right": [True, False, False, True],
        }
    )
    # Bins: 0.85 against 0.5 (two), 0.31 against 0, 1 against 1.
    expected = (2 * 0.35 + 0.31 + 0) / 4
    assert calibration.calibration_error(rows, 20)[0] == pytest.approx(expected)
    bins = calibration.reliability(rows, 20)
    assert bins[["bin", "right", "n"]].to_numpy().tolist() == [[3, 0, 1], [8, 0.5, 2], [9, 1, 1]]
    assert bins["confidence"].tolist() == pytest.approx([0.31, 0.85, 1.0])


def test_the_study_finds_what_was_put_into_its_measurements() -> None:
    inputs = inputs_of_studies(SETTINGS)["confidence"]
    found = {(one.claim, one.task): one for one in study.claims(inputs, SETTINGS)}
    for hypothesis in study.HYPOTHESES:
        assert (hypothesis.claim, "colored_dots") in found
    assert found[study.KNOWS.claim, "all tasks"].verdict == "shown"
    assert found[study.COLDER.claim, "all tasks"].verdict == "shown"
    asking = found[study.ASKING.claim, "all tasks"]
    assert asking.verdict == "not testable" and "2 units" in asking.reason
    assert asking.value > 0  # tasks are the units, and two are too few

    table = study.table(inputs, SETTINGS)
    handed = table[(table["arm"] == "unsure") & (table["measure"] == "success")]
    assert handed.loc[handed["task"] == "all tasks", "x"].tolist() == pytest.approx(
        [0, 2 / 30, 5 / 30, 0.3, 0.6, 1]
    )
    effort = table[(table["arm"] == "unsure") & (table["measure"] == "effort")]
    assert effort.loc[effort["level"] == 1, "value"].eq(1).all()
    errors = table[table["measure"] == "calibration error"]
    assert errors["value"].lt(0.1).all()  # they are right as often as they are certain


def test_no_threshold_near_the_share_is_not_testable() -> None:
    inputs = inputs_of_studies(SETTINGS)["confidence"]
    rows = inputs["deferral"]
    half = rows.assign(deferred=np.where(rows["share"].between(0.01, 0.99), 18, rows["deferred"]))
    found = study.claims({**inputs, "deferral": half}, SETTINGS)
    asking = [one for one in found if one.claim == study.ASKING.claim]
    assert {one.verdict for one in asking} == {"not testable"}
    assert all("5% to 40%" in one.reason for one in asking)


def test_with_one_task_its_own_policy_is_asked() -> None:
    alone = parse({"tasks": ["colored_dots"]})
    assert {need.run.name for need in study.needs(alone)} == {"colored_dots"}
    assert {need.run.tasks for need in study.needs(SETTINGS)} == {("colored_dots", "road_mapping")}


def test_thresholds_are_fixed_on_other_worlds_than_results() -> None:
    from lastmile.pipeline import plan
    from lastmile.pipeline.stages import get_stage

    module = get_stage("deferral")
    for spec in plan.Jobs(SETTINGS).specs("deferral").values():
        inputs = module.inputs(spec, Path("results"))
        assert inputs.validation.name == "validation.parquet"
        assert inputs.trajectories.name == "test.parquet"
