"""Estimates with intervals.

The unit of inference is the episode: steps of one episode are not independent.

Several seeds of a training run are summarized by their interquartile mean (Agarwal et al., 2021),
which is the plain mean for fewer than four seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from lastmile.errors import LastmileError

if TYPE_CHECKING:
    import pandas as pd

Values: TypeAlias = np.ndarray | Sequence[float]
"""One number per episode."""


class Estimate(NamedTuple):
    """A value with its interval, by default 95 %.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """Estimate a proportion with the Wilson score interval (Wilson, 1927); nan without trials."""
    from scipy.stats import norm  # here, since it is slow to import

    if trials == 0:
        return Estimate(np.nan, np.nan, np.nan)
    z = float(norm.ppf(0.5 + level / 2))
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z
        * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
        / (1 + z * z / trials)
    )
    return Estimate(share, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


@lru_cache(maxsize=64)
def resamples(units: int, count: int, seed: int = 0) -> np.ndarray:
    """Draw bootstrap weights, (count, units): how often each unit is in each resample.

    They are shared between calls, and so read-only.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, units, count]))
    weights = rng.multinomial(units, np.full(units, 1 / units), size=count)
    weights.flags.writeable = False
    return weights


def ratio(
    hits: Values, totals: Values, count: int = 2000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Estimate sum(hits) / sum(totals) with a percentile bootstrap interval over episodes.

    Args:
        hits: (episodes,) numerators.
        totals: (episodes,) denominators; if they sum to 0 the estimate is nan.
        count: Number of resamples.
        level: Coverage of the interval.
        seed: Seed of the resamples.
    """
    hits = np.asarray(hits, float)
    totals = np.asarray(totals, float)
    if totals.sum() == 0:
        return Estimate(np.nan, np.nan, np.nan)
    return interval(hits.sum() / totals.sum(), ratio_samples(hits, totals, count, seed), level)


def ratio_samples(hits: Values, totals: Values, count: int = 2000, seed: int = 0) -> np.ndarray:
    """Return bootstrap values of sum(hits) / sum(totals), (count,).

    Equal seeds and numbers of episodes draw the same episodes, so the difference of two such arrays
    is paired. Arguments as in `ratio`.
    """
    weights = resamples(len(hits), count, seed)  # (count, episodes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ np.asarray(hits, float)) / (weights @ np.asarray(totals, float))


def mean(values: Values, count: int = 2000, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate the mean over episodes with a percentile bootstrap interval."""
    values = np.asarray(values, float)
    return ratio(values, np.ones(len(values)), count, level, seed)


def interval(value: float, samples: np.ndarray, level: float = 0.95) -> Estimate:
    """Return a value with the percentile interval of its bootstrap samples, nan left out."""
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return Estimate(float(value), np.nan, np.nan)
    low, high = np.quantile(samples, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(float(value), float(low), float(high))


def curve(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000, stratum: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate sum(hits) / sum(totals) along a training run, by its seeds' interquartile mean.

    Episodes are resampled, the same ones for all seeds; several seeds are resampled as well,
    crossed with the episodes. Snapshots of different seeds, whose frames differ a little, are
    matched by their order. Within a `stratum`, equal numbers of seeds and episodes draw the same
    ones, so the difference of two such arrays is paired.

    Args:
        rows: Measurements, with the columns `seed`, `episode` and `frames`.
        hits: Column of the numerators.
        totals: Column of the denominators.
        count: Number of resamples.
        stratum: Seed of the resamples.

    Returns:
        The frames of the snapshots, (points,), and the values, (1 + count, points): the estimate
        in the first row, bootstrap values in the others.

    Raises:
        LastmileError: The seeds have different numbers of snapshots.
    """
    from scipy.stats import trim_mean  # here, since it is slow to import

    # Plain NumPy, since a study calls this a thousand times: pandas would take ten times as long.
    frames = rows["frames"].to_numpy(float)
    seed_names, seed = np.unique(rows["seed"].to_numpy(), return_inverse=True)
    episode_names, episode = np.unique(rows["episode"].to_numpy(), return_inverse=True)
    order = np.empty(len(rows), int)  # of the snapshot of each row, in its training run
    snapshots = set()
    for number in range(len(seed_names)):
        of_seed = seed == number
        distinct, order[of_seed] = np.unique(frames[of_seed], return_inverse=True)
        snapshots.add(len(distinct))
    if len(snapshots) > 1:
        raise LastmileError("the seeds of a training run have different numbers of snapshots")

    seeds, episodes, points = shape = len(seed_names), len(episode_names), max(snapshots, default=0)
    cell = np.ravel_multi_index((seed, episode, order), shape)
    hit, total = (
        np.bincount(cell, rows[name].to_numpy(float), seeds * episodes * points).reshape(shape)
        for name in (hits, totals)
    )

    # The first row of weights is the sample itself.
    weights = np.ones((1 + count, episodes))
    weights[1:] = resamples(episodes, count, stratum)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (weights @ hit) / (weights @ total)  # (seeds, 1 + count, points)

    if seeds > 1:
        # 1000 keeps this generator apart from the one that draws episodes.
        drawn = np.random.default_rng(
            np.random.SeedSequence([1000 + stratum, seeds, count])
        ).integers(seeds, size=(count, seeds))
        values[:, 1:] = np.take_along_axis(values[:, 1:], drawn.T[:, :, None], axis=0)
    mean_frames = np.bincount(order, frames, points) / np.bincount(order, minlength=points)
    # SciPy would go through values with nan one by one.
    missing = np.isnan(values).any(axis=0)
    middle = trim_mean(np.where(missing, 0.0, values), 0.25, axis=0)
    return mean_frames, np.where(missing, np.nan, middle)


def curve_over_tasks(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the mean of `curve` over tasks; arguments and results as there.

    Tasks are strata: episodes are resampled within each. Tasks without totals are left out.

    Raises:
        LastmileError: The seeds or tasks have different numbers of snapshots.
    """
    curves = [
        curve(task_rows, hits, totals, count, stratum)
        for stratum, (_, task_rows) in enumerate(rows.groupby("task", sort=True))
    ]
    if len({len(frames) for frames, _ in curves}) > 1:
        raise LastmileError("the tasks have different numbers of snapshots")

    stacked = np.stack([values for _, values in curves])  # (tasks, 1 + count, points)
    finite = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(finite, stacked, 0.0).sum(axis=0) / finite.sum(axis=0)
    return np.mean([frames for frames, _ in curves], axis=0), values


def rate(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000, stratum: int = 0
) -> np.ndarray:
    """Return the values of `curve` at a single point, (1 + count,), of rows without `frames`."""
    return curve(rows.assign(frames=0), hits, totals, count, stratum)[1][:, 0]


def rate_over_tasks(rows: pd.DataFrame, hits: str, totals: str, count: int = 2000) -> np.ndarray:
    """Return the values of `curve_over_tasks` at a single point, (1 + count,)."""
    return curve_over_tasks(rows.assign(frames=0), hits, totals, count)[1][:, 0]


def success(rows: pd.DataFrame, column: str, count: int = 2000) -> Estimate:
    """Estimate the share of episodes in which `column` is true.

    Wilson's interval is used for one training run, the bootstrap over episodes and seeds for
    several.
    """
    if rows["seed"].nunique() < 2:
        return wilson(int(rows[column].sum()), len(rows))
    return estimate(rate_over_tasks(rows.assign(one=1), column, "one", count))


def estimate(samples: np.ndarray, level: float = 0.95) -> Estimate:
    """Turn a column of `curve`, (1 + count,), into its estimate and percentile interval."""
    return interval(samples[0], samples[1:], level)
