"""Does a confidence know mistakes? Reliability, calibration error, and the AUC.

All are computed for the sample and for its bootstrap resamples over worlds at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.evaluation.statistics import ratio_samples, resamples

if TYPE_CHECKING:
    import pandas as pd

BINS = 10
"""Bins of equal width of the confidence, from 0 to 1."""


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Return the number of the bin, 0 to BINS - 1, of each confidence (n,)."""
    return np.minimum((np.asarray(confidence) * BINS).astype(int), BINS - 1)


def auc(annotations: pd.DataFrame, count: int, stratum: int = 0) -> np.ndarray:
    """Return how surely confidence tells wrong annotations from right ones.

    This is the area under the receiver operating characteristic: the share of the pairs of a wrong
    and a right annotation in which the wrong one has the lower confidence; ties count half.

    Args:
        annotations: Rows with the columns `episode`, `confidence` and `right`.
        count: Number of resamples, of episodes.
        stratum: Seed of the resamples.

    Returns:
        (1 + count,): the estimate, then bootstrap values; nan where all are right, or all wrong.
    """
    wrong, right = (annotations[annotations["right"] == flag] for flag in (False, True))
    _, names = np.unique([*wrong["episode"], *right["episode"]], return_inverse=True)
    units = int(names.max()) + 1 if len(names) else 0
    if not len(wrong) or not len(right):
        return np.full(1 + count, np.nan)
    lower = wrong["confidence"].to_numpy()[:, None] - right["confidence"].to_numpy()  # (W, R)
    won = (lower < 0) + 0.5 * (lower == 0)
    of_wrong, of_right = np.eye(units)[names[: len(wrong)]], np.eye(units)[names[len(wrong) :]]
    pairs = of_wrong.T @ won @ of_right  # (units, units), by the episodes of both

    weights = np.vstack([np.ones(units), resamples(units, count, stratum)])
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (weights @ of_wrong.sum(0)) * (weights @ of_right.sum(0))
        return np.einsum("bi,ij,bj->b", weights, pairs, weights) / total


def calibration_error(annotations: pd.DataFrame, count: int, stratum: int = 0) -> np.ndarray:
    """Return the expected calibration error (Naeini, Cooper and Hauskrecht, 2015).

    It is the mean distance of confidence from the share of right annotations, over bins of
    confidence, weighted by the number of annotations in them. With few annotations noise alone
    makes it larger than 0.

    Args:
        annotations: Rows with the columns `episode`, `confidence` and `right`.
        count: Number of resamples, of episodes.
        stratum: Seed of the resamples.

    Returns:
        (1 + count,): the estimate, then bootstrap values; nan without annotations.
    """
    if annotations.empty:
        return np.full(1 + count, np.nan)
    episodes, names = np.unique(annotations["episode"].to_numpy(), return_inverse=True)
    cell = names * BINS + bin_of(annotations["confidence"].to_numpy())
    excess = annotations["confidence"] - annotations["right"]
    shape = (len(episodes), BINS)
    excess = np.bincount(cell, excess, len(episodes) * BINS).reshape(shape)
    totals = np.bincount(cell, minlength=len(episodes) * BINS).reshape(shape)
    weights = np.vstack([np.ones(len(episodes)), resamples(len(episodes), count, stratum)])
    return np.abs(weights @ excess).sum(1) / (weights @ totals.sum(1))


def reliability(annotations: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return how many annotations are right, by bins of confidence.

    Args:
        annotations: Rows with the columns `task`, `episode`, `confidence` and `right`.
        count: Number of resamples, of the worlds of all tasks.

    Returns:
        A row for each bin that holds annotations: `bin`, `confidence` (their mean), `right` (the
        share), `samples` (bootstrap values of it, (count,)), and `n`.
    """
    import pandas as pd

    rows = []
    unit = annotations.groupby(["task", "episode"], sort=True).ngroup().to_numpy()
    units = int(unit.max()) + 1 if len(unit) else 0
    bins = bin_of(annotations["confidence"].to_numpy())
    for number in np.unique(bins):
        inside = bins == number
        right = np.bincount(unit[inside], annotations["right"][inside], units)
        totals = np.bincount(unit[inside], minlength=units)
        rows.append(
            {
                "bin": int(number),
                "confidence": float(annotations["confidence"][inside].mean()),
                "right": float(right.sum() / totals.sum()),
                "samples": ratio_samples(right, totals, count),
                "n": int(totals.sum()),
            }
        )
    return pd.DataFrame(rows, columns=["bin", "confidence", "right", "samples", "n"])
