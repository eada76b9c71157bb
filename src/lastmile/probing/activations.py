"""Collect activations and baseline features for a sample of held-out episodes."""

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
    """What probes are fitted on: features and labels of the same frames.

    Attributes:
        features: By name, (frames, d) float32 each.
        episode: (frames,) number of the episode.
        step: (frames,) number of the step in its episode.
        last_action: (frames,) index of the previous click's kind in KINDS; len(KINDS) at the start.
        phase: (frames,) index into `lastmile.tasks.annotator.PHASES`.
        position: (frames,) where in the data the view is, 0 to 1.
    """

    features: dict[str, np.ndarray]
    episode: np.ndarray
    step: np.ndarray
    last_action: np.ndarray
    phase: np.ndarray
    position: np.ndarray


def sample(
    policy: Policy, tokens: TokenStore, trajectories: Trajectories, frames: int, seed: int = 0
) -> Inputs:
    """Collect the features of whole episodes, from the first on, until `frames` frames are reached.

    Args:
        policy: The policy.
        tokens: Screens of the episodes.
        trajectories: The same episodes as recorded.
        frames: Least number of frames, if the file holds as many.
        seed: Seed of the random network.

    Returns:
        The features are every layer of the policy by its name; `random:NAME`, the same layer of a
        network of the same shape with random weights; `screen`, the screen shrunk to 21 x 28
        pixels; `metadata`, step number and last action; and `chance`, a constant.
    """
    networks = {"": policy, "random:": untrained(policy, seed)}
    parts: dict[str, list[np.ndarray]] = {}
    episodes = 0
    starts = tokens.starts
    while episodes < len(tokens) and starts[episodes] < frames:
        start, stop = int(starts[episodes]), int(starts[episodes + 1])
        screens = tokens.screens(start, stop)
        clicks = tokens.clicks[start:stop]
        for prefix, network in networks.items():
            for name, values in network.activations(screens, clicks).items():
                parts.setdefault(prefix + name, []).append(values)
        parts.setdefault("screen", []).append(shrink(screens))
        episodes += 1

    features = {name: np.concatenate(values) for name, values in parts.items()}
    labels = step_labels(tokens, trajectories, int(starts[episodes]))
    features["metadata"] = metadata(labels.step, labels.last_action)
    features["chance"] = np.zeros((len(labels.step), 1), np.float32)
    return replace(labels, features=features)


def untrained(policy: Policy, seed: int) -> Policy:
    """Return a network of the same shape with random weights."""
    torch.manual_seed(seed)
    return Policy(policy.settings).eval()


def shrink(screens: np.ndarray) -> np.ndarray:
    """Shrink screens, (n, 126, 168, 3), to the means of 6 x 6 pixels, (n, 21 * 28 * 3) float32."""
    blocks = screens.reshape(len(screens), 21, 6, 28, 6, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(screens), -1)


def metadata(step: np.ndarray, last_action: np.ndarray) -> np.ndarray:
    """Return what is known without looking, (n, d) float32: step number and last action."""
    one_hot = np.eye(len(KINDS) + 1)[last_action]
    step = step.astype(np.float64)
    columns = np.column_stack([step / 50, (step / 50) ** 2, np.log1p(step), one_hot])
    return columns.astype(np.float32)


def step_labels(tokens: TokenStore, trajectories: Trajectories, end: int) -> Inputs:
    """Return the labels of the first `end` frames, without features."""
    steps = trajectories.steps.iloc[:end]
    step = steps["step"].to_numpy()
    kinds = np.array([KINDS.index(kind) for kind in steps["kind"]])
    last = np.where(step > 0, np.concatenate([[0], kinds[:-1]]), len(KINDS))
    return Inputs(
        features={},
        episode=steps["episode"].to_numpy(),
        step=step,
        last_action=last,
        phase=tokens.phase[:end],
        position=tokens.position[:end],
    )
