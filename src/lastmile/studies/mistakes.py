"""Mistakes: does a policy make fewer than the data it learned from, and does it still correct one that is put in front of it?"""

from __future__ import annotations

import pandas as pd

from lastmile.config import Settings
from lastmile.evaluation.statistics import interval, mean, ratio, ratio_samples, wilson
from lastmile.studies.claims import Claim

READS = ("closed_loop", "recovery")
OUTCOMES = ("success", "score", "finished", "coverage", "steps")
SHARES = ("navigate", "look", "mode", "place", "decide", "undo", "done", "invalid")


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task, seed, who (policy or annotator), measure, value, low, high, n (episodes, or states for recovery).

    Measures: outcomes of closed loop, `share:KIND` of clicks, mistakes per placement, correction rate (undos per placement), and for the policy
    `repaired`, `repaired:KIND` (after an injected mistake) and `undone:mistake`, `undone:control`.
    """
    rows = []
    count = settings.evaluation.resamples
    for (task, seed, who), part in inputs["closed_loop"].groupby(["task", "seed", "who"], sort=True):
        for name in OUTCOMES:
            estimate = (
                wilson(int(part[name].sum()), len(part)) if part[name].dtype == bool else mean(part[name].to_numpy(float), count)
            )
            rows.append((task, seed, who, name, *estimate, len(part)))
        for kind in SHARES:
            rows.append((task, seed, who, f"share:{kind}", *ratio(part[kind], part["steps"], count), len(part)))
        rows.append((task, seed, who, "mistakes per placement", *ratio(part["mistakes"], part["placements"], count), len(part)))
        rows.append((task, seed, who, "correction rate", *ratio(part["undo"], part["placements"], count), len(part)))
    for (task, seed), part in inputs["recovery"].groupby(["task", "seed"], sort=True):
        injected = part[part["condition"] == "mistake"]
        rows.append((task, seed, "policy", "repaired", *wilson(int(injected["repaired"].sum()), len(injected)), len(injected)))
        for kind, some in injected.groupby("kind", sort=True):
            rows.append((task, seed, "policy", f"repaired:{kind}", *wilson(int(some["repaired"].sum()), len(some)), len(some)))
        for condition, some in part.groupby("condition", sort=True):
            rows.append((task, seed, "policy", f"undone:{condition}", *wilson(int(some["undone"].sum()), len(some)), len(some)))
    return pd.DataFrame(rows, columns=["task", "seed", "who", "measure", "value", "low", "high", "n"])


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    found = []
    count = settings.evaluation.resamples
    for task, part in inputs["closed_loop"].groupby("task", sort=True):
        policy, annotator = part[part["who"] == "policy"], part[part["who"] == "annotator"]
        per_world = policy.groupby("episode")[["mistakes", "placements"]].sum()
        base = annotator.groupby("episode")[["mistakes", "placements"]].sum().loc[per_world.index]
        value = base["mistakes"].sum() / base["placements"].sum() - per_world["mistakes"].sum() / max(1, per_world["placements"].sum())
        samples = ratio_samples(base["mistakes"], base["placements"], count) - ratio_samples(per_world["mistakes"], per_world["placements"], count)
        estimate = interval(value, samples)
        found.append(
            Claim.of(
                estimate,
                claim="fewer mistakes than the data",
                statement="The policy makes fewer mistakes than its training data",
                task=str(task),
                statistic="mistakes per placement, annotator minus policy",
                rule="Shown if the interval of the paired difference lies above 0, contradicted if below.",
                unit=f"episode ({len(per_world)} worlds, the same for both)",
                published="fewer mistakes than the training data",
            )
        )  # fmt: skip
    for task, part in inputs["recovery"].groupby("task", sort=True):
        cases = part.groupby(["episode", "condition"])[["repaired", "undone"]].agg(["sum", "count"])
        wide = cases.unstack("condition").fillna(0)
        repaired, injected = wide[("repaired", "sum", "mistake")], wide[("repaired", "count", "mistake")]
        undone, controls = wide[("undone", "sum", "control")], wide[("undone", "count", "control")]
        value = repaired.sum() / injected.sum() - undone.sum() / controls.sum()
        samples = ratio_samples(repaired, injected, count) - ratio_samples(undone, controls, count)
        estimate = interval(value, samples)
        found.append(
            Claim.of(
                estimate,
                claim="correction retained",
                statement="The policy corrects a mistake that is put in front of it",
                task=str(task),
                statistic=f"share repaired within {settings.evaluation.recovery_steps} steps minus share of undos where nothing is wrong",
                rule="Shown if the interval of the difference lies above 0, contradicted if below.",
                unit=f"episode ({len(wide)} with {int(injected.sum())} injected mistakes and as many controls)",
                published="injected mistakes are corrected",
            )
        )  # fmt: skip
    return found
