"""Whether tasks share one representation of mistakes: probes of one task tried on another, their directions, and what moving along them does.

Everything is read from the last layer's residual stream at the newest frame, from which the click is chosen. As for all probes of mistakes, steps with an
open mistake are matched with steps without one of the same last action, so that chance is one half; probes are fitted on some episodes and
tested on others. Tasks differ in where their activations lie and how far they spread: each task's are therefore centered and scaled by its own fitting
steps, without labels. A task's direction is the difference of the means with and without a mistake (a mass-mean probe; Marks and Tegmark, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from lastmile.errors import LastmileError
from lastmile.policy.policy import NOWHERE, Policy
from lastmile.probing.activations import Inputs, step_labels
from lastmile.probing.probes import fitting_episodes, matched_mistakes
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Trajectories

OTHERS = "others"
"""In the place of a task: the probe fitted on all other tasks together."""
LEAST = 3
"""Steps with a mistake that a task must have, matched, to fit on and to test."""
PERMUTATIONS = 500
"""Directions of shuffled labels, for the null of the cosines."""
RANDOM = 16
"""Random directions that the shared one is held against."""
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""How far activations are moved, in units of the task's own distance between the means with and without a mistake."""


@dataclass(frozen=True)
class Sample:
    """Matched steps of one task. values: (n, D) activations, raw and scaled; wrong: (n,) bool; training: (n,) bool; row: frame in the token file."""

    task: str
    raw: np.ndarray
    values: np.ndarray
    wrong: np.ndarray
    training: np.ndarray
    episode: np.ndarray
    action: np.ndarray
    row: np.ndarray

    @property
    def direction(self) -> np.ndarray:
        """(D,) difference of the mean raw activations with and without a mistake, on the fitting episodes."""
        return self.raw[self.training & self.wrong].mean(0) - self.raw[
            self.training & ~self.wrong
        ].mean(0)


def measure(
    policy: Policy,
    stores: Sequence[TokenStore],
    recorded: Sequence[Trajectories],
    frames: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Everything about mistakes across tasks, in one table. Tasks with too few mistakes are left out.

    Columns measure, source, target (tasks), strength, episode, score, total, low, high:
    `accuracy`: a probe of `source` (or OTHERS) on each test episode of `target`: right steps in `score`, steps in `total`.
    `cosine`: between the directions of two tasks in `score`; low and high hold 95 % of its values when labels are shuffled among steps of equal last action.
    `undo:shared`, `undo:random`: the chance of pressing Undo on test steps without a mistake, summed by episode in `score` (steps in `total`), after moving
    the activation by `strength` along the mean direction of the other tasks, or along random directions (their mean).
    Raises ValueError if fewer than two tasks have enough mistakes.
    """
    samples = []
    for store, trajectories in zip(stores, recorded):
        sample = matched(policy, store, trajectories, frames, seed)
        if sample is not None:
            samples.append(sample)
    if len(samples) < 2:
        raise LastmileError(
            "fewer than two tasks have enough mistakes in their test episodes to fit and test a probe"
        )
    by_task = {store.task: (store, trajectories) for store, trajectories in zip(stores, recorded)}
    tables = [pd.DataFrame(_accuracies(samples)), pd.DataFrame(_cosines(samples, seed))]
    for sample in samples:
        tables.append(pd.DataFrame(_moved(policy, *by_task[sample.task], sample, samples, seed)))
    return pd.concat(tables, ignore_index=True)


def matched(
    policy: Policy, store: TokenStore, trajectories: Trajectories, frames: int, seed: int
) -> Sample | None:
    """Matched steps of the first episodes, up to `frames` frames; None if there are too few."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 23]))
    values, episodes = [], 0
    while episodes < len(store) and store.starts[episodes] < frames:
        a, b = int(store.starts[episodes]), int(store.starts[episodes + 1])
        values.append(list(policy.activations(store.screens(a, b), store.clicks[a:b]).values())[-1])
        episodes += 1
    inputs: Inputs = step_labels(store, trajectories, int(store.starts[episodes]))
    training = np.isin(inputs.episode, fitting_episodes(np.arange(episodes), rng))
    chosen = np.sort(
        np.concatenate([matched_mistakes(inputs, rng, part) for part in (training, ~training)])
    )
    wrong = inputs.open_mistakes[chosen] > 0
    if (wrong & training[chosen]).sum() < LEAST or (wrong & ~training[chosen]).sum() < LEAST:
        return None
    raw, fitting = np.concatenate(values)[chosen], training[chosen]
    scaled = (raw - raw[fitting].mean(0)) / (raw[fitting].std(0) + 1e-6)
    return Sample(
        store.task,
        raw,
        scaled,
        wrong,
        fitting,
        inputs.episode[chosen],
        inputs.last_action[chosen],
        chosen,
    )


def _probe(samples: Sequence[Sample]) -> LogisticRegression:
    values = np.concatenate([sample.values[sample.training] for sample in samples])
    wrong = np.concatenate([sample.wrong[sample.training] for sample in samples])
    return LogisticRegression(C=0.1, max_iter=300).fit(values, wrong)


def _accuracies(samples: list[Sample]) -> Iterator[dict]:
    probes = {sample.task: _probe([sample]) for sample in samples}
    for target in samples:
        tested = ~target.training
        pooled = _probe([sample for sample in samples if sample is not target])
        for source, probe in (*probes.items(), (OTHERS, pooled)):
            right = probe.predict(target.values[tested]) == target.wrong[tested]
            sums = (
                pd.DataFrame({"episode": target.episode[tested], "score": right, "total": 1})
                .groupby("episode")
                .sum()
            )
            for episode, (score, total) in zip(sums.index.tolist(), sums.to_numpy(float).tolist()):
                yield {
                    "measure": "accuracy",
                    "source": source,
                    "target": target.task,
                    "episode": episode,
                    "score": score,
                    "total": total,
                }


def _cosines(samples: list[Sample], seed: int) -> Iterator[dict]:
    found = {sample.task: unit(sample.direction[None])[0] for sample in samples}
    shuffled = {
        sample.task: unit(_shuffled(sample, np.random.default_rng([seed, number])))
        for number, sample in enumerate(samples)
    }
    for i, one in enumerate(samples):
        for other in samples[i + 1 :]:
            null = (shuffled[one.task] * shuffled[other.task]).sum(1)
            low, high = np.quantile(null, [0.025, 0.975]).tolist()
            value = float(found[one.task] @ found[other.task])
            yield {
                "measure": "cosine",
                "source": one.task,
                "target": other.task,
                "score": value,
                "total": 1.0,
                "low": low,
                "high": high,
            }
    pairs = [(a.task, b.task) for i, a in enumerate(samples) for b in samples[i + 1 :]]
    null = np.mean([(shuffled[a] * shuffled[b]).sum(1) for a, b in pairs], axis=0)
    value = float(np.mean([found[a] @ found[b] for a, b in pairs]))
    low, high = np.quantile(null, [0.025, 0.975]).tolist()
    yield {
        "measure": "cosine",
        "source": OTHERS,
        "target": OTHERS,
        "score": value,
        "total": 1.0,
        "low": low,
        "high": high,
    }


def _shuffled(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """(PERMUTATIONS, D) directions after shuffling the labels among steps of equal last action."""
    raw, wrong, action = (
        values[sample.training] for values in (sample.raw, sample.wrong, sample.action)
    )
    labels = np.tile(wrong, (PERMUTATIONS, 1))
    for one in np.unique(action):
        at = np.flatnonzero(action == one)
        labels[:, at] = rng.permuted(labels[:, at], axis=1)
    labels = labels.astype(np.float64)
    count = labels.sum(1, keepdims=True)
    return labels @ raw / count - (1 - labels) @ raw / (labels.shape[1] - count)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def shared_direction(sample: Sample, samples: Sequence[Sample]) -> np.ndarray:
    """(D,) the mean of the other tasks' unit directions, as long as the task's own direction."""
    mean = np.mean(
        [unit(other.direction[None])[0] for other in samples if other is not sample], axis=0
    )
    return unit(mean[None])[0] * np.linalg.norm(sample.direction)


@torch.inference_mode()
def _moved(
    policy: Policy,
    store: TokenStore,
    trajectories: Trajectories,
    sample: Sample,
    samples: list[Sample],
    seed: int,
) -> Iterator[dict]:
    shared = shared_direction(sample, samples)
    rng = np.random.default_rng([seed, 29])
    directions = {
        "shared": shared[None],
        "random": unit(rng.normal(size=(RANDOM, len(shared)))) * np.linalg.norm(shared),
    }
    chosen = np.flatnonzero(~sample.training & ~sample.wrong)
    for episode in np.unique(sample.episode[chosen]).tolist():
        picked = chosen[sample.episode[chosen] == episode]
        rows, raw = sample.row[picked], torch.from_numpy(sample.raw[picked])
        replay = trajectories.open(episode)
        first = int(store.starts[episode])
        states = [step.before for step in replay.replay()]
        rects = [
            tuple(replay.interface.screen(states[row - first], replay.look).widget("undo").rect)
            for row in rows.tolist()
        ]
        screens = torch.from_numpy(
            np.concatenate([store.screens(row, row + 1) for row in rows.tolist()])
        )
        before = torch.tensor(
            [store.clicks[row - 1].tolist() if row > first else NOWHERE for row in rows.tolist()]
        )
        frames = policy.encode(screens, before)
        for name, vectors in directions.items():
            for strength in STRENGTHS:
                total = 0.0
                for vector in vectors:
                    context = policy.context.norm(raw + strength * torch.from_numpy(vector).float())
                    for rect in set(rects):
                        at = torch.tensor([one == rect for one in rects])
                        total += (
                            policy.head.chance(
                                context[at], frames.cells[at], frames.patches[at], rect
                            )
                            .sum()
                            .item()
                        )
                yield {
                    "measure": f"undo:{name}",
                    "source": OTHERS,
                    "target": sample.task,
                    "strength": strength,
                    "episode": episode,
                    "score": total / len(vectors),
                    "total": float(len(rows)),
                }
