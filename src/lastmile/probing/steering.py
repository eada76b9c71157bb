"""Steering: move activations along the direction of a mistake, and see what the policy does.

Activations are moved in the middle of the transformer, at the newest frame. At the end of the
transformer the next linear map chooses the click, and a direction that makes Undo likelier would
say little about mistakes.

What happens is measured twice: teacher-forced, as the probability of Undo on the screen after a
right annotation, and in closed loop, where the policy works on from there, moved at every step, and
the annotation may be gone in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.evaluation.recovery import stands
from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.probing.probes import by_episode
from lastmile.screen.widgets import Rect
from lastmile.simulation.counterfactuals import Branch
from lastmile.simulation.pool import Rollout
from lastmile.simulation.trajectory import Trajectories

OTHERS = "others"
"""In place of a task: all other tasks together."""
RANDOM = 8
"""Random directions that the shared direction is compared with."""
REDRAWN = 8
"""Shared directions of redrawn episodes: how much the direction itself is known."""
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""How far activations are moved, in units of the task's own distance between the two means."""
TESTED = 1.0
"""The strength at which redrawn directions are measured too, and in closed loop."""
PLAYED = 48
"""Right annotations of a task, at most, from which the policy works on."""


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


def direction(pairs: np.ndarray) -> np.ndarray:
    """Return the mean difference, (D,), between the halves of pairs, (n, 2, D)."""
    return (pairs[:, 0] - pairs[:, 1]).mean(0)


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


def middle_layer(layers: int) -> int:
    """Return the number of the layer, from 1, after which activations are moved."""
    return max(1, layers // 2)


@contextmanager
def _changed(policy: Policy, change: Callable[[object, object, Tensor], Tensor]) -> Iterator[None]:
    """Change the output of the middle layer of the transformer."""
    layer = policy.context.layers[middle_layer(len(policy.context.layers)) - 1]
    handle = layer.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def steered(
    policy: Policy,
    trajectories: Trajectories,
    right: list[Branch],
    sample: Sample,
    samples: list[Sample],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Move activations after right annotations, and measure the probability of Undo.

    Args:
        policy: The policy.
        trajectories: Test episodes of a task.
        right: The right branches of its pairs.
        sample: Its activations.
        samples: Those of all tasks.
        seed: Seed of random and redrawn directions.

    Yields:
        Rows `undo:shared` and `undo:random` of `lastmile.probing.generalization.measure`.
    """
    shared = shared_direction(sample, samples)
    rng = np.random.default_rng([seed, 29])
    random = unit(rng.normal(size=(RANDOM, len(shared)))) * np.linalg.norm(shared)
    redrawn = [shared_direction(sample, samples, rng) for _ in range(REDRAWN)]

    keys: list[tuple[str, float, int]] = []  # measure, strength and draw of each shift
    shifts: list[np.ndarray] = []
    for strength in STRENGTHS:
        keys += [("undo:shared", strength, 0)] + [("undo:random", strength, 0)] * RANDOM
        shifts += [strength * shared, *(strength * random)]
    keys += [("undo:shared", TESTED, draw) for draw in range(1, REDRAWN + 1)]
    shifts += [TESTED * vector for vector in redrawn]
    stacked = torch.from_numpy(np.stack(shifts)).float()

    rows = []
    for branch, episode in zip(right, sample.episode.tolist()):
        replay = trajectories.open(episode)
        rect = replay.interface.screen(branch.state, replay.look).widget("undo").rect
        chances = undo_chances(policy, branch, rect, stacked).tolist()
        rows += [(*key, episode, chance) for key, chance in zip(keys, chances)]
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
    with _changed(policy, move):
        context, _ = policy.context.each(frames.tokens[None].expand(len(shifts), -1, -1, -1))
    cells, patches = (
        values[-1:].expand(len(shifts), *values.shape[1:])
        for values in (frames.cells, frames.patches)
    )
    return policy.head.chance(context[:, -1], cells, patches, rect)


@contextmanager
def moved(policy: Policy, shift: Tensor) -> Iterator[None]:
    """Move the residual stream of a policy at the newest frame, wherever it acts.

    Args:
        policy: The policy; afterwards it is as it was.
        shift: (D,), by how much, in the middle of the transformer.
    """
    context = policy.context
    plain = context.last
    newest = torch.empty(0, dtype=torch.long)

    def last(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        nonlocal newest
        newest = lengths * tokens.shape[2] - 1  # position of the last token of the newest frame
        return plain(tokens, lengths)

    def move(_layer: object, _inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        # The last layer returns the newest token alone.
        at = newest if output.shape[1] > 1 else torch.zeros_like(newest)
        output[torch.arange(len(output), device=output.device), at] += shift.to(output)
        return output

    context.last = last  # type: ignore[method-assign]
    try:
        with _changed(policy, move):
            yield
    finally:
        del context.last


def worked_on(
    policy: Policy,
    trajectories: Trajectories,
    right: list[Branch],
    sample: Sample,
    samples: list[Sample],
    seed: int,
    steps: int,
    temperature: float,
) -> Iterator[dict[str, Any]]:
    """Let the policy work on after right annotations, moved at every step.

    Episodes take turns with random directions, and with shared ones of redrawn episodes, so that
    how much episodes differ includes how much the direction is known. The random numbers of the
    clicks are the same in all arms.

    Args:
        policy: The policy.
        trajectories: Test episodes of a task.
        right: The right branches of its pairs.
        sample: Its activations.
        samples: Those of all tasks.
        seed: Seed of directions and clicks.
        steps: Steps that the policy gets.
        temperature: Temperature of the sampled clicks.

    Yields:
        Rows `gone:shared` and `gone:random` of `lastmile.probing.generalization.measure`.
    """
    episodes = sample.episode[:PLAYED]
    rng = np.random.default_rng([seed, 37])
    shared = np.stack([shared_direction(sample, samples, rng) for _ in range(REDRAWN)])
    random = unit(rng.normal(size=(RANDOM, shared.shape[1]))) * np.linalg.norm(shared[0])
    for name, directions in (
        ("gone:shared", 0 * shared[:1]),
        ("gone:shared", TESTED * shared),
        ("gone:random", TESTED * random),
    ):
        gone = np.zeros(len(episodes))
        for turn, shift in enumerate(directions):
            rollouts, history = [], {}
            for number in np.flatnonzero(episodes % len(directions) == turn).tolist():
                branch, replay = right[number], trajectories.open(int(episodes[number]))
                task = replay.task.name
                rollouts.append(
                    Rollout(number, task, replay.world, replay.look, steps, branch.state)
                )
                history[number] = branch.screens, branch.clicks
            with moved(policy, torch.from_numpy(shift).float()):
                played = play_rollouts(policy, rollouts, temperature, seed, history=history)
            for rollout in played:
                edits = right[rollout.number].state.edits
                gone[rollout.number] = not stands(rollout.states[-1], len(edits) - 1, edits[-1])

        for row in by_episode(episodes, gone, 1.0).to_dict("records"):
            yield {
                "measure": name,
                "source": OTHERS,
                "target": sample.task,
                "strength": TESTED if directions.any() else 0.0,
                **{str(key): row[key] for key in ("episode", "score", "total")},
            }
