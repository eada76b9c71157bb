"""Confidence: does a policy know when it errs, and does it pay to ask a person then?

The policy for all tasks works on held-out worlds: at several temperatures, and with an annotator
who takes over where it is least certain, or as often at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.calibration import auc, calibration_error, reliability
from lastmile.evaluation.statistics import (
    count_episodes,
    estimate,
    few,
    interval,
    of_units,
    rate,
    rate_over_tasks,
    share,
)
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import UNKNOWN, Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, joint, single

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples", "evaluation.temperature")
COLUMNS = {
    "task": TEXT,
    "measure": TEXT,
    "arm": TEXT,
    "level": NUMBER,
    "x": NUMBER,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
HEAT = "temperature"
CALIBRATION = "calibration"
"""Arms of the table that hand nothing over; the others are `UNSURE`, `RANDOM` and `ORACLE`."""
UNSURE, RANDOM, ORACLE = "unsure", "random", "oracle"
OUTCOMES = {
    "success": ("success", "one"),
    "score": ("score", "one"),
    "mistakes per placement": ("mistakes", "placements"),
}
"""Outcomes, and the columns whose sums they are the ratio of."""
ASKED = 0.2
"""The share handed over at which asking when unsure is compared with asking at random."""
AROUND = (0.05, 0.4)
"""Both must have been measured at a share in this range."""
COLD, HOT = 0.1, 1.0
"""The temperatures that are compared."""
LEAST = 5
"""Wrong annotations, and right ones, of a task below which they cannot be told apart."""

KNOWS = Hypothesis(
    claim="confidence knows mistakes",
    statement="The policy is less certain of its wrong annotations than of its right ones",
    statistic="area under the ROC curve of low confidence for wrong annotations, minus 0.5",
    rule="Shown if the interval lies above 0, contradicted if below; closed loop, the policy "
    f"alone. Not testable on a task with fewer than {LEAST} wrong or {LEAST} right annotations.",
    effect=Effect(
        "percent",
        above="percentage points more often than by chance the wrong one of two annotations is "
        "the one it is less certain of",
        below="percentage points less often than by chance the wrong one of two annotations is "
        "the one it is less certain of",
    ),
    smallest=0.05,
)
ASKING = Hypothesis(
    claim="asking when unsure beats asking at random",
    statement="Asking the annotator when the policy is least certain helps more than asking at "
    "random",
    statistic=f"success with {ASKED:.0%} of the steps handed over, interpolated between the shares "
    "that were measured: when least certain, minus at random, on the same worlds",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below. Not "
    f"testable on a task where one of them was not measured at {AROUND[0]:.0%} to {AROUND[1]:.0%} "
    "of the steps.",
    effect=Effect(
        "percent",
        above="percentage points more success than when asking at random",
        below="percentage points less success than when asking at random",
    ),
    smallest=0.05,
)
COLDER = Hypothesis(
    claim="lower temperature makes fewer mistakes",
    statement="A lower temperature makes fewer mistakes",
    statistic=f"mistakes per placement in closed loop, at temperature {HOT:g} minus at {COLD:g}",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below.",
    effect=Effect(
        "difference",
        above=f"fewer mistakes per placement at {COLD:g}",
        below=f"more mistakes per placement at {COLD:g}",
    ),
    smallest=0.02,
)
HYPOTHESES = (KNOWS, ASKING, COLDER)


def needs(settings: Settings) -> list[Need]:
    """Return what is measured of the policy for all tasks, on each.

    With one task to study, those of its own policy.
    """
    tasks = task_list(settings)
    run = joint(settings) if len(tasks) > 1 else single(settings, tasks[0])
    return [Need(table, run, task) for task in tasks for table in ("deferral", "confidences")]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `measure`, `arm` and `level`:

    - Outcomes by temperature (arm `temperature`): `level` and `x` are the temperature.
    - Outcomes by the share of the steps handed over: where the policy is least certain, to the
      typical annotator (`unsure`) or to the `oracle`, or at `random` to the typical annotator.
      `level` is the share of the policy's steps at which they were to take over, `x` the share of
      all steps that they made. `effort`: their steps as a share of those that the typical annotator
      takes alone.
    - Arm `calibration`: `auc`, `calibration error`, and on all tasks `right`, the share of right
      annotations by confidence; there `level` is the lower end of the bin, `x` the mean confidence.

    `n` counts episodes; for calibration, annotations.
    """
    import pandas as pd

    count = settings.evaluation.resamples
    played = _played(inputs)
    rows: list[tuple] = []
    for task in whole_and_parts(sorted(played["task"].unique())):
        of_task = played if task == ALL else played[played["task"] == task]
        alone = of_task[of_task["rule"] == "alone"]
        for heat, part in alone.groupby("temperature", sort=True):
            for measure, columns in OUTCOMES.items():
                rows.append((task, measure, HEAT, heat, heat, *_outcome(part, columns, count)))
        for arm in (UNSURE, RANDOM, ORACLE):
            for meant, part in _arm(of_task, arm, settings).groupby("share", sort=True):
                handed = rate_over_tasks(part, "deferred", "steps", 100)[0]
                if not np.isfinite(handed):
                    continue
                key = (arm, meant, handed)
                for measure, columns in OUTCOMES.items():
                    rows.append((task, measure, *key, *_outcome(part, columns, count)))
                rows.append((task, "effort", *key, *_outcome(part, ("deferred", "full"), count)))
    rows += _calibration_rows(inputs["confidences"], count)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _played(inputs: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the episodes, with the steps that the annotator takes alone in `full`."""
    rows = inputs["deferral"]
    keys = ["task", "seed", "episode"]
    typical = rows[(rows["share"] == 1) & (rows["helper"] == "typical")]
    full = typical[[*keys, "steps"]].rename(columns={"steps": "full"})
    return rows.merge(full, on=keys, how="left").assign(one=1)


def _arm(played: pd.DataFrame, arm: str, settings: Settings) -> pd.DataFrame:
    """Return the episodes of an arm, from nothing handed over to everything."""
    rule = RANDOM if arm == RANDOM else UNSURE
    helper = "oracle" if arm == ORACLE else "typical"
    nothing = (played["rule"] == "alone") & (
        played["temperature"] == settings.evaluation.temperature
    )
    everything = (played["share"] == 1) & (played["helper"] == helper)
    some = (played["rule"] == rule) & (played["helper"] == helper) & (played["share"] < 1)
    return played[nothing | some | everything]


def _outcome(
    rows: pd.DataFrame, columns: tuple[str, str], count: int
) -> tuple[float, float, float, int]:
    """Return an estimate of a ratio with its interval, and the number of episodes."""
    samples = rate_over_tasks(rows, *columns, count)
    of_success = columns[0] in ("success", "score")
    value = (share if of_success else estimate)(samples, few(rows))
    return (*value, count_episodes(rows))


def _calibration_rows(annotations: pd.DataFrame, count: int) -> Iterator[tuple]:
    """Yield how well confidence knows what is right."""
    tasks = sorted(annotations["task"].unique())
    for task in whole_and_parts(tasks):
        of_task = annotations if task == ALL else annotations[annotations["task"] == task]
        units = few(of_task)
        for measure, samples in (
            ("auc", _auc(of_task, count)),
            ("calibration error", _over_tasks(of_task, calibration_error, count)),
        ):
            if np.isfinite(samples[0]):
                value = share(samples, units)
                yield (task, measure, CALIBRATION, 0.0, 0.0, *value, len(of_task))
    if len(annotations):
        task = whole_and_parts(tasks)[0]
        units = count_episodes(annotations)
        for row in reliability(annotations, count).itertuples():
            value = interval(row.right, row.samples, units=units)
            low, high = max(value.low, 0.0), min(value.high, 1.0)
            level = row.bin / 10
            yield (task, "right", CALIBRATION, level, row.confidence, value.value, low, high, row.n)


def _tellable(annotations: pd.DataFrame) -> pd.DataFrame:
    """Return the annotations of the tasks that have enough wrong and right ones."""
    counts = annotations.groupby("task")["right"].agg(["sum", "size"])
    enough = (counts["sum"] >= LEAST) & (counts["size"] - counts["sum"] >= LEAST)
    return annotations[annotations["task"].isin(counts.index[enough])]


def _auc(annotations: pd.DataFrame, count: int) -> np.ndarray:
    return _over_tasks(_tellable(annotations), auc, count)


def _over_tasks(
    annotations: pd.DataFrame, measure: Callable[[pd.DataFrame, int, int], np.ndarray], count: int
) -> np.ndarray:
    """Return the mean of a measure over tasks, (1 + count,), with tasks as strata."""
    values = [
        measure(rows, count, stratum)
        for stratum, (_, rows) in enumerate(annotations.groupby("task", sort=True))
    ]
    if not values:
        return np.full(1 + count, np.nan)
    stacked = np.stack(values)
    finite = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(finite, stacked, 0.0).sum(0) / finite.sum(0)


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether confidence knows mistakes, whether asking pays, and what temperature does."""
    count = settings.evaluation.resamples
    tasks = list(task_list(settings))
    played = _played(inputs)
    return [
        *_knows(inputs["confidences"], tasks, count),
        *_asking(played, tasks, count, settings),
        *_colder(played[played["rule"] == "alone"], tasks, count),
    ]


def _knows(annotations: pd.DataFrame, tasks: list[str], count: int) -> Iterator[Claim]:
    tellable = _tellable(annotations)
    for task in whole_and_parts(tasks):
        rows = tellable if task == ALL else tellable[tellable["task"] == task]
        if rows.empty:
            reason = f"fewer than {LEAST} wrong or {LEAST} right annotations were made"
            yield KNOWS.untestable(reason, task)
            continue
        units = count_episodes(rows)
        strata = rows["task"].nunique()
        unit = f"episode ({units})"
        if task == ALL:
            unit = f"episode ({units} of {strata} of {len(tasks)} tasks as strata)"
        yield KNOWS.test(estimate(_auc(rows, count) - 0.5, few(rows)), task, unit, units)


def _asking(
    played: pd.DataFrame, tasks: list[str], count: int, settings: Settings
) -> Iterator[Claim]:
    gaps = {}
    for task in tasks:
        of_task = played[played["task"] == task]
        gap = _gap_of_asking(of_task, count, settings)
        if gap is not None:
            gaps[task] = (gap, count_episodes(of_task))

    missing = (
        f"no {AROUND[0]:.0%} to {AROUND[1]:.0%} of the steps were handed over, both when unsure "
        "and at random"
    )
    for task in whole_and_parts(tasks):
        if task == ALL:
            value = of_units([samples[0] for samples, _ in gaps.values()]) if gaps else UNKNOWN
            unit = f"task ({len(gaps)} of {len(tasks)})"
            yield ASKING.test(value, task, unit, len(gaps), reason="" if gaps else missing)
        elif task in gaps:
            samples, units = gaps[task]
            yield ASKING.test(estimate(samples, units), task, f"episode ({units})", units)
        else:
            yield ASKING.untestable(missing, task)


def _gap_of_asking(of_task: pd.DataFrame, count: int, settings: Settings) -> np.ndarray | None:
    """Return success with `ASKED` of the steps handed over: when unsure, minus at random.

    Returns:
        (1 + resamples,), or None if one of them was not measured at a share `AROUND` it.
    """
    values = []
    for arm in (UNSURE, RANDOM):
        of_arm = [rows for _, rows in _arm(of_task, arm, settings).groupby("share", sort=True)]
        if not of_arm:
            return None
        # Equal numbers of episodes draw the same ones.
        handed = np.stack([rate(rows, "deferred", "steps", count) for rows in of_arm])
        succeeded = np.stack([rate(rows, "success", "one", count) for rows in of_arm])
        if not ((AROUND[0] <= handed[:, 0]) & (handed[:, 0] <= AROUND[1])).any():
            return None
        order = handed.argsort(axis=0, kind="stable")
        x, y = (np.take_along_axis(samples, order, 0) for samples in (handed, succeeded))
        values.append(np.array([np.interp(ASKED, *column) for column in zip(x.T, y.T)]))
    return values[0] - values[1]


def _colder(alone: pd.DataFrame, tasks: list[str], count: int) -> Iterator[Claim]:
    gaps, episodes = {}, {}
    for stratum, task in enumerate(tasks):
        of_task = alone[alone["task"] == task]
        sides = [of_task[of_task["temperature"] == heat] for heat in (HOT, COLD)]
        if all(len(rows) and rows["placements"].sum() for rows in sides):
            hot, cold = (rate(rows, "mistakes", "placements", count, stratum) for rows in sides)
            gaps[task], episodes[task] = hot - cold, count_episodes(of_task)
    for task in whole_and_parts(tasks):
        if task in gaps:
            units = episodes[task]
            gap = estimate(gaps[task], units)
            yield COLDER.test(gap, task, f"episode ({units})", units)
        elif task == ALL and gaps:
            units = sum(episodes.values())
            unit = f"episode ({units} of {len(gaps)} of {len(tasks)} tasks as strata)"
            mean = np.mean(list(gaps.values()), axis=0)
            yield COLDER.test(estimate(mean, units), task, unit, units)
        else:
            yield COLDER.untestable("nothing was annotated at both temperatures", task)
