"""How a policy learns: Lightning's module, with Muon and AdamW, a schedule and clipped gradients.

With the data on a device, blocks of updates take the place of Lightning's steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lastmile.config import Training
from lastmile.errors import LastmileError
from lastmile.policy.policy import Policy
from lastmile.simulation.tokens import Store
from lastmile.training.checkpoints import Checkpoint
from lastmile.training.device_data import Blocks, DeviceData, Plan
from lastmile.training.device_updates import DeviceUpdates
from lastmile.training.devices import Precision
from lastmile.training.optimizer import MuonAdamW, takes_muon
from lastmile.training.processes import say
from lastmile.training.windows import Batches

CLIP = 1.0
"""Largest norm of the gradient; longer ones are shortened to it."""


class TrainingError(LastmileError):
    """A training run that cannot continue; the message names the update.

    The last good checkpoint is kept.
    """


class PolicyModule(pl.LightningModule):
    """How a policy learns: Muon and AdamW, linear warm-up, a cosine to a tenth, clipped gradients.

    The encoder learns at its own share of the learning rates. An update may be divided into parts,
    among devices and one after the other on each. The loss of each part is divided by the frames of
    the whole update, so that the parts add up to the undivided update.

    Args:
        policy: The policy to train.
        training: How.
        updates: Updates of the whole run.
        batches: Where the batches come from, to name the windows of a bad one.
        arithmetic: Number formats to compute with.

    Attributes:
        done: Updates so far, including those before a resume.
        losses: Sum of nats and number of frames since the last line of progress.
        signal: Number of the signal to stop after, or 0.
    """

    def __init__(
        self,
        policy: Policy,
        training: Training,
        updates: int,
        batches: Batches | None = None,
        arithmetic: Precision = "32-true",
    ) -> None:
        super().__init__()
        self.policy = policy
        self.training_settings = training
        self.updates = updates
        self.batches = batches
        self.arithmetic = arithmetic
        self.done = 0
        self.signal = 0
        self.losses: list[float] = [0.0, 0]
        self._optimizer_state: dict[str, Any] | None = None
        self._scaler_state: dict[str, Any] | None = None

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue after a checkpoint, whose weights the policy already has."""
        self.arithmetic = checkpoint["arithmetic"]
        self.done = checkpoint["done"]
        self.losses = list(checkpoint["losses"])
        self._optimizer_state = checkpoint["optimizer"]
        self._scaler_state = checkpoint["scaling"]

    def schedule(self, update: int) -> float:
        """Return the learning rate of an update, counted from 0, as a share of its peak."""
        warmup = self.training_settings.warmup * self.updates
        rise = min(1.0, (update + 1) / max(warmup, 1.0))
        falling_updates = max(self.updates - warmup, 1.0)
        fall = 0.5 * (1 + np.cos(np.pi * max(0.0, update - warmup) / falling_updates))
        return rise * (0.1 + 0.9 * float(fall))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer, with parameter groups by kind, learning rate and weight decay."""
        training = self.training_settings
        groups: dict[tuple[bool, float, float], list[torch.nn.Parameter]] = {}
        for name, parameter in self.policy.named_parameters():
            if not parameter.requires_grad:
                continue
            muon = training.muon_rate > 0 and takes_muon(name, parameter)
            peak = training.muon_rate if muon else training.learning_rate
            share = training.encoder_rate if name.startswith("encoder.") else 1.0
            # Matrices decay; biases and norms do not.
            decay = training.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((muon, peak * share, decay), []).append(parameter)
        optimizer = MuonAdamW(
            {"params": parameters, "muon": muon, "peak": peak, "lr": peak, "weight_decay": decay}
            for (muon, peak, decay), parameters in groups.items()
        )
        if self._optimizer_state:
            optimizer.load_state_dict(self._optimizer_state)
        return optimizer

    def on_train_start(self) -> None:
        """Restore the gradient scaler."""
        if self._scaler_state:
            self.trainer.precision_plugin.load_state_dict(self._scaler_state)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Set the learning rate of the update."""
        optimizer = self.optimizers()
        for group in optimizer.param_groups:  # type: ignore[union-attr]  # there is only one
            group["lr"] = group["peak"] * self.schedule(self.done)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of one part of an update.

        Raises:
            TrainingError: If it is not finite.
        """
        nats = self.policy.loss(batch)  # (B, T)
        total = nats.sum()
        sums = torch.tensor(
            [total.item(), int(batch["mask"].sum()), self.signal],
            dtype=torch.float64,
            device=self.device,
        )
        if self.trainer.world_size > 1:
            # So that all devices stop together, and log and keep the same.
            torch.distributed.all_reduce(sums)
        value = sums[0].item()
        frames = int(sums[1])
        self.signal = int(sums[2])

        if not np.isfinite(value):
            rows = (~torch.isfinite(nats.detach())).any(1).nonzero()[:, 0].tolist()
            part = batch_idx % self.training_settings.accumulate
            raise TrainingError(
                f"update {self.done + 1} of {self.updates}: the loss is {value}, from "
                f"{self._describe(part, rows) or 'another device'}; a lower "
                "training.learning_rate may help"
            )
        self.losses = [self.losses[0] + value, self.losses[1] + frames]
        # Lightning takes the mean of the parts; here they are to add up.
        parts = self.training_settings.accumulate * self.trainer.world_size
        return total / batch["frames"] * parts

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any
    ) -> None:
        """Clip the norm of the gradient.

        Raises:
            TrainingError: If it is not finite.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP)
        if not torch.isfinite(norm):
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None and scaler.get_scale() > 1:
                # float16 has overflowed: the scaler skips this update and scales less from now on.
                return
            raise TrainingError(
                f"update {self.done + 1} of {self.updates}: the norm of the gradient is "
                f"{norm.item()}, from {self._describe()}; a lower training.learning_rate may help"
            )

    def taken(self, batch: Any, batch_idx: int) -> int:
        """Return how many updates a batch of Lightning's has completed."""
        # Further parts of the update may follow.
        return int((batch_idx + 1) % self.training_settings.accumulate == 0)

    def _describe(self, part: int | None = None, rows: Sequence[int] | None = None) -> str:
        """Return which windows the current update sees, in words."""
        assert self.batches is not None, "only a module with batches is trained"
        return self.batches.describe(self.done, part, rows)


class DeviceModule(PolicyModule):
    """A policy that learns by `DeviceUpdates`: Lightning's steps are blocks of updates.

    Args:
        policy: The policy to train.
        training: How.
        updates: Updates of the whole run.
        stores: Tokens to train on.
        blocks: The plans of the updates.
        batches: Describes the windows of a bad update.
        arithmetic: Number formats to compute with, float32 or bfloat16.
    """

    def __init__(
        self,
        policy: Policy,
        training: Training,
        updates: int,
        stores: Sequence[Store],
        blocks: Blocks,
        batches: Batches,
        arithmetic: Precision,
    ) -> None:
        super().__init__(policy, training, updates, batches, arithmetic)
        self.automatic_optimization = False
        self.stores = stores
        self.blocks = blocks
        self.taker: DeviceUpdates | None = None

    def on_train_start(self) -> None:
        """Copy the data to the device and record an update."""
        begin = time.monotonic()
        data = DeviceData(self.stores, self.device)
        copied = time.monotonic()
        optimizer = self.trainer.optimizers[0]
        assert isinstance(optimizer, MuonAdamW)
        first, last = self.blocks.blocks[0]
        self.taker = DeviceUpdates(
            self.policy,
            optimizer,
            self.schedule,
            data,
            self.blocks.plan(first, last),
            (self.blocks.sampler.batch * self.blocks.sampler.pieces, self.policy.settings.window),
            CLIP,
            torch.bfloat16 if self.arithmetic == "bf16-mixed" else None,
            self.training_settings.compile,
        )
        say(
            f"{data.offsets[-1]:,} frames on the device after {copied - begin:.0f} s, "
            f"an update recorded after {time.monotonic() - copied:.0f} s more"
        )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Leave the learning rate to the updates themselves."""

    def training_step(self, batch: tuple[int, Plan], batch_idx: int) -> None:  # type: ignore[override]
        """Take a block of updates.

        Raises:
            TrainingError: If a loss or gradient is not finite.
        """
        first, plan = batch
        assert self.taker is not None
        sums = self.taker.run(plan, first)
        if sums.bad >= 0:
            self.done = sums.bad
            raise TrainingError(
                f"update {sums.bad + 1} of {self.updates}: the loss or the norm of the gradient "
                f"is not finite, from {self._describe()}; a lower training.learning_rate may help"
            )
        self.losses = [self.losses[0] + sums.nats, self.losses[1] + sums.frames]

    def taken(self, batch: Any, batch_idx: int) -> int:
        """Return the updates of a block."""
        return len(batch[1].counts)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, index: int) -> Any:
        """Leave a block to `DeviceUpdates`, which copies it itself."""
        return batch
