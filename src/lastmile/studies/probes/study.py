"""Probes: what a linear map reads from the activations, layer by layer, against baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import estimate, rate_over_tasks
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, joint

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples",)
COLUMNS = {
    "task": TEXT,
    "target": TEXT,
    "feature": TEXT,
    "of": TEXT,
    "labels": TEXT,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
    "n": WHOLE,
}


def _readable(target: str, statement: str, score: str, effect: Effect) -> Hypothesis:
    return Hypothesis(
        claim=f"{target} readable",
        statement=f"{statement} beyond every baseline",
        statistic=f"{score} of the last layer ({{layer}}) minus that of the best baseline "
        "({baseline})",
        rule="Shown if the interval of the paired difference lies above 0, contradicted if below; "
        "the layer is the last one, the baseline the strongest of random network, raw screen and "
        "metadata.",
        effect=effect,
    )


_MORE_ACCURATE = Effect(
    "percent",
    above="percentage points above the best baseline",
    below="percentage points below the best baseline",
    lead="accuracy",
)
READABLE = {
    "mistake": _readable("mistake", "An open mistake is readable", "accuracy", _MORE_ACCURATE),
    "phase": _readable("phase", "The phase of the work is readable", "accuracy", _MORE_ACCURATE),
    "position": _readable(
        "position",
        "The position in the data is readable",
        "R²",
        Effect(
            "difference",
            above="above the best baseline",
            below="below the best baseline",
            lead="R²",
        ),
    ),
}
"""Hypotheses by what is probed."""
HYPOTHESES = tuple(READABLE.values())


def kind_of(feature: str) -> str:
    """Return what a feature belongs to: policy, random network, screen or metadata."""
    if feature.startswith("random:"):
        return "random network"
    return feature if feature in ("screen", "metadata") else "policy"


def needs(settings: Settings) -> list[Need]:
    """Return the probes of the joint policy on each task."""
    return [Need("linear_probes", joint(settings), task) for task in task_list(settings)]


def _over_tasks(part: pd.DataFrame, target: str, count: int) -> np.ndarray:
    """Return the mean over tasks of the accuracy, or of R² for the position, (1 + count,)."""
    samples = rate_over_tasks(part, "score", "total", count)
    return 1 - samples if target == "position" else samples


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (or `ALL`, the mean over tasks), `target`, `feature`, `of` (see `kind_of`) and
    `labels` (real, or control: random labels). The value is accuracy for phase and mistake, R² for
    position. `episodes` and `n` count test episodes and test steps.
    """
    import pandas as pd

    rows: list[tuple] = []
    count = settings.evaluation.resamples
    probed = inputs["linear_probes"]
    probe = ["target", "feature", "labels"]

    def add(task: str, target: str, feature: str, labels: str, part: pd.DataFrame) -> None:
        value = estimate(_over_tasks(part, target, count))
        episodes = len(part[["task", "episode"]].drop_duplicates())
        steps = int(part["steps"].sum())
        rows.append((task, target, feature, kind_of(feature), labels, *value, episodes, steps))

    if probed["task"].nunique() > 1:
        for (target, feature, labels), part in probed.groupby(probe, sort=False):
            add(ALL, target, feature, labels, part)
    for (task, target, feature, labels), part in probed.groupby(["task", *probe], sort=False):
        add(task, target, feature, labels, part)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether the last layer says more than the best baseline."""
    count = settings.evaluation.resamples
    real = inputs["linear_probes"][inputs["linear_probes"]["labels"] == "real"]
    if real.empty:
        task = whole_and_parts(list(task_list(settings)))[0]
        return [
            hypothesis.untestable("no probes were fitted", task, layer="none", baseline="none")
            for hypothesis in HYPOTHESES
        ]

    tested = []
    for target, of_target in real.groupby("target", sort=True):
        hypothesis = READABLE[str(target)]
        for task in whole_and_parts(sorted(of_target["task"].unique())):
            part = of_target if task == ALL else of_target[of_target["task"] == task]
            samples = {
                str(feature): _over_tasks(rows, str(target), count)
                for feature, rows in part.groupby("feature", sort=False)
            }
            layers = [feature for feature in samples if kind_of(feature) == "policy"]
            baselines = {f: values for f, values in samples.items() if f not in layers}
            if not layers or not baselines:
                reason = f"no probe of {'a baseline' if layers else 'the policy'}"
                names = {"layer": "none", "baseline": "none"}
                tested.append(hypothesis.untestable(reason, task, **names))
                continue

            last = layers[-1]
            scores = {feature: float(values[0]) for feature, values in baselines.items()}
            best = max(scores, key=scores.__getitem__)
            number = len(part[["task", "episode"]].drop_duplicates())
            strata = ", tasks as strata" if task == ALL else ""
            unit = f"episode ({number} for testing{strata})"
            difference = estimate(samples[last] - samples[best])
            tested.append(hypothesis.test(difference, task, unit, layer=last, baseline=best))
    return tested
