"""Intervals. The unit of inference is the episode: steps of one episode are not independent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm


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
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return Estimate(share, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def resamples(units: int, count: int, seed: int = 0) -> np.ndarray:
    """(count, units) bootstrap weights: how often each unit is drawn."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, units, count]))
    return rng.multinomial(units, np.full(units, 1 / units), size=count)


def ratio(hits: np.ndarray, totals: np.ndarray, count: int = 2000, level: float = 0.95, seed: int = 0) -> Estimate:
    """sum(hits) / sum(totals) over episodes, (n,) each, with a percentile bootstrap interval over episodes. Without totals: nan."""
    hits, totals = np.asarray(hits, float), np.asarray(totals, float)
    if totals.sum() == 0:
        return Estimate(np.nan, np.nan, np.nan)
    return interval(hits.sum() / totals.sum(), ratio_samples(hits, totals, count, seed), level)


def ratio_samples(hits: np.ndarray, totals: np.ndarray, count: int = 2000, seed: int = 0) -> np.ndarray:
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
