"""People, virtual annotators and policies on the same worlds: how alike are they?

The published study compares shares of clicks by eye. Here a classifier is asked whether it can tell
them apart, and by which features; and a policy that was cloned from a virtual annotator is asked
for the clicks of people. Which recordings count is said in `lastmile.evaluation.exclusions`.

The estimates are means over people. Their intervals resample worlds, the same ones for everybody,
and say how the mean would differ with other people by Student's t, as for seeds of a training run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, estimate, wilson
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, TEXT_OR_NONE, WHOLE
from lastmile.studies.annotators.study import PEOPLE as PUBLISHED_RANGES
from lastmile.studies.annotators.study import PEOPLE_COUNT
from lastmile.studies.claims import Claim, Hypothesis, whole_and_parts
from lastmile.studies.comparison.hypotheses import (
    ANNOTATOR,
    COMPARED,
    HYPOTHESES,
    LEAST_PEOPLE,
    LONGER,
    PREDICTS,
    TOLD,
)
from lastmile.studies.comparison.measures import (
    MEASURES,
    PEOPLE,
    PREDICTED,
    STYLES,
    Task,
    auc_estimate,
    by_task,
    estimate_of,
    paired,
    samples_of,
    scatter_of,
    told_apart,
)
from lastmile.studies.labels import ALL, JOINT_POLICY, POLICY
from lastmile.studies.runs import Need, both_kinds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "HYPOTHESES", "LEFT_OUT", "READS", "claims", "needs", "table"]

READS = ("evaluation.resamples",)
LEFT_OUT = (
    "there are no recordings of people; make some with `lastmile play`, and name their folder, as "
    "in --config recordings=recordings"
)
COLUMNS = {
    "task": TEXT,
    "who": TEXT,
    "person": TEXT_OR_NONE,
    "measure": TEXT,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
PUBLISHED = "people, published"
PUBLISHED_SECONDS = (97.0, 86.0, 54.0)
"""Seconds an episode of the three people of Chandok and Park (2026), over five tasks; a fourth
person was excluded."""

Estimator = Callable[[np.ndarray, int, int], Estimate]
"""Makes an estimate of bootstrap values, the number of people, and of their episodes."""
Told = dict[str, dict[str, np.ndarray]]
"""What `told_apart` returns, by who people are told from."""


def needs(settings: Settings) -> list[Need]:
    """Return what everybody did on the worlds of people; nothing without recordings."""
    if not settings.recordings:
        return []
    return [
        Need(table, run, task)
        for task in task_list(settings)
        for run in both_kinds(settings, task)
        for table in ("side_by_side", "attempts")
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task, `who` (people, a style, policy, joint policy, or the people of the published
    study), `person` (empty: all of them) and `measure`:

    - Those of `MEASURES`, of everybody; `scatter`: standard deviation of the distances.
    - `completed`: share of the attempts of people that were finished; `left out:RULE`: number of
      recordings that do not count.
    - `AUC`: of a classifier that tells people from `who`; `AUC:FEATURE`: of one feature.
    - Those of `PREDICTED`, of the kinds of policy that were asked for the clicks of people
      (`policy on people`) and of the annotator who made its data (`policy on annotator`).

    Under all tasks are means over tasks, of the AUC and of steps and seconds of people. `n` counts
    episodes. Of the published people, low and high are their range and value is its middle; their
    three mean times are under all tasks.
    """
    import pandas as pd

    count, style = settings.evaluation.resamples, settings.worlds.style
    rows: list[tuple] = []
    told: dict[str, Told] = {}
    tasks = by_task(inputs, task_list(settings))
    for name, task in tasks.items():
        told[name] = {who: told_apart(task, who, count) for who in task.others}
        rows += ((name, *row) for row in _recorded(task))
        rows += ((name, *row) for row in _measured(task, count))
        rows += ((name, *row) for row in _predicted(task, style, count))
        n, worlds = len(task.rows(PEOPLE)), task.rows(PEOPLE)["episode"].nunique()
        for who, by_measure in told[name].items():
            for measure, samples in by_measure.items():
                auc = auc_estimate(samples, len(task.people), worlds)
                rows.append((name, who, "", measure, *auc, n))
        for measure, (low, high) in PUBLISHED_RANGES.get(name, {}).items():
            rows.append((name, PUBLISHED, "", measure, (low + high) / 2, low, high, PEOPLE_COUNT))

    rows += _over_tasks(tasks, told, count)
    for number, seconds in enumerate(PUBLISHED_SECONDS, 1) if tasks else ():
        person = f"person {number}"
        rows.append((ALL, PUBLISHED, person, "seconds", seconds, np.nan, np.nan, PEOPLE_COUNT))
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found[np.isfinite(found["value"].astype(float))].reset_index(drop=True)


def _recorded(task: Task) -> Iterator[tuple]:
    """Yield how many recordings count: who, person, measure, value, low, high, n."""
    from lastmile.evaluation.exclusions import ATTEMPTS

    attempts = task.attempts
    tried = attempts[attempts["rule"].isin(ATTEMPTS)]
    completed = wilson(int((tried["rule"] == "").sum()), len(tried))
    yield (PEOPLE, "", "completed", *completed, len(tried))
    for rule, part in attempts[attempts["rule"] != ""].groupby("rule", sort=True):
        yield (PEOPLE, "", f"left out:{rule}", float(len(part)), np.nan, np.nan, len(part))


def _measured(task: Task, count: int) -> Iterator[tuple]:
    """Yield the measures of everybody, and of each person."""
    people = task.rows(PEOPLE)
    groups = [(who, "", task.rows(who)) for who in (PEOPLE, *task.others)]
    groups += [(PEOPLE, name, people[people["person"] == name]) for name in task.people]
    for who, person, rows in groups:
        for name, measure in MEASURES.items():
            value = estimate_of(rows, measure, count, task.stratum)
            yield (who, person, name, *value, len(rows))
        yield (who, person, "scatter", *scatter_of(rows, count, task.stratum), len(rows))


def _predicted(task: Task, style: str, count: int) -> Iterator[tuple]:
    """Yield how often the policies predict the clicks of people, and of their annotator."""
    for of in (POLICY, JOINT_POLICY):
        for on, who in ((PEOPLE, PEOPLE), (ANNOTATOR, style)):
            rows = task.rows(who, of)
            for name, measure in PREDICTED.items():
                value = estimate_of(rows, measure, count, task.stratum)
                yield (f"{of} on {on}", "", name, *value, len(rows))


def _over_tasks(tasks: dict[str, Task], told: dict[str, Told], count: int) -> Iterator[tuple]:
    """Yield means over tasks, with the columns of the table.

    They are of what tells people apart, and of the steps and the time that people take.
    """
    able = {name: task for name, task in tasks.items() if len(task.rows(PEOPLE))}
    if len(able) < 2:
        return
    n = sum(len(task.rows(PEOPLE)) for task in able.values())
    people = len({person for task in able.values() for person in task.people})
    units = None if people > 1 else n
    for measure in ("steps", "seconds"):
        parts = [
            samples_of(task.rows(PEOPLE), MEASURES[measure], count, task.stratum)
            for task in able.values()
        ]
        value, low, high = estimate(np.mean(parts, axis=0), units)
        yield (ALL, PEOPLE, "", measure, value, max(low, 0.0), high, n)
    for who in (*STYLES, POLICY, JOINT_POLICY):
        by_measure: dict[str, list[np.ndarray]] = {}
        for name in able:
            for measure, samples in told[name].get(who, {}).items():
                by_measure.setdefault(measure, []).append(samples)
        for measure, parts in by_measure.items():
            known = [samples for samples in parts if np.isfinite(samples[0])]
            if known:
                mean = auc_estimate(np.mean(known, axis=0), people, n)
                yield (ALL, who, "", measure, *mean, n)


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether people are told from annotators and policies, and in which ways they differ."""
    count, style = settings.evaluation.resamples, settings.worlds.style
    names = list(task_list(settings))
    tasks = by_task(inputs, task_list(settings))
    kinds = (POLICY, JOINT_POLICY) if len(names) > 1 else (POLICY,)

    tested: list[Claim] = []
    for who in (ANNOTATOR, *kinds):
        told = {
            name: told_apart(task, style if who == ANNOTATOR else who, count, features=())
            for name, task in tasks.items()
        }
        values = {name: by_measure["AUC"] for name, by_measure in told.items() if by_measure}
        tested += _tested(TOLD[who], values, tasks, names, _above_chance)
    for measure, hypothesis in COMPARED.items():
        gaps = {}
        for name, task in tasks.items():
            sides = (task.rows(PEOPLE), task.rows(style))
            first, second = paired(*sides, MEASURES[measure], count, task.stratum)
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = hypothesis is LONGER
                gaps[name] = np.log2(first / second) if ratio else first - second
        estimated = _of_shares if hypothesis.effect.kind == "percent" else _plain
        tested += _tested(hypothesis, gaps, tasks, names, estimated)
    for of in kinds:
        gaps = {}
        for name, task in tasks.items():
            sides = (task.rows(style, of), task.rows(PEOPLE, of))
            first, second = paired(*sides, PREDICTED["same widget"], count, task.stratum)
            gaps[name] = first - second
        tested += _tested(PREDICTS[of], gaps, tasks, names, _of_shares)
    return tested


def _plain(samples: np.ndarray, people: int, episodes: int) -> Estimate:
    return estimate(samples, None if people > 1 else episodes)


def _of_shares(samples: np.ndarray, people: int, episodes: int) -> Estimate:
    """Estimate a difference of shares, which lies between -1 and 1."""
    value, low, high = _plain(samples, people, episodes)
    return Estimate(value, max(low, -1.0), min(high, 1.0))


def _above_chance(samples: np.ndarray, people: int, episodes: int) -> Estimate:
    """Estimate by how much an AUC is above one half."""
    value, low, high = auc_estimate(samples, people, episodes)
    return Estimate(value - 0.5, low - 0.5, high - 0.5)


def _tested(
    hypothesis: Hypothesis,
    gaps: dict[str, np.ndarray],
    tasks: dict[str, Task],
    names: list[str],
    estimated: Estimator = _plain,
) -> Iterator[Claim]:
    """Test a hypothesis on each task, and on all tasks that it can be tested on.

    Args:
        hypothesis: The hypothesis.
        gaps: Its quantity with bootstrap values, (1 + resamples,), by task.
        tasks: What was done, by task.
        names: The tasks of the study.
        estimated: Makes the estimate.
    """
    known = {name: gap for name, gap in gaps.items() if np.isfinite(gap[0])}
    for name in whole_and_parts(names):
        able = [one for one in names if one in known and name in (one, ALL)]
        if not able:
            yield hypothesis.untestable(_why(name, tasks), name)
            continue
        people = {person for one in able for person in tasks[one].people}
        episodes = sum(len(tasks[one].rows(PEOPLE)) for one in able)
        value = estimated(np.mean([known[one] for one in able], axis=0), len(people), episodes)
        unit = f"person ({len(people)}), with {episodes} episodes"
        if name == ALL:
            unit += f" ({len(able)} of {len(names)} tasks as strata)"
        reason = ""
        if len(people) < LEAST_PEOPLE:
            reason = "one person tells nothing about how people differ; others' recordings would"
        yield hypothesis.test(value, name, unit, episodes, reason=reason)


def _why(name: str, tasks: dict[str, Task]) -> str:
    """Say why a hypothesis is not testable on a task, or on all."""
    asked = list(tasks.values()) if name == ALL else [tasks[name]] if name in tasks else []
    recordings = sum(len(task.attempts) for task in asked)
    if not recordings:
        return "there are no recordings of people"
    if not any(len(task.rows(PEOPLE)) for task in asked):
        return f"of {recordings} recordings of people none counts"
    return "these episodes hold nothing to measure it on"
