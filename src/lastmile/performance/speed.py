"""Speed of training and of rollouts, compared with the machine's matrix product."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from lastmile.config import PolicySettings, Training
from lastmile.errors import MissingExtraError
from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.policy.policy import Policy, initial, parameter_count
from lastmile.policy.sizes import TRAINING_PASSES, flops_per_frame
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH
from lastmile.simulation.pool import Rollout
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Source
from lastmile.training.devices import precision
from lastmile.training.module import CLIP, PolicyModule
from lastmile.training.windows import Batches, WindowSampler

WARM = 4
"""Updates before the clock starts."""
UPDATES = 24
"""Updates that are timed."""


CPU = torch.device("cpu")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long a piece of work takes, until the device has done it."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def gemm_flops(
    size: int = 1536,
    rounds: int = 7,
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
) -> float:
    """Measure the FLOP/s of a square matrix product, on a CPU on the threads that torch uses.

    Args:
        size: Rows and columns of the matrices.
        rounds: Products that are timed, after one to warm up; the median counts.
        dtype: Type of the matrices.
        device: Where they are.
    """
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    seconds(lambda: a @ b, device)
    speeds = [2 * size**3 / seconds(lambda: a @ b, device) for _ in range(rounds)]
    return statistics.median(speeds)


class Rate(NamedTuple):
    """Speed of a training run.

    Attributes:
        frames_per_s: Frames per second, the median over updates.
        wait_share: Share of the time in which the model waits for data.
    """

    frames_per_s: float
    wait_share: float


def training_rate(
    store: TokenStore, settings: PolicySettings, steps: int = UPDATES, numbers: str = "auto"
) -> Rate:
    """Measure the training speed of a policy on the CPU, reading included.

    Args:
        store: Screens to train on.
        settings: Shape of the policy.
        steps: Updates that are timed, after `WARM` to warm up.
        numbers: Arithmetic, as in `lastmile.training.devices.precision`.
    """
    training = Training()
    half = precision(numbers, "cpu") == "bf16-mixed"
    torch.manual_seed(0)
    policy = Policy(settings)
    module = PolicyModule(policy, training, 10_000)
    optimizer = module.configure_optimizers()
    sampler = WindowSampler([store.starts], settings.window, training.batch, 0)
    batches = Batches([store], sampler, 0, WARM + steps)

    rates: list[float] = []
    times: list[float] = []
    for number, batch in enumerate(batches):
        if number == WARM:
            batches.waited = 0.0
        frames = int(batch["mask"].sum())
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = policy.loss(batch).sum() / frames
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), CLIP)
        optimizer.step()
        if number >= WARM:
            times.append(time.perf_counter() - start)
            rates.append(frames / times[-1])
    return Rate(statistics.median(rates), batches.waited / (batches.waited + sum(times)))


def rollout_rate(policy: Policy, task: str, rounds: int = 3) -> float:
    """Measure steps per second in closed loop, on 32 worlds at a time; median of the rounds."""
    source = Source(task, "test", 0)
    speeds = []
    for _ in range(rounds):
        rollouts = [Rollout(i, task, source.world(i), source.look(i), 20) for i in range(32)]
        start = time.perf_counter()
        played = play_rollouts(policy, rollouts, 1.0)
        speeds.append(sum(len(rollout.steps) for rollout in played) / (time.perf_counter() - start))
    return statistics.median(speeds)


def bench_policy(store: TokenStore, size: str, task: str) -> dict[str, float | str]:
    """Measure a policy of a size: training, compared with the matrix product, and rollouts.

    Training and matrix product use the same arithmetic, the one that a training run uses on this
    CPU; only then is the first a share of the second.

    Returns:
        `parameters`, `flops_per_frame` (forward), `arithmetic`, `gemm_gflops`,
        `train_frames_per_s` (reading included), `train_flops_share_of_gemm` (counting three forward
        passes per update), `train_wait_share` and `rollout_steps_per_s`.
    """
    settings = PolicySettings(size=size)
    half = precision("auto", "cpu") == "bf16-mixed"
    dtype = torch.bfloat16 if half else torch.float32

    # The product is measured before and after; the faster one is what the machine can give.
    before = gemm_flops(dtype=dtype)
    rate = training_rate(store, settings)
    gemm = max(before, gemm_flops(dtype=dtype))

    flops = flops_per_frame(settings)
    return {
        "parameters": parameter_count(settings),
        "flops_per_frame": flops,
        "arithmetic": "bfloat16" if half else "float32",
        "gemm_gflops": gemm / 1e9,
        "train_frames_per_s": rate.frames_per_s,
        "train_flops_share_of_gemm": TRAINING_PASSES * flops * rate.frames_per_s / gemm,
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
"""Rows of the table of sizes; settings that are not named have their defaults."""


def size_table(
    seconds: float = 4.0, variants: Sequence[dict[str, str]] = VARIANTS
) -> dict[str, Any]:
    """Measure parameters, FLOPs and training speed of policies of several shapes.

    A frame counts forward, backward, clipping and the optimizer, on made-up full windows, in the
    arithmetic that a training run uses here. Variants whose packages are missing are left out.

    Args:
        seconds: Time to spend on each variant; the median over updates counts.
        variants: Settings of the policies.

    Returns:
        `device`, `precision` and `window` of the measurement, and `rows`, one per variant.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = precision("auto", device.type) == "bf16-mixed"
    threads = torch.get_num_threads()
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"a CPU, {threads} thread{'s' if threads > 1 else ''}"
    )

    rows = []
    for variant in variants:
        settings = PolicySettings.model_validate({**variant, "weights": "random"})
        try:
            speed = _training_rate(settings, device, half, seconds)
        except MissingExtraError:  # dinov2 needs the package transformers
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
    """Measure training frames per second on random full windows."""
    torch.manual_seed(0)
    windows = Training().batch if settings.context == "frame" else 1
    module = PolicyModule(Policy(settings).to(device), Training(), 10_000)
    optimizer = module.configure_optimizers()

    shape = (windows, settings.window)  # (B, T)
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

    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = module.policy.loss(batch).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.policy.parameters(), CLIP)
        optimizer.step()
        if device.type == "cuda":
            # Kernels run in the background: wait for them before reading the clock.
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return windows * settings.window / statistics.median(times[1:])  # the first one warms up


def sizes_page(table: dict[str, Any]) -> str:
    """Format the table of sizes as a page of the documentation."""
    lines = [
        "# Sizes",
        "",
        "Written by `python -m lastmile sizes --out docs/sizes.md`; "
        "run it again on your own machine.",
        "",
        "FLOPs count the matrix products and convolutions of one forward pass "
        f"(two per multiply-add), per frame of a full window of {table['window']};",
        "an update costs about three times as much. Frames/s are measured in training "
        "(forward, backward, clipping, optimizer),",
        f"on {table['device']}, {table['precision']}. `frame`: one token per frame; `patch`: "
        "109 tokens per frame, as published.",
        "The last line is the published model.",
        "",
        "| size | encoder | context | head | million parameters | million FLOPs per frame "
        "| frames/s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        settings = PolicySettings.model_validate(row["variant"])
        encoder = (
            f"dinov2 {settings.backbone}" if settings.encoder == "dinov2" else settings.encoder
        )
        speed = row["train_frames_per_s"]
        cells = (
            settings.size,
            encoder,
            settings.context,
            settings.head,
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['flops_per_frame'] / 1e6:,.0f}",
            f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
