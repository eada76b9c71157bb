"""Probe transfer: do tasks share one representation of mistakes? Probes of one task on another, their directions, and what moving along them does."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, estimate, rate
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import TOGETHER, Need, joint

CHANCE = 0.5
"""Of a mistake probe: steps with and without a mistake are matched."""
CLASSIFYING = ("object_exploration",)
"""Tasks whose work is to classify; the published study finds that mistakes are not shared with them."""
OTHERS = "others"
STRENGTH = 1.0
"""Of the shift for which the intervention is claimed: as far as a mistake itself moves the activation."""


def needs(settings: Settings) -> list[Need]:
    return (
        [Need("probe_transfer", joint(settings), TOGETHER)] if len(task_list(settings)) > 1 else []
    )


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: measure, source, target, strength, value, low, high, episodes.

    Measures: `accuracy` (source may be `others`), `cosine` (low and high: 95 % of its values with shuffled labels; source and target `others`: the mean of all
    pairs), `undo:shared` and `undo:random` (chance of Undo after moving by `strength`; target ALL: the mean over tasks).
    """
    rows: list[tuple] = []
    count = settings.evaluation.resamples
    measured = inputs["probe_transfer"]
    for (source, target), part in measured[measured["measure"] == "accuracy"].groupby(
        ["source", "target"], sort=True
    ):
        rows.append(
            (
                "accuracy",
                source,
                target,
                np.nan,
                *estimate(rate(part, "score", "total", count)),
                part["episode"].nunique(),
            )
        )
    cosines = (
        measured[measured["measure"] == "cosine"]
        .groupby(["source", "target"], sort=True)[["score", "low", "high"]]
        .mean()
    )
    rows += [
        ("cosine", *pair, np.nan, *row, 0)
        for pair, row in zip(cosines.index, cosines.to_numpy().tolist())
    ]
    moved = measured[measured["measure"].str.startswith("undo:")]
    for (name, strength), part in moved.groupby(["measure", "strength"], sort=True):
        by_task = {
            task: rate(one, "score", "total", count, i)
            for i, (task, one) in enumerate(part.groupby("target", sort=True))
        }
        episodes = part.groupby("target")["episode"].nunique()
        rows += [
            (name, OTHERS, task, strength, *estimate(samples), episodes[task])
            for task, samples in by_task.items()
        ]
        rows.append(
            (
                name,
                OTHERS,
                ALL,
                strength,
                *estimate(np.mean(list(by_task.values()), axis=0)),
                episodes.sum(),
            )
        )
    return pd.DataFrame(
        rows,
        columns=["measure", "source", "target", "strength", "value", "low", "high", "episodes"],
    )


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    count = settings.evaluation.resamples
    measured = inputs["probe_transfer"]
    accuracy = measured[(measured["measure"] == "accuracy") & (measured["source"] == OTHERS)]
    across = {
        task: rate(part, "score", "total", count, i)
        for i, (task, part) in enumerate(accuracy.groupby("target", sort=True))
    }
    episodes = accuracy.groupby("target")["episode"].nunique()
    others = [task for task in across if task not in CLASSIFYING]

    def unit(tasks: list[str]) -> str:
        return (
            f"episode ({episodes[tasks].sum()} for testing{', tasks as strata' * (len(tasks) > 1)})"
        )

    found = []
    groups = (
        {ALL: list(across), **{task: [task] for task in across}}
        if len(across) > 1
        else {task: [task] for task in across}
    )
    for name, tasks in groups.items():
        found.append(
            Claim.of(
                estimate(np.mean([across[task] for task in tasks], axis=0) - CHANCE),
                claim="mistake shared",
                statement="A mistake probe fitted on other tasks works on one that it has not seen",
                task=name,
                statistic="accuracy of the probe of all other tasks, minus chance (0.5)",
                rule="Shown if the interval lies above 0, contradicted if below; last layer, matched steps.",
                unit=unit(tasks),
            )
        )
    for name in CLASSIFYING:
        if name in across and others:
            found.append(
                Claim.of(
                    estimate(np.mean([across[task] for task in others], axis=0) - across[name]),
                    claim="mistake not shared with classification",
                    statement="The shared mistake probe works less well on a task of classification",
                    task=name,
                    statistic="accuracy of the probe of all other tasks: mean of the tasks of placing, minus that on the task of classifying",
                    rule="Shown if the interval lies above 0, contradicted if below.",
                    unit=unit([*others, name]),
                )
            )
    cosine = measured[(measured["measure"] == "cosine") & (measured["source"] == OTHERS)].mean(
        numeric_only=True
    )
    null = (cosine["high"] - cosine["low"]) / 2
    found.append(
        Claim.of(
            Estimate(
                *(
                    float(cosine["score"] - bound)
                    for bound in (
                        (cosine["high"] + cosine["low"]) / 2,
                        cosine["high"],
                        cosine["low"],
                    )
                )
            ),
            claim="mistake directions agree",
            statement="The directions of mistakes of different tasks point the same way",
            task=ALL,
            statistic=f"mean cosine of all pairs ({cosine['score']:.2f}) minus its values with shuffled labels (95 % within {null:.2f} of their middle)",
            rule="Shown if the mean cosine lies above 97.5 % of its values with shuffled labels, contradicted if below 97.5 %.",
            unit="permutation of labels among steps of equal last action",
        )
    )
    moved = measured[
        measured["measure"].str.startswith("undo:") & (measured["strength"] == STRENGTH)
    ]
    gains = {}
    for i, (task, part) in enumerate(moved.groupby("target", sort=True)):
        shared, random = (
            rate(part[part["measure"] == f"undo:{name}"], "score", "total", count, i)
            for name in ("shared", "random")
        )
        gains[task] = shared - random
    groups = (
        {ALL: list(gains), **{task: [task] for task in gains}}
        if len(gains) > 1
        else {task: [task] for task in gains}
    )
    counted = moved.groupby("target")["episode"].nunique()
    for name, tasks in groups.items():
        samples = np.mean([gains[task] for task in tasks], axis=0)
        found.append(
            Claim.of(
                estimate(samples),
                claim="mistake direction acts",
                statement="Moving the activation along the mistake direction of other tasks brings about an undo",
                task=name,
                statistic="chance of Undo where nothing is wrong, moved along the shared direction minus along random ones of equal length",
                rule=f"Shown if the interval of the paired difference lies above 0, contradicted if below; last layer, moved by {STRENGTH:g} times the task's own "
                "distance between the means with and without a mistake.",
                unit=f"episode ({counted[tasks].sum()} for testing{', tasks as strata' * (len(tasks) > 1)})",
            )
        )
    return found
