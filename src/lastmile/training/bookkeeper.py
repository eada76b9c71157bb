"""The books of a training run: progress, curves, snapshots, checkpoints, and an orderly stop."""

from __future__ import annotations

import importlib.util
import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from lastmile.training.checkpoints import (
    CHECKPOINT,
    PROGRESS,
    Checkpoint,
    read_progress,
    save_snapshot,
    write_checkpoint,
)
from lastmile.training.device_data import Blocks
from lastmile.training.module import PolicyModule
from lastmile.training.processes import say
from lastmile.training.windows import Batches

CHECKPOINT_SECONDS = 60
"""Seconds between checkpoints."""

PROGRESS_LINES = 100
"""About how many lines of progress a training run writes."""


def progress_interval(updates: int) -> int:
    """Return after how many updates a run of so many writes a line of progress."""
    return max(1, updates // PROGRESS_LINES)


class Curves:
    """The curves of a training run for TensorBoard, if it is installed.

    Beside the run's other files, so that `tensorboard --logdir runs` shows all runs.

    Args:
        folder: Folder of the run.
        spec: What the run is.
        frames: Frames seen; what was written beyond them, before an interruption, is dropped.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], frames: int) -> None:
        self.writer = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            name = ".".join(str(part) for part in (spec.get("run") or {"": "run"}).values())
            self.writer = SummaryWriter(folder / name, purge_step=frames)

    def add(self, row: dict[str, Any]) -> None:
        """Add a line of progress; losses and rates over the frames seen."""
        for name in ("loss", "validation_loss", "learning_rate", "frames_per_s"):
            if self.writer is not None and row[name] is not None:
                self.writer.add_scalar(name, row[name], row["frames"])
        if self.writer is not None:
            self.writer.flush()


class Bookkeeper(pl.Callback):
    """Write progress, snapshots and checkpoints of a training run, and stop it after a signal.

    Args:
        folder: Folder of the run.
        spec: What the run is; kept in its checkpoints.
        seen: (updates,), frames seen after each update.
        snapshots: Updates, counted from 1, after which a snapshot is kept.
        batches: Where the batches come from.
        validation: Batches for the validation loss.
        before: Seconds that the run took before it was resumed.

    Attributes:
        signal: Number of the signal that was received, or 0.
    """

    def __init__(
        self,
        folder: Path,
        spec: str,
        seen: np.ndarray,
        snapshots: Sequence[int],
        batches: Batches | Blocks,
        validation: list[dict[str, Tensor]],
        before: float = 0.0,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.seen = seen
        self.snapshots = set(snapshots)
        self.seen_before = int(seen[batches.first - 1]) if batches.first else 0
        self.batches = batches
        self.validation = validation
        self.before = before
        self.every = progress_interval(len(seen))
        self.signal = 0
        self.started = time.monotonic()
        self.saved = self.started
        self.curves: Curves | None = None

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far, interruptions not counted."""
        return self.before + time.monotonic() - self.started

    def on_train_batch_end(  # type: ignore[override]  # made for this kind of module
        self, trainer: pl.Trainer, module: PolicyModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the books after each update."""
        updates = module.taken(batch, batch_idx)
        if not updates:
            return
        module.done += updates
        done = module.done
        last = done == len(self.seen)
        if module.signal:
            # This process was told to stop, or another one of this run.
            self.signal = module.signal = self.signal or signal.SIGTERM
            trainer.should_stop = True
        if not trainer.is_global_zero:
            return

        if done in self.snapshots:
            save_snapshot(self.folder, int(self.seen[done - 1]), module.policy)
        if done in self.snapshots or done % self.every == 0 or last:
            self._log(module)
        if last or self.signal or time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            self._checkpoint(trainer, module)

    def on_exception(  # type: ignore[override]  # made for this kind of module
        self, trainer: pl.Trainer, module: PolicyModule, exception: BaseException
    ) -> None:
        """Keep the work when Lightning itself stops the run."""
        # Raised between updates, when the signal comes too late for the checkpoint of the update.
        if isinstance(exception, SIGTERMException) and trainer.is_global_zero:
            self._checkpoint(trainer, module)

    def _log(self, module: PolicyModule) -> None:
        """Write a line of progress, to the file and to the log."""
        done = module.done
        frames = int(self.seen[done - 1])
        elapsed = time.monotonic() - self.started
        rate = (frames - self.seen_before) / elapsed
        loss = module.losses[0] / module.losses[1]
        validation_loss = (
            self._validate(module) if done in self.snapshots and self.validation else None
        )
        wait_share = self.batches.waited / elapsed
        seconds_left = (int(self.seen[-1]) - frames) / rate
        row = {
            "step": done,
            "frames": frames,
            "loss": loss,
            "learning_rate": module.training_settings.learning_rate * module.schedule(done - 1),
            "validation_loss": validation_loss,
            "frames_per_s": round(rate, 1),
            "wait_share": round(wait_share, 4),
            "seconds_left": round(seconds_left, 1),
        }
        module.losses = [0.0, 0]
        if self.curves is None:
            self.curves = Curves(self.folder, json.loads(self.spec), frames)
        self.curves.add(row)
        with open(self.folder / PROGRESS, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")

        validation = "" if validation_loss is None else f"validation loss {validation_loss:.3f}, "
        say(
            f"update {done}/{len(self.seen)}: {frames:,} frames, loss {loss:.3f}, {validation}"
            f"{rate:.0f} frames/s, {wait_share:.1%} waiting for data, {seconds_left:.0f} s left"
        )

    def _validate(self, module: PolicyModule) -> float:
        """Return the mean nats per frame on a small fixed set of held-out windows."""
        total = 0.0
        frames = 0
        kind = module.device.type
        name = module.arithmetic
        half = torch.float16 if name == "16-mixed" else torch.bfloat16
        with (
            torch.inference_mode(),
            torch.autocast(kind, half, enabled=kind == "cuda" and name != "32-true"),
        ):
            for batch in self.validation:
                batch = {key: value.to(module.device) for key, value in batch.items()}
                total += module.policy.loss(batch).sum().item()
                frames += int(batch["mask"].sum())
        return total / frames

    def _checkpoint(self, trainer: pl.Trainer, module: PolicyModule) -> None:
        checkpoint = Checkpoint(
            spec=self.spec,
            done=module.done,
            losses=module.losses,
            policy=module.policy.state_dict(),
            optimizer=trainer.optimizers[0].state_dict(),
            scaling=trainer.precision_plugin.state_dict(),
            progress=read_progress(self.folder),
            arithmetic=module.arithmetic,
            seconds=self.seconds,
        )
        write_checkpoint(self.folder / CHECKPOINT, checkpoint)
        self.saved = time.monotonic()
