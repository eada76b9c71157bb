"""Intervals, half-way points, matching and probes on made-up data whose answer is known.

Verdicts and the ledger.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import made_up
from conftest import QUICK, SETTINGS, Evaluations
from lastmile.config import load, parse
from lastmile.evaluation import statistics
from lastmile.evaluation.statistics import (
    Estimate,
    curve,
    curve_over_tasks,
    estimate,
    interval,
    mean,
    rate,
    rate_over_tasks,
    ratio,
    ratio_samples,
    resamples,
    seed_weights,
    success,
    wilson,
)
from lastmile.pipeline import plan
from lastmile.pipeline.stage import OnTask, files_of
from lastmile.pipeline.stages import get_stage, stage_names
from lastmile.pipeline.stages._shared import write_table
from lastmile.probing import generalization
from lastmile.probing import probes as linear_probes
from lastmile.probing.activations import Inputs
from lastmile.probing.pairs import Pairs
from lastmile.probing.probes import control_labels, fit_probes
from lastmile.storage import csv_tables, parquet
from lastmile.studies import all_needs, all_runs, get_study, runs, study_names
from lastmile.studies.abstract import ABSTRACT, abstract
from lastmile.studies.claims import (
    VERDICTS,
    Claim,
    Effect,
    Hypothesis,
    from_json,
    to_json,
    verdict,
)
from lastmile.studies.emergence import study as emergence
from lastmile.studies.findings import (
    beside,
    performance,
    read_published,
    to_markdown,
    with_published,
)
from lastmile.studies.heads import study as heads
from lastmile.studies.labels import ALL
from lastmile.studies.mistakes import study as mistakes
from lastmile.studies.probe_generalization import study as probe_generalization
from lastmile.studies.probes import study as probes
from lastmile.studies.render import render
from lastmile.studies.scaling import study as scaling
from lastmile.studies.transfer import study as transfer
from lastmile.studies.words import effects, in_words
from lastmile.tasks import get_task, task_names


@pytest.mark.parametrize(
    "successes, trials, low, high",
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    """The last two are examples of Newcombe (1998), table I."""
    estimate = wilson(successes, trials)
    assert estimate == pytest.approx((successes / trials, low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_holds_the_share(of: tuple[int, int]) -> None:
    successes, trials = of
    one, other = wilson(successes, trials), wilson(trials - successes, trials)
    assert 0 <= one.low <= one.value + 1e-12 and one.value <= one.high + 1e-12 and one.high <= 1
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_without_trials_nothing_is_known() -> None:
    assert all(np.isnan(wilson(0, 0))) and all(np.isnan(ratio([0, 0], [0, 0])))
    assert np.isnan(interval(1.0, np.array([np.nan])).low)


def test_bootstrap_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Episodes differ in length and in how well they go, so that steps are far from independent."""
    rng = np.random.default_rng(0)
    held = []
    for seed in range(200):
        totals = rng.integers(5, 40, 60)
        shares = rng.beta(4, 2, 60)  # mean 2 / 3
        estimate = ratio(rng.binomial(totals, shares), totals, 500, seed=seed)
        held.append(estimate.low <= 2 / 3 <= estimate.high)
    assert 0.89 <= np.mean(held) <= 0.99


def test_few_units_have_wider_intervals() -> None:
    """Of eight episodes with skewed values a percentile interval misses the mean in one of eight."""
    rng = np.random.default_rng(0)
    held = {"interval": 0, "percentiles": 0}
    for _ in range(400):
        values = rng.exponential(size=8)
        estimated = mean(values, 500)
        low, high = np.quantile(ratio_samples(values, np.ones(8), 500), [0.025, 0.975])
        held["interval"] += estimated.low <= 1 <= estimated.high
        held["percentiles"] += bool(low <= 1 <= high)
    assert held["percentiles"] / 400 < 0.89 < 0.9 < held["interval"] / 400


def test_resamples_draw_as_many_episodes_as_there_are() -> None:
    weights = resamples(7, 100)
    assert (
        weights.shape == (100, 7)
        and (weights.sum(axis=1) == 7).all()
        and len(np.unique(weights, axis=0)) > 50
    )
    assert np.array_equal(weights, resamples(7, 100)) and not np.array_equal(
        weights, resamples(7, 100, seed=1)
    )


def test_differences_are_paired() -> None:
    """Two measures of the same episodes that differ by a constant differ by it in every resample."""
    rng = np.random.default_rng(0)
    hits, totals = rng.integers(0, 10, 30), np.full(30, 20)
    difference = ratio_samples(hits + 4, totals) - ratio_samples(hits, totals)
    assert np.allclose(difference, 0.2)
    assert ratio_samples(hits, totals).std() > 0.01


def test_mean_is_the_mean() -> None:
    estimate = mean([0.0, 1.0, 2.0, 3.0])
    assert (
        estimate.value == 1.5
        and estimate.low < 1.5 < estimate.high
        and str(estimate).startswith("1.500 [")
    )


FRAMES = np.array([0, 10, 100, 1000, 10_000])


def test_half_way_to_the_ceiling_is_found_between_the_points() -> None:
    values = np.array(
        [[0, 0, 0, 1, 1], [0, 0.5, 1, 1, 1], [0.2, 0.2, 0.4, 0.8, 1.0], [0, 0, 0, 0, 1]], float
    )
    at = emergence.half_way(FRAMES, values, 1.0)
    between = [np.expm1((np.log1p(FRAMES[i]) + np.log1p(FRAMES[i + 1])) / 2) for i in (2, 3)]
    assert at == pytest.approx([between[0], 10, between[0], between[1]])


def test_half_way_is_that_of_the_ceiling_and_not_of_the_own_end() -> None:
    values = np.array([[0.0, 0.1, 0.2, 0.3, 0.3], [0.0, 0.1, 0.2, 0.3, 0.6]])
    at = emergence.half_way(FRAMES, values, 1.0)
    assert np.isnan(at[0]) and 1000 < at[1] < 10_000


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0.01, 3))
def test_half_way_lies_in_the_training_and_does_not_depend_on_the_scale(
    points: list[float], factor: float
) -> None:
    values = np.array([[0.0, *points]])
    at = emergence.half_way(FRAMES, values, 0.5)
    assert np.isnan(at[0]) == (points[-1] < 0.25)
    assert np.isnan(at[0]) or 0 <= at[0] <= 10_000 * (1 + 1e-9)
    scaled = emergence.half_way(FRAMES, factor * values, factor * 0.5)
    assert abs(points[-1] - 0.25) < 1e-9 or scaled == pytest.approx(at, nan_ok=True)


def inputs(episodes: int = 30, length: int = 40, seed: int = 0) -> Inputs:
    """Episodes with labels that depend on each other as in real ones, and features that know all or nothing."""
    rng = np.random.default_rng(seed)
    # The types are those of a recording.
    episode = np.repeat(np.arange(episodes, dtype=np.int32), length)
    step = np.tile(np.arange(length, dtype=np.int32), episodes)
    phase = np.minimum(step * 4 // length + rng.integers(0, 2, len(step)), 4)
    position = rng.random(len(step)).astype(np.float32)
    last = rng.integers(0, 4, len(step))
    code = np.column_stack([np.eye(5)[phase], position])
    planted = code @ rng.normal(size=(6, 150)) + rng.normal(0, 0.05, (len(step), 150))
    features = {
        "planted": planted.astype(np.float32),
        "noise": rng.normal(size=(len(step), 20)).astype(np.float32),
        "chance": np.zeros((len(step), 1), np.float32),
    }
    return Inputs(features, episode, step, last, phase, position)


def pairs(episodes: int = 30, each: int = 4, seed: int = 0) -> Pairs:
    """Pairs whose halves differ along one direction, or in nothing but noise, or not at all."""
    rng = np.random.default_rng(seed)
    count = episodes * each
    world = rng.normal(size=(count, 1, 150))
    shift = np.zeros((1, 2, 150))
    shift[0, 0, :4] = 1.5
    features = {
        "planted": world + shift + rng.normal(0, 0.3, (count, 2, 150)),
        "noise": rng.normal(size=(count, 2, 20)),
        "chance": np.zeros((count, 2, 1)),
    }
    return Pairs(
        {name: values.astype(np.float32) for name, values in features.items()},
        np.repeat(np.arange(episodes), each),
        np.arange(count) % 2 == 0,
        [],
    )


def test_control_labels_are_one_for_each_third_of_an_episode() -> None:
    made = inputs()
    drawn = control_labels(made, made.phase, np.random.default_rng(0))
    groups = pd.DataFrame(
        {"episode": made.episode, "third": made.step * 3 // 40, "label": drawn}
    ).groupby(["episode", "third"])["label"]
    assert (groups.nunique() == 1).all() and len(groups) == 90
    assert set(drawn) <= set(made.phase) and len(set(drawn)) > 2


@pytest.fixture(scope="module")
def fitted() -> pd.DataFrame:
    return fit_probes(inputs(), pairs())


def accuracy(table: pd.DataFrame, target: str, feature: str, labels: str = "real") -> float:
    part = table[
        (table["target"] == target) & (table["feature"] == feature) & (table["labels"] == labels)
    ]
    share = part["score"].sum() / part["total"].sum()
    return 1 - share if target == "position" else share


def test_probes_read_what_is_there(fitted: pd.DataFrame) -> None:
    assert accuracy(fitted, "phase", "planted") > 0.95
    assert accuracy(fitted, "mistake", "planted") > 0.8
    assert accuracy(fitted, "position", "planted") > 0.9


def test_probes_read_nothing_where_nothing_is(fitted: pd.DataFrame) -> None:
    commonest = np.bincount(inputs().phase).max() / len(inputs().phase)
    assert accuracy(fitted, "phase", "noise") < commonest + 0.05
    assert 0.35 < accuracy(fitted, "mistake", "noise") < 0.65
    assert abs(accuracy(fitted, "position", "noise")) < 0.1


def test_what_does_not_look_is_at_chance(fitted: pd.DataFrame) -> None:
    commonest = np.bincount(inputs().phase).max() / len(inputs().phase)
    assert accuracy(fitted, "phase", "chance") == pytest.approx(commonest, abs=0.05)
    assert accuracy(fitted, "position", "chance") == pytest.approx(0, abs=1e-6)
    assert accuracy(fitted, "mistake", "chance") == accuracy(fitted, "mistake AUC", "chance") == 0.5


def test_mistakes_seen_and_unseen_are_told_apart(fitted: pd.DataFrame) -> None:
    steps = fitted[fitted["feature"] == "planted"].groupby("target")["steps"].sum()
    assert steps["mistake seen"] + steps["mistake unseen"] == 120
    assert accuracy(fitted, "mistake AUC", "planted") > accuracy(fitted, "mistake", "planted")


def test_control_labels_are_not_readable_in_other_episodes(fitted: pd.DataFrame) -> None:
    assert accuracy(fitted, "phase", "planted", "control") < 0.5
    assert 0.3 < accuracy(fitted, "mistake", "planted", "control") < 0.7
    assert "control" not in set(fitted[fitted["target"] == "position"]["labels"])


def test_probes_are_tested_on_whole_episodes_that_they_were_not_fitted_on(
    fitted: pd.DataFrame,
) -> None:
    tested = fitted[fitted["target"] == "phase"].groupby("episode")["steps"].first()
    assert len(tested) == 12 and (tested == 40).all()
    assert fitted[fitted["target"] == "mistake"]["episode"].nunique() == 30  # in folds, all are
    pd.testing.assert_frame_equal(fitted, fit_probes(inputs(), pairs()))


def test_too_little_to_probe_gives_no_rows() -> None:
    table = fit_probes(inputs(2, 3), pairs(1))
    assert table.empty and tuple(table.columns) == linear_probes.COLUMNS


@pytest.mark.parametrize(
    "low, high, smallest, expected",
    [
        (0.1, 0.3, 0, "shown"),
        (0.1, 0.3, 0.2, "shown"),
        (0.1, 0.3, 0.5, "null"),
        (-0.1, 0.3, 0, "undecided"),
        (-0.1, 0.3, 0.4, "null"),
        (-0.1, 0.3, 0.2, "undecided"),
        (-0.3, -0.1, 0, "contradicted"),
        (0, 0.3, 0, "undecided"),
        (-0.3, 0, 0, "undecided"),
        (np.nan, np.nan, 1, "undecided"),
        (0.1, np.inf, 0, "undecided"),
        (0.2, 0.2, 0, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, smallest: float, expected: str) -> None:
    assert verdict(Estimate(0.2, low, high), smallest) == expected


CATS = Hypothesis("c", "Cats see", "share", "Shown if above 0.", Effect("percent", "more", "less"))


def test_preconditions_come_before_verdicts() -> None:
    surely = Estimate(0.5, 0.4, 0.6)
    assert CATS.test(surely, ALL, "cat (9)", 9).verdict == "shown"
    assert CATS.test(surely, ALL, "cat (9)", 9, seeds=2).verdict == "shown"
    for tested in (
        CATS.test(surely, ALL, "cat (7)", 7),
        CATS.test(surely, ALL, "cat (9)", 9, seeds=1),
        CATS.test(surely, ALL, "cat (9)", 9, reason="blind"),
        CATS.test(Estimate(np.nan, np.nan, np.nan), ALL, "cat (9)", 9),
    ):
        assert tested.verdict == "not testable" and tested.reason
    assert "training.seeds" in CATS.test(surely, ALL, "cat (9)", seeds=1).reason


def test_the_smallest_effect_that_could_have_been_seen_is_told() -> None:
    """In 80 % of the cases, 2.8 standard errors are more than 1.96 away from 0."""
    tested = CATS.test(Estimate(0.01, -0.186, 0.206), ALL, "cat (9)", 9)
    assert tested.verdict == "undecided" and tested.detectable == pytest.approx(0.28, abs=0.001)
    assert "[detectable: 28.0 percentage points]" in in_words(tested, CATS.effect)


def claim(**change: Any) -> Claim:
    known = {
        "claim": "c",
        "statement": "Cats see",
        "task": "colored_dots",
        "statistic": "share",
        "value": 0.25,
        "low": 0.1,
        "high": 0.4,
        "rule": "Shown if above 0.",
        "verdict": "shown",
        "unit": "episode (9)",
        "detectable": 0.2,
        "published": "seen",
    }
    return Claim(**{**known, **change})


def test_claims_survive_being_written(tmp_path: Path) -> None:
    unknown = {"value": np.nan, "low": np.nan, "high": np.nan}
    claims = [
        claim(),
        claim(task="b", verdict="undecided", **unknown),
        claim(task="d", verdict="not testable", reason="no cats", **unknown),
    ]
    (tmp_path / "claims.json").write_text(to_json(claims))
    json.loads(to_json(claims), parse_constant=pytest.fail)  # strict JSON has no NaN
    read = from_json(tmp_path / "claims.json")
    assert read[0] == claims[0]
    assert np.isnan([read[1].value, read[1].low, read[1].high]).all()
    assert read[1].verdict == "undecided"
    assert read[2].reason == "no cats"


@pytest.mark.parametrize("content", ["cats", "3", "{}x", '[{"claim": "c"}]', '["c"]'])
def test_a_file_that_holds_no_claims_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "claims.json").write_text(content)
    with pytest.raises(ValueError, match="claims.json: expected the claims of a study"):
        from_json(tmp_path / "claims.json")


def test_the_ledger_has_one_verdict_on_all_tasks_and_those_by_task_below() -> None:
    claims = [
        claim(task="all tasks"),
        claim(task="b", value=np.nan, low=np.nan, high=np.nan, verdict="null"),
        claim(task="c"),
        claim(task="d"),
    ]
    claims.append(claim(claim="k", statement="Dogs hear", verdict="contradicted"))
    text = to_markdown(claims, "desk")
    assert text.startswith("# Findings of `desk`\n")
    assert "2 claims tested: 1 shown here, 1 where the opposite was measured here." in text
    assert (
        "| Cats see | **shown here** | 0.25 (0.1 to 0.4) | All tasks | 2 shown; 1 null (B) "
        "| seen |" in text
    )
    assert (
        "| Dogs hear | **the opposite was measured here** | 0.25 (0.1 to 0.4) | Colored dots |  "
        "| seen |" in text
    )
    assert "| Cats see | B | not measured | no effect here |" in text
    assert "n/a" not in text and "nan" not in text
    rule = "- *Cats see*: Shown if above 0. Statistic: share, here 0.25 (0.1 to 0.4). "
    assert text.count(rule + "Unit of inference: episode (9).") == 1
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.count("|") for row in table] == [7] * 4 + [5] * 5


def test_what_was_not_testable_says_why() -> None:
    unknown = claim(value=np.nan, low=np.nan, high=np.nan)
    unknown = replace(unknown, verdict="not testable", reason="no cats")
    text = to_markdown([unknown], "desk")
    assert "0 shown here, 1 not testable here." in text
    assert "**not testable here** | not measured: no cats |" in text


LATER = Effect("factor", above="times later", below="times earlier", lead="sight comes")
POINTS = Effect("percent", above="points more", below="points fewer")
NATS = Effect("difference", above="nats lower", below="nats higher")


@pytest.mark.parametrize(
    "effect, value, low, high, words",
    [
        (LATER, 1.5, 1.0, 2.0, "sight comes 2.8 times later (2.0 to 4.0)"),
        (LATER, -1.5, -2.0, -1.0, "sight comes 2.8 times earlier (2.0 to 4.0)"),
        (LATER, 0.5, -0.5, 1.0, "sight comes 1.4 times later (0.7 to 2.0)"),
        (LATER, 5.0, 4.0, 6.0, "sight comes 32 times later (16 to 64)"),
        (POINTS, -0.1, -0.3, 0.05, "10.0 points fewer (-5.0 to 30.0)"),
        (POINTS, 0.25, 0.154, 0.25, "25.0 points more (15.4 to 25.0)"),
        (NATS, 0.909, 0.885, 0.934, "0.909 nats lower (0.885 to 0.934)"),
        (NATS, 0.0, 0.0, 0.0, "no difference (the same in every resample)"),
        (NATS, 0.0, -0.1, 0.1, "no difference (-0.1 to 0.1)"),
        (NATS, 0.2, np.nan, np.nan, "0.2 nats lower (no interval)"),
        (NATS, np.nan, np.nan, np.nan, "not measured"),
        (None, 0.25, 0.1, 0.4, "0.25 (0.1 to 0.4)"),
    ],
)
def test_effects_are_told_in_words(
    effect: Effect | None, value: float, low: float, high: float, words: str
) -> None:
    assert in_words(claim(value=value, low=low, high=high), effect) == words


def test_every_claim_can_be_told_in_words(evaluations: Evaluations) -> None:
    words = effects()
    for name in study_names():
        for tested in get_study(name).claims(evaluations[name], SETTINGS):
            assert "not measured" in in_words(tested, words[tested.claim]) or np.isfinite(
                tested.value
            )


def test_the_findings_open_with_how_well_the_policies_do_the_tasks(
    evaluations: Evaluations,
) -> None:
    tables = {
        name: get_study(name).table(evaluations[name], SETTINGS)
        for name in ("emergence", "mistakes")
    }
    table = performance(tables).set_index("task")
    assert list(table.index) == [*SETTINGS.tasks, ALL]
    played = tables["mistakes"].set_index(["task", "who", "measure"])["value"]
    success = played["colored_dots", "policy", "success"].item()
    assert table.loc["colored_dots", "success"] == success
    assert table.loc[ALL, "score"] == pytest.approx(played[ALL, "policy", "score"].item())
    assert np.isnan(table.loc["object_exploration", "placement"])
    assert table.loc["colored_dots", "placement"] < table.loc["colored_dots", "self-agreement"]

    text = to_markdown([claim()], "desk", tables=tables)
    assert "## The findings of the abstract" not in text  # none of its claims is among them
    opening = text.split("## Claims")[0]
    success = f"{100 * table.loc[ALL, 'success']:.0f} %"
    assert f"In closed loop, the policies succeed in {success} of the held-out worlds" in opening
    assert "| Colored dots | " in opening and "| not measured | not measured |" in opening
    assert "In closed loop" in to_markdown(
        [claim()], "desk", tables={"mistakes": tables["mistakes"]}
    )


def test_the_findings_of_the_abstract_come_first(evaluations: Evaluations) -> None:
    claims = [
        one for name in study_names() for one in get_study(name).claims(evaluations[name], SETTINGS)
    ]
    told = dict(abstract(claims))
    assert [finding.study for finding in told] == [finding.study for finding in ABSTRACT]
    assert all(len(sentences) == len(finding.claims) for finding, sentences in told.items())
    text = to_markdown(claims, "desk")
    opening = text.split("## Claims")[0]
    assert "([figure](figures/mistakes.png))" in opening
    assert "- *Holds*: The policy corrects injected mistakes (" in opening
    assert "*Not testable*: A larger policy decides worse" in opening
    assert "by task, shown on 3 of 3 where it can be tested" in opening


def test_published_figures_stand_beside_ours(tmp_path: Path, root: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "claims: {c: it was so}\n"
        "figures:\n"
        "- {what: steps, study: s, where: {task: t}, published: 7}\n"
        "- {what: more, study: none, where: {}, published: 1}\n"
    )
    published = read_published([tmp_path / "a.yaml"])
    assert [one.published for one in with_published([claim(), claim(claim="k")], published)] == [
        "it was so",
        "",
    ]
    table = pd.DataFrame(
        {
            "task": ["t", "t", "u"],
            "frames": [1, 9, 20],
            "value": [1.0, 2.0, 3.0],
            "low": 0.0,
            "high": 4.0,
        }
    )
    compared = beside(published, {"s": table})
    assert compared.to_numpy().tolist() == [["steps", "t", 2.0, 0.0, 4.0, "7"]]
    assert "| steps | T | 2 (0 to 4) | 7 |" in to_markdown([claim()], "desk", compared)
    (tmp_path / "b.yaml").write_text("facts: 3\n")
    with pytest.raises(
        ValueError, match="b.yaml: expected what the original study reports; facts: extra inputs"
    ):
        read_published([tmp_path / "b.yaml"])
    assert read_published(sorted((root / "workflow" / "expected").glob("*.yaml"))).figures


def test_what_is_published_belongs_to_claims_that_are_made(
    evaluations: Evaluations, root: Path
) -> None:
    made = {
        one.claim
        for name in study_names()
        for one in get_study(name).claims(evaluations[name], SETTINGS)
    }
    assert (
        set(read_published(sorted((root / "workflow" / "expected").glob("*.yaml"))).claims) <= made
    )


def test_every_study_says_what_it_needs_and_claims(evaluations: Evaluations) -> None:
    for name in study_names():
        study = get_study(name)
        claims = study.claims(evaluations[name], QUICK)
        assert all(one.verdict in VERDICTS for one in claims)
        assert all(one.task in (ALL, *SETTINGS.tasks) for one in claims)
        measured = [one for one in claims if np.isfinite(one.value)]
        assert all(one.low - 1e-9 <= one.value <= one.high + 1e-9 for one in measured)
        assert measured or not study.needs(SETTINGS)
        assert len({(one.claim, one.task) for one in claims}) == len(claims)
        assert claims or not study.needs(SETTINGS)
        assert {one.claim for one in claims} == {one.claim for one in study.HYPOTHESES}
        assert list(study.table(evaluations[name], QUICK).columns) == list(study.COLUMNS)
        for which in {one.claim for one in claims}:
            assert sum(one.claim == which for one in claims) == 1 or any(
                one.claim == which and one.task == ALL for one in claims
            )
    with pytest.raises(ValueError, match="unknown study 'nothing'"):
        get_study("nothing")


class Recorder:
    """Settings that note the dotted name of everything that is read of them."""

    def __init__(self, settings: BaseModel, names: set[str], prefix: str = "") -> None:
        self._settings = settings
        self._names = names
        self._prefix = prefix

    def __getattr__(self, key: str) -> Any:
        value = getattr(self._settings, key)
        if key not in type(self._settings).model_fields:  # a method reads all of them
            self._names.add(self._prefix.rstrip("."))
            return value
        name = self._prefix + key
        if isinstance(value, BaseModel):
            return Recorder(value, self._names, f"{name}.")
        self._names.add(name)
        return value


@pytest.mark.parametrize("name", study_names())
def test_a_study_reads_the_settings_that_it_says(evaluations: Evaluations, name: str) -> None:
    study = get_study(name)
    names: set[str] = set()
    study.table(evaluations[name], Recorder(QUICK, names))
    study.claims(evaluations[name], Recorder(QUICK, names))
    if hasattr(study, "sheet"):
        study.sheet(Recorder(QUICK, names))

    said = ("seed", "worlds", "tasks", *study.READS)
    covered = {read: [one for one in said if f"{read}.".startswith(f"{one}.")] for read in names}
    assert [read for read, by in covered.items() if not by] == []
    assert set(study.READS) <= {one for by in covered.values() for one in by}


def without_rows(inputs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {name: rows.iloc[:0] for name, rows in inputs.items()}


def one_episode(inputs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {
        name: rows[rows["episode"].fillna(0) == 0] if "episode" in rows else rows
        for name, rows in inputs.items()
    }


@pytest.fixture
def one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures in one format only."""
    monkeypatch.setattr("lastmile.studies.render.FORMATS", ("svg",))


def one_task(inputs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Only what was measured on colored dots; probes across tasks found no other task."""
    return {
        name: rows.iloc[:0] if "source" in rows else rows[rows["task"] == "colored_dots"]
        for name, rows in inputs.items()
    }


def nothing_counted(inputs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Episodes without steps, clicks or placements."""
    counts = ("hits", "total", "nats", "steps", "placements", "mistakes", "score")
    return {
        name: rows.assign(**{column: 0 for column in counts if column in rows})
        for name, rows in inputs.items()
    }


def before_training(inputs: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {
        name: rows[rows["frames"] == 0] if "frames" in rows else rows
        for name, rows in inputs.items()
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [name for name in study_names() if get_study(name).HYPOTHESES])
@pytest.mark.parametrize(
    "reduced",
    [without_rows, one_episode, one_task, nothing_counted, before_training],
    ids=lambda reduced: reduced.__name__,
)
@pytest.mark.usefixtures("one_format")
def test_too_few_data_do_not_kill_a_study(
    evaluations: Evaluations, tmp_path: Path, name: str, reduced: Callable[..., Any]
) -> None:
    study = get_study(name)
    inputs = reduced(evaluations[name])
    table = study.table(inputs, QUICK)
    claims = study.claims(inputs, QUICK)
    assert list(table.columns) == list(study.COLUMNS)
    assert all(one.verdict in VERDICTS for one in claims)
    assert all(bool(one.reason) == (one.verdict == "not testable") for one in claims)
    if reduced is without_rows:
        assert claims and {one.verdict for one in claims} == {"not testable"}
    json.loads(to_json(claims), parse_constant=pytest.fail)
    to_markdown(claims, "desk", tables={name: table})

    csv_tables.write(table, tmp_path / f"{name}.csv", study.COLUMNS, "%.6g")
    assert "nan" not in render(name, tmp_path / f"{name}.csv", tmp_path / name)[-1].read_text()


@pytest.mark.parametrize(
    "missing",
    ["closed_loop", "recovery", "skills", "losses", "speed", "deferral", "confidences"]
    + ["other_looks", "other_looks_played"],
)
@pytest.mark.usefixtures("one_format")
def test_a_measurement_without_rows_does_not_kill_a_study(
    evaluations: Evaluations, tmp_path: Path, missing: str
) -> None:
    for name in study_names():
        if missing in evaluations[name]:
            study = get_study(name)
            empty = evaluations[name][missing].iloc[:0]
            inputs = {**evaluations[name], missing: empty}
            table = study.table(inputs, QUICK)
            csv_tables.write(table, tmp_path / f"{name}.csv", study.COLUMNS, "%.6g")
            assert all(one.verdict in VERDICTS for one in study.claims(inputs, QUICK))
            render(name, tmp_path / f"{name}.csv", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "measurement", "columns"),
    [
        ("probes", "linear_probes", linear_probes.COLUMNS),
        ("probe_generalization", "cross_task_probes", generalization.COLUMNS),
    ],
)
def test_a_study_reads_the_empty_table_that_a_stage_writes(
    evaluations: Evaluations, tmp_path: Path, name: str, measurement: str, columns: tuple[str, ...]
) -> None:
    """Tables of both are written where there was too little to probe."""
    study = get_study(name)
    spec = OnTask(run="all.1k", seed=0, task="colored_dots")
    write_table(tmp_path / "empty.parquet", pd.DataFrame(columns=list(columns)), spec)
    inputs = {**evaluations[name], measurement: parquet.frame(tmp_path / "empty.parquet")}
    assert {one.verdict for one in study.claims(inputs, SETTINGS)} == {"not testable"}
    assert list(study.table(inputs, SETTINGS).columns) == list(study.COLUMNS)


def verdicts(study: ModuleType, inputs: dict[str, pd.DataFrame], task: str = ALL) -> dict[str, str]:
    return {one.claim: one.verdict for one in study.claims(inputs, SETTINGS) if one.task == task}


def nine_tasks(skills: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return skills of nine tasks, each another draw of those of colored dots."""
    rng = np.random.default_rng(0)
    many = []
    for number in range(9):
        for run, kind in (("colored_dots", f"t{number}"), ("all.40k", "all.40k")):
            copy = skills[(skills["task"] == "colored_dots") & (skills["run"] == run)]
            copy = copy.assign(task=f"t{number}", run=kind)
            many.append(copy.assign(hits=rng.binomial(30, copy["hits"] / 30)))
    return {"skills": pd.concat(many)}


def test_the_order_of_skills_is_found(evaluations: Evaluations) -> None:
    skills = evaluations["emergence"]["skills"]
    nine = emergence.claims(nine_tasks(skills), SETTINGS)
    assert [one.verdict for one in nine] == ["shown"] * 8
    units = "training run (3) and episode (72, tasks as strata)"
    assert [one.unit for one in nine] == ["task (9, with one training run each)"] * 4 + [units] * 4
    assert {one.task for one in nine} == {ALL}
    few = emergence.claims(evaluations["emergence"], SETTINGS)
    assert {one.verdict for one in few[:4]} == {"not testable"} and "2 units" in few[1].reason
    once = nine_tasks(skills[(skills["run"] != "all.40k") | (skills["seed"] == 0)])
    reasons = [one.reason for one in emergence.claims(once, SETTINGS)[4:]]
    assert all("one training run" in reason for reason in reasons)
    alone = nine_tasks(skills[skills["run"] != "all.40k"])
    reasons = [one.reason for one in emergence.claims(alone, SETTINGS)[4:]]
    assert reasons == ["there is no policy for all tasks"] * 4
    sight = "decision by sight"
    turned = skills.replace(
        {"skill": {"valid": sight, "button": "undo", sight: "valid", "undo": "button"}}
    )
    assert (
        verdicts(emergence, nine_tasks(turned))["order: mechanics before decisions"]
        == "contradicted"
    )
    table = emergence.table(evaluations["emergence"], SETTINGS)
    assert set(table["predictor"]) == {"policy", "joint policy", "ceiling", "floor", "trigram"}
    table = table[table["predictor"] == "policy"].set_index(["measure", "task", "skill"])
    assert (
        table.loc[("order", "all tasks", "mechanics < placement < decisions"), "value"].item() == 1
    )
    half = table.loc["half"].loc["all tasks"]
    assert (
        half.loc["button", "value"]
        < half.loc["placement@5", "value"]
        < half.loc["decision", "value"]
    )
    assert (half["low"] <= half["value"]).all() and (half["value"] <= half["high"]).all()


def test_a_task_without_placements_has_no_say_on_placement(evaluations: Evaluations) -> None:
    halves = emergence.all_halves(evaluations["emergence"]["skills"], 100)
    assert "object_exploration" not in emergence.gaps(halves, "mechanics", "placement")
    assert "object_exploration" in emergence.gaps(halves, "mechanics", "decisions")


def test_what_was_not_reached_is_not_ranked(evaluations: Evaluations) -> None:
    skills = evaluations["emergence"]["skills"]
    at_half = skills["skill"].isin(["decision by sight"]) & (skills["predictor"] == "policy")
    slow = skills.assign(hits=skills["hits"].where(~at_half, skills["hits"] // 3))
    table = emergence.table({"skills": slow}, SETTINGS)
    late = table[table["measure"] == "not reached"]
    assert set(late["skill"]) == {"decision by sight", "decisions"}
    assert not set(table[table["measure"] == "half"]["skill"]) & set(late["skill"])
    found = {one.claim: one for one in emergence.claims(nine_tasks(slow), SETTINGS)}
    order = found["order: placement before decisions"]
    assert order.verdict == "not testable" and "did both reach half of the ceiling" in order.reason
    assert found["order: mechanics before placement"].verdict == "shown"


def test_fewer_mistakes_and_recovery_are_found(evaluations: Evaluations) -> None:
    assert verdicts(mistakes, evaluations["mistakes"]) == {
        "fewer mistakes than the data": "shown",
        "mistakes snowball": "shown",
        "correction retained": "shown",
        "fewer mistakes than the data, joint policy": "shown",
        "mistakes snowball, joint policy": "shown",
        "correction retained, joint policy": "shown",
    }
    skills = evaluations["mistakes"]["skills"]
    worse = skills.assign(
        hits=skills["hits"].where(
            (skills["skill"] != "annotation") | (skills["predictor"] != "policy"),
            skills["hits"] // 2,
        )
    )
    assert (
        verdicts(mistakes, {**evaluations["mistakes"], "skills": worse})[
            "fewer mistakes than the data"
        ]
        == "contradicted"
    )
    table = mistakes.table(evaluations["mistakes"], SETTINGS)
    table = table[table["who"] == "policy"]
    late = table[
        (table["task"] == "all tasks") & (table["measure"] == "gone") & (table["kind"] == "")
    ].set_index("delay")["value"]
    assert late[0] > late[3] > late[8]


def test_correction_asks_the_same_of_both_arms(evaluations: Evaluations) -> None:
    """A policy that takes back everything corrects nothing."""
    recovery = evaluations["mistakes"]["recovery"]
    restless = recovery.assign(gone=recovery["episode"] % 4 > 0, undone=True)
    found = mistakes.claims({**evaluations["mistakes"], "recovery": restless}, SETTINGS)
    corrected = [one for one in found if one.claim == "correction retained"]
    assert all(one.value == 0 and one.verdict == "undecided" for one in corrected)


def test_who_cannot_place_or_undo_says_nothing_about_mistakes(evaluations: Evaluations) -> None:
    skills = evaluations["mistakes"]["skills"]
    snowball = {"mistakes snowball", "mistakes snowball, joint policy"}
    for skill, testable in (("undo", snowball), ("placement@5", set[str]())):
        weak = skills.assign(
            hits=skills["hits"].where(
                (skills["skill"] != skill) | (skills["predictor"] != "policy"), 0
            )
        )
        found = mistakes.claims({**evaluations["mistakes"], "skills": weak}, SETTINGS)
        of_dots = [one for one in found if one.task == "colored_dots"]
        assert {one.claim for one in of_dots if one.verdict != "not testable"} == testable
        assert all(
            "learned" in one.reason or "placement" in one.reason for one in of_dots if one.reason
        )


def test_probes_are_held_against_baselines_named_beforehand(evaluations: Evaluations) -> None:
    found = [
        one for one in probes.claims(evaluations["probes"], SETTINGS) if one.task == "all tasks"
    ]
    assert [one.claim for one in found] == [
        f"{target} {claim}"
        for target in ("mistake", "phase", "position")
        for claim in ("readable", "more readable than from the input")
    ]
    assert all(one.verdict == "shown" and "(last)" in one.statistic for one in found)
    assert all(one.value == pytest.approx(0.55, abs=0.05) for one in found)
    # The metadata are better than both, and are not what is compared with.
    assert all("metadata" not in one.statistic for one in found)


def test_larger_policies_are_found_to_be_more_efficient(evaluations: Evaluations) -> None:
    found = verdicts(scaling, evaluations["scaling"])
    assert (
        found["larger is more data-efficient"] == "shown"
        and found["larger decides worse"] != "shown"
    )
    table = (
        scaling.table(evaluations["scaling"], SETTINGS).set_index(["measure", "size"]).sort_index()
    )
    assert (
        table.loc[("exponent of frames", "s"), "value"].item() > 0
        and table.loc[("exponent of parameters", ""), "value"].item() > 0
    )


def test_frames_to_a_loss() -> None:
    frames, losses = (
        np.array([0, 10, 100, 1000]),
        np.array([[8.0, 4.0, 2.0, 1.0], [8.0, 4.0, 3.0, 3.0]]),
    )
    assert scaling.frames_to(2.0, frames, losses) == pytest.approx([100, 1000])
    between = np.expm1((np.log1p(10) + np.log1p(100)) / 2)
    assert scaling.frames_to(3.0, frames, losses)[0] == pytest.approx(between)
    assert scaling.efficiency((frames, losses[1:]), (frames, losses[:1])) == pytest.approx(
        np.log2(100 / between)
    )


def test_a_power_law_is_found_again() -> None:
    x = np.array([1e3, 1e4, 1e5])
    assert scaling.exponent(x, np.stack([5 * x**-0.25, 2 * x**0.1])) == pytest.approx([0.25, -0.1])


def test_decisions_are_compared_at_equal_placement() -> None:
    placement = np.array([[0.9, 0.3, 0.5]])
    better, worse = (placement, placement), (placement**1.1, 0.8 * placement**1.1)
    assert scaling.worse(better, worse)[0] == pytest.approx(0.12, abs=0.03)
    assert np.isnan(scaling.worse((placement, placement), (placement + 2, placement)))[0]


def test_decisions_are_not_compared_where_nothing_is_placed() -> None:
    low = np.array([[0.01, 0.07, 0.29]])
    assert np.isnan(scaling.worse((low, low), (low, 0.5 * low)))[0]
    narrow = np.array([[0.4, 0.55]])
    assert np.isnan(scaling.worse((narrow, narrow), (narrow, 0.5 * narrow)))[0]


def test_transfer_is_found(evaluations: Evaluations) -> None:
    assert verdicts(transfer, evaluations["transfer"]) == {
        "pretraining transfers": "shown",
        "pretraining transfers, closed loop": "shown",
        "scratch fails": "shown",
    }
    table = transfer.table(evaluations["transfer"], SETTINGS).set_index(["task", "measure"])
    needed = table.loc[("colored_dots", "frames to catch up"), "value"].item()
    assert SETTINGS.transfer.frames < needed < SETTINGS.training.frames


def test_what_both_fail_at_shows_nothing(evaluations: Evaluations) -> None:
    """Scratch fails only where fine-tuning does not."""
    played = evaluations["transfer"]["closed_loop_curve"].assign(success=False)
    found = transfer.claims({**evaluations["transfer"], "closed_loop_curve": played}, SETTINGS)
    failing = [one for one in found if one.claim == "scratch fails"]
    assert failing and {one.verdict for one in failing} == {"not testable"}
    assert all("do not surely succeed" in one.reason for one in failing)


def test_claims_about_training_need_several_runs(evaluations: Evaluations) -> None:
    for name, study in (("scaling", scaling), ("transfer", transfer), ("heads", heads)):
        one_run = {table: rows[rows["seed"] == 0] for table, rows in evaluations[name].items()}
        assert {one.verdict for one in study.claims(one_run, SETTINGS)} == {"not testable"}


def test_mistakes_are_found_to_be_shared_by_all_but_classification(
    evaluations: Evaluations,
) -> None:
    found = verdicts(probe_generalization, evaluations["probe_generalization"])
    assert found == {
        "mistake shared": "shown",
        "mistake directions agree": "shown",
        "mistake direction acts": "shown",
        "mistake direction acts, closed loop": "shown",
    }
    alone = verdicts(
        probe_generalization, evaluations["probe_generalization"], "object_exploration"
    )
    assert (
        alone["mistake shared"] == "undecided"
        and alone["mistake not shared with classification"] == "shown"
    )


def test_an_unreadable_mistake_is_not_shared(evaluations: Evaluations) -> None:
    measured = evaluations["probe_generalization"]["cross_task_probes"]
    own = (measured["source"] == measured["target"]) & (measured["measure"] == "accuracy")
    unread = measured.assign(score=measured["score"].where(~own, 10))
    found = probe_generalization.claims({"cross_task_probes": unread}, SETTINGS)
    shared = [one for one in found if one.claim == "mistake shared"]
    assert shared and {one.verdict for one in shared} == {"not testable"}


def test_the_better_head_is_found(evaluations: Evaluations) -> None:
    assert verdicts(heads, evaluations["heads"]) == {
        "ours places better, equal frames": "shown",
        "ours places better, equal operations": "shown",
    }


def test_no_claim_hangs_on_wall_time(evaluations: Evaluations) -> None:
    """A machine of another speed, with other work beside it, comes to the same claims."""
    for name, inputs in evaluations.items():
        if "speed" not in inputs:
            continue
        study = get_study(name)
        rate = np.random.default_rng(0).uniform(0.1, 10, len(inputs["speed"]))
        speed = inputs["speed"].assign(frames_per_s=inputs["speed"]["frames_per_s"] * rate)
        claims = study.claims({**inputs, "speed": speed}, SETTINGS)
        assert to_json(claims) == to_json(study.claims(inputs, SETTINGS))


def test_ours_is_trained_as_long_as_equal_operations_need(evaluations: Evaluations) -> None:
    speed = evaluations["heads"]["speed"]
    slower = speed.assign(
        flops_per_frame=speed["flops_per_frame"].where(
            speed["run"] == heads.runs(SETTINGS, heads.tasks(SETTINGS)[0])["ours"].name,
            10 * speed["flops_per_frame"].max(),
        )
    )
    claims = heads.claims({**evaluations["heads"], "speed": slower}, SETTINGS)
    assert {c.verdict for c in claims if c.claim == "ours places better, equal operations"} == {
        "not testable"
    }


def rows(seeds: int, tasks: int, shares: tuple[float, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "seed": s,
            "task": f"t{t}",
            "episode": e,
            "frames": (10 + s) * (i + 1),
            "hits": rng.binomial(20, share),
            "total": 20,
        }
        for s in range(seeds)
        for t in range(tasks)
        for e in range(30)
        for i, share in enumerate(shares)
    )


def test_a_curve_has_an_estimate_and_bootstrap_values_at_every_snapshot() -> None:
    table = rows(1, 1, (0.2, 0.8))
    frames, samples = curve(table, "hits", "total", 300)
    assert frames.tolist() == [10, 20] and samples.shape == (301, 2)
    assert samples[0] == pytest.approx(table.groupby("frames")["hits"].mean() / 20)
    last = table[table["frames"] == 20]
    one = estimate(samples[:, 1])
    assert one == interval(samples[0, 1], samples[1:, 1])
    known = estimate(samples[:, 1], 30)
    assert known == ratio(last["hits"], last["total"], 300)


def test_seeds_are_weighed_as_well() -> None:
    one, three = (
        curve(table, "hits", "total", 300) for table in (rows(1, 1, (0.5,)), rows(3, 1, (0.5,)))
    )
    assert three[0].tolist() == [11] and one[0].tolist() == [10]
    spread = rows(3, 1, (0.5,))
    spread["hits"] = np.where(spread["seed"] == 0, 20, spread["hits"])
    assert curve(spread, "hits", "total", 300)[1].std() > 2 * three[1].std()


def test_the_mean_of_three_seeds_has_students_interval() -> None:
    seeds = np.array([0.2, 0.5, 0.6])
    samples = seed_weights(3, 20_000) @ seeds
    half = 4.303 * seeds.std(ddof=1) / np.sqrt(3)  # of Student's t with 2 degrees of freedom
    estimated = estimate(samples)
    assert estimated.value == pytest.approx(seeds.mean())
    assert (estimated.low, estimated.high) == pytest.approx(
        (seeds.mean() - half, seeds.mean() + half), abs=0.04
    )


@pytest.mark.parametrize("joint", [True, False])
def test_seeds_of_one_joint_training_are_common_to_all_tasks(joint: bool) -> None:
    """The interval must hold the truth where a seed is lucky on all tasks at once."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        luck = rng.normal(0.5, 0.1, 3)
        table = rows(3, 9, (0.5,))
        table = table.assign(frames=0, hits=20 * luck[table["seed"]])
        estimated = estimate(rate_over_tasks(table, "hits", "total", 400, joint=joint))
        held += estimated.low <= 0.5 <= estimated.high
    assert held / 60 >= 0.88 if joint else held / 60 < 0.8


def test_seeds_are_summed_up_by_their_mean() -> None:
    table = rows(8, 1, (0.5,))
    assert curve(table, "hits", "total", 300)[1][0] == pytest.approx(
        table["hits"].sum() / table["total"].sum()
    )
    three = table[table["seed"] < 3]
    assert rate(three, "hits", "total", 300)[0] == pytest.approx(
        three["hits"].sum() / three["total"].sum()
    )


def test_successes_of_several_trainings_have_wider_intervals_than_one_of_as_many_episodes() -> None:
    table = rows(4, 1, (0.5,)).assign(done=lambda t: (t["hits"] + 6 * (t["seed"] % 2) - 3) > 10)
    whole, one = success(table, "done", 300), success(table[table["seed"] == 0], "done", 300)
    assert one == wilson(int(table[table["seed"] == 0]["done"].sum()), 30)
    assert whole.value == pytest.approx(table["done"].mean(), abs=0.1)
    assert whole.high - whole.low > 1.5 * (
        wilson(int(table["done"].sum()), len(table)).high
        - wilson(int(table["done"].sum()), len(table)).low
    )


def test_the_mean_over_tasks_draws_within_each() -> None:
    table = rows(1, 3, (0.5,))
    samples = curve_over_tasks(table, "hits", "total", 300)[1]
    assert samples[0] == pytest.approx(table["hits"].sum() / table["total"].sum())
    same = pd.concat([table[table["task"] == "t0"].assign(task=f"t{i}") for i in range(3)])
    assert (
        curve_over_tasks(same, "hits", "total", 300)[1].std()
        < 0.75 * curve(same[same["task"] == "t0"], "hits", "total", 300)[1].std()
    )


def test_equal_runs_have_equal_names_and_different_ones_do_not() -> None:
    found = all_runs(SETTINGS)
    assert all(name == run.name for name, run in found.items())
    specs = [
        (
            run.tasks,
            run.policy.model_dump_json(),
            run.frames,
            run.episodes,
            run.start and run.start.name,
            run.variant,
            run.stretch,
        )
        for run in found.values()
    ]
    assert len(set(specs)) == len(specs)
    names = list(found)
    assert all(
        run.start is None or names.index(run.start.name) < names.index(run.name)
        for run in found.values()
    )
    assert runs.single(SETTINGS, "colored_dots").name == "colored_dots" and "colored_dots" in found
    same = SETTINGS.model_copy(
        update={
            "transfer": SETTINGS.transfer.model_copy(
                update={"frames": SETTINGS.training.frames, "episodes": (10**6,)}
            )
        }
    )
    assert runs.scratch(same, "colored_dots", 10**6) == runs.single(same, "colored_dots")
    several = all_runs(same)
    assert not several["colored_dots"].once and several["object_exploration"].once


def test_a_policy_for_one_task_is_trained_once() -> None:
    """Claims about training are on policies for several tasks, fine-tuned or compared with such."""
    trained = Counter(run for run, _ in plan.Jobs(SETTINGS).specs("train"))
    assert trained["colored_dots"] == 1 and trained["all.40k"] == 3
    for study in plan.Jobs(SETTINGS).specs("study").values():
        read = get_stage("study").inputs(study, Path("results")).measurements
        for run, seeds in (("colored_dots", {"seed0"}), ("all.40k", {"seed0", "seed1", "seed2"})):
            found = {path.parent.name for path in read if path.parts[2] == run}
            assert found in (set(), seeds)


def test_fine_tuning_is_compared_at_the_ends_on_fewer_episodes(evaluations: Evaluations) -> None:
    fewer = SETTINGS.transfer.model_copy(update={"episodes": (100, 10)})
    settings = SETTINGS.model_copy(update={"transfer": fewer})
    inputs = made_up.inputs_of_studies(settings)["transfer"]
    table = transfer.table(inputs, settings)
    ends = table[(table["measure"] == "end of success") & (table["task"] == ALL)]
    found = {(row.kind, row.budget) for row in ends.itertuples()}
    assert found == {(kind, n) for kind in ("pretrained", "scratch") for n in (10, 100)}
    along = table[table["measure"] == "success"]
    assert set(along["budget"]) == {100}
    # Claims are on the most episodes, and are those of a study of these alone.
    most = transfer.claims(evaluations["transfer"], SETTINGS)
    told = [(one.claim, one.task, one.verdict) for one in transfer.claims(inputs, settings)]
    assert told == [(one.claim, one.task, one.verdict) for one in most]


def test_a_task_kept_for_transfer_is_fine_tuned_from_the_joint_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(get_task("road_mapping")), "held_out", True)
    groups = SETTINGS.transfer.model_copy(update={"held_out": (("road_mapping", "plume_finding"),)})
    settings = SETTINGS.model_copy(update={"transfer": groups})
    assert runs.held_out_groups(settings) == [("road_mapping",)]  # plume finding is not studied
    tuned = runs.finetuned(settings, "road_mapping", ("road_mapping",), 100)
    assert tuned.start == runs.joint(settings)
    jobs = plan.Jobs(settings)
    assert ("road_mapping", "train") in jobs.specs("record")
    assert ("road_mapping", "test") in jobs.specs("tokenize")
    study: Any = jobs.specs("study")["annotators",]
    assert "road_mapping" not in study.settings["tasks"]


def test_a_longer_joint_policy_is_trained_once_and_measured_in_all_ways() -> None:
    scaled = SETTINGS.scaling.model_copy(update={"joint": 2_000_000})
    settings = SETTINGS.model_copy(update={"scaling": scaled})
    assert runs.joint(settings).name == "all.2000k" and runs.joint(SETTINGS).name == "all.40k"
    jobs = plan.Jobs(settings)
    assert [seed for run, seed in jobs.specs("train") if run == "all.2000k"] == ["0"]
    assert {run for run, *_ in jobs.specs("linear_probes")} == {"all.2000k"}
    for measured in ("skills", "closed_loop", "recovery"):
        assert any(run == "all.2000k" for run, *_ in jobs.specs(measured))
    # Sizes are compared at the lengths that all have, and pretraining is as long.
    assert any(run == "all.40k" for run, *_ in jobs.specs("skills"))
    assert runs.pretrained(settings, ("cell_lineage",)).frames == 40_000


def test_a_policy_is_measured_where_a_study_reads_it() -> None:
    """A shorter training counts at its end alone, and the first updates for emergence alone."""
    lengths = SETTINGS.scaling.model_copy(update={"frames": (9_000, 40_000)})
    jobs = plan.Jobs(SETTINGS.model_copy(update={"scaling": lengths}))
    specs: dict[tuple[str, ...], Any] = jobs.specs("skills")
    least = {run: spec.least for (run, _, _), spec in specs.items()}
    assert least["colored_dots"] == least["all.40k"] == 0 and least["all.9k"] == 9000
    assert least["all.m.40k"] == least["all.xs.40k"] == 1000
    assert least["colored_dots.8k.100episodes"] == 800  # a short training has its end measured, too


def test_sizes_are_compared_at_the_ends_of_trainings_of_several_lengths() -> None:
    lengths = SETTINGS.scaling.model_copy(update={"frames": (5_000, 20_000, 80_000)})
    settings = SETTINGS.model_copy(update={"scaling": lengths})
    inputs = made_up.inputs_of_studies(settings)["scaling"]
    worse = {one.task: one for one in scaling.claims(inputs, settings) if "worse" in one.claim}
    assert worse[ALL].verdict != "not testable"
    table = scaling.table(inputs, settings)
    ends = table[(table["measure"] == "end of placement@5") & (table["size"] == "s")]
    assert ends["frames"].tolist() == [5_000, 20_000, 80_000]
    along = table[(table["measure"] == "placement@5") & (table["size"] == "s")]
    assert along["frames"].max() == 80_000 and along["frames"].nunique() == made_up.POINTS + 1


def test_one_task_alone_leaves_out_what_needs_several() -> None:
    alone = parse(
        {
            "tasks": ["colored_dots"],
            "transfer": {"held_out": [["colored_dots"]]},
            "heads": {"tasks": []},
        }
    )
    assert not {"transfer", "probe_generalization", "heads"} & set(all_needs(alone)) and {
        "emergence",
        "mistakes",
        "scaling",
        "probes",
    } <= set(all_needs(alone))


@pytest.mark.parametrize(
    "stage",
    [
        "skills",
        "closed_loop",
        "closed_loop_curve",
        "recovery",
        "linear_probes",
        "cross_task_probes",
    ],
)
def test_what_is_reported_is_measured_on_test_worlds(stage: str) -> None:
    """Validation worlds are for tuning."""
    module = get_stage(stage)
    splits = set()
    for spec in plan.Jobs(SETTINGS).specs(stage).values():
        for path in files_of(module.inputs(spec, Path("results"))):
            if path.parts[1] in ("trajectories", "tokens"):
                splits.add(path.name.split(".")[0])
    assert splits == {"test"}


def test_the_plan_grows_with_the_work(root: Path) -> None:
    small, large = (
        plan.plan(settings)
        for settings in (
            SETTINGS,
            SETTINGS.model_copy(
                update={"training": SETTINGS.training.model_copy(update={"frames": 10**7})}
            ),
        )
    )
    time = [sum(work.seconds for work in works) for works in (small, large)]
    assert 0 < 5 * time[0] < time[1] and [work.jobs for work in small] == [
        work.jobs for work in large
    ]
    assert all(0 < work.longest <= work.seconds and work.jobs > 0 for work in small)
    assert (
        plan.clock_seconds(small, 1)
        > plan.clock_seconds(small, 2)
        > plan.clock_seconds(small, 64)
        == plan.clock_seconds(small, 128)
    )
    for preset in (root / "workflow" / "presets").glob("*.yaml"):
        assert f"{preset.stem}: " in plan.to_text(load(root / "config.yaml", preset), 8)


def test_rates_are_known_for_every_task_and_size() -> None:
    table = plan.rates()
    known = set(table["tasks"])
    assert (
        known <= set(task_names()) and len(known) >= 9
    )  # a new task gets the median of the others
    assert {"xs", "s", "m", "l"} <= set(table["policies"])
    assert (
        table["policies"]["xs"]["train"]
        > table["policies"]["s"]["train"]
        > table["policies"]["m"]["train"]
        > table["policies"]["l"]["train"]
    )
    with pytest.raises(ValueError, match="none.json: .*expected a table of rates"):
        plan.rates(Path("none.json"))


def test_thirty_seeds_have_short_command_lines_and_a_plan(root: Path) -> None:
    """A shell takes 131,071 characters in a word; the longest spec stays far below."""
    settings = load(root / "config.yaml", root / "workflow" / "presets" / "overnight.yaml")
    training = settings.training.model_copy(update={"seeds": tuple(range(30))})
    settings = settings.model_copy(update={"training": training})
    jobs = plan.Jobs(settings)
    lengths = {
        stage: max(len(spec.canonical()) for spec in specs.values())
        for stage in stage_names()
        if (specs := jobs.specs(stage))
    }
    assert max(lengths.values()) < 12_000, lengths
    assert "30" in plan.to_text(settings, 8) and len(jobs.specs("train")) > 1000


def test_the_interval_of_a_share_holds_nothing_but_shares() -> None:
    samples = np.array([0.9, *np.random.default_rng(0).normal(0.9, 0.1, 500)])
    assert statistics.estimate(samples, 4).high > 1
    low, high = statistics.share(samples, 4)[1:]
    assert 0 < low < 0.9 < high == 1
    settings = SETTINGS.model_copy(
        update={"episodes": SETTINGS.episodes.model_copy(update={"test": 4, "shared_test": 3})}
    )
    inputs = made_up.inputs_of_studies(settings)
    for name in ("emergence", "scaling", "transfer", "mistakes"):
        table = get_study(name).table(inputs[name], settings)
        measures = table["measure"]
        shares = measures.isin(["share", "success", "score", "finished", "gone", "end of success"])
        shares |= measures.str.startswith(("placement", "share:", "button"))
        assert shares.any() and table[shares]["low"].min() >= 0 and table[shares]["high"].max() <= 1
