"""What studies share that compare arms: policies of one task whose trainings differ in one thing.

A study of arms sums what it measures by episode: the columns task, arm, seed and episode, what is
`above` the line, and what is `below`. Episodes are drawn alike in all arms. The noise between
trainings is independent: of each arm, and of each task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import count_episodes, estimate, few, rate, share
from lastmile.studies.claims import Claim, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Run

if TYPE_CHECKING:
    import pandas as pd

PAIRED = "Shown if the interval of the paired difference lies above 0, contradicted if below."
"""The rule of most claims about arms."""
UNMEASURED = "not measured in both arms"
SIZE = "xs"
"""Size of the policies where there are many: the smallest."""


class Contrast(NamedTuple):
    """What one claim compares.

    Attributes:
        hypothesis: What is claimed.
        measure: The measure.
        more: The arm in which it is claimed to be larger.
        less: The arm in which it is claimed to be smaller.
    """

    hypothesis: Hypothesis
    measure: str
    more: str
    less: str


def studied(tasks: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Return those of the tasks of a comparison that are studied."""
    return tuple(task for task in tasks if task in task_list(settings))


def with_arms(
    tables: Iterable[pd.DataFrame], runs: Mapping[str, Mapping[Any, Run]], column: str = "arm"
) -> list[pd.DataFrame]:
    """Return measurements with the arm that each is of, and a column of ones to count them.

    Two arms can be one run, whose measurements then stand twice.

    Args:
        tables: Measurements with the columns `run` and `task`.
        runs: The run of each arm, by task.
        column: Name of the column of arms.
    """
    import pandas as pd

    arms = pd.DataFrame(
        [(run.name, task, arm) for task, of_task in runs.items() for arm, run in of_task.items()],
        columns=["run", "task", column],
    )
    return [arms.merge(table, on=["run", "task"]).assign(one=1) for table in tables]


def at_the_end(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last snapshot of each training run."""
    return rows[rows["frames"] == rows.groupby(["run", "seed"])["frames"].transform("max")]


def summed(
    rows: pd.DataFrame, above: str, below: str, labels: Sequence[str] = ("arm",)
) -> pd.DataFrame:
    """Return what is summed above and below the line, with task, `labels`, seed and episode."""
    columns = ["task", *labels, "seed", "episode"]
    return rows[columns].assign(above=rows[above].astype(float), below=rows[below].astype(float))


def samples(
    rows: pd.DataFrame, number: int, tasks: Sequence[str], settings: Settings
) -> dict[str, np.ndarray]:
    """Return a measure of one arm by task, and its mean over these tasks where several are studied.

    Args:
        rows: What is summed, of this arm alone.
        number: Its place among the arms.
        tasks: The tasks of the comparison.
        settings: Settings of the study.

    Returns:
        (1 + resamples,) by task, the estimate first. What was not measured is left out.
    """
    values = {}
    for stratum, task in enumerate(tasks):
        part = rows[rows["task"] == task]
        if part["below"].sum():
            training = 1 + stratum + len(tasks) * number
            count = settings.evaluation.resamples
            values[task] = rate(part, "above", "below", count, stratum, training)
    if values and len(tasks) > 1:
        values[ALL] = np.mean(list(values.values()), axis=0)
    return values


def of_task(rows: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the rows of a task; all of them if it is `ALL`."""
    return rows[(rows["task"] == task) | (task == ALL)]


def gap_claim(
    hypothesis: Hypothesis,
    gap: np.ndarray,
    compared: pd.DataFrame,
    task: str,
    strata: int,
    reason: str = "",
    **told: str,
) -> Claim:
    """Test a difference between arms.

    Args:
        hypothesis: What is claimed of it.
        gap: (1 + resamples,), the estimate first.
        compared: What was summed for it.
        task: The task, or `ALL`.
        strata: Number of tasks that the mean is over.
        reason: Why it cannot be tested, if so.
        told: What the words of the hypothesis leave open.
    """
    units, seeds = count_episodes(compared), compared["seed"].nunique()
    of_tasks = f" of {strata} tasks as strata" if task == ALL else ""
    unit = f"episode ({units}{of_tasks}, {seeds} training run(s) of each arm)"
    return hypothesis.test(estimate(gap, few(compared)), task, unit, units, seeds, reason, **told)


def rows_by_arm(
    measured: Mapping[str, pd.DataFrame],
    arms: Sequence[str],
    shares: Sequence[str],
    tasks: Sequence[str],
    settings: Settings,
) -> list[tuple]:
    """Return rows of a table: task, arm, measure, value, low, high, and the number summed over.

    Args:
        measured: What is summed for each measure.
        arms: All arms.
        shares: Measures whose intervals end at 0 and at 1.
        tasks: The tasks of the comparison.
        settings: Settings of the study.
    """
    rows: list[tuple] = []
    for measure, part in measured.items():
        estimated = share if measure in shares else estimate
        of_arm = {arm: part[part["arm"] == arm] for arm in arms}
        values = {
            arm: samples(of_arm[arm], number, tasks, settings) for number, arm in enumerate(arms)
        }
        for task in whole_and_parts(list(tasks)):
            for arm in arms:
                if task in values[arm]:
                    counted = of_task(of_arm[arm], task)
                    numbers = estimated(values[arm][task], few(counted))
                    rows.append((task, arm, measure, *numbers, len(counted)))
    return rows


def contrast_claims(
    contrasts: Iterable[Contrast],
    measured: Mapping[str, pd.DataFrame],
    arms: Sequence[str],
    tasks: Sequence[str],
    settings: Settings,
) -> list[Claim]:
    """Test each contrast on all tasks together, and on each; arguments as for `rows_by_arm`."""
    tested: list[Claim] = []
    for hypothesis, measure, more, less in contrasts:
        rows = measured[measure]
        sides = [
            samples(rows[rows["arm"] == arm], arms.index(arm), tasks, settings)
            for arm in (more, less)
        ]
        compared = rows[rows["arm"].isin([more, less])]
        for task in whole_and_parts(list(tasks)):
            if any(task not in side for side in sides):
                tested.append(hypothesis.untestable(UNMEASURED, task))
                continue
            gap = sides[0][task] - sides[1][task]
            tested.append(gap_claim(hypothesis, gap, of_task(compared, task), task, len(tasks)))
    return tested
