"""Estimates with intervals.

The unit of inference is the episode: steps of one episode are not independent.

Intervals are bias-corrected and accelerated (BCa; Efron, 1987), and their levels are widened by
Student's t for few units (Hesterberg, 2015): a percentile interval of eight episodes is a sixth too
narrow and does not follow the skew of shares close to 0 or 1.

Several seeds of a training run are summarized by their mean. How much it would differ with other
seeds is not drawn from the seeds, which are too few to be drawn from, but follows Student's t.
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
    """Estimate sum(hits) / sum(totals) with a bootstrap interval over episodes.

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
    samples = ratio_samples(hits, totals, count, seed)
    return interval(hits.sum() / totals.sum(), samples, level, len(hits))


def ratio_samples(hits: Values, totals: Values, count: int = 2000, seed: int = 0) -> np.ndarray:
    """Return bootstrap values of sum(hits) / sum(totals), (count,).

    Equal seeds and numbers of episodes draw the same episodes, so the difference of two such arrays
    is paired. Arguments as in `ratio`.
    """
    weights = resamples(len(hits), count, seed)  # (count, episodes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ np.asarray(hits, float)) / (weights @ np.asarray(totals, float))


def mean(values: Values, count: int = 2000, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate the mean over episodes with a bootstrap interval."""
    values = np.asarray(values, float)
    return ratio(values, np.ones(len(values)), count, level, seed)


def interval(
    value: float, samples: np.ndarray, level: float = 0.95, units: int | None = None
) -> Estimate:
    """Return a value with the interval of its bootstrap samples, nan left out.

    It is BCa, with Student's t in the place of the normal distribution. The acceleration is a sixth
    of the skewness of the samples: for a mean that is what the jackknife gives.

    Args:
        value: The estimate.
        samples: Its bootstrap values.
        level: Coverage of the interval.
        units: Number of units that were resampled; few make the interval wider. None for samples
            that have Student's tails already (see `seed_weights`): their percentiles are taken.
    """
    from scipy.stats import norm, t  # here, since it is slow to import

    samples = samples[np.isfinite(samples)]
    if not len(samples) or not np.isfinite(value):
        return Estimate(float(value), np.nan, np.nan)
    spread = samples.std()
    if spread < 1e-12:
        return Estimate(float(value), float(value), float(value))

    if units is None or units < 2:
        low, high = np.quantile(samples, [0.5 - level / 2, 0.5 + level / 2])
        return Estimate(float(value), float(low), float(high))

    reach = float(t.ppf(0.5 + level / 2, units - 1)) * np.sqrt(units / (units - 1))
    below = np.mean(samples < value) + np.mean(samples == value) / 2
    bias = float(norm.ppf(np.clip(below, 1 / len(samples), 1 - 1 / len(samples))))
    skewness = np.mean(((samples - samples.mean()) / spread) ** 3)
    acceleration = np.clip(skewness / 6, -0.1, 0.1)  # heavy tails make the skewness uncertain
    ends = []
    for z in (bias - reach, bias + reach):
        # Beyond the pole of the formula the end is that of all samples.
        scale = max(1 - acceleration * z, 1e-3)
        ends.append(float(np.quantile(samples, norm.cdf(bias + z / scale))))
    # With much bias the interval may miss the estimate, which is then its end.
    return Estimate(float(value), min(ends[0], float(value)), max(ends[1], float(value)))


def of_units(values: Values, level: float = 0.95) -> Estimate:
    """Estimate the mean of units, such as tasks, with Student's interval; nan below two."""
    from scipy.stats import t  # here, since it is slow to import

    values = np.asarray(values, float)
    if len(values) < 2:
        return Estimate(float(values.mean()) if len(values) else np.nan, np.nan, np.nan)
    half = float(t.ppf(0.5 + level / 2, len(values) - 1)) * values.std(ddof=1) / len(values) ** 0.5
    middle = float(values.mean())
    return Estimate(middle, middle - float(half), middle + float(half))


def seed_weights(seeds: int, count: int, training: int = 0) -> np.ndarray:
    """Return weights of the seeds of a training run, (1 + count, seeds), for their mean.

    The first row is the plain mean. With the others, the mean of any numbers, one per seed, varies
    like Student's t around it, with the standard error of the mean. All measurements of one
    training run, on whichever task, must share them.

    Args:
        seeds: Number of seeds.
        count: Number of further rows.
        training: Tells apart runs whose noise is independent.
    """
    weights = np.full((1 + count, seeds), 1 / seeds)
    if seeds > 1:
        rng = np.random.default_rng(np.random.SeedSequence([1000 + training, seeds, count]))
        normal = rng.normal(size=(count, seeds))
        normal -= normal.mean(axis=1, keepdims=True)
        tails = np.sqrt((seeds - 1) / rng.chisquare(seeds - 1, size=(count, 1)))
        weights[1:] += normal * tails / np.sqrt(seeds * (seeds - 1))
    return weights


def curve(
    rows: pd.DataFrame,
    hits: str,
    totals: str,
    count: int = 2000,
    stratum: int = 0,
    training: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate sum(hits) / sum(totals) along a training run, by the mean of its seeds.

    Episodes are resampled, the same ones for all seeds, whose weights are those of `seed_weights`.
    Snapshots of different seeds, whose frames differ a little, are matched by their order. Within a
    `stratum`, equal numbers of episodes draw the same ones, so the difference of two such arrays is
    paired.

    Args:
        rows: Measurements, with the columns `seed`, `episode` and `frames`.
        hits: Column of the numerators.
        totals: Column of the denominators.
        count: Number of resamples.
        stratum: Seed of the resamples.
        training: Tells apart runs whose noise is independent, see `seed_weights`.

    Returns:
        The frames of the snapshots, (points,), and the values, (1 + count, points): the estimate
        in the first row, bootstrap values in the others.

    Raises:
        LastmileError: The seeds have different numbers of snapshots.
    """
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

    mean_frames = np.bincount(order, frames, points) / np.bincount(order, minlength=points)
    return mean_frames, np.einsum("bs,sbp->bp", seed_weights(seeds, count, training), values)


def curve_over_tasks(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000, joint: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the mean of `curve` over tasks; further arguments and results as there.

    Tasks are strata: episodes are resampled within each. Tasks without totals are left out.

    Args:
        rows: Measurements, with the columns `seed`, `task`, `episode` and `frames`.
        hits: Column of the numerators.
        totals: Column of the denominators.
        count: Number of resamples.
        joint: Whether the noise between seeds is common to all tasks, as it is for a policy that
            was trained for all of them; else each task has a training run of its own.

    Raises:
        LastmileError: The seeds or tasks have different numbers of snapshots.
    """
    curves = [
        curve(task_rows, hits, totals, count, stratum, 0 if joint else stratum)
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
    rows: pd.DataFrame,
    hits: str,
    totals: str,
    count: int = 2000,
    stratum: int = 0,
    training: int = 0,
) -> np.ndarray:
    """Return the values of `curve` at a single point, (1 + count,), of rows without `frames`."""
    return curve(rows.assign(frames=0), hits, totals, count, stratum, training)[1][:, 0]


def rate_over_tasks(
    rows: pd.DataFrame, hits: str, totals: str, count: int = 2000, joint: bool = True
) -> np.ndarray:
    """Return the values of `curve_over_tasks` at a single point, (1 + count,)."""
    return curve_over_tasks(rows.assign(frames=0), hits, totals, count, joint)[1][:, 0]


def success(rows: pd.DataFrame, column: str, count: int = 2000) -> Estimate:
    """Estimate the share of episodes in which `column` is true.

    Wilson's interval is used for one training run, the bootstrap over episodes and seeds for
    several.
    """
    if rows["seed"].nunique() < 2:
        return wilson(int(rows[column].sum()), len(rows))
    return share(rate_over_tasks(rows.assign(one=1), column, "one", count))


def count_episodes(rows: pd.DataFrame) -> int:
    """Return the number of episodes of all tasks, which are the units of inference."""
    return len(rows[["task", "episode"]].drop_duplicates())


def few(rows: pd.DataFrame) -> int | None:
    """Return the number of episodes, for `estimate`; None for several seeds (see `interval`)."""
    return None if rows["seed"].nunique() > 1 else count_episodes(rows)


def estimate(samples: np.ndarray, units: int | None = None, level: float = 0.95) -> Estimate:
    """Turn a column of `curve`, (1 + count,), into its estimate and interval.

    Args:
        samples: The estimate, then bootstrap values.
        units: Number of units that were resampled, see `few`.
        level: Coverage of the interval.
    """
    return interval(samples[0], samples[1:], level, units)


def share(samples: np.ndarray, units: int | None = None) -> Estimate:
    """Return the `estimate` of a share: its interval ends at 0 and at 1."""
    value, low, high = estimate(samples, units)
    return Estimate(value, max(low, 0.0), min(high, 1.0))
