"""Probes: what a linear map reads from the activations, layer by layer, against baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import count_episodes, estimate, few, rate_over_tasks
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


CHANCE = "chance"
"""The feature of a probe that sees nothing."""


def _readable(
    target: str, statement: str, score: str, effect: Effect, smallest: float
) -> Hypothesis:
    return Hypothesis(
        claim=f"{target} readable",
        statement=f"{statement} is readable",
        statistic=f"{score} of the last layer ({{layer}}) minus that of a constant",
        rule="Shown if the interval lies above 0, contradicted if below; last layer.",
        effect=effect,
        smallest=smallest,
    )


def _learned(
    target: str, statement: str, score: str, effect: Effect, smallest: float
) -> Hypothesis:
    return Hypothesis(
        claim=f"{target} more readable than from the input",
        statement=f"{statement} is more readable than without training",
        statistic=f"{score} of the last layer ({{layer}}) minus that of the same layer of a "
        "network with random weights",
        rule="Shown if the interval of the paired difference lies above 0, contradicted if below; "
        "the layer is the last one.",
        effect=effect,
        smallest=smallest,
    )


def _effect(kind: Literal["percent", "difference"], lead: str, than: str) -> Effect:
    points = "percentage points " if kind == "percent" else ""
    return Effect(kind, f"{points}above {than}", f"{points}below {than}", lead)


WORDS: dict[str, tuple[str, str, Literal["percent", "difference"]]] = {
    "mistake": ("Whether the annotation just made is wrong", "accuracy", "percent"),
    "phase": ("The phase of the work", "accuracy", "percent"),
    "position": ("The position in the data", "R²", "difference"),
}
"""By target: what it is, and how it is scored."""
SMALLEST = 0.03
"""Smallest difference in accuracy or R² of interest."""
READABLE = {
    target: _readable(target, words, score, _effect(kind, score, "chance"), SMALLEST)
    for target, (words, score, kind) in WORDS.items()
}
LEARNED = {
    target: _learned(
        target, words, score, _effect(kind, score, "a network with random weights"), SMALLEST
    )
    for target, (words, score, kind) in WORDS.items()
}
"""Hypotheses by what is probed."""
HYPOTHESES = (*READABLE.values(), *LEARNED.values())


def kind_of(feature: str) -> str:
    """Return what a feature belongs to: policy, random network, screen, metadata or chance."""
    if feature.startswith("random:"):
        return "random network"
    return feature if feature in ("screen", "metadata", CHANCE) else "policy"


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
    position. `mistake seen` and `mistake unseen` are the mistakes that the newest screen shows, and
    the others; `mistake AUC` is the share of pairs in which the wrong half has the higher score.
    `episodes` and `n` count test episodes and test steps.
    """
    import pandas as pd

    rows: list[tuple] = []
    count = settings.evaluation.resamples
    probed = inputs["linear_probes"]
    probe = ["target", "feature", "labels"]

    def add(task: str, target: str, feature: str, labels: str, part: pd.DataFrame) -> None:
        episodes = count_episodes(part)
        value = estimate(_over_tasks(part, target, count), few(part))
        steps = int(part["steps"].sum())
        rows.append((task, target, feature, kind_of(feature), labels, *value, episodes, steps))

    if probed["task"].nunique() > 1:
        for (target, feature, labels), part in probed.groupby(probe, sort=False):
            add(ALL, target, feature, labels, part)
    for (task, target, feature, labels), part in probed.groupby(["task", *probe], sort=False):
        add(task, target, feature, labels, part)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether the last layer says more than chance, and more than a random network's."""
    count = settings.evaluation.resamples
    real = inputs["linear_probes"][inputs["linear_probes"]["labels"] == "real"]
    tested = []
    for target, readable in READABLE.items():
        of_target = real[real["target"] == target]
        if of_target.empty:
            task = whole_and_parts(list(task_list(settings)))[0]
            for hypothesis in (readable, LEARNED[target]):
                tested.append(hypothesis.untestable("no probes were fitted", task, layer="none"))
            continue

        for task in whole_and_parts(sorted(of_target["task"].unique())):
            part = of_target if task == ALL else of_target[of_target["task"] == task]
            layers = [name for name in part["feature"].unique() if kind_of(name) == "policy"]
            last = layers[-1] if layers else "none"
            number = count_episodes(part)
            strata = ", tasks as strata" if task == ALL else ""
            unit = f"episode ({number} for testing{strata})"
            for hypothesis, baseline in ((readable, CHANCE), (LEARNED[target], f"random:{last}")):
                sides = [part[part["feature"] == name] for name in (last, baseline)]
                if any(side.empty for side in sides):
                    reason = f"no probe of {'the policy' if sides[0].empty else baseline}"
                    tested.append(hypothesis.untestable(reason, task, layer=last))
                    continue
                ours, theirs = (_over_tasks(side, target, count) for side in sides)
                difference = estimate(ours - theirs, few(part))
                tested.append(hypothesis.test(difference, task, unit, number, layer=last))
    return tested
