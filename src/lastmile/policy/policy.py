"""The policy: the last screens and the previous click in, the next click out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lastmile.closed import canonical
from lastmile.config import PolicySettings
from lastmile.errors import LastmileError
from lastmile.policy.folder import CONFIG, WEIGHTS, make_config, parse_config, read_config
from lastmile.policy.memory import Memory
from lastmile.policy.network import Frames, Network
from lastmile.policy.outline import outline
from lastmile.policy.weights import (
    PolicyError,
    check_weights,
    read_tensors,
    restore,
    weights,
    write_tensors,
)
from lastmile.storage import files

CHUNK = 64
"""Frames of an episode that are encoded at a time."""

TOKENS_AT_ONCE = 512
"""About how many tokens of newest frames pass the transformer at once, each with its window."""

NO_CLICK = (-1, -1)
"""The previous click before the first one of an episode."""


class Policy(Network):
    """A network that acts in rollouts, predicts whole episodes, and is saved in a folder.

    `initial` makes one as it is before training, `Policy.load` reads a trained one. What it takes
    and returns is described at `Network`.
    """

    def begin(self, rows: int) -> Memory:
        """Return the empty memory of `rows` rollouts."""
        tokens = torch.zeros(
            rows, self.settings.window, self.tokens_per_frame, self.size.width, device=self.device
        )
        return Memory(tokens, torch.zeros(rows, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def remember(self, memory: Memory, row: int, screens: Tensor, previous: Tensor) -> None:
        """Add frames to the memory of one rollout without acting on them.

        Args:
            memory: The memory, changed in place.
            row: Row of the rollout.
            screens: (n, 126, 168, 3) uint8, oldest first.
            previous: (n, 2), the click before each screen.
        """
        index = torch.tensor([row], device=self.device)
        for token in self.encode(screens.to(self.device), previous.to(self.device)).tokens:
            memory.append(index, token[None])

    @torch.inference_mode()
    def act(
        self,
        memory: Memory,
        rows: Tensor,
        screens: Tensor,
        previous: Tensor,
        temperature: float | None = None,
        uniforms: Tensor | None = None,
    ) -> Tensor:
        """Take one step of B rollouts.

        Args:
            memory: The memory, to which the screens are added.
            rows: (B,), rows of these rollouts in the memory, no row twice.
            screens: (B, 126, 168, 3) uint8.
            previous: (B, 2), the click before each screen.
            temperature: Of the sample; without it the most likely clicks are returned.
            uniforms: (B, 2) in [0, 1), from which the sample is drawn.

        Returns:
            The next clicks, (B, 2) int64 logical px.

        Raises:
            LastmileError: For a temperature that is not above 0 or comes without uniforms.
        """
        rows, screens, previous = (value.to(self.device) for value in (rows, screens, previous))
        frames = self.encode(screens, previous)
        context, _ = self.context.last(*memory.append(rows, frames.tokens))
        if temperature is None:
            return self.head.mode(context, frames.cells, frames.patches)
        if uniforms is None or temperature <= 0:
            raise LastmileError(
                f"a sample needs a temperature above 0 and uniforms, got {temperature} and "
                f"{uniforms}"
            )
        return self.head.sample(
            context, frames.cells, frames.patches, temperature, uniforms.to(self.device)
        )

    @torch.inference_mode()
    def predict_episode(
        self,
        screens: np.ndarray | Tensor,
        clicks: np.ndarray | Tensor,
        targets: np.ndarray | Tensor,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict every step of an episode with teacher forcing.

        At each step the policy sees exactly the screens that it would remember in a rollout.

        Args:
            screens: (n, 126, 168, 3) uint8.
            clicks: (n, 2), what the annotator did.
            targets: (n, 2), what is to be predicted.

        Returns:
            The most likely clicks, (n, 2) int64, and the nats of the targets, (n,).
        """
        modes = []
        nats = []
        chunks = iter(torch.as_tensor(targets).long().split(CHUNK))
        for frames, context, _ in self._teacher_forced(screens, clicks):
            target = next(chunks).to(self.device)
            modes.append(self.head.mode(context, frames.cells, frames.patches).cpu())
            nats.append(self.head.loss(context, frames.cells, frames.patches, target).cpu())
        return torch.cat(modes).numpy(), torch.cat(nats).numpy()

    @torch.inference_mode()
    def activations(
        self, screens: np.ndarray | Tensor, clicks: np.ndarray | Tensor
    ) -> dict[str, np.ndarray]:
        """Return the activations at every step of an episode, with teacher forcing.

        Args:
            screens: (n, 126, 168, 3) uint8.
            clicks: (n, 2), what the annotator did.

        Returns:
            (n, D) float32 by name: `encoder`, the frame vector; `token`, the token of the frame
            that is read out, as it enters the transformer (with the previous click, if that is an
            input); `layer1` and so on, the residual stream of the transformer at this token.
        """
        chunks: dict[str, list[Tensor]] = {}
        for frames, _, layers in self._teacher_forced(screens, clicks):
            named = {
                "encoder": frames.vectors,
                "token": frames.tokens[:, -1],
                **{f"layer{i}": x for i, x in enumerate(layers, 1)},
            }
            for name, values in named.items():
                chunks.setdefault(name, []).append(values.float().cpu())
        return {name: torch.cat(values).numpy() for name, values in chunks.items()}

    def _teacher_forced(
        self, screens: np.ndarray | Tensor, clicks: np.ndarray | Tensor
    ) -> Iterator[tuple[Frames, Tensor, list[Tensor]]]:
        """Yield, per chunk of an episode, frames, context (N, D) and each layer's output (N, D)."""
        screens = torch.as_tensor(screens)
        clicks = torch.as_tensor(clicks).long()
        if len(screens) != len(clicks) or not len(clicks):
            raise LastmileError(
                f"an episode needs as many clicks as screens, at least one; got {len(clicks)} "
                f"and {len(screens)}"
            )
        previous = torch.cat([torch.tensor([NO_CLICK]), clicks[:-1]])
        window = self.settings.window
        past = torch.zeros(0, self.tokens_per_frame, self.size.width, device=self.device)
        windows_at_once = max(1, TOKENS_AT_ONCE // self.tokens_per_frame)

        for start in range(0, len(clicks), CHUNK):
            chunk = slice(start, start + CHUNK)
            frames = self.encode(screens[chunk].to(self.device), previous[chunk].to(self.device))
            tokens = torch.cat([past, frames.tokens])

            # The first frames of an episode see all that came before: one causal pass serves all
            # of them. Each later frame needs a window of its own, since with several layers a
            # causal pass would let it see, through the others, frames before its window.
            first_window = 0 if start else min(window, len(tokens))
            steps = torch.arange(len(past) + first_window, len(tokens), device=self.device)
            begins = (steps - window + 1).clamp_min(0)
            # Past the newest token a window holds some other one, which the causal mask hides.
            index = (begins[:, None] + torch.arange(window, device=self.device)).clamp_max(
                len(tokens) - 1
            )  # (N, window)
            lengths = steps - begins + 1

            parts = []
            if first_window:
                context, outputs = self.context.each(tokens[None, :first_window])
                parts.append((context[0], [output[0] for output in outputs]))
            parts += [
                self.context.last(tokens[i], n)
                for i, n in zip(index.split(windows_at_once), lengths.split(windows_at_once))
                if len(n)
            ]
            layers = [torch.cat(outputs) for outputs in zip(*(outputs for _, outputs in parts))]
            yield frames, torch.cat([context for context, _ in parts]), layers
            past = tokens[len(tokens) - min(window - 1, len(tokens)) :]

    def config(self) -> dict[str, Any]:
        """Return what `config.json` holds."""
        return make_config(self.settings, self.encoder.screen)

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `policy.safetensors`, each whole or not at all."""
        with files.writing(Path(folder) / WEIGHTS) as temporary:
            write_tensors(temporary, weights(self), {"config": self.config()})
        files.write_text(Path(folder) / CONFIG, canonical(self.config()) + "\n")

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Policy:
        """Read the policy in a folder.

        Raises:
            PolicyError: If a file is missing, unreadable, truncated, of another format, with
                unknown keys, or of other shapes; the message names the file.
        """
        config_path = Path(folder) / CONFIG
        config = read_config(config_path)
        # Nothing of the promised size is allocated before the file is known to hold it.
        with outline():
            expected = cls.from_config(config, config_path).state_dict()

        path = Path(folder) / WEIGHTS
        state, meta = read_tensors(path, "the weights of a policy")
        check_weights(expected, state, path)
        if meta.get("config") != config:
            raise PolicyError(
                f"{path}: belongs to another {CONFIG}, with {json.dumps(meta.get('config'))}"
            )
        policy = cls.from_config(config, config_path)
        restore(policy, state, path)
        return policy.eval().to(device)

    @classmethod
    def from_config(cls, config: Any, source: str | Path) -> Policy:
        """Build an untrained policy from what `config.json` holds.

        Args:
            config: What was read.
            source: The file it comes from, for messages.

        Raises:
            PolicyError: If it cannot be built; the message names `source`.
        """
        settings, screen = parse_config(config, source)
        try:
            policy = cls(settings, screen)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise PolicyError(f"{source}: {error}") from None
        if policy.config() != config:
            raise PolicyError(
                f"{source}: expected bins {policy.config()['bins']} and all settings, "
                f"got {json.dumps(config)}"
            )
        return policy


def initial(settings: PolicySettings, seed: int) -> Policy:
    """Return the policy as it is before training with this seed.

    Raises:
        WeightsError: If pretrained weights cannot be fetched, or belong to another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(settings)
    policy.load_pretrained()
    return policy.eval()


def read_settings(folder: str | Path) -> PolicySettings:
    """Return the settings of the policy in a folder, without reading its weights.

    Raises:
        PolicyError: If `config.json` cannot be used; the message names it.
    """
    path = Path(folder) / CONFIG
    with outline():
        return Policy.from_config(read_config(path), path).settings


def parameter_count(settings: PolicySettings) -> int:
    """Return the number of parameters of a policy with these settings."""
    with outline():
        return sum(p.numel() for p in Policy(settings).parameters())
