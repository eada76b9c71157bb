"""Linear probes: what a linear map can read from an activation.

Every probe is fitted on some episodes and tested on others. Its baselines are a network with random
weights, the raw screen and metadata (step number and last action). For mistakes, each step with an
open mistake is matched with one without, equal in last action and near in step number; otherwise
the probe could simply read the undo click.

The control task of Hewitt and Liang (2019), a random label for each (episode, third of its steps),
tells how much a probe memorizes: selectivity is accuracy minus accuracy on the control task.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lastmile.probing.activations import Inputs

TARGETS = ("phase", "position", "mistake")
COLUMNS = ("target", "feature", "labels", "episode", "score", "total", "steps")
"""Columns of the table of measurements."""
TRAIN_SHARE = 0.6
"""Share of the episodes that probes are fitted on; the others are for testing."""
WIDEST = 128
"""Wider features are first reduced to this many principal components of the fitting steps."""


def fit_probes(inputs: Inputs, seed: int = 0) -> pd.DataFrame:
    """Fit and test every probe.

    Targets with a single class, or with too few steps, are left out.

    Args:
        inputs: Features and labels.
        seed: Seed of the split into episodes to fit and to test on, and of the control labels.

    Returns:
        One row per test episode, target, feature and kind of labels, with the columns `target`,
        `feature`, `labels` ("real" or "control"), `episode`, `score`, `total` and `steps`. For
        phase and mistake, `score` counts the correct steps of `total`. For position, `score` is
        the sum of squared errors and `total` the sum of squared deviations from the fitted mean,
        so that R2 = 1 - sum(score) / sum(total). Without any probe, the table has no rows.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 17]))
    episodes = np.unique(inputs.episode)
    training = np.isin(inputs.episode, fitting_episodes(episodes, rng))  # (steps,) bool
    matched = np.sort(
        np.concatenate([matched_mistakes(inputs, rng, among) for among in (training, ~training)])
    )

    tables = []
    for feature, values in inputs.features.items():
        for target in TARGETS:
            chosen = matched if target == "mistake" else np.arange(len(training))
            train = chosen[training[chosen]]
            test = chosen[~training[chosen]]
            if len(train) < 20 or len(test) < 5:
                continue
            for labels in ("real", "control"):
                # The order of the control labels' random draws is part of the results.
                if target == "position":
                    if labels == "control":
                        continue
                    scores = _regress(inputs, values, train, test)
                else:
                    classes = (
                        inputs.phase
                        if target == "phase"
                        else (inputs.open_mistakes > 0).astype(int)
                    )
                    if labels == "control":
                        classes = control_labels(inputs, classes[chosen], rng)
                    if len(np.unique(classes[train])) < 2:
                        continue
                    scores = _classify(inputs, values, classes, train, test)
                tables.append(scores.assign(target=target, feature=feature, labels=labels))
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def fitting_episodes(episodes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the episodes to fit on: TRAIN_SHARE of them, at least one, and not all."""
    order = rng.permutation(episodes)
    return order[: min(len(order) - 1, max(1, round(TRAIN_SHARE * len(order))))]


def matched_mistakes(inputs: Inputs, rng: np.random.Generator, among: np.ndarray) -> np.ndarray:
    """Match each step with an open mistake with a step without one.

    The partner has the same last action, and the nearest step number that is still free. Steps
    without a partner are left out.

    Args:
        inputs: Labels.
        rng: Random generator: for the order of matching, and among equally near partners.
        among: (steps,) bool, the steps to match with each other.

    Returns:
        Indices of the matched steps of both kinds, sorted.
    """
    chosen: list[int] = []
    wrong = inputs.open_mistakes > 0
    for action in np.unique(inputs.last_action):
        with_action = among & (inputs.last_action == action)
        positive = np.flatnonzero(wrong & with_action)
        negative = np.flatnonzero(~wrong & with_action)
        free = np.ones(len(negative), bool)
        for index in rng.permutation(positive).tolist():
            if not free.any():
                break
            distance = np.where(
                free, np.abs(inputs.step[negative] - inputs.step[index]), np.iinfo(np.int64).max
            )
            nearest = int(rng.choice(np.flatnonzero(distance == distance.min())))
            free[nearest] = False
            chosen += [index, int(negative[nearest])]
    return np.sort(np.array(chosen, dtype=np.int64))


def control_labels(inputs: Inputs, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a random label for each (episode, third of its steps).

    Args:
        inputs: Labels of all steps.
        labels: The real labels; the random ones have their frequencies.
        rng: Random generator.

    Returns:
        (steps,) random labels.
    """
    classes, counts = np.unique(labels, return_counts=True)
    lengths = {
        int(e): int(inputs.step[inputs.episode == e].max()) + 1 for e in np.unique(inputs.episode)
    }
    third = (3 * inputs.step) // np.array([lengths[int(e)] for e in inputs.episode])
    _, group = np.unique(np.column_stack([inputs.episode, third]), axis=0, return_inverse=True)
    drawn = rng.choice(classes, size=group.max() + 1, p=counts / counts.sum())
    return drawn[group.reshape(-1)]


def _reduce(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Reduce wide features, (steps, d), to principal components of the fitting steps."""
    if values.shape[1] <= WIDEST:
        return values
    components = min(WIDEST, len(train) - 1)
    pca = PCA(components, svd_solver="randomized", random_state=0).fit(values[train])
    return pca.transform(values).astype(np.float32)


def _classify(
    inputs: Inputs, values: np.ndarray, classes: np.ndarray, train: np.ndarray, test: np.ndarray
) -> pd.DataFrame:
    """Fit a logistic regression and count its correct steps by test episode."""
    values = _reduce(values, train)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    right = probe.fit(values[train], classes[train]).predict(values[test]) == classes[test]
    return _by_episode(inputs.episode[test], right.astype(float), 1.0)


def _regress(
    inputs: Inputs, values: np.ndarray, train: np.ndarray, test: np.ndarray
) -> pd.DataFrame:
    """Fit a ridge regression of the position and sum its squared errors by test episode."""
    values = _reduce(values, train)
    probe = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
    y = inputs.position
    error = (probe.fit(values[train], y[train]).predict(values[test]) - y[test]) ** 2
    spread = (y[test] - y[train].mean()) ** 2
    return _by_episode(inputs.episode[test], error, spread)


def _by_episode(episode: np.ndarray, score: np.ndarray, total: np.ndarray | float) -> pd.DataFrame:
    rows = pd.DataFrame({"episode": episode, "score": score, "total": total, "steps": 1})
    return rows.groupby("episode", as_index=False).sum()
