"""What everybody did on the worlds of people, summed by episode, and the measures made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lastmile.evaluation.statistics import Estimate, estimate, rate, share, wilson
from lastmile.evaluation.two_samples import FEATURES, auc_samples, held_out_scores, windows
from lastmile.screen.widgets import KINDS
from lastmile.studies.labels import JOINT_POLICY, POLICY
from lastmile.studies.runs import kind_of_policy
from lastmile.tasks.task import RIGHT

if TYPE_CHECKING:
    import pandas as pd

PEOPLE = "people"
STYLES = ("careful", "typical", "hasty")


class Measure(NamedTuple):
    """A ratio of sums over episodes.

    Attributes:
        hits: Column that is summed above the line.
        totals: Column that is summed below it.
        bounded: Whether it is a share, from 0 to 1.
    """

    hits: str
    totals: str
    bounded: bool = False


MEASURES = {
    "steps": Measure("steps", "one"),
    "seconds": Measure("seconds", "timed"),
    **{f"share:{kind}": Measure(kind, "steps", bounded=True) for kind in KINDS},
    "success": Measure("success", "one", bounded=True),
    "mistakes per placement": Measure("wrong", "annotations"),
    "undos per placement": Measure("undo", "annotations"),
    "repaired": Measure("repaired", "made", bounded=True),
    "steps to repair": Measure("delay", "repaired"),
    "distance": Measure("distance", "placements"),
}
"""Measures of everybody, by name. `scatter` and `completed` stand beside them."""
PREDICTED = {
    "same kind": Measure("same_kind", "predicted", bounded=True),
    "same widget": Measure("same_widget", "predicted", bounded=True),
    "placement within 5 px": Measure("near", "place_predicted", bounded=True),
}
"""How often a policy's most likely click is the one that was made, on clicks of others."""


class Task(NamedTuple):
    """What everybody did on the worlds of people in one task.

    Attributes:
        clicks: All clicks, the kinds of policies told apart in `who`.
        episodes: Sums by episode, with the columns that `MEASURES` and `PREDICTED` name. `of` is
            the kind of policy that it was measured beside, `seed` the number of the person.
        attempts: All recordings, with the `rule` by which they do not count.
        stratum: Seed of the resamples.
    """

    clicks: pd.DataFrame
    episodes: pd.DataFrame
    attempts: pd.DataFrame
    stratum: int

    def rows(self, who: str, of: str = POLICY) -> pd.DataFrame:
        """Return the episodes of somebody, with predictions by a kind of policy."""
        of = JOINT_POLICY if who == JOINT_POLICY else of
        return self.episodes[(self.episodes["who"] == who) & (self.episodes["of"] == of)]

    @property
    def people(self) -> list[str]:
        """Pseudonyms of the people whose episodes count."""
        return sorted(self.rows(PEOPLE)["person"].unique())

    @property
    def others(self) -> list[str]:
        """Everybody else."""
        present = set(self.clicks["who"])
        known = [who for who in (*STYLES, POLICY, JOINT_POLICY) if who in present]
        return [*known, *sorted(present - {PEOPLE, *known})]


def by_task(inputs: dict[str, pd.DataFrame], tasks: tuple[str, ...]) -> dict[str, Task]:
    """Return what was done in each task with a recording.

    Of the seeds of a policy the first is taken: claims are about the policies of this run.
    """
    clicks, attempts = (_by_kind(inputs[name]) for name in ("side_by_side", "attempts"))
    found: dict[str, Task] = {}
    for stratum, task in enumerate(tasks):
        of_task = clicks[clicks["task"] == task]
        episodes = attempts[attempts["task"] == task]
        recordings = episodes[(episodes["who"] == PEOPLE) & (episodes["of"] == POLICY)]
        if len(recordings):
            # Whoever is no policy did the same beside each policy.
            shown = of_task[(of_task["of"] == POLICY) | (of_task["who"] == JOINT_POLICY)]
            found[task] = Task(shown, _summed(of_task, episodes), recordings, stratum)
    return found


def _by_kind(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first seed of each run, with the kind of its policy in `of`."""
    rows = rows[rows["seed"] == rows.groupby("run")["seed"].transform("min")]
    of = kind_of_policy(rows).astype(object)
    who = rows["who"].astype(object)
    return rows.assign(of=of, who=who.where(who != POLICY, of))


def _summed(clicks: pd.DataFrame, attempts: pd.DataFrame) -> pd.DataFrame:
    """Return the sums of each episode that counts."""
    kind, verdict = (clicks[name].astype(object) for name in ("kind", "verdict"))
    distance = clicks["distance"].astype(float)
    predicted = clicks["predicted"].astype(bool)
    columns: dict[str, Any] = {
        **{name: kind == name for name in KINDS},
        "steps": 1.0,
        "wrong": (verdict != "") & (verdict != RIGHT),
        "annotations": verdict != "",
        "distance": distance.fillna(0.0),
        "squared": distance.fillna(0.0) ** 2,
        "placements": distance.notna(),
        "place_predicted": predicted & (kind == "place"),
        **{name: clicks[name] for name in ("made", "repaired", "delay")},
        **{name: clicks[name] for name in ("predicted", "same_kind", "same_widget", "near")},
    }
    keys = ["of", "who", "person", "episode", "repeat"]
    rows = clicks[keys].assign(**columns).astype(dict.fromkeys(columns, float))
    outcomes = attempts[attempts["rule"] == ""].set_index(keys)[["success", "seconds"]]
    episodes = rows.groupby(keys)[list(columns)].sum().join(outcomes).reset_index()
    numbers = {name: number for number, name in enumerate(sorted(episodes["person"].unique()))}
    seconds = episodes["seconds"].astype(float)
    return episodes.assign(
        one=1.0,
        seed=episodes["person"].map(numbers),
        success=episodes["success"].astype(float),
        timed=seconds.notna().astype(float),
        seconds=seconds.fillna(0.0),
    )


def samples_of(rows: pd.DataFrame, measure: Measure, count: int, stratum: int) -> np.ndarray:
    """Return a measure with its bootstrap values, (1 + count,): the mean over people.

    People with nothing below the line, such as no mistakes to repair, are left out; nan where
    nobody has anything there.
    """
    rows = rows[rows.groupby("seed")[measure.totals].transform("sum") > 0]
    if rows.empty:
        return np.full(1 + count, np.nan)
    return rate(rows, measure.hits, measure.totals, count, stratum)


def few(rows: pd.DataFrame) -> int | None:
    """Return the number of worlds, for `estimate`; None for several people (see `interval`)."""
    return None if rows["seed"].nunique() > 1 else int(rows["episode"].nunique())


def estimate_of(rows: pd.DataFrame, measure: Measure, count: int, stratum: int) -> Estimate:
    """Estimate a measure, nan where nothing is below the line. No measure is below 0."""
    samples = samples_of(rows, measure, count, stratum)
    value, low, high = (share if measure.bounded else estimate)(samples, few(rows))
    return Estimate(value, max(low, 0.0), high)


def auc_estimate(samples: np.ndarray, people: int, worlds: int) -> Estimate:
    """Estimate an AUC from its bootstrap values.

    Where all windows are told right, all resamples are alike, too. Then the interval is Wilson's:
    people, or the worlds of a single person, are trials that all succeeded.

    Args:
        samples: The AUC, then bootstrap values.
        people: Number of people.
        worlds: Number of worlds.
    """
    value = share(samples, None if people > 1 else worlds)
    if value.low == value.high and value.value in (0.0, 1.0):
        trials = people if people > 1 else worlds
        return wilson(round(value.value * trials), trials)
    return value


def scatter_of(rows: pd.DataFrame, count: int, stratum: int) -> Estimate:
    """Estimate the standard deviation of the distances of placements, logical px."""
    mean, square = (
        samples_of(rows, Measure(name, "placements"), count, stratum)
        for name in ("distance", "squared")
    )
    value, low, high = estimate(np.sqrt(np.maximum(square - mean**2, 0.0)), few(rows))
    return Estimate(value, max(low, 0.0), high)


def paired(
    left: pd.DataFrame, right: pd.DataFrame, measure: Measure, count: int, stratum: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a measure of two groups on the worlds of both, with equal resamples."""
    worlds = set(left["episode"]) & set(right["episode"])
    first, second = (
        samples_of(rows[rows["episode"].isin(worlds)], measure, count, stratum)
        for rows in (left, right)
    )
    return first, second


def told_apart(
    task: Task, who: str, count: int, features: tuple[str, ...] = FEATURES
) -> dict[str, np.ndarray]:
    """Return the AUC that tells people from somebody, (1 + count,): of all features, and of each.

    Args:
        task: What was done in a task.
        who: The others.
        count: Number of resamples.
        features: Those that are also taken alone.

    Returns:
        Values by name, `AUC` and `AUC:FEATURE`; nothing if there are no two groups.
    """
    rows = windows(task.clicks[task.clicks["who"].isin([PEOPLE, who])])
    first = (rows["who"] == PEOPLE).to_numpy()
    if not first.any() or first.all():
        return {}
    values = rows[list(FEATURES)].to_numpy(float)
    person, episode = rows["person"].to_numpy(object), rows["episode"].to_numpy()
    scores = {"AUC": held_out_scores(values, first, episode)}
    for feature in features:
        alone = rows[feature].to_numpy(float)
        if np.unique(alone[np.isfinite(alone)]).size > 1:
            scores[f"AUC:{feature}"] = alone
    return {
        name: auc_samples(score, first, person, episode, count, task.stratum)
        for name, score in scores.items()
    }
