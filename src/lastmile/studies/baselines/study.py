"""Against scripts: what do luck, habit and hand-written solvers reach where policies are measured?

They are the reference lines of closed loop, and tell whether a task is too easy: what a script
solves needs no policy that learned it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import (
    Estimate,
    count_episodes,
    estimate,
    few,
    of_units,
    rate,
    share,
    success,
)
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL, ANNOTATOR, JOINT_POLICY, POLICY
from lastmile.studies.runs import Need, both_kinds, by_kind

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples",)
TASK_TABLES = ("reference_players",)
COLUMNS = {
    "task": TEXT,
    "who": TEXT,
    "measure": TEXT,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
SCRIPT, ORACLE = "script", "oracle"
"""Words of the column `who`, as in `lastmile.evaluation.references`."""
ORDER = ("random", "trigram", SCRIPT, POLICY, JOINT_POLICY, ANNOTATOR, ORACLE)
"""All who play, in the order of the table."""
MISTAKES = "mistakes per placement"

BEATS = Hypothesis(
    claim="policies beat scripts",
    statement="Policies succeed more often than hand-written scripts",
    statistic="share of worlds with success: policy minus script",
    rule="Shown if the interval of the difference lies above 0, contradicted if below; over all "
    "tasks the units are tasks.",
    effect=Effect(
        "percent",
        above="percentage points more worlds done by the policy than by a script",
        below="percentage points fewer worlds done by the policy than by a script",
    ),
    smallest=0.05,
)
BEATS_JOINT = replace(
    BEATS,
    claim=f"{BEATS.claim}, joint policy",
    statement=f"{BEATS.statement} (one policy for all tasks)",
)
SUFFICE = Hypothesis(
    claim="scripts do not suffice",
    statement="Hand-written scripts succeed less often than the annotator",
    statistic="share of worlds with success: annotator minus script",
    rule="Shown if the interval of the difference lies above 0, contradicted if below; over all "
    "tasks the units are tasks.",
    effect=Effect(
        "percent",
        above="percentage points fewer worlds done by a script than by the annotator",
        below="percentage points more worlds done by a script than by the annotator",
    ),
    smallest=0.05,
)
HYPOTHESES = (BEATS, BEATS_JOINT, SUFFICE)
TESTED = ((BEATS, POLICY), (BEATS_JOINT, JOINT_POLICY), (SUFFICE, ANNOTATOR))
"""Hypotheses, and whose success is compared with that of the scripts."""


def needs(settings: Settings) -> list[Need]:
    """Return closed loop of the policy of each task, and of that for all."""
    return [
        Need("closed_loop", run, task)
        for task in task_list(settings)
        for run in both_kinds(settings, task)
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `who` and `measure`: success, score, steps, mistakes
    per placement. All work on the same worlds, scripts always in the default look. Intervals of a
    task are over worlds, those of the mean over tasks. `n` counts episodes, for the mean tasks.
    """
    import pandas as pd

    count = settings.evaluation.resamples
    rows: list[tuple] = []
    played = _played(inputs)
    means: dict[tuple[str, str], list[float]] = {}
    for task in sorted(played["task"].unique()):
        for who in ORDER:
            part = played[(played["task"] == task) & (played["who"] == who)]
            if part.empty:
                continue
            for measure, value in _measures(part, count).items():
                rows.append((task, who, measure, *value, len(part)))
                means.setdefault((who, measure), []).append(value.value)

    if len(task_list(settings)) > 1:
        for (who, measure), values in means.items():
            known = [value for value in values if np.isfinite(value)]
            if known:
                whole = of_units(known)
                most = 1.0 if measure in ("success", "score") else np.inf
                if np.isfinite(whole.low):  # no measure is below 0
                    whole = Estimate(whole.value, max(whole.low, 0.0), min(whole.high, most))
                rows.append((ALL, who, measure, *whole, len(known)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _played(inputs: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return all episodes, with `who` played them."""
    import pandas as pd

    policies = by_kind(inputs["closed_loop"], "who")
    return pd.concat([policies, inputs["reference_players"]], ignore_index=True).assign(one=1)


def _measures(part: pd.DataFrame, count: int) -> dict[str, Estimate]:
    """Return the estimates of one player on one task, by measure."""
    return {
        "success": success(part, "success", count),
        "score": share(rate(part, "score", "one", count), few(part)),
        "steps": estimate(rate(part, "steps", "one", count), few(part)),
        MISTAKES: estimate(rate(part, "mistakes", "placements", count), few(part)),
    }


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether policies beat scripts, and whether scripts fall short of the annotator."""
    count = settings.evaluation.resamples
    tasks = list(task_list(settings))
    played = _played(inputs)
    scripts = played[played["who"] == SCRIPT]

    tested: list[Claim] = []
    for hypothesis, who in TESTED:
        others = played[played["who"] == who]
        if others.empty and who == JOINT_POLICY:
            none = "there is no policy for all tasks"
            tested.append(hypothesis.untestable(none, whole_and_parts(tasks)[0]))
            continue

        gaps: dict[str, np.ndarray] = {}
        parts: dict[str, pd.DataFrame] = {}
        for stratum, task in enumerate(tasks):
            sides = [rows[rows["task"] == task] for rows in (others, scripts)]
            episodes = {*sides[0]["episode"]} & {*sides[1]["episode"]}
            sides = [rows[rows["episode"].isin(episodes)] for rows in sides]
            if episodes:
                # The same episodes in both: their order makes the draws the same.
                first, second = (rate(rows, "success", "one", count, stratum) for rows in sides)
                gaps[task], parts[task] = first - second, sides[0]

        missing = "no worlds on which both played were measured"
        for task in whole_and_parts(tasks):
            if task == ALL and gaps:
                mean = of_units([float(gap[0]) for gap in gaps.values()])
                tested.append(hypothesis.test(mean, task, f"task ({len(gaps)})", len(gaps)))
            elif task in gaps:
                units = count_episodes(parts[task])
                gap = estimate(gaps[task], few(parts[task]))
                tested.append(hypothesis.test(gap, task, f"episode ({units})", units))
            else:
                tested.append(hypothesis.untestable(missing, task))
    return tested
