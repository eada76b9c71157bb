"""Do tasks share one representation of mistakes?

Test the probes of one task on another, and measure the angles between their directions and the
effect of moving activations along them.

Everything is read from the last layer's residual stream at the newest frame, from which the click
is chosen. As for all probes of mistakes, steps with an open mistake are matched with steps without
one that follow the same action, so that chance is one half; probes are fitted on some episodes and
tested on others. Tasks differ in the location and spread of their activations, so the activations
of each task are centered and scaled by its own fitting steps, without labels. The direction of a
task is the difference of the means with and without a mistake (a mass-mean probe; Marks and
Tegmark, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.probing.activations import Inputs, step_labels
from lastmile.probing.probes import fitting_episodes, matched_mistakes
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Trajectories

OTHERS = "others"
"""In place of a task: the probe fitted on all other tasks together."""
LEAST = 3
"""Matched steps with a mistake that a task needs, both for fitting and for testing."""
PERMUTATIONS = 500
"""Directions of shuffled labels, for the null distribution of the cosines."""
RANDOM = 16
"""Random directions that the shared direction is compared with."""
COLUMNS = (
    "measure",
    "source",
    "target",
    "episode",
    "score",
    "total",
    "low",
    "high",
    "strength",
)
"""Columns of the table of measurements."""
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""How far activations are moved, in units of the task's own distance between the two means."""


@dataclass(frozen=True)
class Sample:
    """Matched steps of one task.

    Attributes:
        task: Name of the task.
        raw: (n, D) activations.
        values: (n, D) the same, centered and scaled by the fitting steps.
        wrong: (n,) bool, whether the annotation holds a mistake.
        training: (n,) bool, whether the step is for fitting.
        episode: (n,) number of the episode.
        action: (n,) kind of the last action.
        row: (n,) frame in the token file.
    """

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
        """(D,) mean raw activation of fitting steps with a mistake, minus that of those without."""
        with_mistake = self.raw[self.training & self.wrong].mean(0)
        without_mistake = self.raw[self.training & ~self.wrong].mean(0)
        return with_mistake - without_mistake


def measure(
    policy: Policy,
    stores: Sequence[TokenStore],
    recorded: Sequence[Trajectories],
    frames: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how representations of mistakes generalize across tasks.

    Tasks with too few mistakes are left out; if fewer than two are left, the table has no rows.

    Args:
        policy: A policy for all the tasks.
        stores: Screens of the test episodes of each task.
        recorded: The same episodes as recorded, in the same order.
        frames: Least number of frames per task, if the files hold as many.
        seed: Seed of the splits, permutations and random directions.

    Returns:
        One table with the columns `measure`, `source`, `target`, `episode`, `score`, `total`,
        `low`, `high` and `strength`. By `measure`:

        - `accuracy`: the probe of task `source` (or OTHERS) on a test episode of task `target`:
          `score` of `total` steps are right.
        - `cosine`: between the directions of two tasks, in `score` (OTHERS: the mean of all
          pairs); `low` and `high` enclose 95 % of its values when labels are shuffled among steps
          that follow the same action.
        - `undo:shared`, `undo:random`: the probability of pressing Undo on the test steps of an
          episode without a mistake, summed in `score` over `total` steps, after moving the
          activation by `strength` along the mean direction of the other tasks, or along random
          directions (their mean).
    """
    samples = []
    for store, trajectories in zip(stores, recorded):
        sample = matched(policy, store, trajectories, frames, seed)
        if sample is not None:
            samples.append(sample)
    if len(samples) < 2:
        return pd.DataFrame(columns=list(COLUMNS))

    by_task = {store.task: (store, trajectories) for store, trajectories in zip(stores, recorded)}
    tables = [pd.DataFrame(_accuracies(samples)), pd.DataFrame(_cosines(samples, seed))]
    for sample in samples:
        tables.append(pd.DataFrame(_steered(policy, *by_task[sample.task], sample, samples, seed)))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def matched(
    policy: Policy, store: TokenStore, trajectories: Trajectories, frames: int, seed: int
) -> Sample | None:
    """Collect matched steps of whole episodes, from the first on, until `frames` are reached.

    Returns:
        The steps with their activations, or None if there are too few.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 23]))
    activations = []
    episodes = 0
    while episodes < len(store) and store.starts[episodes] < frames:
        start, stop = int(store.starts[episodes]), int(store.starts[episodes + 1])
        layers = policy.activations(store.screens(start, stop), store.clicks[start:stop])
        activations.append(list(layers.values())[-1])
        episodes += 1

    labels: Inputs = step_labels(store, trajectories, int(store.starts[episodes]))
    training = np.isin(labels.episode, fitting_episodes(np.arange(episodes), rng))
    chosen = np.sort(
        np.concatenate([matched_mistakes(labels, rng, among) for among in (training, ~training)])
    )
    wrong = labels.open_mistakes[chosen] > 0
    fitting = training[chosen]
    if (wrong & fitting).sum() < LEAST or (wrong & ~fitting).sum() < LEAST:
        return None

    raw = np.concatenate(activations)[chosen]
    scaled = (raw - raw[fitting].mean(0)) / (raw[fitting].std(0) + 1e-6)
    return Sample(
        task=store.task,
        raw=raw,
        values=scaled,
        wrong=wrong,
        training=fitting,
        episode=labels.episode[chosen],
        action=labels.last_action[chosen],
        row=chosen,
    )


def _probe(samples: Sequence[Sample]) -> LogisticRegression:
    """Fit a probe on the fitting steps of several tasks."""
    values = np.concatenate([sample.values[sample.training] for sample in samples])
    wrong = np.concatenate([sample.wrong[sample.training] for sample in samples])
    return LogisticRegression(C=0.1, max_iter=300).fit(values, wrong)


def _accuracies(samples: list[Sample]) -> Iterator[dict[str, Any]]:
    """Test the probe of every task, and of all others together, on every task."""
    probes = {sample.task: _probe([sample]) for sample in samples}
    for target in samples:
        tested = ~target.training
        pooled = _probe([sample for sample in samples if sample is not target])
        for source, probe in (*probes.items(), (OTHERS, pooled)):
            right = probe.predict(target.values[tested]) == target.wrong[tested]
            steps = pd.DataFrame({"episode": target.episode[tested], "score": right, "total": 1})
            sums = steps.groupby("episode").sum()
            for episode, (score, total) in zip(sums.index.tolist(), sums.to_numpy(float).tolist()):
                yield {
                    "measure": "accuracy",
                    "source": source,
                    "target": target.task,
                    "episode": episode,
                    "score": score,
                    "total": total,
                }


def _cosines(samples: list[Sample], seed: int) -> Iterator[dict[str, Any]]:
    """Compare the directions of every pair of tasks, and the mean of all pairs, with chance."""
    directions = {sample.task: unit(sample.direction[None])[0] for sample in samples}
    shuffled = {  # by task, (PERMUTATIONS, D)
        sample.task: unit(_shuffled(sample, np.random.default_rng([seed, number])))
        for number, sample in enumerate(samples)
    }
    pairs = [(a.task, b.task) for i, a in enumerate(samples) for b in samples[i + 1 :]]
    for a, b in pairs:
        null = (shuffled[a] * shuffled[b]).sum(1)
        yield _cosine(a, b, float(directions[a] @ directions[b]), null)

    null = np.mean([(shuffled[a] * shuffled[b]).sum(1) for a, b in pairs], axis=0)
    value = float(np.mean([directions[a] @ directions[b] for a, b in pairs]))
    yield _cosine(OTHERS, OTHERS, value, null)


def _cosine(source: str, target: str, value: float, null: np.ndarray) -> dict[str, Any]:
    low, high = np.quantile(null, [0.025, 0.975]).tolist()
    return {
        "measure": "cosine",
        "source": source,
        "target": target,
        "score": value,
        "total": 1.0,
        "low": low,
        "high": high,
    }


def _shuffled(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Return directions, (PERMUTATIONS, D), after shuffling labels among steps of equal action."""
    raw, wrong, action = (
        values[sample.training] for values in (sample.raw, sample.wrong, sample.action)
    )
    labels = np.tile(wrong, (PERMUTATIONS, 1))
    for value in np.unique(action):
        at = np.flatnonzero(action == value)
        labels[:, at] = rng.permuted(labels[:, at], axis=1)
    labels = labels.astype(np.float64)
    count = labels.sum(1, keepdims=True)
    return labels @ raw / count - (1 - labels) @ raw / (labels.shape[1] - count)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows, (n, D), to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def shared_direction(sample: Sample, samples: Sequence[Sample]) -> np.ndarray:
    """Return the mean of the other tasks' unit directions, (D,), as long as the task's own one."""
    mean = np.mean(
        [unit(other.direction[None])[0] for other in samples if other is not sample], axis=0
    )
    return unit(mean[None])[0] * np.linalg.norm(sample.direction)


@torch.inference_mode()
def _steered(
    policy: Policy,
    store: TokenStore,
    trajectories: Trajectories,
    sample: Sample,
    samples: list[Sample],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Move activations of test steps without a mistake, and measure the probability of Undo."""
    shared = shared_direction(sample, samples)
    rng = np.random.default_rng([seed, 29])
    directions = {  # (n, D) each
        "shared": shared[None],
        "random": unit(rng.normal(size=(RANDOM, len(shared)))) * np.linalg.norm(shared),
    }
    untouched = np.flatnonzero(~sample.training & ~sample.wrong)
    for episode in np.unique(sample.episode[untouched]).tolist():
        chosen = untouched[sample.episode[untouched] == episode]
        rows = sample.row[chosen].tolist()
        raw = torch.from_numpy(sample.raw[chosen])  # (steps, D)

        # Where the Undo button is on each of the screens.
        replay = trajectories.open(episode)
        first = int(store.starts[episode])
        states = [step.before for step in replay.replay()]
        rects = [
            replay.interface.screen(states[row - first], replay.look).widget("undo").rect
            for row in rows
        ]

        screens = torch.from_numpy(np.concatenate([store.screens(row, row + 1) for row in rows]))
        previous = torch.tensor(
            [store.clicks[row - 1].tolist() if row > first else NO_CLICK for row in rows]
        )
        frames = policy.encode(screens, previous)
        for name, vectors in directions.items():
            for strength in STRENGTHS:
                total = 0.0
                for vector in vectors:
                    context = policy.context.norm(raw + strength * torch.from_numpy(vector).float())
                    for rect in set(rects):
                        at = torch.tensor([other == rect for other in rects])
                        chances = policy.head.chance(
                            context[at], frames.cells[at], frames.patches[at], rect
                        )
                        total += chances.sum().item()
                yield {
                    "measure": f"undo:{name}",
                    "source": OTHERS,
                    "target": sample.task,
                    "strength": strength,
                    "episode": episode,
                    "score": total / len(vectors),
                    "total": float(len(rows)),
                }
