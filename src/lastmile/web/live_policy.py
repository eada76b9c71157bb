"""A policy of ours at work on one world, a click at a time.

It computes in the shapes of `lastmile.evaluation.closed_loop`, so that no bit of it differs: groups
of the same number of screens, of which the first row is the world and the others are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lastmile.evaluation.closed_loop import GROUP
from lastmile.policy.network import Frames
from lastmile.policy.policy import NO_CLICK, Policy
from lastmile.screen import Screen
from lastmile.simulation.pool import Rollout
from lastmile.viewer.predictions import Outlook, outlook


class _Seen(NamedTuple):
    """What the policy makes of the current screen.

    Attributes:
        context: (GROUP, D), of which the first row counts.
        frames: The encoded frames, of which the first one counts.
    """

    context: Tensor
    frames: Frames


class LivePolicy:
    """A policy of ours at work on one world; see `lastmile.web.live.Live`."""

    def __init__(self, policy: Policy, rollout: Rollout, temperature: float, seed: int) -> None:
        """Begin.

        Args:
            policy: The policy; several worlds may share it, one after the other.
            rollout: The world, before the first click.
            temperature: Temperature at which clicks are sampled, above 0.
            seed: Seeds the random numbers, together with the number of the rollout.
        """
        self._policy = policy
        self._rollout = rollout
        self._temperature = temperature
        self._seed = seed
        self._memory = policy.begin(GROUP)
        self._remembered = 0  # screens in the memory, from the first one of the episode on
        self._seen: _Seen | None = None  # of the current screen, once it is in the memory
        self._answer: tuple[int, int] | None = None

    @torch.inference_mode()
    def click(self, clicks: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return the next click, given all so far."""
        context, frames = self._look(clicks)
        if self._answer is None:
            # Every step has random numbers of its own, whoever made the clicks before it.
            seeds = np.random.SeedSequence([self._seed, self._rollout.number])
            uniforms = np.random.default_rng(seeds).random((len(clicks) + 1, 2))[-1:]
            drawn = _group(torch.from_numpy(uniforms.astype(np.float32)).to(self._policy.device))
            sample = self._policy.head.sample(
                context, frames.cells, frames.patches, self._temperature, drawn
            )
            x, y = sample[0].tolist()
            self._answer = x, y
        return self._answer

    @torch.inference_mode()
    def outlook(self, clicks: Sequence[tuple[int, int]]) -> tuple[Outlook, Screen]:
        """Return the distribution of the next click, at temperature 1, and the screen it is on."""
        context, frames = self._look(clicks)
        screen = self._rollout.screen()
        return outlook(self._policy.head, context[:1], frames, 0, screen), screen

    def close(self) -> None:
        """Do nothing: nothing is held that others need."""

    def _look(self, clicks: Sequence[tuple[int, int]]) -> _Seen:
        """Look at the current screen, once."""
        self._follow(clicks)
        if self._seen is None:
            frames = self._encode([self._rollout.observe()], [self._previous()])
            rows = torch.arange(GROUP, device=self._policy.device)
            context, _ = self._policy.context.last(*self._memory.append(rows, frames.tokens))
            self._remembered += 1
            self._seen = _Seen(context, frames)
        return self._seen

    def _follow(self, clicks: Sequence[tuple[int, int]]) -> None:
        """Make the clicks that are new, and remember the screens that they were made on."""
        steps = self._rollout.steps
        if len(clicks) == len(steps):
            return
        self._seen = self._answer = None
        # Older screens would be forgotten at once. The last one may be in the memory already.
        first = max(self._remembered, len(clicks) - self._policy.settings.window)
        screens: list[np.ndarray] = []
        previous: list[tuple[int, int]] = []
        for click in clicks[len(steps) :]:
            if len(steps) >= first:
                screens.append(self._rollout.observe())
                previous.append(self._previous())
            self._rollout.click(*click)

        row = torch.zeros(1, dtype=torch.long, device=self._policy.device)
        for start in range(0, len(screens), GROUP):
            part = slice(start, start + GROUP)
            tokens = self._encode(screens[part], previous[part]).tokens
            for token in tokens[: len(screens[part])]:
                self._memory.append(row, token[None])
        self._remembered = len(clicks)

    def _previous(self) -> tuple[int, int]:
        return self._rollout.steps[-1].click if self._rollout.steps else NO_CLICK

    def _encode(self, screens: list[np.ndarray], previous: list[tuple[int, int]]) -> Frames:
        """Encode at most `GROUP` screens, (126, 168, 3) uint8, with the click before each."""
        device = self._policy.device
        return self._policy.encode(
            _group(torch.from_numpy(np.stack(screens)).to(device)),
            _group(torch.tensor(previous, device=device)),
        )


def _group(values: Tensor) -> Tensor:
    """Return (n, ...) values as (GROUP, ...), with zeros after them."""
    return torch.cat([values, values.new_zeros(GROUP - len(values), *values.shape[1:])])
