"""Linear probes: what a linear map can read from an activation.

Every probe is fitted on some episodes and tested on others. Phase and position are read at every
step of recorded episodes. Mistakes are read from counterfactual pairs (`lastmile.probing.pairs`):
the label says whether the annotation just made is wrong, and both halves of a pair share world,
step, action and past, so that chance is one half and nothing but the annotation tells them apart.

Baselines are a network with random weights, the raw screen, metadata (step number and last action)
and a constant. The control task of Hewitt and Liang (2019), a random label for each (episode, third
of its steps), tells how much a probe memorizes: selectivity is accuracy minus accuracy on the
control task.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lastmile.probing.activations import Inputs
from lastmile.probing.pairs import Pairs

TARGETS = ("phase", "position", "mistake")
VIEWS = ("mistake seen", "mistake unseen")
"""The target `mistake` on test pairs whose newest screen shows the mistake, and on the others."""
AUC = "mistake AUC"
"""Share of the test pairs in which the probe of mistakes gives the wrong half the higher score."""
COLUMNS = ("target", "feature", "labels", "episode", "score", "total", "steps")
"""Columns of the table of measurements."""
TRAIN_SHARE = 0.6
"""Share of the episodes that probes are fitted on; the others are for testing."""
FOLDS = 5
"""Parts of the episodes with pairs; each is tested once, since pairs are too few to set aside."""
WIDEST = 128
"""Wider features are first reduced to this many principal components of the fitting steps."""


def fit_probes(inputs: Inputs, pairs: Pairs, seed: int = 0) -> pd.DataFrame:
    """Fit and test every probe.

    Targets with a single class, or with too few steps, are left out.

    Args:
        inputs: Features and labels of whole episodes.
        pairs: Features after wrong and right annotations.
        seed: Seed of the split into episodes to fit and to test on, and of the control labels.

    Returns:
        One row per test episode, target (`TARGETS`, `VIEWS` and `AUC`), feature and kind of labels,
        with the columns `target`, `feature`, `labels` ("real" or "control"), `episode`, `score`,
        `total` and `steps`. `score` counts the correct ones of `total` steps or pairs. For
        position, `score` is the sum of squared errors and `total` the sum of squared deviations
        from the fitted mean, so that R2 = 1 - sum(score) / sum(total). Without any probe, the table
        has no rows.
    """
    tables = [*_at_every_step(inputs, seed), *_of_mistakes(pairs, seed)]
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def _at_every_step(inputs: Inputs, seed: int) -> Iterator[pd.DataFrame]:
    """Fit and test the probes of phase and position."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 17]))
    training = np.isin(inputs.episode, fitting_episodes(np.unique(inputs.episode), rng))
    train, test = np.flatnonzero(training), np.flatnonzero(~training)
    if len(train) < 20 or len(test) < 5:
        return
    for feature, values in inputs.features.items():
        error = _regress(inputs, values, train, test)
        yield error.assign(target="position", feature=feature, labels="real")
        for labels in ("real", "control"):
            classes = inputs.phase
            if labels == "control":
                classes = control_labels(inputs, classes, rng)
            if len(np.unique(classes[train])) > 1:
                scores = _classify(inputs, values, classes, train, test)
                yield scores.assign(target="phase", feature=feature, labels=labels)


def _of_mistakes(pairs: Pairs, seed: int) -> Iterator[pd.DataFrame]:
    """Fit and test the probes of mistakes, with labels that are real or swapped by episode."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 23]))
    fold = folds(pairs.episode, rng)
    if len(np.unique(fold)) < 2:
        return
    _, number = np.unique(pairs.episode, return_inverse=True)
    swapped = (rng.random(number.max() + 1) < 0.5)[number]
    everything = np.ones(len(fold), bool)
    for feature, values in pairs.features.items():
        for labels, first in (("real", everything), ("control", ~swapped)):
            evidence = held_out_evidence(values, first, fold)
            signs = np.where(first, 1, -1)
            right = positive(evidence[:, 0] * signs) + positive(-evidence[:, 1] * signs)
            higher = positive((evidence[:, 0] - evidence[:, 1]) * signs)
            for target, among, score, total in (
                ("mistake", everything, right, 2.0),
                (VIEWS[0], pairs.seen, right, 2.0),
                (VIEWS[1], ~pairs.seen, right, 2.0),
                (AUC, everything, higher, 1.0),
            ):
                if among.any() and (labels == "real" or target == "mistake"):
                    table = by_episode(pairs.episode[among], score[among], total)
                    yield table.assign(target=target, feature=feature, labels=labels)


def folds(episode: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Divide episodes into folds: each is tested by a probe fitted on the other folds.

    Args:
        episode: (pairs,) number of the episode.
        rng: Random generator.

    Returns:
        (pairs,) number of the fold, up to FOLDS different ones.
    """
    episodes, number = np.unique(episode, return_inverse=True)
    return (rng.permutation(len(episodes)) % FOLDS)[number]


def mistake_evidence(values: np.ndarray, wrong_first: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Fit a probe of mistakes and return its log odds of a mistake.

    Args:
        values: (pairs, 2, d) features.
        wrong_first: (pairs,) bool, whether the first half of a pair is labeled as wrong.
        fit: (pairs,) bool, the pairs to fit on.

    Returns:
        (pairs, 2) log odds; 0 where the features do not tell halves apart.
    """
    flat = values.reshape(-1, values.shape[2])
    labels = np.stack([wrong_first, ~wrong_first], axis=1).reshape(-1)
    rows = np.flatnonzero(np.repeat(fit, 2))
    flat = _reduce(flat, rows)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return probe.fit(flat[rows], labels[rows]).decision_function(flat).reshape(-1, 2)


def held_out_evidence(values: np.ndarray, wrong_first: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return `mistake_evidence`, (pairs, 2), of each fold by a probe fitted on the others.

    Args:
        values: (pairs, 2, d) features.
        wrong_first: (pairs,) bool, whether the first half of a pair is labeled as wrong.
        fold: (pairs,) number of the fold.
    """
    evidence = np.empty((len(fold), 2))
    for held_out in np.unique(fold):
        test = fold == held_out
        evidence[test] = mistake_evidence(values, wrong_first, ~test)[test]
    return evidence


def positive(evidence: np.ndarray) -> np.ndarray:
    """Return 1 for evidence above 0, 0 below, and one half where there is none."""
    return np.where(np.abs(evidence) < 1e-9, 0.5, evidence > 0)


def fitting_episodes(episodes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the episodes to fit on: TRAIN_SHARE of them, at least one, and not all."""
    order = rng.permutation(episodes)
    return order[: min(len(order) - 1, max(1, round(TRAIN_SHARE * len(order))))]


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
    return by_episode(inputs.episode[test], right.astype(float), 1.0)


def _regress(
    inputs: Inputs, values: np.ndarray, train: np.ndarray, test: np.ndarray
) -> pd.DataFrame:
    """Fit a ridge regression of the position and sum its squared errors by test episode."""
    values = _reduce(values, train)
    probe = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
    y = inputs.position
    error = (probe.fit(values[train], y[train]).predict(values[test]) - y[test]) ** 2
    spread = (y[test] - y[train].mean()) ** 2
    return by_episode(inputs.episode[test], error, spread)


def by_episode(episode: np.ndarray, score: np.ndarray, total: np.ndarray | float) -> pd.DataFrame:
    """Sum scores, (rows,), and totals by episode; `steps` counts the rows."""
    rows = pd.DataFrame({"episode": episode, "score": score, "total": total, "steps": 1})
    return rows.groupby("episode", as_index=False).sum()
