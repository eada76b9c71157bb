"""Devices of a training run: GPUs of its own, number formats, and too little memory."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import torch

from lastmile.errors import LastmileError
from lastmile.storage import locks
from lastmile.training.processes import say

SLOTS = "LASTMILE_GPUS"
"""Environment variable that tells the further processes of a training run the numbers of its
GPUs."""

WAIT_SECONDS = 1.0
"""Shortest time between two looks for free GPUs."""


@contextmanager
def device_slot(folder: Path, count: int = 1) -> Iterator[list[int]]:
    """Hold `count` GPUs for the time of a training run.

    The slot of a GPU is a locked file in `folder`, named after the device itself and not after its
    number, which depends on CUDA_VISIBLE_DEVICES (SLURM sets it for each job). So training runs
    side by side share the GPUs of a machine. A lock ends with its process, however that ends. While
    too few GPUs are free, none is held, so that two runs that want several do not block each
    other.

    Args:
        folder: Where the locks are, the same for all runs of a machine.
        count: Number of GPUs.

    Yields:
        Numbers of the GPUs as torch counts them; on a machine without GPUs an empty list, at once.

    Raises:
        LastmileError: If the machine has fewer GPUs.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not available:
        yield []
        return
    if count > available:
        raise LastmileError(f"training.devices: {count} GPUs wanted, but there are {available}")
    if numbers := os.environ.get(SLOTS):  # a further process of a run that already holds them
        yield [int(number) for number in numbers.split(",")]
        return

    folder.mkdir(parents=True, exist_ok=True)
    waiting = False
    while True:
        held: dict[int, IO[str]] = {}
        for number in range(available):
            handle = open(folder / f".{device_name(number)}.lock", "a")
            if locks.take(handle) is False:
                handle.close()
            else:  # where there are no locks, runs side by side may take the same GPU
                held[number] = handle
            if len(held) == count:
                break
        try:
            if len(held) == count:
                os.environ[SLOTS] = ",".join(map(str, held))
                yield list(held)
                return
        finally:
            os.environ.pop(SLOTS, None)
            for lock in held.values():
                lock.close()
        if not waiting:
            say(f"waiting for {count} of {available} GPUs to become free")
            waiting = True
        # At random, so that two runs that look at the same time do not do so forever.
        time.sleep(WAIT_SECONDS * (1 + random.random()))


def device_name(number: int) -> str:
    """Return a name of a GPU that does not depend on CUDA_VISIBLE_DEVICES."""
    uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
    if uuid is not None:
        return f"gpu-{uuid}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"gpu-{platform.node()}-{visible.split(',')[number].strip() if visible else number}"


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names of number formats."""


def precision(setting: str, device: str) -> Precision:
    """Return Lightning's name for what `training.precision` means on a kind of device.

    Args:
        setting: `auto`, `32`, `bf16` or `fp16`.
        device: `cuda` or `cpu`.
    """
    if setting == "auto":
        if device == "cpu":
            return "bf16-mixed" if fast_bfloat16() else "32-true"
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    names: dict[str, Precision] = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    return names[setting]


def fast_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware; otherwise it is slower."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def gpu_failed(error: BaseException) -> bool:
    """Return whether an error means that a GPU is gone or broken, rather than full."""
    words = str(error)
    return not out_of_memory(error) and any(
        phrase in words for phrase in ("CUDA error", "CUDA driver error", "No CUDA GPUs")
    )


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means too little memory, on a GPU or on the CPU."""
    phrases = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        phrase in str(error) for phrase in phrases
    )
