"""Generalization of mistake probes: do tasks share one representation of mistakes?

Probes of one task are tested on another, their directions are compared, and activations are moved
along them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, estimate, rate
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL, OTHERS
from lastmile.studies.runs import JOINT, Need, joint

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples",)
COLUMNS = {
    "measure": TEXT,
    "source": TEXT,
    "target": TEXT,
    "strength": NUMBER_OR_NONE,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
}
CHANCE = 0.5
"""Accuracy of a mistake probe by chance: steps with and without a mistake are matched."""
CLASSIFYING = ("object_exploration",)
"""Tasks of classification; the published study finds that mistakes are not shared with them."""
STRENGTH = 1.0
"""Shift for which the intervention is tested: as far as a mistake itself moves the activation."""

SHARED = Hypothesis(
    claim="mistake shared",
    statement="A mistake probe fitted on other tasks works on a task that it has not seen",
    statistic="accuracy of the probe of all other tasks, minus chance (0.5)",
    rule="Shown if the interval lies above 0, contradicted if below; last layer, matched steps.",
    effect=Effect(
        "percent",
        above="percentage points above chance",
        below="percentage points below chance",
        lead="accuracy",
    ),
)
NOT_SHARED = Hypothesis(
    claim="mistake not shared with classification",
    statement="The shared mistake probe works less well on a task of classification",
    statistic="accuracy of the probe of all other tasks: mean of the tasks of placing, minus that "
    "on the task of classifying",
    rule="Shown if the interval lies above 0, contradicted if below.",
    effect=Effect(
        "percent",
        above="percentage points lower on the task of classification",
        below="percentage points higher on the task of classification",
        lead="accuracy",
    ),
)
AGREE = Hypothesis(
    claim="mistake directions agree",
    statement="The directions of mistakes of different tasks point the same way",
    statistic="mean cosine of all pairs ({cosine}) minus its values with shuffled labels (95 % "
    "within {null} of their middle)",
    rule="Shown if the mean cosine lies above 97.5 % of its values with shuffled labels, "
    "contradicted if below 97.5 %.",
    effect=Effect(
        "difference",
        above="above its values with shuffled labels",
        below="below its values with shuffled labels",
        lead="mean cosine",
    ),
)
ACTS = Hypothesis(
    claim="mistake direction acts",
    statement="Moving the activation along the mistake direction of other tasks makes an undo "
    "likelier",
    statistic="chance of Undo where nothing is wrong, moved along the shared direction minus along "
    "random ones of equal length",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below; last "
    f"layer, moved by {STRENGTH:g} times the task's own distance between the means with and "
    "without a mistake.",
    effect=Effect(
        "percent",
        above="percentage points more undos than along random directions",
        below="percentage points fewer undos than along random directions",
    ),
)
HYPOTHESES = (SHARED, NOT_SHARED, AGREE, ACTS)


def needs(settings: Settings) -> list[Need]:
    """Return the probes of the joint policy across tasks; nothing for a single task."""
    if len(task_list(settings)) < 2:
        return []
    return [Need("cross_task_probes", joint(settings), JOINT)]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by `measure`, `source`, `target` and `strength`:

    - `accuracy` of a probe fitted on `source` (a task, or `OTHERS`) on the steps of `target`.
    - `cosine` of the directions of two tasks; low and high hold 95 % of its values with shuffled
      labels. Source and target `OTHERS`: the mean of all pairs.
    - `undo:shared`, `undo:random`: chance of Undo after moving activations by `strength`. Target
      `ALL`: the mean over tasks.
    """
    import pandas as pd

    rows: list[tuple] = []
    count = settings.evaluation.resamples
    measured = inputs["cross_task_probes"]

    accuracies = measured[measured["measure"] == "accuracy"]
    for (source, target), part in accuracies.groupby(["source", "target"], sort=True):
        accuracy = estimate(rate(part, "score", "total", count))
        rows.append(("accuracy", source, target, np.nan, *accuracy, part["episode"].nunique()))

    # Cosines come with the quantiles of their null: over seeds all three are averaged.
    pairs = measured[measured["measure"] == "cosine"].groupby(["source", "target"], sort=True)
    cosines = pairs[["score", "low", "high"]].mean()
    for pair, cosine in zip(cosines.index, cosines.to_numpy().tolist()):
        rows.append(("cosine", *pair, np.nan, *cosine, 0))

    for (name, strength), part in _moved(measured).groupby(["measure", "strength"], sort=True):
        by_task = {
            str(task): rate(rows_of_task, "score", "total", count, stratum)
            for stratum, (task, rows_of_task) in enumerate(part.groupby("target", sort=True))
        }
        episodes = part.groupby("target")["episode"].nunique()
        for task, samples in by_task.items():
            chance = estimate(samples)
            rows.append((name, OTHERS, task, strength, *chance, episodes[task]))
        mean = estimate(np.mean(list(by_task.values()), axis=0))
        rows.append((name, OTHERS, ALL, strength, *mean, episodes.sum()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _moved(measured: pd.DataFrame) -> pd.DataFrame:
    """Return the rows about the chance of Undo."""
    return measured[measured["measure"].astype(str).str.startswith("undo:")]


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether mistake probes generalize, whether directions agree, and whether they act."""
    count = settings.evaluation.resamples
    measured = inputs["cross_task_probes"]
    return [
        *_accuracy_claims(measured, count),
        _cosine_claim(measured),
        *_undo_claims(measured, count),
    ]


def _unit(episodes: pd.Series, tasks: list[str]) -> str:
    strata = ", tasks as strata" if len(tasks) > 1 else ""
    return f"episode ({episodes[tasks].sum()} for testing{strata})"


def _accuracy_claims(measured: pd.DataFrame, count: int) -> list[Claim]:
    accuracy = measured[(measured["measure"] == "accuracy") & (measured["source"] == OTHERS)]
    if accuracy.empty:
        reason = "fewer than two tasks have enough mistakes to fit and test a probe"
        return [hypothesis.untestable(reason, ALL) for hypothesis in (SHARED, NOT_SHARED)]

    across = {
        str(task): rate(part, "score", "total", count, stratum)
        for stratum, (task, part) in enumerate(accuracy.groupby("target", sort=True))
    }
    episodes = accuracy.groupby("target")["episode"].nunique()
    tested = []
    for name in whole_and_parts(list(across)):
        tasks = list(across) if name == ALL else [name]
        above = estimate(np.mean([across[task] for task in tasks], axis=0) - CHANCE)
        tested.append(SHARED.test(above, name, _unit(episodes, tasks)))

    placing = [task for task in across if task not in CLASSIFYING]
    for name in CLASSIFYING:
        if name in across and placing:
            mean = np.mean([across[task] for task in placing], axis=0)
            unit = _unit(episodes, [*placing, name])
            tested.append(NOT_SHARED.test(estimate(mean - across[name]), name, unit))
    return tested


def _cosine_claim(measured: pd.DataFrame) -> Claim:
    rows = measured[(measured["measure"] == "cosine") & (measured["source"] == OTHERS)]
    if rows.empty:
        reason = "fewer than two tasks have enough mistakes for a direction"
        return AGREE.untestable(reason, ALL, cosine="not measured", null="not measured")

    mean = rows.mean(numeric_only=True)
    middle = (mean["high"] + mean["low"]) / 2
    null = (mean["high"] - mean["low"]) / 2
    # The interval is the null's, turned around: it excludes 0 where the null excludes the cosine.
    excess = [float(mean["score"] - bound) for bound in (middle, mean["high"], mean["low"])]
    return AGREE.test(
        Estimate(*excess),
        ALL,
        "permutation of labels among steps of equal last action",
        cosine=f"{mean['score']:.2f}",
        null=f"{null:.2f}",
    )


def _undo_claims(measured: pd.DataFrame, count: int) -> list[Claim]:
    moved = _moved(measured)
    moved = moved[moved["strength"] == STRENGTH]
    gains: dict[str, np.ndarray] = {}
    for stratum, (task, part) in enumerate(moved.groupby("target", sort=True)):
        sides = [part[part["measure"] == f"undo:{name}"] for name in ("shared", "random")]
        if all(len(side) for side in sides):
            shared, random = (rate(side, "score", "total", count, stratum) for side in sides)
            gains[str(task)] = shared - random
    if not gains:
        reason = "fewer than two tasks have enough mistakes for a direction to move along"
        return [ACTS.untestable(reason, ALL)]

    episodes = moved.groupby("target")["episode"].nunique()
    tested = []
    for name in whole_and_parts(list(gains)):
        tasks = list(gains) if name == ALL else [name]
        gain = estimate(np.mean([gains[task] for task in tasks], axis=0))
        tested.append(ACTS.test(gain, name, _unit(episodes, tasks)))
    return tested
