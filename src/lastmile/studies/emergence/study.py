"""Emergence: the order in which skills are learned.

Every skill is followed over the frames seen in training, with its floor and its ceiling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import (
    Estimate,
    count_episodes,
    curve,
    estimate,
    few,
    of_units,
    ratio,
    share,
)
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL, JOINT_POLICY, POLICY
from lastmile.studies.runs import Need, both_kinds, by_kind, kind_of_policy

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples",)
COLUMNS = {
    "measure": TEXT,
    "task": TEXT,
    "predictor": TEXT,
    "skill": TEXT,
    "frames": NUMBER,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
    "steps": WHOLE,
}
STAGES = {
    "mechanics": ("valid", "button"),
    "placement": ("placement@5",),
    "decisions": ("decision by sight",),
    "undoing": ("undo",),
}
"""The stages of the published order, and the skills whose mean stands for each.

Decisions that follow from the last three widgets are procedure, and left out. Undoing is one of the
decisions and also looked at by itself: of those that the publication names (to undo, to verify, to
finish) it is the one that depends on what the screen shows.
"""
ORDER = ("mechanics", "placement", "decisions")
PAIRS = (
    ("mechanics", "placement"),
    ("placement", "decisions"),
    ("mechanics", "decisions"),
    ("placement", "undoing"),
)
LEAST_GAIN = 0.1
"""A skill whose ceiling is less than this above what it is before training is left out."""


def _come(stage: str) -> str:
    return "comes" if stage in ("placement", "undoing") else "come"


def _order(earlier: str, later: str, joint: bool = False) -> Hypothesis:
    return Hypothesis(
        claim=f"order{', joint policy' if joint else ''}: {earlier} before {later}",
        statement=f"{earlier.capitalize()} {_come(earlier)} before {later}"
        f"{' in a policy for all tasks' if joint else ''}",
        statistic=f"log2 of frames to half of the ceiling, {later} over {earlier}",
        rule="Shown if the interval of log2(frames to half of the ceiling of the later / of the "
        "earlier) lies above 0, contradicted if below. Half of the ceiling is half way from the "
        "untrained policy to annotator self-agreement; a task where one of the two was not reached "
        "has no say.",
        effect=Effect(
            "factor", above="times later", below="times earlier", lead=f"{later} {_come(later)}"
        ),
        smallest=0.5,
    )


ORDERS = {pair: _order(*pair) for pair in PAIRS}
JOINT_ORDERS = {pair: _order(*pair, joint=True) for pair in PAIRS}
HYPOTHESES = (*ORDERS.values(), *JOINT_ORDERS.values())

Halves = dict[str, dict[str, np.ndarray]]
"""log(1 + frames) to half of the ceiling, (1 + resamples,), by task and then by skill or stage.

Where it was not reached, the estimate is nan.
"""


def needs(settings: Settings) -> list[Need]:
    """Return the skills of the policy of each task, and of the policy for all."""
    return [
        Need("skills", run, task, "all")
        for task in task_list(settings)
        for run in both_kinds(settings, task)
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows are told apart by `measure`:

    - `share`: share of steps on which a predictor (policy, joint policy, ceiling, floor, trigram)
      is right after `frames`.
    - `half`: frames to half of the ceiling of a skill or a stage; for `ALL` the geometric mean over
      the tasks that reached it. The frames of a joint policy are those of all tasks.
    - `not reached`: the frames of a training run in which a skill or a stage did not reach it.
    - `order`: for EARLIER < LATER, and for all three stages, the share of bootstrap samples in
      which they come in this order.

    `episodes` and `steps` count held-out episodes and steps.
    """
    import pandas as pd

    count = settings.evaluation.resamples
    skills = by_kind(inputs["skills"], "predictor")
    rows = _share_rows(skills, count)
    for kind, of_kind in skills.groupby("predictor", sort=True):
        if kind in (POLICY, JOINT_POLICY):
            rows += _half_rows(of_kind, all_halves(inputs["skills"], count, str(kind)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _half_rows(skills: pd.DataFrame, halves: Halves) -> list[tuple]:
    """Return the rows `half`, `not reached` and `order` of one kind of policies.

    Args:
        skills: Skills of these policies.
        halves: What `all_halves` returns for them.
    """
    rows: list[tuple] = []
    kind = skills["predictor"].iloc[0]
    end = skills.groupby("task")["frames"].max()
    held_out = skills.groupby("task")["episode"].nunique()
    one_seed = skills["seed"].nunique() < 2

    def episodes(task: str) -> int:
        return held_out.sum() if task == ALL else held_out[task]

    for name in dict.fromkeys(name for by_name in halves.values() for name in by_name):
        by_task = {task: by_name[name] for task, by_name in halves.items() if name in by_name}
        reached = {task: logs for task, logs in by_task.items() if np.isfinite(logs[0])}
        for task in sorted(set(by_task) - set(reached)):
            ends = (end[task], np.nan, np.nan)
            rows.append(("not reached", task, kind, name, end[task], *ends, episodes(task), 0))
        if len(reached) > 1:
            reached[ALL] = np.mean(list(reached.values()), axis=0)
        for task, logs in reached.items():
            units = episodes(task) if one_seed else None
            half = Estimate(*np.expm1(estimate(logs, units)))
            rows.append(("half", task, kind, name, half.value, *half, episodes(task), 0))

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
                rows.append(("order", task, kind, order, 0, share, np.nan, np.nan, *counted))
    return rows


def _share_rows(skills: pd.DataFrame, count: int) -> list[tuple]:
    """Return the rows `share`; a skill that no step calls for is left out."""
    rows: list[tuple] = []
    for (task, predictor, skill), part in skills.groupby(["task", "predictor", "skill"], sort=True):
        steps = int(part.loc[part["frames"] == part["frames"].min(), "total"].sum())
        if not steps:
            continue

        key = ("share", task, predictor, skill)
        if predictor in (POLICY, JOINT_POLICY):
            frames, samples = curve(part, "hits", "total", count)
            number, units = part["episode"].nunique(), few(part)
            for i, at in enumerate(frames):
                rows.append((*key, at, *share(samples[:, i], units), number, steps))
        else:
            # Ceiling, floor and trigram do not depend on the training: one seed tells them.
            first = part[part["seed"] == part["seed"].min()]
            right = ratio(first["hits"].to_numpy(), first["total"].to_numpy(), count)
            rows.append((*key, 0, *right, len(first), int(first["total"].sum())))
    return rows


def half_way(frames: np.ndarray, values: np.ndarray, ceiling: float) -> np.ndarray:
    """Return the frames at which a skill is half way from its start to its ceiling.

    It is the first crossing, linear in log(1 + frames) between snapshots.

    Args:
        frames: (P,) increasing, the first one 0 (before training).
        values: (S, P) accuracies, one curve per row.
        ceiling: Accuracy of the ceiling.

    Returns:
        (S,) frames; nan where the last snapshot is not half way.
    """
    scale = np.log1p(frames)
    middle = (values[:, :1] + ceiling) / 2  # (S, 1)
    above = values >= middle
    reached = above[:, -1].copy()
    above[:, -1] = True
    first = np.maximum(above.argmax(axis=1), 1)  # (S,) first point at or above the middle

    rows = np.arange(len(values))
    low = values[rows, first - 1]
    high = values[rows, first]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = np.clip(np.where(high > low, (middle[:, 0] - low) / (high - low), 1.0), 0, 1)
    at = scale[first - 1] + share * (scale[first] - scale[first - 1])
    return np.where(reached, np.expm1(at), np.nan)


def all_halves(skills: pd.DataFrame, count: int, kind: str = POLICY) -> Halves:
    """Return log(1 + frames) to half of the ceiling by task, then by skill and stage.

    Each is (1 + count,): the estimate, then bootstrap values. A resample in which a skill was not
    reached, though it was in the sample itself, has the end of training. What never occurs, or
    cannot get better, is left out.

    Args:
        skills: Skills of policies for one task and for all.
        count: Number of resamples.
        kind: Which of them. The noise between seeds is common to the tasks of a joint policy.
    """
    skills = by_kind(skills, "predictor")
    halves: Halves = {}
    for stratum, (task, part) in enumerate(skills.groupby("task", sort=True)):
        policy = part[part["predictor"] == kind]
        training = stratum if kind == POLICY else 0
        sums = part[part["predictor"] == "ceiling"].groupby("skill")[["hits", "total"]].sum()
        curves: dict[str, np.ndarray] = {}
        ceilings: dict[str, float] = {}
        for skill, rows in policy.groupby("skill", sort=False):
            name = str(skill)
            if name not in sums.index or not sums.loc[name, "total"]:
                continue
            if rows["total"].sum() and rows["frames"].nunique() > 1:
                frames, curves[name] = curve(rows, "hits", "total", count, stratum, training)
                ceilings[name] = sums.loc[name, "hits"] / sums.loc[name, "total"]
        for stage, members in STAGES.items():
            if all(skill in curves for skill in members):
                curves[stage] = np.mean([curves[skill] for skill in members], axis=0)
                ceilings[stage] = float(np.mean([ceilings[skill] for skill in members]))

        halves[str(task)] = {}
        for name, values in curves.items():
            if ceilings[name] - values[0, 0] < LEAST_GAIN:
                continue
            logs = np.log1p(half_way(frames, values, ceilings[name]))
            logs[1:][np.isnan(logs[1:])] = np.log1p(frames[-1])
            halves[str(task)][name] = logs
    return halves


def gaps(halves: Halves, earlier: str, later: str) -> dict[str, np.ndarray]:
    """Return log2 of the ratio of the frames to half of the ceiling of two stages.

    Returns:
        (1 + resamples,) by task, for the tasks that reached both.
    """
    both = {
        task: (by_name[later] - by_name[earlier]) / np.log(2)
        for task, by_name in halves.items()
        if earlier in by_name and later in by_name
    }
    return {task: gap for task, gap in both.items() if np.isfinite(gap[0])}


def later_by(halves: Halves, earlier: str, later: str, task: str) -> np.ndarray | None:
    """Return the gap of a task, or for `ALL` the mean over tasks; None if there is none."""
    by_task = gaps(halves, earlier, later)
    if task != ALL:
        return by_task.get(task)
    return np.mean(list(by_task.values()), axis=0) if by_task else None


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test the order of each pair of stages.

    Of the policies for one task the tasks are the units: each has one training run, how much the
    tasks differ includes the noise between training runs, and nothing is said about a single task.
    All tasks of a joint policy share that noise: there the training runs are the units, too.
    """
    count = settings.evaluation.resamples
    halves = all_halves(inputs["skills"], count)
    if not halves:
        return [order.untestable("no skills were measured", ALL) for order in HYPOTHESES]

    tested = []
    missing = "on no task did both reach half of the ceiling; longer training would"
    for pair, hypothesis in ORDERS.items():
        values = np.array([gap[0] for gap in gaps(halves, *pair).values()])
        if len(values):
            unit = f"task ({len(values)}, with one training run each)"
            tested.append(hypothesis.test(of_units(values), ALL, unit, len(values)))
        else:
            tested.append(hypothesis.untestable(missing, ALL))

    joint = inputs["skills"][kind_of_policy(inputs["skills"]) == JOINT_POLICY]
    seeds = joint["seed"].nunique()
    halves = all_halves(inputs["skills"], count, JOINT_POLICY) if seeds else {}
    for pair, hypothesis in JOINT_ORDERS.items():
        samples = later_by(halves, *pair, ALL)
        if samples is not None:
            units = count_episodes(joint)
            unit = f"training run ({seeds}) and episode ({units}, tasks as strata)"
            gap = estimate(samples, few(joint))
            tested.append(hypothesis.test(gap, ALL, unit, units, seeds))
        else:
            reason = missing if seeds else "there is no policy for all tasks"
            tested.append(hypothesis.untestable(reason, ALL))
    return tested
