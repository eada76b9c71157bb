"""Probing: what is readable from the activations, layer by layer, against what needs no policy at all."""

from __future__ import annotations

import pandas as pd

from lastmile.config import Settings
from lastmile.evaluation.statistics import Estimate, interval, ratio, ratio_samples
from lastmile.studies.claims import Claim

READS = ("probes",)
WHAT = {
    "phase": ("The phase of the work is readable", "accuracy", "phase is linearly readable"),
    "position": ("The position in the data is readable", "R²", "position is linearly readable"),
    "mistake": ("An open mistake is readable", "accuracy", "a mistake is linearly readable"),
}


def kind_of(feature: str) -> str:
    """Whether a feature is a layer of the policy, the same of a random network, or another baseline."""
    return "random network" if feature.startswith("random:") else feature if feature in ("screen", "metadata") else "policy"


def _estimate(part: pd.DataFrame, target: str, count: int) -> Estimate:
    one = ratio(part["score"], part["total"], count)
    return Estimate(1 - one.value, 1 - one.high, 1 - one.low) if target == "position" else one


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task, seed, target, feature, of (policy, random network, screen, metadata), labels (real or control), value, low, high, episodes, n.

    value: accuracy for phase and mistake, R2 for position; n: test steps.
    """
    rows = []
    for keys, part in inputs["probes"].groupby(["task", "seed", "target", "feature", "labels"], sort=False):
        task, seed, target, feature, labels = keys
        estimate = _estimate(part, target, settings.evaluation.resamples)
        rows.append((task, seed, target, feature, kind_of(feature), labels, *estimate, len(part), int(part["steps"].sum())))
    columns = ["task", "seed", "target", "feature", "of", "labels", "value", "low", "high", "episodes", "n"]
    return pd.DataFrame(rows, columns=columns)


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    found = []
    count = settings.evaluation.resamples
    for (task, target), part in inputs["probes"].groupby(["task", "target"], sort=True):
        real = part[part["labels"] == "real"]
        features = list(dict.fromkeys(real["feature"]))
        last = [f for f in features if kind_of(f) == "policy"][-1]
        sums = {f: real[real["feature"] == f].groupby("episode")[["score", "total"]].sum() for f in features}
        sign = -1 if target == "position" else 1

        def value(feature: str, sums=sums) -> float:
            return sums[feature]["score"].sum() / sums[feature]["total"].sum()

        baselines = [f for f in features if kind_of(f) != "policy"]
        best = max(baselines, key=lambda f: sign * value(f))
        samples = sign * (ratio_samples(*sums[last].to_numpy().T, count) - ratio_samples(*sums[best].to_numpy().T, count))
        estimate = interval(sign * (value(last) - value(best)), samples)
        statement, unit, published = WHAT[target]
        found.append(
            Claim.of(
                estimate,
                claim=f"{target} readable",
                statement=f"{statement} beyond every baseline",
                task=str(task),
                statistic=f"{unit} of the last layer ({last}) minus that of the best baseline ({best})",
                rule="Shown if the interval of the paired difference lies above 0, contradicted if below; the layer is the last one, the baseline the "
                "strongest of random network, raw screen and metadata.",
                unit=f"episode ({len(sums[last])} for testing)",
                published=published,
            )
        )  # fmt: skip
    return found
