"""Linear probes: what can be read from an activation by a linear map.

Every probe is fitted on some episodes and tested on others. Beside the layers of the policy stand a network with random weights, the raw
screen and metadata (step number, last action). For mistakes, each step with an open mistake is matched with one without, equal in last action
and near in step number, else the probe would read the undo click. The control task of Hewitt and Liang (2019), a random label for each
(episode, third of its steps), tells how much a probe learns by heart: selectivity is accuracy minus accuracy on the control task.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lastmile.errors import LastmileError
from lastmile.probing.activations import Inputs

TARGETS = ("phase", "position", "mistake")
TRAIN_SHARE = 0.6
"""Of the episodes, to fit on; the others are tested."""
WIDEST = 128
"""Features with more dimensions are reduced to this many principal components of the training episodes first."""


def fit_probes(inputs: Inputs, seed: int = 0) -> pd.DataFrame:
    """Fit and test every probe.

    Returns one row for each test episode, target, feature and task (real or control) with columns target, feature, labels, episode, score, total, steps:
    for phase and mistake `score` is the number of correct steps of `total`; for position it is the sum of squared errors, with the squared
    deviations from the training mean in `total`, so that R2 is 1 - sum(score) / sum(total). Targets with a single class are left out.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 17]))
    episodes = np.unique(inputs.episode)
    training = np.isin(inputs.episode, fitting_episodes(episodes, rng))
    mistakes = np.sort(
        np.concatenate([matched_mistakes(inputs, rng, part) for part in (training, ~training)])
    )
    tables = []
    for feature, values in inputs.features.items():
        for target in TARGETS:
            chosen = mistakes if target == "mistake" else np.arange(len(training))
            train, test = chosen[training[chosen]], chosen[~training[chosen]]
            if len(train) < 20 or len(test) < 5:
                continue
            for labels in ("real", "control"):
                if target == "position":
                    if labels == "real":
                        tables.append(
                            _position(inputs, values, train, test).assign(
                                target=target, feature=feature, labels=labels
                            )
                        )
                    continue
                y = {"phase": inputs.phase, "mistake": (inputs.open_mistakes > 0).astype(int)}[
                    target
                ]
                if labels == "control":
                    y = control_labels(inputs, y[chosen], rng)
                if len(np.unique(y[train])) < 2:
                    continue
                tables.append(
                    _classify(inputs, values, y, train, test).assign(
                        target=target, feature=feature, labels=labels
                    )
                )
    if not tables:
        raise LastmileError(
            f"too little to probe: {len(training)} frames of {len(episodes)} episodes"
        )
    return pd.concat(tables, ignore_index=True)[
        ["target", "feature", "labels", "episode", "score", "total", "steps"]
    ]


def fitting_episodes(episodes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The episodes to fit on, at random: TRAIN_SHARE of them, at least one, and not all."""
    order = rng.permutation(episodes)
    return order[: min(len(order) - 1, max(1, round(TRAIN_SHARE * len(order))))]


def matched_mistakes(inputs: Inputs, rng: np.random.Generator, among: np.ndarray) -> np.ndarray:
    """Indices of steps with an open mistake and, for each, of one without: the same last action, the nearest step number that is free.

    among: (steps,) bool, the steps that are matched with each other: those to fit on, or those to test.
    """
    chosen: list[int] = []
    wrong = inputs.open_mistakes > 0
    for action in np.unique(inputs.last_action):
        here = among & (inputs.last_action == action)
        positive, negative = np.flatnonzero(wrong & here), np.flatnonzero(~wrong & here)
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
    """A random label, with the frequencies of the real ones, for each (episode, third of its steps)."""
    classes, counts = np.unique(labels, return_counts=True)
    longest = {
        int(e): int(inputs.step[inputs.episode == e].max()) + 1 for e in np.unique(inputs.episode)
    }
    third = (3 * inputs.step) // np.array([longest[int(e)] for e in inputs.episode])
    _, group = np.unique(np.column_stack([inputs.episode, third]), axis=0, return_inverse=True)
    drawn = rng.choice(classes, size=group.max() + 1, p=counts / counts.sum())
    return drawn[group.reshape(-1)]


def _reduce(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    if values.shape[1] <= WIDEST:
        return values
    kept = min(WIDEST, len(train) - 1)
    return (
        PCA(kept, svd_solver="randomized", random_state=0)
        .fit(values[train])
        .transform(values)
        .astype(np.float32)
    )


def _classify(
    inputs: Inputs, values: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray
) -> pd.DataFrame:
    values = _reduce(values, train)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    right = probe.fit(values[train], y[train]).predict(values[test]) == y[test]
    return (
        pd.DataFrame(
            {
                "episode": inputs.episode[test],
                "score": right.astype(float),
                "total": 1.0,
                "steps": 1,
            }
        )
        .groupby("episode", as_index=False)
        .sum()
    )


def _position(
    inputs: Inputs, values: np.ndarray, train: np.ndarray, test: np.ndarray
) -> pd.DataFrame:
    values = _reduce(values, train)
    probe = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
    y = inputs.position
    error = (probe.fit(values[train], y[train]).predict(values[test]) - y[test]) ** 2
    spread = (y[test] - y[train].mean()) ** 2
    return (
        pd.DataFrame({"episode": inputs.episode[test], "score": error, "total": spread, "steps": 1})
        .groupby("episode", as_index=False)
        .sum()
    )
