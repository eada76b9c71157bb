"""A classifier two-sample test (Lopez-Paz and Oquab, 2017): who clicked, told from the clicks?

Episodes are cut into windows of `WINDOW` clicks, each described by a few features that can be
named. A logistic regression is fitted on some worlds and tested on the others. The area under the
ROC curve (AUC) is the chance that it gives a window of the first group a higher score than a window
of the second one: one half if nothing tells them apart. The AUC of a single feature says whether it
gives the group away.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from lastmile.evaluation.statistics import resamples, seed_weights
from lastmile.screen.widgets import KINDS

if TYPE_CHECKING:
    import pandas as pd

WINDOW = 20
"""Clicks in a window. What is left at the end of an episode is dropped, unless it is all."""
FOLDS = 5
"""Parts of the worlds; each is tested once."""
FEATURES = (
    *(f"share of {kind}" for kind in KINDS),
    "same widget again",
    "change of kind",
    "undo after placement",
    "wrong annotations",
    "way of the pointer",
    "off the middle of buttons",
    "side of buttons, x",
    "side of buttons, y",
    "distance of placements",
    "scatter of placements",
)
"""Features of a window. Shares are of its clicks, of its annotations, or of its placements; the way
of the pointer is in logical px a click, distances are in logical px. Clicks by key have no place on
a button, and count in none of the features about these."""


def windows(clicks: pd.DataFrame) -> pd.DataFrame:
    """Return the features of all windows.

    Args:
        clicks: Rows with the columns of `lastmile.evaluation.side_by_side.CLICKS`.

    Returns:
        One row per window, with the columns `who`, `person`, `episode` and `FEATURES`; nan where a
        window holds nothing that a feature is about.
    """
    import pandas as pd

    rows = []
    keys = ["who", "person", "episode", "repeat"]
    for (who, person, episode, _), part in clicks.groupby(keys, sort=True):
        count = max(1, len(part) // WINDOW)
        for number in range(count):
            window = part.iloc[number * WINDOW : (number + 1) * WINDOW]
            rows.append({"who": who, "person": person, "episode": episode} | _features(window))
    return pd.DataFrame(rows, columns=["who", "person", "episode", *FEATURES])


def _features(window: pd.DataFrame) -> dict[str, float]:
    kind = window["kind"].to_numpy(str)
    verdict = window["verdict"].to_numpy(str)
    off = window[["off_x", "off_y"]].to_numpy(float)
    distance = window["distance"].to_numpy(float)
    placed = kind[:-1] == "place"
    judged = verdict != ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are nan
        return {
            **{f"share of {name}": float(np.mean(kind == name)) for name in KINDS},
            "same widget again": float(window["again"].mean()),
            "change of kind": float(np.mean(kind[1:] != kind[:-1])),
            "undo after placement": float(np.mean(kind[1:][placed] == "undo")),
            "wrong annotations": float(np.mean(verdict[judged] != "right")),
            "way of the pointer": float(np.nanmean(window["jump"].to_numpy(float))),
            "off the middle of buttons": float(np.nanmean(np.hypot(*off.T))),
            "side of buttons, x": float(np.nanmean(off[:, 0])),
            "side of buttons, y": float(np.nanmean(off[:, 1])),
            "distance of placements": float(np.nanmean(distance)),
            "scatter of placements": float(np.nanstd(distance)),
        }


def held_out_scores(
    values: np.ndarray, first: np.ndarray, episode: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Return the log odds that each window is of the first group, by a classifier of other worlds.

    Args:
        values: (windows, features); nan counts as the mean.
        first: (windows,) bool, whether a window is of the first group.
        episode: (windows,) number of the world: windows of one world are in one fold, whoever made
            them.
        seed: Seed of the folds.

    Returns:
        (windows,) log odds; nan in folds whose classifier would have seen one group alone.
    """
    from sklearn.linear_model import LogisticRegression

    names, world = np.unique(episode, return_inverse=True)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 31, len(names)]))
    fold = (rng.permutation(len(names)) % FOLDS)[world]
    scores = np.full(len(values), np.nan)
    for number in np.unique(fold):
        test = fold == number
        train = ~test
        if len(np.unique(first[train])) < 2:
            continue
        scaled = _scaled(values, train)
        model = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced")
        scores[test] = model.fit(scaled[train], first[train]).decision_function(scaled[test])
    return scores


def _scaled(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Standardize features by the windows to fit on; what is missing becomes their mean."""
    known = np.isfinite(values[train])
    counts = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values[train], 0.0)
    mean = filled.sum(axis=0) / counts
    spread = np.sqrt((np.where(known, values[train] - mean, 0.0) ** 2).sum(axis=0) / counts)
    scaled = (values - mean) / np.where(spread > 1e-9, spread, 1.0)
    return np.where(np.isfinite(scaled), scaled, 0.0)


def auc_samples(
    scores: np.ndarray,
    first: np.ndarray,
    person: np.ndarray,
    episode: np.ndarray,
    count: int = 2000,
    stratum: int = 0,
) -> np.ndarray:
    """Return the AUC of scores with its bootstrap values, (1 + count,); the AUC is the first.

    It is the mean over people of the AUC of each against the whole second group. Worlds are
    resampled for both groups alike; how it would differ with other people follows Student's t, as
    for seeds of a training run (`lastmile.evaluation.statistics.seed_weights`).

    Args:
        scores: (windows,) scores; windows without one (nan) are left out.
        first: (windows,) bool, whether a window is of the first group, people.
        person: (windows,) who of them; of no matter in the second group.
        episode: (windows,) number of the world.
        count: Number of resamples.
        stratum: Seed of the resamples.
    """
    known = np.isfinite(scores)
    worlds, world = np.unique(episode, return_inverse=True)
    weights = np.ones((1 + count, len(worlds)))
    weights[1:] = resamples(len(worlds), count, stratum)
    second = known & ~first
    names = np.unique(person[first & known])
    if not len(names) or not second.any():
        return np.full(1 + count, np.nan)

    by_person = []
    for name in names:
        of_person = known & first & (person == name)
        wins = np.sign(scores[of_person][:, None] - scores[second][None]) / 2 + 0.5
        won, pairs = (np.zeros((len(worlds), len(worlds))) for _ in range(2))
        cells = (world[of_person][:, None], world[second][None])
        np.add.at(won, cells, wins)
        np.add.at(pairs, cells, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            above = np.einsum("ra,ab,rb->r", weights, won, weights, optimize=True)
            below = np.einsum("ra,ab,rb->r", weights, pairs, weights, optimize=True)
            by_person.append(above / below)
    return np.einsum("bp,pb->b", seed_weights(len(names), count), np.stack(by_person))
