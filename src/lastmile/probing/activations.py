"""Activations and what they are compared with, for a sample of held-out episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from lastmile.policy.policy import Policy
from lastmile.screen.widgets import KINDS
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Trajectories


@dataclass(frozen=True)
class Inputs:
    """Features by name, (frames, d) float32 each, and the labels of the same frames."""

    features: dict[str, np.ndarray]
    episode: np.ndarray
    step: np.ndarray
    last_action: np.ndarray
    phase: np.ndarray
    position: np.ndarray
    open_mistakes: np.ndarray


def sample(
    policy: Policy, tokens: TokenStore, trajectories: Trajectories, frames: int, seed: int = 0
) -> Inputs:
    """Whole episodes, from the first one on, until `frames` frames are reached.

    Features: every layer of the policy by its name; `random:NAME`, the same layer of a network of the same shape with random weights; `screen`, the
    raw screen shrunk to 21 x 28 pixels; `metadata`, step number and last action.
    """
    torch.manual_seed(seed)
    untrained = Policy(policy.settings).eval()
    features: dict[str, list[np.ndarray]] = {}
    episodes = 0
    starts = tokens.starts
    while episodes < len(tokens) and starts[episodes] < frames:
        a, b = int(starts[episodes]), int(starts[episodes + 1])
        screens, clicks = tokens.screens(a, b), tokens.clicks[a:b]
        for prefix, network in (("", policy), ("random:", untrained)):
            for name, values in network.activations(screens, clicks).items():
                features.setdefault(prefix + name, []).append(values)
        small = screens.reshape(b - a, 21, 6, 28, 6, 3).mean(axis=(2, 4), dtype=np.float32)
        features.setdefault("screen", []).append(small.reshape(b - a, -1))
        episodes += 1
    table = {name: np.concatenate(parts) for name, parts in features.items()}
    labels = step_labels(tokens, trajectories, int(starts[episodes]))
    one_hot = np.eye(len(KINDS) + 1, dtype=np.float32)[labels.last_action]
    step = labels.step
    metadata = np.column_stack([step / 50, (step / 50) ** 2, np.log1p(step), one_hot]).astype(
        np.float32
    )
    return replace(labels, features={**table, "metadata": metadata})


def step_labels(tokens: TokenStore, trajectories: Trajectories, end: int) -> Inputs:
    """The labels of the first `end` frames, without any features."""
    steps = trajectories.steps.iloc[:end]
    step = steps["step"].to_numpy()
    kinds = np.array([KINDS.index(k) for k in steps["kind"]])
    last = np.where(step > 0, np.concatenate([[0], kinds[:-1]]), len(KINDS))
    return Inputs(
        {},
        steps["episode"].to_numpy(),
        step,
        last,
        tokens.phase[:end],
        tokens.position[:end],
        tokens.open_mistakes[:end],
    )
