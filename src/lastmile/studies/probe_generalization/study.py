"""Generalization of mistake probes: do tasks share one representation of mistakes?

Probes of one task are tested on another, their directions are compared, and activations are moved
along them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, estimate, few, rate, share
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL, OTHERS, RECOVERY_STEPS
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
"""Accuracy of a mistake probe by chance: it is tested on pairs, one half of each is wrong."""
CLASSIFYING = ("object_exploration",)
"""Tasks of classification; the published study finds that mistakes are not shared with them."""
STRENGTH = 1.0
"""Shift for which the intervention is tested: as far as a mistake itself moves the activation."""

SHARED = Hypothesis(
    claim="mistake shared",
    statement="A mistake probe fitted on other tasks works on a task that it has not seen",
    statistic="accuracy of the probe of all other tasks, minus chance (0.5)",
    rule="Shown if the interval lies above 0, contradicted if below; last layer. A task on which "
    "its own probe does not read mistakes has nothing to share, and no say.",
    effect=Effect(
        "percent",
        above="percentage points above chance",
        below="percentage points below chance",
        lead="accuracy",
    ),
    smallest=0.03,
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
    smallest=0.05,
)
AGREE = Hypothesis(
    claim="mistake directions agree",
    statement="The directions of mistakes of different tasks point the same way",
    statistic="mean cosine of all pairs of tasks ({cosine}) minus its values with wrong and right "
    "swapped at random by episode (95 % within {null} of their middle)",
    rule="Shown if the mean cosine lies above 97.5 % of its values with shuffled labels, "
    "contradicted if below 97.5 %.",
    effect=Effect(
        "difference",
        above="above its values with shuffled labels",
        below="below its values with shuffled labels",
        lead="mean cosine",
    ),
    smallest=0.1,
)
ACTS = Hypothesis(
    claim="mistake direction acts",
    statement="Moving the activation along the mistake direction of other tasks makes an undo "
    "likelier",
    statistic="chance of Undo after right annotations, moved along the shared direction minus "
    "along random ones of equal length",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below; "
    f"moved in the middle of the transformer, by {STRENGTH:g} times the task's own distance "
    "between the means of wrong and right annotations. The interval holds the noise of the "
    "direction: it is made anew of redrawn episodes.",
    effect=Effect(
        "percent",
        above="percentage points more undos than along random directions",
        below="percentage points fewer undos than along random directions",
    ),
    smallest=0.01,
)
ACTS_PLAYED = Hypothesis(
    claim="mistake direction acts, closed loop",
    statement="A policy whose activations are moved along the mistake direction of other tasks "
    "takes back what is right",
    statistic=f"share of right annotations gone after {RECOVERY_STEPS} steps, moved at each of "
    "them along the shared direction minus along random ones of equal length",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below; "
    f"moved as far as there, by {STRENGTH:g}. Episodes take turns with directions of redrawn "
    "episodes.",
    effect=Effect(
        "percent",
        above="percentage points more gone than along random directions",
        below="percentage points fewer gone than along random directions",
    ),
    smallest=0.02,
)
HYPOTHESES = (SHARED, NOT_SHARED, AGREE, ACTS, ACTS_PLAYED)


def needs(settings: Settings) -> list[Need]:
    """Return the probes of the joint policy across tasks; nothing for a single task."""
    if len(task_list(settings)) < 2:
        return []
    return [Need("cross_task_probes", joint(settings), JOINT)]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by `measure`, `source`, `target` and `strength`:

    - `accuracy`, `auc` of a probe fitted on `source` (a task, or `OTHERS`) on the pairs of
      `target`; `accuracy:random` for a network with random weights.
    - `cosine` of the directions of two tasks; low and high hold 95 % of its values with shuffled
      labels. Source and target `OTHERS`: the mean of all pairs.
    - `undo:shared`, `undo:random`: chance of Undo after moving activations by `strength`. Target
      `ALL`: the mean over tasks.
    - `gone:shared`, `gone:random`: share of right annotations that are gone in the end, if the
      policy works on with activations moved at every step.
    """
    import pandas as pd

    rows: list[tuple] = []
    count = settings.evaluation.resamples
    measured = inputs["cross_task_probes"]

    accuracies = measured[measured["measure"].isin(["accuracy", "auc", "accuracy:random"])]
    for key, part in accuracies.groupby(["measure", "source", "target"], sort=True):
        number = part["episode"].nunique()
        accuracy = share(rate(part, "score", "total", count), _few(part))
        rows.append((*key, np.nan, *accuracy, number))

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
            chance = estimate(samples, _few(part[part["target"] == task]))
            rows.append((name, OTHERS, task, strength, *chance, episodes[task]))
        mean = estimate(np.mean(list(by_task.values()), axis=0), _few(part))
        rows.append((name, OTHERS, ALL, strength, *mean, episodes.sum()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _moved(measured: pd.DataFrame) -> pd.DataFrame:
    """Return the rows about moved activations, without those of redrawn directions."""
    moved = measured["measure"].astype(str).str.startswith(("undo:", "gone:"))
    return measured[moved & (measured["draw"] == 0)]


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether mistake probes generalize, whether directions agree, and whether they act."""
    count = settings.evaluation.resamples
    measured = inputs["cross_task_probes"]
    return [
        *_accuracy_claims(measured, count),
        _cosine_claim(measured),
        *_acting_claims(ACTS, "undo", measured, count),
        *_acting_claims(ACTS_PLAYED, "gone", measured, count),
    ]


def _few(rows: pd.DataFrame) -> int | None:
    return few(rows.assign(task=rows["target"]))


def _unit(episodes: pd.Series, tasks: list[str]) -> str:
    strata = ", tasks as strata" if len(tasks) > 1 else ""
    return f"episode ({episodes[tasks].sum()} for testing{strata})"


def _accuracy_claims(measured: pd.DataFrame, count: int) -> list[Claim]:
    probed = measured[measured["measure"] == "accuracy"]
    accuracy = probed[probed["source"] == OTHERS]
    if accuracy.empty:
        reason = "fewer than two tasks have enough mistakes to fit and test a probe"
        return [hypothesis.untestable(reason, ALL) for hypothesis in (SHARED, NOT_SHARED)]

    across = {
        str(task): rate(part, "score", "total", count, stratum)
        for stratum, (task, part) in enumerate(accuracy.groupby("target", sort=True))
    }
    own = probed[probed["source"] == probed["target"]]
    unread = [
        str(task)
        for task, part in own.groupby("target", sort=True)
        if not estimate(rate(part, "score", "total", count), _few(part)).low > CHANCE
    ]
    reason = "its own probe does not read its mistakes; a better policy or more episodes would"
    episodes = accuracy.groupby("target")["episode"].nunique()
    tested = []
    for name in whole_and_parts(list(across)):
        tasks = [name] if name != ALL else [task for task in across if task not in unread]
        if not tasks:
            none = f"on none of {len(across)} tasks are mistakes readable; a better policy would"
            tested.append(SHARED.untestable(none, name))
            continue
        of_tasks = accuracy[accuracy["target"].isin(tasks)]
        above = estimate(np.mean([across[task] for task in tasks], axis=0) - CHANCE, _few(of_tasks))
        tested.append(
            SHARED.test(
                above,
                name,
                _unit(episodes, tasks),
                int(episodes[tasks].sum()),
                reason=reason if name in unread else "",
            )
        )

    placing = [task for task in across if task not in CLASSIFYING and task not in unread]
    for name in CLASSIFYING:
        if name in across and placing:
            mean = np.mean([across[task] for task in placing], axis=0)
            unit = _unit(episodes, [*placing, name])
            difference = estimate(mean - across[name], _few(accuracy[accuracy["target"] == name]))
            tested.append(NOT_SHARED.test(difference, name, unit, int(episodes[name])))
        elif name in across:
            none = "on no task of placing are mistakes readable; a better policy would"
            tested.append(NOT_SHARED.untestable(none, name))
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
        "permutation of wrong and right, by episode",
        cosine=f"{mean['score']:.2f}",
        null=f"{null:.2f}",
    )


def _acting_claims(
    hypothesis: Hypothesis, what: str, measured: pd.DataFrame, count: int
) -> list[Claim]:
    """Test whether moving along the shared direction does more than along random ones."""
    moved = measured[measured["measure"].astype(str).str.startswith(f"{what}:")]
    moved = moved[moved["strength"] == STRENGTH]
    gains: dict[str, np.ndarray] = {}
    for stratum, (task, part) in enumerate(moved.groupby("target", sort=True)):
        random = part[part["measure"] == f"{what}:random"]
        shared = part[part["measure"] == f"{what}:shared"]
        draws = [rows for _, rows in shared.groupby("draw", sort=True)]
        if random.empty or not draws:
            continue
        of_draws = np.stack([rate(rows, "score", "total", count, stratum) for rows in draws])
        along = of_draws[0].copy()
        if len(draws) > 1:
            # Redrawn directions take turns, so that the spread of the samples holds theirs. A
            # redrawn direction is noisier than the one of all episodes: keep the mean in place.
            redrawn = of_draws[1:] - of_draws[1:, :1].mean() + of_draws[0, 0]
            turns = (np.arange(count) + stratum) % len(redrawn)
            along[1:] = redrawn[turns, np.arange(1, count + 1)]
        gains[str(task)] = along - rate(random, "score", "total", count, stratum)
    if not gains:
        reason = "fewer than two tasks have enough mistakes for a direction to move along"
        return [hypothesis.untestable(reason, ALL)]

    episodes = moved.groupby("target")["episode"].nunique()
    tested = []
    for name in whole_and_parts(list(gains)):
        tasks = list(gains) if name == ALL else [name]
        units = int(episodes[tasks].sum())
        of_tasks = moved[moved["target"].isin(tasks)]
        gain = estimate(np.mean([gains[task] for task in tasks], axis=0), _few(of_tasks))
        tested.append(hypothesis.test(gain, name, _unit(episodes, tasks), units))
    return tested
