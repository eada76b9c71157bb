"""Do tasks share one representation of mistakes?

Test the probes of one task on another, and measure the angles between their directions and the
effect of moving activations along them (`lastmile.probing.steering`).

Everything is read from counterfactual pairs (`lastmile.probing.pairs`) at the newest frame, whose
activation chooses the click, so that chance is one half. Tasks differ in the location and spread of
their activations, so the activations of each task are centered and scaled by its own, without
labels. The direction of a task is the mean difference between the wrong and the right half of its
pairs (a mass-mean probe; Marks and Tegmark, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lastmile.policy.policy import Policy
from lastmile.probing.pairs import Pairs
from lastmile.probing.pairs import sample as sample_pairs
from lastmile.probing.probes import (
    by_episode,
    folds,
    held_out_evidence,
    mistake_evidence,
    positive,
)
from lastmile.probing.steering import (
    OTHERS,
    Sample,
    direction,
    middle_layer,
    steered,
    unit,
    worked_on,
)
from lastmile.simulation.counterfactuals import Branch
from lastmile.simulation.trajectory import Trajectories

LEAST = 8
"""Episodes with pairs that a task needs."""
PERMUTATIONS = 500
"""Directions of shuffled labels, for the null distribution of the cosines."""
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
    "draw",
)
"""Columns of the table of measurements."""


def measure(
    policy: Policy,
    recorded: Sequence[Trajectories],
    steps: int,
    temperature: float,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how representations of mistakes generalize across tasks.

    Tasks with too few pairs are left out; if fewer than two are left, the table has no rows.

    Args:
        policy: A policy for all the tasks.
        recorded: Test episodes of each task.
        steps: Steps that the policy works on after a right annotation.
        temperature: Temperature of the clicks that it samples there.
        seed: Seed of the folds, permutations, random directions and clicks.

    Returns:
        One table with the columns `measure`, `source`, `target`, `episode`, `score`, `total`,
        `low`, `high`, `strength` and `draw`. By `measure`:

        - `accuracy`: the probe of task `source` (or OTHERS) on an episode of task `target`: `score`
          of `total` halves of pairs are right. The probe of a task on itself is tested on episodes
          that it was not fitted on.
        - `auc`: the same probe gives the wrong half of `score` of `total` pairs the higher score.
        - `accuracy:random`: `accuracy` for a network with random weights.
        - `cosine`: between the directions of two tasks, in `score` (OTHERS: the mean of all
          pairs of tasks); `low` and `high` enclose 95 % of its values without the mean difference,
          when the halves of all pairs of an episode are swapped at random.
        - `undo:shared`, `undo:random`: the probability of pressing Undo after the right
          annotations of an episode, summed in `score` over `total` of them, after moving the
          activation by `strength` along the mean direction of the other tasks, or along random
          directions (their mean). `draw` is 0; from 1 on, the direction is made of redrawn
          episodes.
        - `gone:shared`, `gone:random`: how many (`score`) of `total` right annotations of an
          episode are gone after the policy has worked on for some steps, moved by `strength` at
          each of them.
    """
    samples = []
    branches: dict[str, tuple[Trajectories, list[Branch]]] = {}
    for trajectories in recorded:
        task = trajectories.source.task
        pairs = sample_pairs(policy, trajectories, seed)
        if len(np.unique(pairs.episode)) >= LEAST:
            samples.append(_sample(task, pairs, len(policy.context.layers)))
            branches[task] = trajectories, pairs.right
    if len(samples) < 2:
        return pd.DataFrame(columns=list(COLUMNS))

    rows = [*_accuracies(samples, seed), *_cosines(samples, seed)]
    for sample in samples:
        rows += steered(policy, *branches[sample.task], sample, samples, seed)
        rows += worked_on(policy, *branches[sample.task], sample, samples, seed, steps, temperature)
    return pd.DataFrame(rows, columns=list(COLUMNS)).fillna({"draw": 0}).astype({"draw": int})


def _sample(task: str, pairs: Pairs, layers: int) -> Sample:
    raw = pairs.features[f"layer{layers}"]
    return Sample(
        task,
        scaled(raw),
        raw,
        scaled(pairs.features[f"random:layer{layers}"]),
        pairs.features[f"layer{middle_layer(layers)}"],
        pairs.episode,
    )


def scaled(values: np.ndarray) -> np.ndarray:
    """Center and scale features, (n, 2, d), by their mean and spread over all halves."""
    return (values - values.mean((0, 1))) / (values.std((0, 1)) + 1e-6)


def _accuracies(samples: list[Sample], seed: int) -> Iterator[dict[str, Any]]:
    """Test the probe of every task, and of all others together, on every task."""
    for target in samples:
        others = [sample for sample in samples if sample is not target]
        for source in samples:
            fitted_on = [source] if source is not target else []
            yield from _tested(target, fitted_on, source.task, "last", seed)
        yield from _tested(target, others, OTHERS, "last", seed)
        yield from _tested(target, others, OTHERS, "untrained", seed)


def _tested(
    target: Sample, sources: list[Sample], name: str, layer: str, seed: int
) -> Iterator[dict[str, Any]]:
    """Test a probe fitted on other tasks, or without any the task's own, on a task."""
    values = getattr(target, layer)
    if sources:
        stacked = np.concatenate([values, *(getattr(source, layer) for source in sources)])
        fit = np.arange(len(stacked)) >= len(values)
        evidence = mistake_evidence(stacked, np.ones(len(stacked), bool), fit)[: len(values)]
    else:
        fold = folds(target.episode, np.random.default_rng([seed, 31]))
        evidence = held_out_evidence(values, np.ones(len(values), bool), fold)

    right = positive(evidence[:, 0]) + positive(-evidence[:, 1])
    higher = positive(evidence[:, 0] - evidence[:, 1])
    measures = {"accuracy": (right, 2.0), "auc": (higher, 1.0)}
    if layer == "untrained":
        measures = {"accuracy:random": (right, 2.0)}
    for measure_name, (score, total) in measures.items():
        sums = by_episode(target.episode, score, total)[["episode", "score", "total"]]
        for row in sums.to_dict("records"):
            row = {str(column): value for column, value in row.items()}
            yield {"measure": measure_name, "source": name, "target": target.task, **row}


def _cosines(samples: list[Sample], seed: int) -> Iterator[dict[str, Any]]:
    """Compare the directions of every pair of tasks, and the mean of all pairs, with chance."""
    directions = {sample.task: unit(direction(sample.raw)[None])[0] for sample in samples}
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
    """Return directions, (PERMUTATIONS, D), of noise alone.

    The mean difference is taken out, then the halves of all pairs of an episode are swapped at
    random. Pairs of one episode share a world: swapped one by one they would look more independent
    than they are.
    """
    episodes, number = np.unique(sample.episode, return_inverse=True)
    signs = rng.choice([-1.0, 1.0], size=(PERMUTATIONS, len(episodes)))[:, number]
    noise = sample.raw[:, 0] - sample.raw[:, 1] - direction(sample.raw)
    return signs @ noise / len(noise)
