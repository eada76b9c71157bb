"""Training a policy from clicks.

A training run can be killed at any moment. Started again, it resumes, and on a CPU ends bit for bit
where it would have ended. Lightning is imported by `module`, `bookkeeper` and this module alone,
since that takes seconds.
"""

from __future__ import annotations

import logging
import signal
import threading
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

from lastmile.closed import canonical
from lastmile.config import PolicySettings, Training
from lastmile.errors import LastmileError
from lastmile.policy.policy import Policy
from lastmile.simulation.tokens import Store
from lastmile.training.bookkeeper import Bookkeeper, progress_interval
from lastmile.training.checkpoints import finish, resume, snapshot_updates
from lastmile.training.device_data import Blocks, borders, first_frames, fits
from lastmile.training.devices import Precision, gpu_failed, out_of_memory, precision
from lastmile.training.finetuning import start_from
from lastmile.training.module import DeviceModule, PolicyModule, TrainingError
from lastmile.training.processes import alone, rank, say
from lastmile.training.windows import Batches, WindowSampler, held_out_batches

UPDATES_AT_ONCE = 64
"""Most updates that a device takes before the host looks at their losses."""


class Trained(NamedTuple):
    """How a run was computed.

    Attributes:
        arithmetic: Number formats, in Lightning's words.
        seconds: Seconds that it took, interruptions not counted.
    """

    arithmetic: Precision
    seconds: float


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
    stretch: int | None = None,
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
        stretch: Most frames of the stretches that are drawn, see `WindowSampler`.

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
        [store.starts for store in stores], settings.window, training.batch, seed, stretch
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
