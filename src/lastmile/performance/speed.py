"""Speed of training and of rollouts, against what the machine's matrix product gives."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from lastmile.config import PolicySettings, Training
from lastmile.errors import MissingExtraError
from lastmile.evaluation.closed_loop import roll_out
from lastmile.policy.policy import Policy, initial, parameter_count
from lastmile.policy.sizes import flops_per_frame
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH
from lastmile.simulation.pool import Rollout
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Source
from lastmile.training.devices import precision
from lastmile.training.loop import PolicyModule
from lastmile.training.windows import Batches, WindowSampler

WARM, STEPS = 4, 24


def gemm_flops(size: int = 1536, rounds: int = 7) -> float:
    """Float32 multiply-adds times two per second of a square matrix product, median of several rounds, on the threads that torch uses."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        a @ b
        found.append(2 * size**3 / (time.perf_counter() - start))
    return statistics.median(found)


class Rate(NamedTuple):
    """Of a training: median frames per second, and the share of the time in which the model waits for data."""

    frames_per_s: float
    wait_share: float


def training_rate(
    store: TokenStore, settings: PolicySettings, steps: int = STEPS, numbers: str = "auto"
) -> Rate:
    """Take some training steps of a policy of this shape on the CPU, after a few to warm up, reading included. numbers: as `training.precision`."""
    training = Training()
    half = precision(numbers, "cpu") == "bf16-mixed"
    torch.manual_seed(0)
    policy = Policy(settings)
    module = PolicyModule(policy, training, 10_000)
    optimizer = module.configure_optimizers()
    sampler = WindowSampler([store.starts], settings.window, training.batch, 0)
    batches = Batches([store], sampler, 0, WARM + steps)
    rates, times = [], []
    for number, batch in enumerate(batches):
        if number == WARM:
            batches.waited = 0.0
        frames = int(batch["mask"].sum())
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = policy.loss(batch).sum() / frames
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), training.clip)
        optimizer.step()
        if number >= WARM:
            times.append(time.perf_counter() - start)
            rates.append(frames / times[-1])
    return Rate(statistics.median(rates), batches.waited / (batches.waited + sum(times)))


def rollout_rate(policy: Policy, task: str, rounds: int = 3) -> float:
    """Steps per second in closed loop on 32 worlds at a time, median of several rounds."""
    source, speeds = Source(task, "test", 0), []
    for _ in range(rounds):
        rollouts = [Rollout(i, task, source.world(i), source.look(i), 20) for i in range(32)]
        start = time.perf_counter()
        played = roll_out(policy, rollouts, 1.0)
        speeds.append(sum(len(rollout.steps) for rollout in played) / (time.perf_counter() - start))
    return statistics.median(speeds)


def bench_policy(store: TokenStore, size: str, task: str) -> dict[str, float]:
    """Training frames per second (reading included) with their share of the matrix-product rate, and rollout steps per second."""
    settings, gemm = PolicySettings(size=size), [gemm_flops()]
    rate = training_rate(store, settings, numbers="32")
    gemm.append(gemm_flops())
    flops = flops_per_frame(settings)
    return {
        "parameters": parameter_count(settings),
        "flops_per_frame": flops,
        "gemm_gflops": statistics.median(gemm) / 1e9,
        "train_frames_per_s": rate.frames_per_s,
        "train_flops_share_of_gemm": 3 * flops * rate.frames_per_s / statistics.median(gemm),
        "train_wait_share": rate.wait_share,
        "rollout_steps_per_s": rollout_rate(initial(settings, 0), task),
    }


VARIANTS = (
    *({"size": size} for size in ("xs", "s", "m", "l")),
    {"size": "s", "head": "bins"},
    {"size": "s", "context": "patch"},
    {"size": "s", "encoder": "vit"},
    {"size": "s", "encoder": "vit", "context": "patch", "head": "bins"},
    {"size": "m", "encoder": "vit", "context": "patch", "head": "bins"},
    {"size": "s", "encoder": "dinov2", "backbone": "small"},
    {"size": "paper", "encoder": "dinov2", "backbone": "small", "context": "patch", "head": "bins"},
    {"size": "paper", "encoder": "dinov2", "context": "patch", "head": "bins"},
)
"""What the table of sizes tells of; what is not named is as in the default settings."""


def size_table(
    seconds: float = 4.0, variants: Sequence[dict[str, str]] = VARIANTS
) -> dict[str, Any]:
    """Parameters, FLOPs and training speed of each variant, measured here, with what it was measured on.

    Frames a second: forward, backward, clipping and AdamW on made-up full windows in memory, in the precision that a training uses here; median of
    the steps that fit into `seconds`, after one to warm up.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = precision("auto", device.type) == "bf16-mixed"
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"a CPU, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    )
    rows = []
    for variant in variants:
        settings = PolicySettings(**variant, weights="random")
        try:
            speed = _training_rate(settings, device, half, seconds)
        except MissingExtraError:  # without transformers there is no dinov2
            continue
        rows.append(
            {
                "variant": variant,
                "parameters": parameter_count(settings),
                "flops_per_frame": flops_per_frame(settings),
                "train_frames_per_s": speed,
            }
        )
    return {
        "device": name,
        "precision": "bfloat16, mixed" if half else "float32",
        "window": settings.window,
        "rows": rows,
    }


def _training_rate(
    settings: PolicySettings, device: torch.device, half: bool, seconds: float
) -> float:
    torch.manual_seed(0)
    windows = Training().batch if settings.context == "frame" else 1
    module = PolicyModule(Policy(settings).to(device), Training(), 10_000)
    optimizer = module.configure_optimizers()
    shape = (windows, settings.window)
    batch = {
        "screens": torch.randint(0, 256, (*shape, SMALL_HEIGHT, SMALL_WIDTH, 3), dtype=torch.uint8),
        "targets": torch.stack(
            [torch.randint(0, WIDTH, shape), torch.randint(0, HEIGHT, shape)], -1
        ),
        "previous": torch.stack(
            [torch.randint(0, WIDTH, shape), torch.randint(0, HEIGHT, shape)], -1
        ),
        "mask": torch.ones(shape, dtype=torch.bool),
    }
    batch = {name: value.to(device) for name, value in batch.items()}
    times, began = [], time.perf_counter()
    while len(times) < 2 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = module.policy.loss(batch).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.policy.parameters(), 1.0)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return windows * settings.window / statistics.median(times[1:])


def sizes_page(table: dict[str, Any]) -> str:
    """The table as a page of the documentation."""
    lines = [
        "# Sizes",
        "",
        "Written by `python -m lastmile sizes --out docs/sizes.md`; run it again on the machine that you want to know about.",
        "",
        f"FLOPs are those of matrix products and convolutions of one forward pass (two for a multiply-add), for each frame of a full window of {table['window']}; a",
        "training step costs about three times as much. Frames a second are those of training (forward, backward, clipping, AdamW), measured on",
        f"{table['device']}, {table['precision']}. `frame`: one token a frame; `patch`: 109 tokens a frame, as published. The last line is the published model.",
        "",
        "| size | encoder | context | head | million parameters | million FLOPs a frame | frames/s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        settings = PolicySettings(**row["variant"])
        encoder = (
            f"dinov2 {settings.backbone}" if settings.encoder == "dinov2" else settings.encoder
        )
        speed = row["train_frames_per_s"]
        lines.append(
            f"| {settings.size} | {encoder} | {settings.context} | {settings.head} | {row['parameters'] / 1e6:.1f} | "
            f"{row['flops_per_frame'] / 1e6:,.0f} | {f'{speed:,.0f}' if speed >= 10 else f'{speed:.2g}'} |"
        )
    return "\n".join(lines) + "\n"
