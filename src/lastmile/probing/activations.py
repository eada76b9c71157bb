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
        open_mistakes: (frames,) number of mistakes in the annotation.
    """

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
        pixels; and `metadata`, step number and last action.
    """
    torch.manual_seed(seed)
    untrained = Policy(policy.settings).eval()

    parts: dict[str, list[np.ndarray]] = {}
    episodes = 0
    starts = tokens.starts
    while episodes < len(tokens) and starts[episodes] < frames:
        start, stop = int(starts[episodes]), int(starts[episodes + 1])
        screens = tokens.screens(start, stop)
        clicks = tokens.clicks[start:stop]
        for prefix, network in (("", policy), ("random:", untrained)):
            for name, values in network.activations(screens, clicks).items():
                parts.setdefault(prefix + name, []).append(values)
        # (n, 126, 168, 3) -> (n, 21, 28, 3), the mean of 6 x 6 pixels.
        blocks = screens.reshape(stop - start, 21, 6, 28, 6, 3)
        small = blocks.mean(axis=(2, 4), dtype=np.float32)
        parts.setdefault("screen", []).append(small.reshape(stop - start, -1))
        episodes += 1

    features = {name: np.concatenate(values) for name, values in parts.items()}
    labels = step_labels(tokens, trajectories, int(starts[episodes]))
    one_hot = np.eye(len(KINDS) + 1, dtype=np.float32)[labels.last_action]
    step = labels.step
    metadata = np.column_stack([step / 50, (step / 50) ** 2, np.log1p(step), one_hot])
    return replace(labels, features={**features, "metadata": metadata.astype(np.float32)})


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
        open_mistakes=tokens.open_mistakes[:end],
    )
