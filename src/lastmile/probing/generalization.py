"""Do tasks share one representation of mistakes?

Test the probes of one task on another, and measure the angles between their directions and the
effect of moving activations along them.

Everything is read from counterfactual pairs (`lastmile.probing.pairs`) at the newest frame, whose
activation chooses the click, so that chance is one half. Tasks differ in the location and spread of
their activations, so the activations of each task are centered and scaled by its own, without
labels. The direction of a task is the mean difference between the wrong and the right half of its
pairs (a mass-mean probe; Marks and Tegmark, 2023).

Activations are moved in the middle of the transformer. At its end the next linear map chooses the
click, and a direction that makes Undo likelier would say little about mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.probing.pairs import Pairs
from lastmile.probing.pairs import sample as sample_pairs
from lastmile.probing.probes import (
    by_episode,
    folds,
    held_out_evidence,
    mistake_evidence,
    positive,
)
from lastmile.screen.widgets import Rect
from lastmile.simulation.counterfactuals import Branch
from lastmile.simulation.trajectory import Trajectories

OTHERS = "others"
"""In place of a task: the probe fitted on all other tasks together."""
LEAST = 8
"""Episodes with pairs that a task needs."""
PERMUTATIONS = 500
"""Directions of shuffled labels, for the null distribution of the cosines."""
RANDOM = 8
"""Random directions that the shared direction is compared with."""
REDRAWN = 8
"""Shared directions of redrawn episodes: how much the direction itself is known."""
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
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""How far activations are moved, in units of the task's own distance between the two means."""
TESTED = 1.0
"""The strength at which redrawn directions are measured too."""


@dataclass(frozen=True)
class Sample:
    """The pairs of one task.

    Attributes:
        task: Name of the task.
        last: (n, 2, D) activations of the last layer, the wrong half first, centered and scaled.
        raw: (n, 2, D) the same as they are.
        untrained: (n, 2, D) those of a network with random weights, centered and scaled.
        middle: (n, 2, D) activations in the middle of the transformer, as they are.
        episode: (n,) number of the episode.
    """

    task: str
    last: np.ndarray
    raw: np.ndarray
    untrained: np.ndarray
    middle: np.ndarray
    episode: np.ndarray


def measure(policy: Policy, recorded: Sequence[Trajectories], seed: int = 0) -> pd.DataFrame:
    """Measure how representations of mistakes generalize across tasks.

    Tasks with too few pairs are left out; if fewer than two are left, the table has no rows.

    Args:
        policy: A policy for all the tasks.
        recorded: Test episodes of each task.
        seed: Seed of the folds, permutations and random directions.

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
        rows += _steered(policy, *branches[sample.task], sample, samples, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS)).fillna({"draw": 0}).astype({"draw": int})


def middle_layer(layers: int) -> int:
    """Return the number of the layer, from 1, after which activations are moved."""
    return max(1, layers // 2)


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


def direction(pairs: np.ndarray) -> np.ndarray:
    """Return the mean difference, (D,), between the halves of pairs, (n, 2, D)."""
    return (pairs[:, 0] - pairs[:, 1]).mean(0)


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


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows, (n, D), to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def shared_direction(
    sample: Sample, samples: Sequence[Sample], rng: np.random.Generator | None = None
) -> np.ndarray:
    """Return the mean of the other tasks' unit directions, (D,), as long as the task's own one.

    Args:
        sample: The task whose activations are to be moved.
        samples: All tasks.
        rng: If given, the episodes of each task are drawn anew with replacement.
    """
    directions = []
    for other in samples:
        if other is sample:
            continue
        pairs = other.middle
        if rng is not None:
            episodes = np.unique(other.episode)
            drawn = rng.choice(episodes, len(episodes))
            pairs = np.concatenate([pairs[other.episode == episode] for episode in drawn])
        directions.append(unit(direction(pairs)[None])[0])
    length = np.linalg.norm(direction(sample.middle))
    return unit(np.mean(directions, axis=0)[None])[0] * length


@torch.inference_mode()
def _steered(
    policy: Policy,
    trajectories: Trajectories,
    right: list[Branch],
    sample: Sample,
    samples: list[Sample],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Move activations after right annotations, and measure the probability of Undo."""
    shared = shared_direction(sample, samples)
    rng = np.random.default_rng([seed, 29])
    random = unit(rng.normal(size=(RANDOM, len(shared)))) * np.linalg.norm(shared)
    redrawn = [shared_direction(sample, samples, rng) for _ in range(REDRAWN)]

    moved: list[tuple[str, float, int]] = []  # measure, strength and draw of each shift
    shifts: list[np.ndarray] = []
    for strength in STRENGTHS:
        moved += [("undo:shared", strength, 0)] + [("undo:random", strength, 0)] * RANDOM
        shifts += [strength * shared, *(strength * random)]
    moved += [("undo:shared", TESTED, draw) for draw in range(1, REDRAWN + 1)]
    shifts += [TESTED * vector for vector in redrawn]
    stacked = torch.from_numpy(np.stack(shifts)).float()

    rows = []
    for branch, episode in zip(right, sample.episode.tolist()):
        replay = trajectories.open(episode)
        rect = replay.interface.screen(branch.state, replay.look).widget("undo").rect
        chances = undo_chances(policy, branch, rect, stacked).tolist()
        rows += [(*key, episode, chance) for key, chance in zip(moved, chances)]
    columns = ["measure", "strength", "draw", "episode", "score"]
    table = pd.DataFrame(rows, columns=columns).assign(total=1.0)
    # Random directions count as one: their mean.
    table.loc[table["measure"] == "undo:random", ["score", "total"]] /= RANDOM
    sums = table.groupby(columns[:-1], as_index=False, sort=False).sum()
    for row in sums.to_dict("records"):
        yield {"source": OTHERS, "target": sample.task, **{str(k): v for k, v in row.items()}}


@torch.inference_mode()
def undo_chances(policy: Policy, branch: Branch, rect: Rect, shifts: Tensor) -> Tensor:
    """Return the probability of a click on a rectangle after moving the activation.

    The residual stream is moved at the newest frame, in the middle of the transformer.

    Args:
        policy: The policy.
        branch: What it sees.
        rect: The rectangle.
        shifts: (S, D), by how much to move, each on its own.

    Returns:
        (S,) probabilities.
    """

    def move(_layer: object, _inputs: object, output: Tensor) -> Tensor:
        return torch.cat([output[:, :-1], output[:, -1:] + shifts[:, None]], dim=1)

    screens = torch.from_numpy(np.concatenate([branch.screens, branch.screen[None]]))
    previous = torch.cat([torch.tensor([NO_CLICK]), torch.from_numpy(branch.clicks).long()])
    frames = policy.encode(screens, previous)
    layer = policy.context.layers[middle_layer(len(policy.context.layers)) - 1]
    handle = layer.register_forward_hook(move)
    try:
        context, _ = policy.context.each(frames.tokens[None].expand(len(shifts), -1, -1, -1))
    finally:
        handle.remove()
    cells, patches = (
        values[-1:].expand(len(shifts), *values.shape[1:])
        for values in (frames.cells, frames.patches)
    )
    return policy.head.chance(context[:, -1], cells, patches, rect)
