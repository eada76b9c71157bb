"""Emergence: in which order skills come. Every skill over the frames seen, with its floor and its ceiling."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, curve, estimate, ratio
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import Need, single

STAGES = {
    "mechanics": ("valid", "button"),
    "placement": ("placement@5",),
    "decisions": ("decision",),
    "undoing": ("undo",),
}
"""The stages of the published order, and the skills that stand for them (their mean). Undoing is one of the decisions, and also looked at alone: of
those that the publication names (to undo, to verify, to finish) it is the one that hangs on what the picture shows."""
ORDER = ("mechanics", "placement", "decisions")
PAIRS = (
    ("mechanics", "placement"),
    ("placement", "decisions"),
    ("mechanics", "decisions"),
    ("placement", "undoing"),
)
LEARNED = 0.1
"""A skill that gains less than this over training was not learned: its half-way point is then put at the end of training."""


def needs(settings: Settings) -> list[Need]:
    return [Need("skills", single(settings, task), task) for task in task_list(settings)]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: measure, task (or ALL), predictor (policy, ceiling, floor), skill, frames, value, low, high, episodes, steps.

    Measures: `share` of steps right after `frames`; `half`: the frames to half of the final gain of a skill or a stage (for ALL the geometric mean over
    tasks); `order`: for a pair of stages, EARLIER < LATER, and for all three, the share of the bootstrap samples in which they come in this order.
    """
    rows: list[tuple] = []
    count = settings.evaluation.resamples
    skills = inputs["skills"]
    for (task, predictor, skill), part in skills.groupby(["task", "predictor", "skill"], sort=True):
        steps = int(part.loc[part["frames"] == part["frames"].min(), "total"].sum())
        if not steps:
            continue
        about = ("share", task, predictor, skill)
        if predictor == "policy":
            frames, samples = curve(part, "hits", "total", count)
            rows += [
                (*about, at, *estimate(samples[:, i]), part["episode"].nunique(), steps)
                for i, at in enumerate(frames)
            ]
        else:
            one = part[part["seed"] == part["seed"].min()]
            rows.append(
                (
                    *about,
                    0,
                    *ratio(one["hits"], one["total"], count),
                    len(one),
                    int(one["total"].sum()),
                )
            )
    halves = all_halves(skills, count)
    held = skills.groupby("task")["episode"].nunique()
    for name in dict.fromkeys(name for found in halves.values() for name in found):
        there = {task: found[name] for task, found in halves.items() if name in found}
        for task, logs in [
            *there.items(),
            *([(ALL, np.mean(list(there.values()), axis=0))] if len(there) > 1 else []),
        ]:
            one = Estimate(*np.expm1(estimate(logs)))
            rows.append(
                (
                    "half",
                    task,
                    "policy",
                    name,
                    one.value,
                    *one,
                    held.sum() if task == ALL else held[task],
                    0,
                )
            )
    for task in [*([ALL] if len(halves) > 1 else []), *halves]:
        for names in (*PAIRS, ORDER):
            gaps = [later_by(halves, a, b, task) for a, b in zip(names[:-1], names[1:])]
            if all(gap is not None for gap in gaps):
                right = np.mean(np.all([gap[1:] > 0 for gap in gaps], axis=0))
                rows.append(
                    (
                        "order",
                        task,
                        "policy",
                        " < ".join(names),
                        0,
                        right,
                        np.nan,
                        np.nan,
                        held.sum() if task == ALL else held[task],
                        0,
                    )
                )
    return pd.DataFrame(
        rows,
        columns=[
            "measure",
            "task",
            "predictor",
            "skill",
            "frames",
            "value",
            "low",
            "high",
            "episodes",
            "steps",
        ],
    )


def half_gain(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Frames at which a skill has made half of its gain, on a logarithmic scale, for each row of values (samples, points).

    frames: (points,) increasing, the first one 0 (before training). The half-way point is the first crossing, linear in log(1 + frames).
    """
    scale = np.log1p(frames)
    start, end = values[:, :1], values[:, -1:]
    above = values >= start + (end - start) / 2
    above[:, -1] = True
    first = np.maximum(above.argmax(axis=1), 1)
    rows = np.arange(len(values))
    low, high = values[rows, first - 1], values[rows, first]
    middle = ((start + end) / 2)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.where(high > low, (middle - low) / (high - low), 1.0), 0, 1)
    at = scale[first - 1] + share * (scale[first] - scale[first - 1])
    learned = (end - start)[:, 0] >= LEARNED
    return np.where(learned, np.expm1(at), frames[-1])


def all_halves(skills: pd.DataFrame, count: int) -> dict[str, dict[str, np.ndarray]]:
    """log(1 + frames) to half of the gain, (1 + count,), by task and then by skill and stage; what never occurs is left out. Row 0 is the estimate."""
    found: dict[str, dict[str, np.ndarray]] = {}
    policy = skills[skills["predictor"] == "policy"]
    for stratum, (task, part) in enumerate(policy.groupby("task", sort=True)):
        curves = {}
        for skill, rows in part.groupby("skill", sort=False):
            if rows["total"].sum():
                frames, curves[skill] = curve(rows, "hits", "total", count, stratum)
        for stage, skills_of in STAGES.items():
            if all(skill in curves for skill in skills_of):
                curves[stage] = np.mean([curves[skill] for skill in skills_of], axis=0)
        found[str(task)] = {
            name: np.log1p(half_gain(frames, values)) for name, values in curves.items()
        }
    return found


def later_by(
    halves: dict[str, dict[str, np.ndarray]], earlier: str, later: str, task: str
) -> np.ndarray | None:
    """log2 of the ratio of the frames to half of the gain of two stages, (1 + count,), on a task or the mean over the tasks that have both; None
    without any."""
    tasks = [task] if task != ALL else list(halves)
    gaps = [
        (halves[one][later] - halves[one][earlier]) / np.log(2)
        for one in tasks
        if earlier in halves[one] and later in halves[one]
    ]
    return np.mean(gaps, axis=0) if gaps else None


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    found = []
    skills = inputs["skills"]
    halves = all_halves(skills, settings.evaluation.resamples)
    held, seeds = skills.groupby("task")["episode"].nunique(), skills["seed"].nunique()
    for earlier, later in PAIRS:
        for task in [*([ALL] if len(halves) > 1 else []), *halves]:
            gap = later_by(halves, earlier, later, task)
            if gap is None:
                continue
            if (
                (earlier, later) == ("mechanics", "decisions")
                and task != ALL
                and "placement" in halves[task]
            ):
                continue  # said by the other two
            number = held.sum() if task == ALL else held[task]
            verb = "come" if earlier == "mechanics" else "comes"
            found.append(
                Claim.of(
                    estimate(gap),
                    claim=f"order: {earlier} before {later}",
                    statement=f"{earlier.capitalize()} {verb} before {later}",
                    task=task,
                    statistic="log2 of the ratio of frames to half of the final gain",
                    rule="Shown if the interval of log2(frames to half gain of the later / of the earlier) lies above 0, contradicted if below.",
                    unit=f"episode ({number} held-out{', tasks as strata' * (task == ALL)}, {seeds} training seed{'s' if seeds > 1 else ''})",
                )
            )
    return found
