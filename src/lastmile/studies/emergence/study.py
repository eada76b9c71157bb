"""Emergence: the order in which skills are learned.

Every skill is followed over the frames seen in training, with its floor and its ceiling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, curve, estimate, ratio
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, single

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples",)
COLUMNS = {
    "measure": TEXT,
    "task": TEXT,
    "predictor": TEXT,
    "skill": TEXT,
    "frames": NUMBER,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
    "steps": WHOLE,
}
STAGES = {
    "mechanics": ("valid", "button"),
    "placement": ("placement@5",),
    "decisions": ("decision",),
    "undoing": ("undo",),
}
"""The stages of the published order, and the skills whose mean stands for each.

Undoing is one of the decisions and also looked at by itself: of those that the publication names
(to undo, to verify, to finish) it is the one that depends on what the screen shows.
"""
ORDER = ("mechanics", "placement", "decisions")
PAIRS = (
    ("mechanics", "placement"),
    ("placement", "decisions"),
    ("mechanics", "decisions"),
    ("placement", "undoing"),
)
LEARNED = 0.1
"""A skill that gains less than this over training was not learned.

Its half-way point is put at the end of training.
"""


def _come(stage: str) -> str:
    return "comes" if stage in ("placement", "undoing") else "come"


def _order(earlier: str, later: str) -> Hypothesis:
    return Hypothesis(
        claim=f"order: {earlier} before {later}",
        statement=f"{earlier.capitalize()} {_come(earlier)} before {later}",
        statistic=f"log2 of frames to half of the final gain, {later} over {earlier}",
        rule="Shown if the interval of log2(frames to half gain of the later / of the earlier) "
        "lies above 0, contradicted if below.",
        effect=Effect(
            "factor", above="times later", below="times earlier", lead=f"{later} {_come(later)}"
        ),
    )


ORDERS = {pair: _order(*pair) for pair in PAIRS}
HYPOTHESES = tuple(ORDERS.values())

Halves = dict[str, dict[str, np.ndarray]]
"""log(1 + frames) to half of the gain, (1 + resamples,), by task and then by skill or stage."""


def needs(settings: Settings) -> list[Need]:
    """Return the skills of the policy of each task."""
    return [Need("skills", single(settings, task), task) for task in task_list(settings)]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows are told apart by `measure`:

    - `share`: share of steps on which a predictor (policy, ceiling, floor) is right after `frames`.
    - `half`: frames to half of the final gain of a skill or a stage; for `ALL` the geometric mean
      over tasks.
    - `order`: for EARLIER < LATER, and for all three stages, the share of bootstrap samples in
      which they come in this order.

    `episodes` and `steps` count held-out episodes and steps.
    """
    import pandas as pd

    count = settings.evaluation.resamples
    skills = inputs["skills"]
    rows = _share_rows(skills, count)
    halves = all_halves(skills, count)
    held_out = skills.groupby("task")["episode"].nunique()

    def episodes(task: str) -> int:
        return held_out.sum() if task == ALL else held_out[task]

    for name in dict.fromkeys(name for by_name in halves.values() for name in by_name):
        by_task = {task: by_name[name] for task, by_name in halves.items() if name in by_name}
        if len(by_task) > 1:
            by_task[ALL] = np.mean(list(by_task.values()), axis=0)
        for task, logs in by_task.items():
            half = Estimate(*np.expm1(estimate(logs)))
            rows.append(("half", task, "policy", name, half.value, *half, episodes(task), 0))

    for task in whole_and_parts(list(halves)):
        for names in (*PAIRS, ORDER):
            gaps = [
                later_by(halves, earlier, later, task)
                for earlier, later in zip(names[:-1], names[1:])
            ]
            measured = [gap for gap in gaps if gap is not None]
            if len(measured) == len(gaps):
                share = np.mean(np.all([gap[1:] > 0 for gap in measured], axis=0))
                order = " < ".join(names)
                counted = (episodes(task), 0)
                rows.append(("order", task, "policy", order, 0, share, np.nan, np.nan, *counted))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _share_rows(skills: pd.DataFrame, count: int) -> list[tuple]:
    """Return the rows `share`; a skill that no step calls for is left out."""
    rows: list[tuple] = []
    for (task, predictor, skill), part in skills.groupby(["task", "predictor", "skill"], sort=True):
        steps = int(part.loc[part["frames"] == part["frames"].min(), "total"].sum())
        if not steps:
            continue

        key = ("share", task, predictor, skill)
        if predictor == "policy":
            frames, samples = curve(part, "hits", "total", count)
            for i, at in enumerate(frames):
                share = estimate(samples[:, i])
                rows.append((*key, at, *share, part["episode"].nunique(), steps))
        else:
            # Ceiling and floor do not depend on the training: one seed tells them.
            first = part[part["seed"] == part["seed"].min()]
            share = ratio(first["hits"].to_numpy(), first["total"].to_numpy(), count)
            rows.append((*key, 0, *share, len(first), int(first["total"].sum())))
    return rows


def half_gain(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the frames at which a skill has made half of its gain.

    The half-way point is the first crossing, linear in log(1 + frames) between snapshots.

    Args:
        frames: (P,) increasing, the first one 0 (before training).
        values: (S, P) accuracies, one curve per row.

    Returns:
        (S,) frames; the last ones where the skill was not learned.
    """
    scale = np.log1p(frames)
    start = values[:, :1]  # (S, 1)
    end = values[:, -1:]
    above = values >= start + (end - start) / 2
    above[:, -1] = True
    first = np.maximum(above.argmax(axis=1), 1)  # (S,) first point at or above the half

    rows = np.arange(len(values))
    low = values[rows, first - 1]
    high = values[rows, first]
    middle = ((start + end) / 2)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.where(high > low, (middle - low) / (high - low), 1.0), 0, 1)
    at = scale[first - 1] + share * (scale[first] - scale[first - 1])
    learned = (end - start)[:, 0] >= LEARNED
    return np.where(learned, np.expm1(at), frames[-1])


def all_halves(skills: pd.DataFrame, count: int) -> Halves:
    """Return log(1 + frames) to half of the gain by task, then by skill and stage.

    Each is (1 + count,): the estimate, then bootstrap values. What never occurs is left out.
    """
    halves: Halves = {}
    policy = skills[skills["predictor"] == "policy"]
    for stratum, (task, part) in enumerate(policy.groupby("task", sort=True)):
        curves: dict[str, np.ndarray] = {}
        for skill, rows in part.groupby("skill", sort=False):
            if rows["total"].sum() and rows["frames"].nunique() > 1:
                frames, curves[str(skill)] = curve(rows, "hits", "total", count, stratum)
        for stage, skills_of_stage in STAGES.items():
            if all(skill in curves for skill in skills_of_stage):
                curves[stage] = np.mean([curves[skill] for skill in skills_of_stage], axis=0)
        halves[str(task)] = {
            name: np.log1p(half_gain(frames, values)) for name, values in curves.items()
        }
    return halves


def later_by(halves: Halves, earlier: str, later: str, task: str) -> np.ndarray | None:
    """Return log2 of the ratio of the frames to half of the gain of two stages.

    Returns:
        (1 + resamples,) on a task, or the mean over the tasks that have both stages; None if none.
    """
    tasks = [task] if task != ALL else list(halves)
    gaps = [
        (halves[name][later] - halves[name][earlier]) / np.log(2)
        for name in tasks
        if earlier in halves[name] and later in halves[name]
    ]
    return np.mean(gaps, axis=0) if gaps else None


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test the order of each pair of stages."""
    skills = inputs["skills"]
    halves = all_halves(skills, settings.evaluation.resamples)
    if not halves:
        task = whole_and_parts(list(task_list(settings)))[0]
        return [order.untestable("no skills were measured", task) for order in HYPOTHESES]

    held_out = skills.groupby("task")["episode"].nunique()
    seeds = skills["seed"].nunique()
    tested = []
    for pair, hypothesis in ORDERS.items():
        for task in whole_and_parts(list(halves)):
            gap = later_by(halves, *pair, task)
            if gap is None:
                continue
            # On a task with placements the other two pairs already say this one.
            if pair == ("mechanics", "decisions") and task != ALL and "placement" in halves[task]:
                continue

            number = held_out.sum() if task == ALL else held_out[task]
            strata = ", tasks as strata" if task == ALL else ""
            plural = "s" if seeds > 1 else ""
            unit = f"episode ({number} held-out{strata}, {seeds} training seed{plural})"
            tested.append(hypothesis.test(estimate(gap), task, unit))
    return tested
