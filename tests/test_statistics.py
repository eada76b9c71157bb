"""Intervals, half-way points, matching and probes on made-up data whose answer is known; verdicts and the ledger."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmile.config import Settings
from lastmile.evaluation.statistics import Estimate, interval, mean, ratio, ratio_samples, resamples, wilson
from lastmile.probing.activations import Inputs
from lastmile.probing.probes import control_labels, fit_probes, matched_mistakes
from lastmile.studies import emergence, get_study, mistakes, probes, study_names
from lastmile.studies.claims import VERDICTS, Claim, from_json, to_json, to_markdown, verdict


@pytest.mark.parametrize(
    "successes, trials, low, high",
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(successes, trials, low, high):
    """The last two are examples of Newcombe (1998), table I."""
    estimate = wilson(successes, trials)
    assert estimate == pytest.approx((successes / trials, low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_holds_the_share(of):
    successes, trials = of
    one, other = wilson(successes, trials), wilson(trials - successes, trials)
    assert 0 <= one.low <= one.value + 1e-12 and one.value <= one.high + 1e-12 and one.high <= 1
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_without_trials_nothing_is_known():
    assert all(np.isnan(wilson(0, 0))) and all(np.isnan(ratio([0, 0], [0, 0])))
    assert np.isnan(interval(1.0, np.array([np.nan])).low)


def test_bootstrap_intervals_hold_the_truth_about_as_often_as_they_say():
    """Episodes differ in length and in how well they go, so that steps are far from independent."""
    rng = np.random.default_rng(0)
    held = []
    for seed in range(200):
        totals = rng.integers(5, 40, 60)
        shares = rng.beta(4, 2, 60)  # mean 2 / 3
        estimate = ratio(rng.binomial(totals, shares), totals, 500, seed=seed)
        held.append(estimate.low <= 2 / 3 <= estimate.high)
    assert 0.89 <= np.mean(held) <= 0.99


def test_resamples_draw_as_many_episodes_as_there_are():
    weights = resamples(7, 100)
    assert weights.shape == (100, 7) and (weights.sum(axis=1) == 7).all() and len(np.unique(weights, axis=0)) > 50
    assert np.array_equal(weights, resamples(7, 100)) and not np.array_equal(weights, resamples(7, 100, seed=1))


def test_differences_are_paired():
    """Two measures of the same episodes that differ by a constant differ by it in every resample."""
    rng = np.random.default_rng(0)
    hits, totals = rng.integers(0, 10, 30), np.full(30, 20)
    difference = ratio_samples(hits + 4, totals) - ratio_samples(hits, totals)
    assert np.allclose(difference, 0.2)
    assert ratio_samples(hits, totals).std() > 0.01


def test_mean_is_the_mean():
    estimate = mean([0.0, 1.0, 2.0, 3.0])
    assert estimate.value == 1.5 and estimate.low < 1.5 < estimate.high and str(estimate).startswith("1.500 [")


FRAMES = np.array([0, 10, 100, 1000, 10_000])


def test_half_of_a_gain_is_found_between_the_points():
    values = np.array([[0, 0, 0, 1, 1], [0, 0.5, 1, 1, 1], [0.2, 0.2, 0.4, 0.8, 1.0], [0, 0, 0, 0, 1]], float)
    at = emergence.half_gain(FRAMES, values)
    between = [np.expm1((np.log1p(FRAMES[i]) + np.log1p(FRAMES[i + 1])) / 2) for i in (2, 3)]
    assert at == pytest.approx([between[0], 10, between[0], between[1]])


def test_what_was_not_learned_comes_at_the_end():
    values = np.array([[0.3, 0.9, 0.9, 0.5, 0.35], [0.5, 0.4, 0.3, 0.2, 0.1], [0.4, 0.4, 0.4, 0.4, 0.4]])
    assert emergence.half_gain(FRAMES, values).tolist() == [10_000] * 3


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0.01, 3))
def test_half_gain_lies_in_the_training_and_does_not_depend_on_the_scale(points, factor):
    values = np.array([[0.0, *points]])
    at = emergence.half_gain(FRAMES, values)
    assert 0 <= at[0] <= 10_000 * (1 + 1e-9)
    if min(1, factor) * points[-1] > 0.11:
        assert emergence.half_gain(FRAMES, factor * values) == pytest.approx(at)


def inputs(episodes: int = 30, length: int = 40, seed: int = 0) -> Inputs:
    """Episodes with labels that depend on each other as in real ones, and features that know all, nothing, or the step number."""
    rng = np.random.default_rng(seed)
    episode = np.repeat(np.arange(episodes), length)
    step = np.tile(np.arange(length), episodes)
    phase = np.minimum(step * 4 // length + rng.integers(0, 2, len(step)), 4)
    position = rng.random(len(step)).astype(np.float32)
    last = rng.integers(0, 4, len(step))
    open_mistakes = (rng.random(len(step)) < 0.1 + 0.2 * (last == 2)).astype(int)
    code = np.column_stack([np.eye(5)[phase], position, open_mistakes])
    planted = code @ rng.normal(size=(7, 150)) + rng.normal(0, 0.05, (len(step), 150))
    features = {"planted": planted, "noise": rng.normal(size=(len(step), 20)), "metadata": np.eye(4)[last]}
    return Inputs({k: v.astype(np.float32) for k, v in features.items()}, episode, step, last, phase, position, open_mistakes)


def test_mistakes_are_matched_on_the_last_action_and_near_in_time():
    made = inputs()
    chosen = matched_mistakes(made, np.random.default_rng(0))
    wrong = made.open_mistakes[chosen] > 0
    assert len(chosen) == len(set(chosen.tolist())) and (np.diff(chosen) > 0).all()
    assert wrong.sum() == (~wrong).sum() == (made.open_mistakes > 0).sum()
    for action in range(4):
        assert (made.last_action[chosen[wrong]] == action).sum() == (made.last_action[chosen[~wrong]] == action).sum()
    assert abs(made.step[chosen[wrong]].mean() - made.step[chosen[~wrong]].mean()) < 1


def test_more_mistakes_than_others_are_matched_as_far_as_it_goes():
    made = inputs(2, 10)
    crowded = Inputs(made.features, made.episode, made.step, np.zeros(20, int), made.phase, made.position, (np.arange(20) >= 3).astype(int))
    chosen = matched_mistakes(crowded, np.random.default_rng(0))
    assert len(chosen) == 6 and set(range(3)) < set(chosen.tolist())


def test_control_labels_are_one_for_each_third_of_an_episode():
    made = inputs()
    drawn = control_labels(made, made.phase, np.random.default_rng(0))
    groups = pd.DataFrame({"episode": made.episode, "third": made.step * 3 // 40, "label": drawn}).groupby(["episode", "third"])["label"]
    assert (groups.nunique() == 1).all() and len(groups) == 90
    assert set(drawn) <= set(made.phase) and len(set(drawn)) > 2


@pytest.fixture(scope="module")
def fitted() -> pd.DataFrame:
    return fit_probes(inputs(), 0.6)


def accuracy(table: pd.DataFrame, target: str, feature: str, labels: str = "real") -> float:
    part = table[(table["target"] == target) & (table["feature"] == feature) & (table["labels"] == labels)]
    share = part["score"].sum() / part["total"].sum()
    return 1 - share if target == "position" else share


def test_probes_read_what_is_there(fitted):
    assert accuracy(fitted, "phase", "planted") > 0.95
    assert accuracy(fitted, "mistake", "planted") > 0.95
    assert accuracy(fitted, "position", "planted") > 0.9


def test_probes_read_nothing_where_nothing_is(fitted):
    commonest = np.bincount(inputs().phase).max() / len(inputs().phase)
    assert accuracy(fitted, "phase", "noise") < commonest + 0.05
    assert 0.35 < accuracy(fitted, "mistake", "noise") < 0.65
    assert abs(accuracy(fitted, "position", "noise")) < 0.1


def test_the_last_action_does_not_give_a_mistake_away(fitted):
    assert 0.35 < accuracy(fitted, "mistake", "metadata") < 0.65


def test_control_labels_are_not_readable_in_other_episodes(fitted):
    assert accuracy(fitted, "phase", "planted", "control") < 0.5
    assert "control" not in set(fitted[fitted["target"] == "position"]["labels"])


def test_probes_are_tested_on_whole_episodes_that_they_were_not_fitted_on(fitted):
    tested = fitted[fitted["target"] == "phase"].groupby("episode")["steps"].first()
    assert len(tested) == 12 and (tested == 40).all()
    pd.testing.assert_frame_equal(fitted, fit_probes(inputs(), 0.6))


def test_too_little_to_probe():
    with pytest.raises(ValueError, match="too little to probe: 6 frames of 2 episodes"):
        fit_probes(inputs(2, 3), 0.5)


@pytest.mark.parametrize(
    "low, high, null, expected",
    [(0.1, 0.3, 0, "shown"), (-0.1, 0.3, 0, "not shown"), (-0.3, -0.1, 0, "contradicted"), (0, 0.3, 0, "not shown"), (-0.3, 0, 0, "not shown"),
     (0.1, 0.3, 0.5, "contradicted"), (np.nan, np.nan, 0, "not shown"), (0.1, np.inf, 0, "not shown")],
)  # fmt: skip
def test_verdicts(low, high, null, expected):
    assert verdict(Estimate(0.2, low, high), null) == expected


def claim(**change) -> Claim:
    known = {"claim": "c", "statement": "Cats see", "task": "colored_dots", "statistic": "share", "value": 0.25, "low": 0.1, "high": 0.4}
    return Claim(**{**known, "rule": "Shown if above 0.", "verdict": "shown", "unit": "episode (9)", "published": "seen", **change})


def test_claims_survive_being_written(tmp_path):
    claims = [claim(), claim(task="b", value=np.nan, low=np.nan, high=np.nan, verdict="not shown")]
    (tmp_path / "claims.json").write_text(to_json(claims))
    json.loads(to_json(claims), parse_constant=pytest.fail)  # strict JSON has no NaN
    read = from_json(tmp_path / "claims.json")
    assert read[0] == claims[0] and np.isnan([read[1].value, read[1].low, read[1].high]).all() and read[1].verdict == "not shown"


def test_the_ledger_counts_and_shows_every_claim():
    text = to_markdown([claim(), claim(task="b", value=np.nan, low=np.nan, high=np.nan, verdict="not shown"), claim(task="c", verdict="contradicted")], "desk")
    assert text.startswith("# Findings of `desk`\n") and "3 claims tested: 1 shown, 1 not shown, 1 contradicted." in text
    assert "| Cats see | colored_dots | share: 0.25 | [0.1, 0.4] | **shown** | seen |" in text
    assert "| Cats see | b | share: n/a | n/a | **not shown** | seen |" in text
    assert text.count("- *Cats see*: Shown if above 0. Unit of inference: episode (9).") == 1
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and {row.count("|") for row in rows} == {7}


def test_every_study_says_what_it_reads_and_claims(evaluations):
    for name in study_names():
        study = get_study(name)
        if study.READS:
            found = study.claims({key: evaluations[key] for key in study.READS}, Settings())
            assert found and all(one.verdict in VERDICTS and one.task == "colored_dots" and one.low <= one.value <= one.high for one in found)
    with pytest.raises(ValueError, match="unknown study 'nothing'"):
        get_study("nothing")


def test_the_order_of_skills_is_found(evaluations):
    found = {one.claim: one for one in emergence.claims(evaluations, Settings())}
    assert [one.verdict for one in found.values()] == ["shown", "shown"]
    assert found["order: mechanics before placement"].value == pytest.approx(np.log2(10**4 / 10**2.5), abs=1)
    turned = evaluations["skills"].replace({"skill": {"valid": "decision", "button": "undo", "decision": "valid", "undo": "button"}})
    assert all(one.verdict == "contradicted" for one in emergence.claims({"skills": turned}, Settings()))


def test_fewer_mistakes_and_recovery_are_found(evaluations):
    assert [one.verdict for one in mistakes.claims(evaluations, Settings())] == ["shown", "shown"]
    swapped = evaluations["closed_loop"].replace({"who": {"policy": "annotator", "annotator": "policy"}})
    assert mistakes.claims({**evaluations, "closed_loop": swapped}, Settings())[0].verdict == "contradicted"


def test_probes_are_held_against_the_best_baseline(evaluations):
    found = probes.claims(evaluations, Settings())
    assert [one.claim for one in found] == ["mistake readable", "phase readable", "position readable"]
    assert all(one.verdict == "shown" and "(last)" in one.statistic and "(metadata)" in one.statistic for one in found)
    assert all(one.value == pytest.approx(0.35, abs=0.05) for one in found)
