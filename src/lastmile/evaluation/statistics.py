"""Intervals. The unit of inference is the episode: steps of one episode are not independent.

Several seeds of a training are summed up by their interquartile mean (Agarwal et al., 2021), which is the plain mean for fewer than four.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, trim_mean

from lastmile.errors import LastmileError


class Estimate(NamedTuple):
    """A value with its interval, by default 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """A share with the Wilson score interval (Wilson, 1927). Without trials: nan."""
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


def resamples(units: int, count: int, seed: int = 0) -> np.ndarray:
    """(count, units) bootstrap weights: how often each unit is drawn."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, units, count]))
    return rng.multinomial(units, np.full(units, 1 / units), size=count)


def ratio(
    hits: np.ndarray, totals: np.ndarray, count: int = 2000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """sum(hits) / sum(totals) over episodes, (n,) each, with a percentile bootstrap interval over episodes. Without totals: nan."""
    hits, totals = np.asarray(hits, float), np.asarray(totals, float)
    if totals.sum() == 0:
        return Estimate(np.nan, np.nan, np.nan)
    return interval(hits.sum() / totals.sum(), ratio_samples(hits, totals, count, seed), level)


def ratio_samples(
    hits: np.ndarray, totals: np.ndarray, count: int = 2000, seed: int = 0
) -> np.ndarray:
    """(count,) bootstrap values of sum(hits) / sum(totals). Equal `seed` and number of episodes draw the same episodes, so differences of two
    such arrays are paired."""
    weights = resamples(len(hits), count, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ np.asarray(hits, float)) / (weights @ np.asarray(totals, float))


def mean(values: np.ndarray, count: int = 2000, level: float = 0.95, seed: int = 0) -> Estimate:
    """Mean over episodes with a percentile bootstrap interval."""
    values = np.asarray(values, float)
    return ratio(values, np.ones(len(values)), count, level, seed)


def interval(value: float, samples: np.ndarray, level: float = 0.95) -> Estimate:
    """A value with the percentile interval of its bootstrap samples (nan samples are left out)."""
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return Estimate(float(value), np.nan, np.nan)
    low, high = np.quantile(samples, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(float(value), float(low), float(high))


def curve(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000, stratum: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """sum(hits) / sum(totals) along a training, the interquartile mean of its seeds.

    rows: with the columns seed, episode and frames. Returns frames (points,), and (1 + count, points): the estimate itself, then bootstrap values.
    Episodes are drawn, the same ones for all seeds; several seeds are drawn as well, crossed with the episodes. Snapshots of several seeds, whose
    frames differ a little, are matched in their order. Equal numbers of seeds and episodes draw the same ones in the same `stratum`, so
    differences of two such arrays are paired. Raises ValueError if the seeds have different numbers of snapshots.
    """
    order = rows.groupby("seed")["frames"].rank("dense").astype(int)
    if rows.assign(order=order).groupby("seed")["order"].max().nunique() > 1:
        raise LastmileError("the seeds of a training have different numbers of snapshots")
    index = pd.MultiIndex.from_product(
        [np.sort(rows["seed"].unique()), np.sort(rows["episode"].unique())],
        names=["seed", "episode"],
    )
    sums = (
        rows.groupby([rows["seed"], rows["episode"], order])[[hits, totals]]
        .sum()
        .unstack()
        .reindex(index)
        .fillna(0.0)
    )
    seeds, episodes = (len(level) for level in index.levels)
    weights = np.ones((1 + count, episodes))
    weights[1:] = resamples(episodes, count, stratum)
    hit, total = (
        sums[name].to_numpy(float).reshape(seeds, episodes, -1) for name in (hits, totals)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (weights @ hit) / (weights @ total)  # (seeds, 1 + count, points)
    if seeds > 1:
        drawn = np.random.default_rng(
            np.random.SeedSequence([1000 + stratum, seeds, count])
        ).integers(seeds, size=(count, seeds))
        values[:, 1:] = np.take_along_axis(values[:, 1:], drawn.T[:, :, None], axis=0)
    return rows.groupby(order)["frames"].mean().to_numpy(), trim_mean(values, 0.25, axis=0)


def curve_over_tasks(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """The mean over tasks of `curve`, tasks being strata: episodes are drawn within each. A task without totals is left out."""
    parts = [
        curve(part, hits, totals, count, stratum)
        for stratum, (_, part) in enumerate(rows.groupby("task", sort=True))
    ]
    if len({len(frames) for frames, _ in parts}) > 1:
        raise LastmileError("the tasks have different numbers of snapshots")
    stacked = np.stack([values for _, values in parts])
    there = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(there, stacked, 0.0).sum(axis=0) / there.sum(axis=0)
    return np.mean([frames for frames, _ in parts], axis=0), values


def rate(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000, stratum: int = 0
) -> np.ndarray:
    """(1 + count,) as a point of `curve`, of rows that are not along a training."""
    return curve(rows.assign(frames=0), hits, totals, count, stratum)[1][:, 0]


def rate_over_tasks(rows: pd.DataFrame, hits: str, totals: str, count: int = 2000) -> np.ndarray:
    """(1 + count,) as a point of `curve_over_tasks`."""
    return curve_over_tasks(rows.assign(frames=0), hits, totals, count)[1][:, 0]


def success(rows: pd.DataFrame, column: str, count: int = 2000) -> Estimate:
    """Share of the episodes with a true `column`: with Wilson's interval for one training, by the bootstrap over episodes and seeds for several."""
    if rows["seed"].nunique() < 2:
        return wilson(int(rows[column].sum()), len(rows))
    return estimate(rate_over_tasks(rows.assign(one=1), column, "one", count))


def estimate(samples: np.ndarray, level: float = 0.95) -> Estimate:
    """The first of the samples with the percentile interval of the others: (1 + count,) as `curve` gives them for a point."""
    return interval(samples[0], samples[1:], level)
