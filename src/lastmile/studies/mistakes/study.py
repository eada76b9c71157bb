"""Mistakes: does a policy make fewer than its training data, and does it correct injected ones?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import estimate, rate, rate_over_tasks, success
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, TEXT_OR_NONE, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, single

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples", "evaluation.recovery_steps")
COLUMNS = {
    "task": TEXT,
    "who": TEXT,
    "measure": TEXT,
    "kind": TEXT_OR_NONE,
    "delay": WHOLE,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
OUTCOMES = ("success", "score", "finished", "coverage", "steps")
SHARES = ("navigate", "look", "mode", "place", "decide", "undo", "done", "invalid")
RATES = {"mistakes per placement": "mistakes", "undos per placement": "undo"}
"""Rates per placement, and the columns that count them."""
NO_DELAY = -1
"""Takes the place of a delay where all delays are together, and outside of recovery."""

FEWER = Hypothesis(
    claim="fewer mistakes than the data",
    statement="The policy makes fewer mistakes than its training data",
    statistic="mistakes per placement, annotator minus policy",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below.",
    effect=Effect(
        "difference", above="fewer mistakes per placement", below="more mistakes per placement"
    ),
)
CORRECTS = Hypothesis(
    claim="correction retained",
    statement="The policy corrects injected mistakes",
    statistic="share repaired within {steps} steps minus share of undos where nothing is wrong",
    rule="Shown if the interval of the difference lies above 0, contradicted if below; all kinds "
    "and delays together.",
    effect=Effect(
        "percent",
        above="percentage points more repairs than undos where nothing is wrong",
        below="percentage points fewer repairs than undos where nothing is wrong",
    ),
)
HYPOTHESES = (FEWER, CORRECTS)


class Side(NamedTuple):
    """One side of a difference: rows with `column` equal to `value`, and what is summed there."""

    column: str
    value: str
    hits: str
    totals: str


def needs(settings: Settings) -> list[Need]:
    """Return closed loop and recovery of the policy of each task."""
    return [
        Need(table, single(settings, task), task)
        for task in task_list(settings)
        for table in ("closed_loop", "recovery")
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `who` (policy or annotator) and `measure`:

    - Outcomes of closed loop, `share:KIND` of clicks, mistakes and undos per placement.
    - After an injected mistake: `repaired` (all together, and by kind and delay, the number of
      right steps before the policy takes over) and `undone` (kind `control`: where nothing is
      wrong).

    `n` counts episodes, or states for recovery.
    """
    import pandas as pd

    rows: list[tuple] = []
    count = settings.evaluation.resamples
    played = inputs["closed_loop"].assign(one=1)
    ratios = {f"share:{kind}": (kind, "steps") for kind in SHARES}
    ratios |= {name: (column, "placements") for name, column in RATES.items()}

    for (task, who), part in played.groupby(["task", "who"], sort=True):
        for name in OUTCOMES:
            if part[name].dtype == bool:
                outcome = success(part, name, count)
            else:
                outcome = estimate(rate(part, name, "one", count))
            rows.append((task, who, name, "", NO_DELAY, *outcome, len(part)))
        for name, columns in ratios.items():
            share = estimate(rate(part, *columns, count))
            rows.append((task, who, name, "", NO_DELAY, *share, len(part)))

    if len(task_list(settings)) > 1:
        pooled = {"success": ("success", "one"), "score": ("score", "one")}
        pooled |= {name: (column, "placements") for name, column in RATES.items()}
        for who in ("policy", "annotator"):
            part = played[played["who"] == who]
            for name, columns in pooled.items() if len(part) else ():
                mean = estimate(rate_over_tasks(part, *columns, count))
                rows.append((ALL, who, name, "", NO_DELAY, *mean, len(part)))

    rows += _recovery_rows(inputs["recovery"], count)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _recovery_rows(recovery: pd.DataFrame, count: int) -> list[tuple]:
    rows: list[tuple] = []
    recovery = recovery.assign(one=1)
    wrong = recovery[recovery["condition"] == "mistake"]
    control = recovery[recovery["condition"] == "control"]

    def add(task: str, measure: str, kind: str, delay: int, part: pd.DataFrame) -> None:
        if part.empty:
            return
        if task == ALL:
            share = estimate(rate_over_tasks(part, measure, "one", count))
        elif kind in ("", "control"):
            # Several states per episode: the episode is the unit, so the bootstrap draws episodes.
            share = estimate(rate(part, measure, "one", count))
        else:
            # One state per episode: Wilson's interval.
            share = success(part, measure, count)
        rows.append((task, "policy", measure, kind, delay, *share, len(part)))

    for task in whole_and_parts(sorted(recovery["task"].unique())):
        wrong_here = wrong if task == ALL else wrong[wrong["task"] == task]
        control_here = control if task == ALL else control[control["task"] == task]
        add(task, "repaired", "", NO_DELAY, wrong_here)
        add(task, "undone", "", NO_DELAY, wrong_here)
        add(task, "undone", "control", NO_DELAY, control_here)

        for delay in sorted(recovery["delay"].unique()):
            delayed = wrong_here[wrong_here["delay"] == delay]
            add(task, "repaired", "", delay, delayed)
            add(task, "undone", "control", delay, control_here[control_here["delay"] == delay])
            for kind, of_kind in delayed.groupby("kind", sort=True):
                add(task, "repaired", str(kind), delay, of_kind)
    return rows


def _differences(
    table: pd.DataFrame, first: Side, second: Side, count: int
) -> dict[str, np.ndarray]:
    """Return sum(hits) / sum(totals) of the first side minus the second, paired over episodes.

    Returns:
        (1 + count,) by task: the estimate, then bootstrap values.
    """
    differences = {}
    for stratum, (task, part) in enumerate(table.groupby("task", sort=True)):
        rates = []
        for side in (first, second):
            # Rows of the other side stay, with nothing in them: both sides draw the same episodes.
            counted = part[side.column] == side.value
            sums = part.assign(
                hits=part[side.hits].astype(float).where(counted, 0),
                totals=part[side.totals].where(counted, 0),
            )
            rates.append(rate(sums, "hits", "totals", count, stratum))
        differences[str(task)] = rates[0] - rates[1]
    return differences


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether the policy errs less than its data, and corrects injected mistakes."""
    count = settings.evaluation.resamples
    played = inputs["closed_loop"]
    recovery = inputs["recovery"].assign(one=1)
    steps = str(settings.evaluation.recovery_steps)
    first_task = whole_and_parts(list(task_list(settings)))[0]
    tested = []

    fewer = _differences(
        played,
        Side("who", "annotator", "mistakes", "placements"),
        Side("who", "policy", "mistakes", "placements"),
        count,
    )
    for task in whole_and_parts(list(fewer)):
        of_task = played if task == ALL else played[played["task"] == task]
        number = len(of_task[["task", "episode"]].drop_duplicates())
        strata = ", tasks as strata" if task == ALL else ""
        unit = f"episode ({number} worlds, the same for both{strata})"
        tested.append(FEWER.test(estimate(_mean(fewer, task)), task, unit))
    if not fewer:
        tested.append(FEWER.untestable("no episodes were played in closed loop", first_task))

    corrected = _differences(
        recovery,
        Side("condition", "mistake", "repaired", "one"),
        Side("condition", "control", "undone", "one"),
        count,
    )
    for task in whole_and_parts(list(corrected)):
        of_task = recovery if task == ALL else recovery[recovery["task"] == task]
        injected = int((of_task["condition"] == "mistake").sum())
        number = len(of_task[["task", "episode"]].drop_duplicates())
        strata = ", tasks as strata" if task == ALL else ""
        unit = f"episode ({number} with {injected} injected mistakes and as many controls{strata})"
        tested.append(CORRECTS.test(estimate(_mean(corrected, task)), task, unit, steps=steps))
    if not corrected:
        tested.append(CORRECTS.untestable("no mistakes were injected", first_task, steps=steps))
    return tested


def _mean(samples: dict[str, np.ndarray], task: str) -> np.ndarray:
    """Return the samples of a task; for `ALL` the mean over the tasks where there is a value."""
    if task != ALL:
        return samples[task]
    with warnings.catch_warnings():  # no task has a value: the mean is nan
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(list(samples.values()), axis=0)
