"""Collect activations after an annotation that is wrong, and after a right one in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.probing.activations import metadata, shrink, untrained
from lastmile.screen.widgets import KINDS
from lastmile.simulation.counterfactuals import Branch, Fork, branches, forks
from lastmile.simulation.trajectory import Trajectories


@dataclass(frozen=True)
class Pairs:
    """Activations at the newest screen of both branches of some forks.

    Attributes:
        features: By name, (pairs, 2, d) float32 each: the wrong branch, then the right one.
        episode: (pairs,) number of the episode.
        seen: (pairs,) bool, whether the newest screen shows the mistake.
        right: The right branches.
    """

    features: dict[str, np.ndarray]
    episode: np.ndarray
    seen: np.ndarray
    right: list[Branch]


def sample(policy: Policy, trajectories: Trajectories, seed: int = 0) -> Pairs:
    """Collect the features of every fork of a recording.

    Args:
        policy: The policy.
        trajectories: The recording.
        seed: Seed of the random network.

    Returns:
        The features are named as in `lastmile.probing.activations.sample`. A recording without
        forks has none.
    """
    networks = {"": policy, "random:": untrained(policy, seed)}
    parts: dict[str, list[np.ndarray]] = {}
    kept: list[tuple[Fork, Branch]] = []
    for fork in forks(trajectories):
        pair = branches(trajectories, fork, policy.settings.window - 1)
        if pair is None:
            continue
        kept.append((fork, pair[1]))
        for prefix, network in networks.items():
            for name, values in _newest(network, *pair).items():
                parts.setdefault(prefix + name, []).append(values)
        parts.setdefault("screen", []).append(shrink(np.stack([b.screen for b in pair])))

    features = {name: np.stack(values) for name, values in parts.items()}
    if kept:
        steps = np.array([fork.step + 1 for fork, _ in kept])
        actions = np.array([KINDS.index(fork.action) for fork, _ in kept])
        features["metadata"] = np.stack([metadata(steps, actions)] * 2, axis=1)
        features["chance"] = np.zeros((len(kept), 2, 1), np.float32)
    return Pairs(
        features,
        np.array([fork.episode for fork, _ in kept], np.int64),
        np.array([fork.seen for fork, _ in kept], bool),
        [right for _, right in kept],
    )


@torch.inference_mode()
def _newest(network: Policy, wrong: Branch, right: Branch) -> dict[str, np.ndarray]:
    """Return the activations at the newest screens of two branches, (2, d) by name.

    What was on the screens before the fork is the same in both, and encoded once.
    """
    screens = np.concatenate([wrong.screens, wrong.screen[None], right.screen[None]])
    clicks = [*wrong.clicks.tolist(), right.clicks[-1].tolist()]
    past = len(wrong.screens)
    frames = network.encode(torch.from_numpy(screens), torch.tensor([NO_CLICK, *clicks]))
    index = torch.tensor([[*range(past), newest] for newest in (past, past + 1)])
    _, outputs = network.context.each(frames.tokens[index])  # (2, past + 1, P, D)
    named = {
        "encoder": frames.vectors[-2:],
        "token": frames.tokens[-2:, -1],
        **{f"layer{i}": output[:, -1] for i, output in enumerate(outputs, 1)},
    }
    return {name: values.float().numpy() for name, values in named.items()}
