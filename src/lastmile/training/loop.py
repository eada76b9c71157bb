"""Training a policy from clicks.

A training run can be killed at any moment. Started again, it resumes, and on a CPU ends bit for bit
where it would have ended. This is the only module that imports Lightning, which takes seconds.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from lastmile.closed import canonical
from lastmile.config import PolicySettings, Training
from lastmile.errors import LastmileError
from lastmile.policy.policy import Policy
from lastmile.simulation.tokens import Store
from lastmile.training.checkpoints import (
    CHECKPOINT,
    PROGRESS,
    Checkpoint,
    finish,
    read_progress,
    resume,
    save_snapshot,
    snapshot_updates,
    write_checkpoint,
)
from lastmile.training.device_data import (
    Blocks,
    DeviceData,
    Plan,
    borders,
    first_frames,
    fits,
)
from lastmile.training.device_updates import DeviceUpdates
from lastmile.training.devices import Precision, gpu_failed, out_of_memory, precision
from lastmile.training.finetuning import start_from
from lastmile.training.optimizer import MuonAdamW, takes_muon
from lastmile.training.processes import alone, rank, say
from lastmile.training.windows import Batches, WindowSampler, held_out_batches

CHECKPOINT_SECONDS = 60
"""Seconds between checkpoints."""

PROGRESS_LINES = 100
"""About how many lines of progress a training run writes."""

UPDATES_AT_ONCE = 64
"""Most updates that a device takes before the host looks at their losses."""

CLIP = 1.0
"""Largest norm of the gradient; longer ones are shortened to it."""


def progress_interval(updates: int) -> int:
    """Return after how many updates a run of so many writes a line of progress."""
    return max(1, updates // PROGRESS_LINES)


class TrainingError(LastmileError):
    """A training run that cannot continue; the message names the update.

    The last good checkpoint is kept.
    """


class Trained(NamedTuple):
    """How a run was computed.

    Attributes:
        arithmetic: Number formats, in Lightning's words.
        seconds: Seconds that it took, interruptions not counted.
    """

    arithmetic: Precision
    seconds: float


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
            (self.training_settings.batch, self.policy.settings.window),
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


def train(
    run_folder: str | Path,
    settings: PolicySettings,
    training: Training,
    seed: int,
    stores: Sequence[Store],
    validation: Sequence[Store],
    spec: dict[str, Any],
    out_folder: str | Path,
    start: str | Path | None = None,
    gpus: Sequence[int] = (),
    on_device: bool | None = None,
) -> Trained:
    """Train a policy.

    A first SIGINT or SIGTERM stops the run after the current update, with a checkpoint. With
    several devices Lightning starts this same command once per device; process 0 keeps and writes
    everything.

    Args:
        run_folder: Where the run keeps its work. It resumes only work of an equal `spec`.
        settings: Settings of the policy.
        training: Settings of the training.
        seed: Seed of the initial weights and of the order of the windows.
        stores: Tokens to train on, which take turns window by window.
        validation: Tokens for the validation loss; may be empty.
        spec: What the run is.
        out_folder: Gets `config.json`, `policy.safetensors`, `snapshots.safetensors` and
            `progress.csv` at the end; nothing in them depends on time or place.
        start: Folder of a policy to fine-tune.
        gpus: Numbers of the devices; without any, the CPU.
        on_device: Keep the data on the device and take updates there, by `DeviceUpdates`; by
            default where there is one GPU with room for the data.

    Returns:
        How the run was computed.

    Raises:
        ReadError: If its checkpoint cannot be read now.
        TrainingError: If a loss or gradient is not finite, or there is too little memory.
        PolicyError: If the policy in `start` does not fit.
        LastmileError: Without any frames, for screens of another size than the policy's, or a
            batch that cannot be divided.
        KeyboardInterrupt: After SIGINT.
        SystemExit: With code 143, after SIGTERM.
    """
    run_folder = Path(run_folder)
    out_folder = Path(out_folder)
    run_folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(training.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(settings)
    _check_screens(policy, [*stores, *validation])

    sampler = WindowSampler(
        [store.starts for store in stores], settings.window, training.batch, seed
    )
    seen = sampler.schedule(training.frames)
    snapshots = {
        update: int(seen[update - 1]) for update in snapshot_updates(seen, training.snapshots)
    }

    if start is None:
        policy.load_pretrained()
    else:
        start_from(policy, start)
    wanted = precision(training.precision, "cuda" if gpus else "cpu")
    whole_spec = canonical(
        {
            "spec": spec,
            "settings": settings.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "seed": seed,
        }
    )

    with alone(run_folder):
        checkpoint = resume(run_folder, policy, whole_spec, snapshots)
        done = checkpoint["done"] if checkpoint else 0
        arithmetic = checkpoint["arithmetic"] if checkpoint else wanted
        if arithmetic != wanted:
            say(f"computing in {arithmetic}, as before; a new run would use {wanted}")
        batches = Batches(
            stores, sampler, done, len(seen), rank(), training.devices, training.accumulate
        )
        blocks: Blocks | None = None
        module: PolicyModule
        if _stays_on_device(training, stores, gpus, arithmetic) if on_device is None else on_device:
            ends = [*snapshots, *range(0, len(seen), progress_interval(len(seen)))]
            blocks = Blocks(
                sampler,
                first_frames(stores),
                int(np.diff(seen, prepend=0).max()),
                borders(ends, done, len(seen), UPDATES_AT_ONCE),
            )
            module = DeviceModule(policy, training, len(seen), stores, blocks, batches, arithmetic)
        else:
            module = PolicyModule(policy, training, len(seen), batches, arithmetic)
        if checkpoint:
            module.resume(checkpoint)
        held_out = held_out_batches(validation, settings.window, training.batch)
        keeper = Bookkeeper(
            run_folder,
            whole_spec,
            seen,
            list(snapshots),
            blocks or batches,
            held_out,
            checkpoint["seconds"] if checkpoint else 0.0,
        )
        if done < len(seen):
            fit(module, keeper, gpus)
        if rank() == 0:
            finish(run_folder, out_folder, policy, list(snapshots.values()))
        return Trained(module.arithmetic, keeper.seconds)


def _stays_on_device(
    training: Training, stores: Sequence[Store], gpus: Sequence[int], arithmetic: Precision
) -> bool:
    """Return whether a run keeps its data on its device and takes its updates there."""
    if len(gpus) != 1 or training.accumulate > 1 or arithmetic == "16-mixed":
        return False
    if fits(stores, torch.device("cuda", gpus[0])):
        return True
    say("the training data do not fit into the memory of the GPU: reading them window by window")
    return False


def _check_screens(policy: Policy, stores: Sequence[Store]) -> None:
    """Raise LastmileError for a store with screens of another size than the policy's."""
    expected = (*policy.encoder.screen, 3)
    for store in stores:
        if (size := store.screens(0, 1).shape[1:]) != expected:
            raise LastmileError(
                f"{getattr(store, 'path', 'tokens')}: screens of {size}, but the policy expects "
                f"{expected}"
            )


def fit(module: PolicyModule, keeper: Bookkeeper, gpus: Sequence[int] = ()) -> None:
    """Take the remaining updates.

    Raises:
        TrainingError: If there is too little memory.
        KeyboardInterrupt: After SIGINT.
        SystemExit: After SIGTERM.
    """
    training = module.training_settings
    device = "cuda" if gpus else "cpu"
    on_device = isinstance(module, DeviceModule)
    # `DeviceUpdates` compute with their own number formats, and compile themselves.
    name = "32-true" if on_device else module.arithmetic
    if training.compile and not on_device:
        for part in (module.policy.encoder, module.policy.context):
            part.compile(dynamic=True)
    with _quiet_lightning(), _stopping(keeper, module):
        trainer = pl.Trainer(
            accelerator="gpu" if gpus else "cpu",
            devices=list(gpus) or training.devices,
            strategy="ddp" if training.devices > 1 else "auto",
            # Lightning takes a precision or a plugin for it. The plugin below serves float16 on
            # the CPU as well.
            precision=None if name == "16-mixed" else name,
            max_epochs=1,
            accumulate_grad_batches=training.accumulate,
            use_distributed_sampler=False,  # each device reads its own windows
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keeper],
            plugins=[
                # Inside SLURM, too, Lightning starts its further processes itself.
                LightningEnvironment(),
                *([MixedPrecision("16-mixed", device)] if name == "16-mixed" else []),
            ],
            default_root_dir=keeper.folder,
        )
        try:
            trainer.fit(module, train_dataloaders=keeper.batches)
        except SIGTERMException:
            pass  # Lightning's own answer to the signal; ours follows below
        except (RuntimeError, MemoryError) as error:
            if gpu_failed(error):
                raise TrainingError(
                    f"update {module.done + 1} of {module.updates}: the GPU failed "
                    f"({str(error).splitlines()[0]}); the last checkpoint is kept: run the same "
                    "command again to resume"
                ) from error
            if not out_of_memory(error):
                raise
            if on_device:
                raise TrainingError(
                    f"update {module.done + 1} of {module.updates}: the GPU has too little free "
                    f"memory for the training data and training.batch: {training.batch}; the last "
                    "checkpoint is kept. Is another process using this GPU?"
                ) from error
            raise TrainingError(
                f"update {module.done + 1} of {module.updates}: too little memory for "
                f"training.batch: {training.batch} ({training.batch} windows of "
                f"{module.policy.settings.window} frames per update, in "
                f"{training.accumulate * training.devices} parts); a larger training.accumulate "
                "takes them in more parts one after the other, with the same result"
            ) from error

    if keeper.signal and module.done < len(keeper.seen):
        signal_name = signal.Signals(keeper.signal).name
        say(
            f"stopped by {signal_name} after update {module.done}/{module.updates}; "
            "checkpoint saved"
        )
        if keeper.signal == signal.SIGINT:
            raise KeyboardInterrupt  # the command line then says how to resume
        say("interrupted; run the same command again to resume")
        raise SystemExit(128 + keeper.signal)
    module.cpu()


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners and tips, and its warnings about what is done on purpose."""
    loggers = [
        logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning_fabric")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\b"
            )
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@contextmanager
def _stopping(keeper: Bookkeeper, module: PolicyModule) -> Iterator[None]:
    """Let a first SIGINT or SIGTERM stop the run after its update; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def note(number: int, frame: FrameType | None) -> None:
        if keeper.signal:
            raise KeyboardInterrupt
        keeper.signal = module.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
