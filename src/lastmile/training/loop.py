"""Training a policy from clicks. It can be killed at any moment, goes on where it was, and on a CPU ends bit for bit where it would have ended."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from lastmile.config import PolicySettings, Training, canonical
from lastmile.errors import LastmileError
from lastmile.policy.policy import Policy
from lastmile.training.checkpoints import (
    alone,
    finish,
    rank,
    read_progress,
    resume,
    save_snapshot,
    say,
    start_from,
    write_checkpoint,
)
from lastmile.training.windows import Batches, Store, WindowSampler, read_batch

CHECKPOINT_SECONDS = 60
LOG_LINES = 100
"""Lines of progress in a training, about."""
VALIDATION_WINDOWS = 48
BETAS = (0.9, 0.95)


class TrainingError(LastmileError):
    """A training that cannot go on; the message names the step. The last good checkpoint is kept."""


class PolicyModule(pl.LightningModule):
    """How a policy learns: AdamW, linear warm-up, cosine to a tenth, clipped gradients; the encoder at its own share of the rate.

    A step may be divided into parts, one after the other and among devices. The loss of each part is divided by the frames of the whole step, so
    that the parts add up to the step as if it were undivided.

    done: steps taken, over all sittings. losses: sums of nats and frames since the last line of progress. signal: the signal to stop after, or 0.
    """

    def __init__(
        self, policy: Policy, training: Training, steps: int, batches: Batches | None = None
    ) -> None:
        super().__init__()
        self.policy, self.training_settings, self.steps, self.batches = (
            policy,
            training,
            steps,
            batches,
        )
        self.done = 0
        self.signal = 0
        self.losses = [0.0, 0]
        self.resumed: dict | None = None  # state of the optimizer to go on from
        self.scaling: dict | None = None  # state of the gradient scaler to go on from

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = self.training_settings.warmup * self.steps
        rise = min(1.0, (step + 1) / max(warm, 1.0))
        fall = 0.5 * (1 + np.cos(np.pi * max(0.0, step - warm) / max(self.steps - warm, 1.0)))
        return self.training_settings.learning_rate * rise * (0.1 + 0.9 * float(fall))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        training, groups = self.training_settings, []
        for in_encoder, share in ((False, 1.0), (True, training.encoder_rate)):
            mine = [
                p
                for name, p in self.policy.named_parameters()
                if p.requires_grad and name.startswith("encoder.") == in_encoder
            ]
            for decay, part in (
                (training.weight_decay, [p for p in mine if p.ndim >= 2]),
                (0.0, [p for p in mine if p.ndim < 2]),
            ):
                groups.append({"params": part, "weight_decay": decay, "share": share})
        # The fused kind undoes the scaling of float16 gradients only inside the step, after they would have been clipped.
        optimizer = torch.optim.AdamW(
            groups, lr=training.learning_rate, betas=BETAS, fused=training.precision != "fp16"
        )
        if self.resumed:
            optimizer.load_state_dict(self.resumed)
        return optimizer

    def on_train_start(self) -> None:
        if self.scaling:
            self.trainer.precision_plugin.load_state_dict(self.scaling)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        for group in self.optimizers().param_groups:
            group["lr"] = self.learning_rate(self.done) * group["share"]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        nats = self.policy.loss(batch)
        total, frames = nats.sum(), int(batch["mask"].sum())
        sums = torch.tensor(
            [total.item(), frames, self.signal], dtype=torch.float64, device=self.device
        )
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(
                sums
            )  # so all devices stop together, and log and keep the same
        value, frames, self.signal = sums[0].item(), int(sums[1]), int(sums[2])
        if not np.isfinite(value):
            bad = (~torch.isfinite(nats.detach())).any(1).nonzero()[:, 0].tolist()
            windows = self.batches.describe(
                self.done, batch_idx % self.training_settings.accumulate, bad
            )
            raise TrainingError(
                f"step {self.done + 1} of {self.steps}: the loss is {value}, from {windows or 'another device'}; "
                "a lower training.learning_rate may help"
            )
        self.losses = [self.losses[0] + value, self.losses[1] + frames]
        return (
            total / batch["frames"] * (self.training_settings.accumulate * self.trainer.world_size)
        )  # Lightning takes the mean of the parts

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any
    ) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.training_settings.clip)
        if not torch.isfinite(norm):
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None and scaler.get_scale() > 1:
                return  # float16 has overflowed: the scaler leaves out this step and scales less from now on
            raise TrainingError(
                f"step {self.done + 1} of {self.steps}: the gradient's norm is {norm.item()}, from {self.batches.describe(self.done)}; "
                "a lower training.learning_rate may help"
            )


class Keeper(pl.Callback):
    """Keeps a training's progress, snapshots and checkpoint in its folder, and stops it cleanly after a signal."""

    def __init__(
        self,
        folder: Path,
        spec: str,
        seen: np.ndarray,
        snapshots: list[int],
        batches: Batches,
        validation: list[dict[str, Tensor]],
    ):
        self.folder, self.spec, self.seen, self.batches, self.validation = (
            folder,
            spec,
            seen,
            batches,
            validation,
        )
        self.snapshots = set(snapshots)
        self.every = max(1, len(seen) // LOG_LINES)
        self.signal = 0
        self.started = self.saved = time.monotonic()
        self.first = batches.first

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: PolicyModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % module.training_settings.accumulate:
            return
        module.done += 1
        done = module.done
        if module.signal:
            self.signal = module.signal = (
                self.signal or signal.SIGTERM
            )  # another device was told to stop
            trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        if done in self.snapshots:
            save_snapshot(self.folder, int(self.seen[done - 1]), module.policy)
        if done in self.snapshots or done % self.every == 0 or done == len(self.seen):
            self._log(module)
        if (
            done == len(self.seen)
            or self.signal
            or time.monotonic() - self.saved > CHECKPOINT_SECONDS
        ):
            self._checkpoint(trainer, module)

    def on_exception(
        self, trainer: pl.Trainer, module: PolicyModule, exception: BaseException
    ) -> None:
        if (
            isinstance(exception, SIGTERMException) and trainer.is_global_zero
        ):  # raised between steps, if the signal came too late for the step's own checkpoint
            self._checkpoint(trainer, module)

    def _log(self, module: PolicyModule) -> None:
        done, frames = module.done, int(self.seen[module.done - 1])
        elapsed = time.monotonic() - self.started
        rate = (frames - (int(self.seen[self.first - 1]) if self.first else 0)) / elapsed
        row = {
            "step": done,
            "frames": frames,
            "loss": module.losses[0] / module.losses[1],
            "learning_rate": module.learning_rate(done - 1),
            "validation_loss": self._validate(module)
            if done in self.snapshots and self.validation
            else None,
            "frames_per_s": round(rate, 1),
            "wait_share": round(self.batches.waited / elapsed, 4),
            "seconds_left": round((int(self.seen[-1]) - frames) / rate, 1),
        }
        module.losses = [0.0, 0]
        with open(self.folder / "progress.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
        held = (
            "" if row["validation_loss"] is None else f"  validation {row['validation_loss']:.3f}"
        )
        say(
            f"step {done}/{len(self.seen)}  {frames} frames  loss {row['loss']:.3f}{held}  {rate:.0f} frames/s  "
            f"waiting {row['wait_share']:.1%}  {row['seconds_left']:.0f} s left"
        )

    def _validate(self, module: PolicyModule) -> float:
        """Mean nats over a fixed small set of held-out windows."""
        total, frames = 0.0, 0
        kind, wanted = (
            module.device.type,
            precision(module.training_settings.precision, module.device.type),
        )
        half = torch.float16 if wanted == "16-mixed" else torch.bfloat16
        with (
            torch.inference_mode(),
            torch.autocast(kind, half, enabled=kind == "cuda" and wanted != "32-true"),
        ):
            for batch in self.validation:
                batch = {name: value.to(module.device) for name, value in batch.items()}
                total += module.policy.loss(batch).sum().item()
                frames += int(batch["mask"].sum())
        return total / frames

    def _checkpoint(self, trainer: pl.Trainer, module: PolicyModule) -> None:
        state = {
            "spec": self.spec,
            "done": module.done,
            "losses": module.losses,
            "policy": module.policy.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "scaling": trainer.precision_plugin.state_dict(),
            "progress": read_progress(self.folder),
        }
        write_checkpoint(self.folder / "last.ckpt", state)
        self.saved = time.monotonic()


def train(
    run_dir: str | Path,
    settings: PolicySettings,
    training: Training,
    seed: int,
    stores: Sequence[Store],
    validation: Sequence[Store],
    spec: dict[str, Any],
    out_dir: str | Path,
    threads: int | None = None,
    start: str | Path | None = None,
    mixture: Sequence[float | Fraction] | None = None,
    gpus: Sequence[int] = (),
) -> None:
    """Train a policy, working in `run_dir`, and put the results into `out_dir`.

    Written to out_dir at the end: config.json, policy.safetensors, snapshots.safetensors, progress.csv (nothing in them holds a time).
    spec: what the run is; work in run_dir is taken up only if it was for an equal spec. start: folder of a policy to start from.
    mixture: weights of the stores; without it windows come from all of them evenly. gpus: numbers of the devices; without any, the CPU.
    With several devices Lightning starts this same command once for each of them; the first one keeps and writes everything.
    A first SIGINT or SIGTERM stops the training after the step, with a checkpoint; it then raises KeyboardInterrupt or SystemExit(143).
    Raises TrainingError on a loss or gradient that is not finite or too little memory, PolicyError on a bad `start`, ValueError without any
    frames, for screens of another size than the policy's, or a batch that cannot be divided.
    """
    run_dir, out_dir = Path(run_dir), Path(out_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if threads:
        torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(settings)
    for store in (*stores, *validation):
        if (size := store.screens(0, 1).shape[1:]) != (*policy.encoder.screen, 3):
            raise LastmileError(
                f"{getattr(store, 'path', 'tokens')}: screens of {size}, but the policy expects {(*policy.encoder.screen, 3)}"
            )
    sampler = WindowSampler(
        [store.starts for store in stores], settings.window, training.batch, seed, mixture
    )
    seen = sampler.schedule(training.frames)
    snapshots = snapshot_steps(seen, training.snapshots)
    if start is None:
        policy.begin_weights()
    else:
        start_from(policy, start)
    module = PolicyModule(policy, training, len(seen))
    wanted = canonical(
        {
            "spec": spec,
            "settings": settings.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "seed": seed,
        }
    )
    with alone(run_dir):
        resume(run_dir, module, wanted, [int(seen[step - 1]) for step in snapshots], snapshots)
        module.batches = Batches(
            stores, sampler, module.done, len(seen), rank(), training.devices, training.accumulate
        )
        keeper = Keeper(
            run_dir,
            wanted,
            seen,
            snapshots,
            module.batches,
            held_out(validation, settings.window, training.batch),
        )
        if module.done < len(seen):
            fit(module, keeper, gpus)
        if rank() == 0:
            finish(run_dir, out_dir, policy, [int(seen[step - 1]) for step in snapshots])


def fit(module: PolicyModule, keeper: Keeper, gpus: Sequence[int] = ()) -> None:
    """Take the steps that are left."""
    training, batches = module.training_settings, module.batches
    kind = "cuda" if gpus else "cpu"
    wanted = precision(training.precision, kind)
    if training.compile:
        for part in (module.policy.encoder, module.policy.context):
            part.compile(dynamic=True)
    with quiet_lightning(), stopping(keeper, module):
        trainer = pl.Trainer(
            accelerator="gpu" if gpus else "cpu",
            devices=list(gpus) or training.devices,
            strategy="ddp" if training.devices > 1 else "auto",
            precision=None if wanted == "16-mixed" else wanted,
            max_steps=batches.last - batches.first,
            max_epochs=-1,
            accumulate_grad_batches=training.accumulate,
            use_distributed_sampler=False,  # each device reads its own windows
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keeper],
            plugins=[
                LightningEnvironment(),
                *([MixedPrecision("16-mixed", kind)] if wanted == "16-mixed" else []),
            ],
            default_root_dir=keeper.folder,
        )
        try:
            trainer.fit(module, train_dataloaders=batches)
        except SIGTERMException:  # Lightning's own answer to the signal
            pass
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"step {module.done + 1} of {module.steps}: too little memory for training.batch: {training.batch} ({training.batch} windows of "
                f"{module.policy.settings.window} frames a step, in {training.accumulate * training.devices} parts); a larger training.accumulate "
                "takes them in more parts one after the other, with the same result"
            ) from error
    if keeper.signal and module.done < len(keeper.seen):
        say(
            f"stopped by signal {int(keeper.signal)} after step {module.done}/{len(keeper.seen)}; start again to go on"
        )
        raise (
            KeyboardInterrupt if keeper.signal == signal.SIGINT else SystemExit(128 + keeper.signal)
        )
    module.cpu()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is lacking, on a GPU or on the CPU."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        word in str(error) for word in words
    )


def precision(setting: str, kind: str) -> str:
    """Lightning's name for what `training.precision` means on a device of this kind, cuda or cpu."""
    if setting == "auto":
        if kind == "cpu":
            return "bf16-mixed" if fast_bfloat16() else "32-true"
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    return {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[setting]


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere mixed precision would only be slower."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def snapshot_steps(seen: np.ndarray, count: int) -> list[int]:
    """Steps (counted from 1) after which a snapshot is kept: log-spaced in frames from a hundredth of all (at least 1000) to the last step."""
    last = int(seen[-1])
    first = min(max(1000, last // 100), last)
    wanted = np.geomspace(first, last, count) if count > 1 else np.array([last])
    return sorted(
        {min(int(np.searchsorted(seen, frames)) + 1, len(seen)) for frames in wanted} | {len(seen)}
    )


def held_out(stores: Sequence[Store], window: int, batch: int) -> list[dict[str, Tensor]]:
    """A fixed small set of windows, the same for every training."""
    if not stores:
        return []
    chosen = WindowSampler(
        [store.starts for store in stores], window, max(VALIDATION_WINDOWS, len(stores)), 0
    ).windows(0)
    return [read_batch(stores, chosen[i : i + batch], window) for i in range(0, len(chosen), batch)]


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning without its banners, tips and warnings about what is meant to be."""
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
def stopping(keeper: Keeper, module: PolicyModule) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the training after its step; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: Any) -> None:
        if keeper.signal:
            raise KeyboardInterrupt
        keeper.signal = module.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
