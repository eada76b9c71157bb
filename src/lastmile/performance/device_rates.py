"""Speed of training on a device, with the data there: sizes, batches, number formats, compilation.

One row takes seconds to a minute, most of it to compile and record the update.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from lastmile.config import PolicySettings, Training
from lastmile.performance.speed import gemm_flops, seconds
from lastmile.policy.policy import Policy, parameter_count
from lastmile.policy.sizes import TRAINING_PASSES, flops_per_frame
from lastmile.simulation.tokens import Store
from lastmile.training.device_data import DeviceData, first_frames, make_plan
from lastmile.training.device_updates import DeviceUpdates
from lastmile.training.devices import out_of_memory
from lastmile.training.module import CLIP, PolicyModule
from lastmile.training.optimizer import MuonAdamW
from lastmile.training.windows import WindowSampler

UPDATES = 16
"""Updates of a block that is timed."""


class Shape(NamedTuple):
    """What is measured: a size of the policy, and how it is trained."""

    size: str
    batch: int
    precision: str = "bf16"
    compiled: bool = False
    recorded: bool = True
    muon: bool = True


class DeviceRate(NamedTuple):
    """A row of the table.

    Attributes:
        size: Size of the policy.
        batch: Windows per update.
        precision: `bf16` or `32`.
        compiled: Whether torch.compile was used.
        recorded: Whether updates were replayed as a CUDA graph.
        muon: Whether Muon took the hidden matrices.
        parameters: Parameters of the policy.
        frames_per_s: Frames per second, the median over blocks of updates.
        ms_per_update: Milliseconds per update.
        share_of_matmul: Share of the device's own rate of matrix products.
        gigabytes: Largest memory, data included.
        setup_s: Seconds to compile and record the update.
        error: Why there is no rate; empty if there is one.
    """

    size: str
    batch: int
    precision: str
    compiled: bool
    recorded: bool
    muon: bool
    parameters: int
    frames_per_s: float
    ms_per_update: float
    share_of_matmul: float
    gigabytes: float
    setup_s: float
    error: str


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a matrix product that fills the device."""
    return gemm_flops(8192 if device.type == "cuda" else 1024, dtype=dtype, device=device)


def device_rates(
    stores: Sequence[Store],
    shapes: Sequence[Shape],
    device: torch.device,
    duration: float = 3.0,
    updates: int = UPDATES,
) -> Iterator[DeviceRate]:
    """Measure the speed of training on a device for several shapes.

    Args:
        stores: Token files; few suffice.
        shapes: What to measure.
        device: Where.
        duration: Seconds for each row, without setting up; two blocks of updates at least.
        updates: Updates of a block.
    """
    data = DeviceData(stores, device)
    matmul = {
        precision: matmul_rate(device, torch.bfloat16 if precision == "bf16" else torch.float32)
        for precision in {shape.precision for shape in shapes}
    }
    for shape in shapes:
        settings = PolicySettings(size=shape.size)
        rate, update, gigabytes, setup, error = 0.0, 0.0, 0.0, 0.0, ""
        try:
            rate, update, gigabytes, setup = _measure(
                stores, data, shape, settings, device, duration, updates
            )
        except Exception as exception:  # one row must not cost the others
            words = f"{type(exception).__name__}: {exception}".splitlines()[0][:200]
            error = "out of memory" if out_of_memory(exception) else words
        if device.type == "cuda":
            torch._dynamo.reset()
            torch.cuda.empty_cache()
        yield DeviceRate(
            *shape,
            parameters=parameter_count(settings),
            frames_per_s=round(rate, 1),
            ms_per_update=round(update * 1e3, 3),
            share_of_matmul=round(
                TRAINING_PASSES * flops_per_frame(settings) * rate / matmul[shape.precision], 5
            ),
            gigabytes=round(gigabytes, 2),
            setup_s=round(setup, 1),
            error=error,
        )


def _measure(
    stores: Sequence[Store],
    data: DeviceData,
    shape: Shape,
    settings: PolicySettings,
    device: torch.device,
    duration: float,
    updates: int,
) -> tuple[float, float, float, float]:
    """Return frames per second, seconds per update, gigabytes, and seconds to set up."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    torch.manual_seed(0)
    training = Training(batch=shape.batch, **({} if shape.muon else {"muon_rate": 0.0}))
    policy = Policy(settings).to(device)
    module = PolicyModule(policy, training, 10_000)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, MuonAdamW)
    sampler = WindowSampler([s.starts for s in stores], settings.window, shape.batch, 0)
    frames = sampler.table(0, updates)[:, :, 2].sum(1)
    plan = make_plan(sampler, first_frames(stores), 0, updates, int(frames.max()))

    begin = time.perf_counter()
    taker = DeviceUpdates(
        policy,
        optimizer,
        lambda update: 0.1,
        data,
        plan,
        (shape.batch, settings.window),
        CLIP,
        torch.bfloat16 if shape.precision == "bf16" else None,
        shape.compiled,
        shape.recorded,
    )
    taker.run(plan, 0)
    setup = time.perf_counter() - begin

    times: list[float] = []
    while len(times) < 2 or sum(times) < duration:
        times.append(seconds(lambda: taker.run(plan, 0), device))
    block = statistics.median(times)
    gigabytes = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    return float(np.sum(frames)) / block, block / updates, gigabytes, setup
