"""Speed of training and of rollouts, against what the machine's matrix product gives."""

from __future__ import annotations

import statistics
import time

import torch

from lastmile.config import PolicySettings, Training
from lastmile.env import Job
from lastmile.evaluation.rollout import rollout
from lastmile.policy.policy import Policy
from lastmile.policy.sizes import flops_per_frame, parameter_count
from lastmile.policy.training import PolicyModule
from lastmile.policy.windows import Batches, WindowSampler
from lastmile.tokens import TokenStore
from lastmile.trajectory import Source

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


def bench_policy(store: TokenStore, size: str, task: str) -> dict[str, float]:
    """Training frames per second (reading included) with their share of the matrix-product rate, and rollout steps per second."""
    settings, training = PolicySettings(size=size), Training()
    torch.manual_seed(0)
    policy = Policy(settings)
    module = PolicyModule(policy, training, 10_000)
    optimizer = module.configure_optimizers()
    sampler = WindowSampler([store.starts], settings.window, training.batch, 0)
    batches = Batches([store], sampler, 0, WARM + STEPS)
    gemm, rates, times = [gemm_flops()], [], []
    for number, batch in enumerate(batches):
        if number == WARM:
            batches.waited = 0.0
        frames = int(batch["mask"].sum())
        start = time.perf_counter()
        loss = policy.loss(batch).sum() / frames
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), training.clip)
        optimizer.step()
        if number >= WARM:
            times.append(time.perf_counter() - start)
            rates.append(frames / times[-1])
    gemm.append(gemm_flops())
    rate, spent = statistics.median(rates), sum(times)
    policy.eval()
    source = Source(task, "test", 0)
    speeds = []
    for _ in range(3):
        jobs = [Job(i, task, source.world(i), source.look(i), 20) for i in range(32)]
        start = time.perf_counter()
        played = rollout(policy, jobs, 1.0)
        speeds.append(sum(len(job.clicks) for job in played) / (time.perf_counter() - start))
    flops = flops_per_frame(settings)
    return {
        "parameters": parameter_count(settings),
        "flops_per_frame": flops,
        "gemm_gflops": statistics.median(gemm) / 1e9,
        "train_frames_per_s": rate,
        "train_flops_share_of_gemm": 3 * flops * rate / statistics.median(gemm),
        "train_wait_share": batches.waited / (batches.waited + spent),
        "rollout_steps_per_s": statistics.median(speeds),
    }
