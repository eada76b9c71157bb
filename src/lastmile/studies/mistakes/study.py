"""Mistakes: does a policy make fewer than the data it learned from, and does it still correct one that is put in front of it?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import estimate, rate, rate_over_tasks, success
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import Need, single

OUTCOMES = ("success", "score", "finished", "coverage", "steps")
SHARES = ("navigate", "look", "mode", "place", "decide", "undo", "done", "invalid")
RATES = {"mistakes per placement": "mistakes", "undos per placement": "undo"}


def needs(settings: Settings) -> list[Need]:
    return [
        Need(table, single(settings, task), task)
        for task in task_list(settings)
        for table in ("closed_loop", "recovery")
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task (or ALL, the mean over tasks), who (policy or annotator), measure, kind, delay, value, low, high, n (episodes, or states for recovery).

    Measures: outcomes of closed loop, `share:KIND` of clicks, mistakes and undos per placement; for the policy after an injected mistake `repaired` (all,
    and by kind and delay: right steps before the policy took over) and `undone` (kind control: where nothing is wrong).
    """
    rows: list[tuple] = []
    count = settings.evaluation.resamples
    played = inputs["closed_loop"].assign(one=1)
    shares = {f"share:{kind}": (kind, "steps") for kind in SHARES} | {
        name: (column, "placements") for name, column in RATES.items()
    }
    for (task, who), part in played.groupby(["task", "who"], sort=True):
        about = (task, who)
        for name in OUTCOMES:
            one = (
                success(part, name, count)
                if part[name].dtype == bool
                else estimate(rate(part, name, "one", count))
            )
            rows.append((*about, name, "", -1, *one, len(part)))
        rows += [
            (*about, name, "", -1, *estimate(rate(part, *columns, count)), len(part))
            for name, columns in shares.items()
        ]
    if len(task_list(settings)) > 1:
        for who in ("policy", "annotator"):
            part = played[played["who"] == who]
            for name, columns in {
                "success": ("success", "one"),
                "score": ("score", "one"),
                **{n: (c, "placements") for n, c in RATES.items()},
            }.items():
                rows.append(
                    (
                        ALL,
                        who,
                        name,
                        "",
                        -1,
                        *estimate(rate_over_tasks(part, *columns, count)),
                        len(part),
                    )
                )
    rows += _recovery_rows(inputs["recovery"], count)
    return pd.DataFrame(
        rows, columns=["task", "who", "measure", "kind", "delay", "value", "low", "high", "n"]
    )


def _recovery_rows(recovery: pd.DataFrame, count: int) -> list[tuple]:
    rows: list[tuple] = []
    recovery = recovery.assign(one=1)
    wrong, control = (
        recovery[recovery["condition"] == condition] for condition in ("mistake", "control")
    )
    several = recovery["task"].nunique() > 1

    def add(task: str, measure: str, kind: str, delay: int, part: pd.DataFrame) -> None:
        if not len(part):
            return
        if task == ALL:
            one = estimate(rate_over_tasks(part, measure, "one", count))
        elif kind in ("", "control"):  # several states of an episode
            one = estimate(rate(part, measure, "one", count))
        else:  # one state an episode
            one = success(part, measure, count)
        rows.append((task, "policy", measure, kind, delay, *one, len(part)))

    for task in [*([ALL] if several else []), *sorted(recovery["task"].unique())]:
        mine, without = (
            part if task == ALL else part[part["task"] == task] for part in (wrong, control)
        )
        add(task, "repaired", "", -1, mine)
        add(task, "undone", "", -1, mine)
        add(task, "undone", "control", -1, without)
        for delay in sorted(recovery["delay"].unique()):
            late, other = mine[mine["delay"] == delay], without[without["delay"] == delay]
            add(task, "repaired", "", delay, late)
            add(task, "undone", "control", delay, other)
            for kind, some in late.groupby("kind", sort=True):
                add(task, "repaired", str(kind), delay, some)
    return rows


def _differences(
    table: pd.DataFrame, first: tuple, second: tuple, count: int
) -> dict[str, np.ndarray]:
    """By task, sum(hits) / sum(totals) of the first minus the second, paired over episodes. first, second: (column, value, hits, totals)."""
    found = {}
    for stratum, (task, part) in enumerate(table.groupby("task", sort=True)):
        sides = []
        for column, value, hits, totals in (first, second):
            counted = (
                part[column] == value
            )  # the others stay, with nothing in them: both sides then draw the same episodes
            sides.append(
                rate(
                    part.assign(
                        hits=part[hits].astype(float).where(counted, 0),
                        totals=part[totals].where(counted, 0),
                    ),
                    "hits",
                    "totals",
                    count,
                    stratum,
                )
            )
        found[str(task)] = sides[0] - sides[1]
    return found


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    count = settings.evaluation.resamples
    recovery = inputs["recovery"].assign(one=1)
    played = inputs["closed_loop"]
    fewer = _differences(
        played,
        ("who", "annotator", "mistakes", "placements"),
        ("who", "policy", "mistakes", "placements"),
        count,
    )
    kept = _differences(
        recovery,
        ("condition", "mistake", "repaired", "one"),
        ("condition", "control", "undone", "one"),
        count,
    )
    found = []
    for task in [*([ALL] if len(fewer) > 1 else []), *fewer]:
        number = (
            len(played[["task", "episode"]].drop_duplicates())
            if task == ALL
            else played.loc[played["task"] == task, "episode"].nunique()
        )
        found.append(
            Claim.of(
                estimate(np.nanmean(list(fewer.values()), axis=0) if task == ALL else fewer[task]),
                claim="fewer mistakes than the data",
                statement="The policy makes fewer mistakes than its training data",
                task=task,
                statistic="mistakes per placement, annotator minus policy",
                rule="Shown if the interval of the paired difference lies above 0, contradicted if below.",
                unit=f"episode ({number} worlds, the same for both{', tasks as strata' * (task == ALL)})",
            )
        )
    for task in [*([ALL] if len(kept) > 1 else []), *kept]:
        rows = recovery if task == ALL else recovery[recovery["task"] == task]
        injected = int((rows["condition"] == "mistake").sum())
        number = len(rows[["task", "episode"]].drop_duplicates())
        found.append(
            Claim.of(
                estimate(np.nanmean(list(kept.values()), axis=0) if task == ALL else kept[task]),
                claim="correction retained",
                statement="The policy corrects a mistake that is put in front of it",
                task=task,
                statistic=f"share repaired within {settings.evaluation.recovery_steps} steps minus share of undos where nothing is wrong",
                rule="Shown if the interval of the difference lies above 0, contradicted if below; all kinds and delays together.",
                unit=f"episode ({number} with {injected} injected mistakes and as many controls{', tasks as strata' * (task == ALL)})",
            )
        )
    return found
