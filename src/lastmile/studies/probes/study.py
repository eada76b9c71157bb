"""Probing: what is readable from the activations, layer by layer, against what needs no policy at all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import estimate, rate_over_tasks
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import Need, joint

WHAT = {
    "phase": ("The phase of the work is readable", "accuracy"),
    "position": ("The position in the data is readable", "R²"),
    "mistake": ("An open mistake is readable", "accuracy"),
}


def kind_of(feature: str) -> str:
    """Whether a feature is a layer of the policy, the same of a random network, or another baseline."""
    return (
        "random network"
        if feature.startswith("random:")
        else feature
        if feature in ("screen", "metadata")
        else "policy"
    )


def needs(settings: Settings) -> list[Need]:
    return [Need("probes", joint(settings), task) for task in task_list(settings)]


def _over_tasks(part: pd.DataFrame, target: str, count: int) -> np.ndarray:
    """(1 + count,) the mean over tasks (strata) of the accuracy, or R2 for the position: itself, then bootstrap values."""
    samples = rate_over_tasks(part, "score", "total", count)
    return 1 - samples if target == "position" else samples


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task (or ALL, the mean over tasks), target, feature, of (policy, random network, screen, metadata), labels (real or control), value, low, high, episodes, n.

    value: accuracy for phase and mistake, R2 for position; n: test steps.
    """
    rows = []
    count = settings.evaluation.resamples
    probed = inputs["probes"]
    if probed["task"].nunique() > 1:
        for (target, feature, labels), part in probed.groupby(
            ["target", "feature", "labels"], sort=False
        ):
            steps = int(part["steps"].sum())
            rows.append(
                (
                    ALL,
                    target,
                    feature,
                    kind_of(feature),
                    labels,
                    *estimate(_over_tasks(part, target, count)),
                    len(part[["task", "episode"]].drop_duplicates()),
                    steps,
                )
            )
    for keys, part in probed.groupby(["task", "target", "feature", "labels"], sort=False):
        task, target, feature, labels = keys
        one = estimate(_over_tasks(part, target, count))
        rows.append(
            (
                task,
                target,
                feature,
                kind_of(feature),
                labels,
                *one,
                part["episode"].nunique(),
                int(part["steps"].sum()),
            )
        )
    columns = ["task", "target", "feature", "of", "labels", "value", "low", "high", "episodes", "n"]
    return pd.DataFrame(rows, columns=columns)


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    found = []
    count = settings.evaluation.resamples
    real = inputs["probes"][inputs["probes"]["labels"] == "real"]
    for target, of_target in real.groupby("target", sort=True):
        tasks = sorted(of_target["task"].unique())
        for task in [*([ALL] if len(tasks) > 1 else []), *tasks]:
            part = of_target if task == ALL else of_target[of_target["task"] == task]
            samples = {
                feature: _over_tasks(rows, str(target), count)
                for feature, rows in part.groupby("feature", sort=False)
            }
            last = [feature for feature in samples if kind_of(feature) == "policy"][-1]
            best = max(
                (feature for feature in samples if kind_of(feature) != "policy"),
                key=lambda feature, samples=samples: samples[feature][0],
            )
            statement, unit = WHAT[str(target)]
            number = len(part[["task", "episode"]].drop_duplicates())
            found.append(
                Claim.of(
                    estimate(samples[last] - samples[best]),
                    claim=f"{target} readable",
                    statement=f"{statement} beyond every baseline",
                    task=task,
                    statistic=f"{unit} of the last layer ({last}) minus that of the best baseline ({best})",
                    rule="Shown if the interval of the paired difference lies above 0, contradicted if below; the layer is the last one, the baseline the "
                    "strongest of random network, raw screen and metadata.",
                    unit=f"episode ({number} for testing{', tasks as strata' * (task == ALL)})",
                )
            )
    return found
