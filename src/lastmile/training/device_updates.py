"""Updates of a training run that a device takes on its own, without waiting for the host.

The ordinary loop sends every batch to the device and reads every loss, which keeps a GPU waiting.
Here the data are on the device already (`device_data`), and one update is the same
sequence of kernels each time: it is recorded once, as a CUDA graph, and replayed. The host looks at
the losses once per block of updates. On a CPU the same code runs without a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lastmile.policy.policy import Policy
from lastmile.training.device_data import DeviceData, Plan
from lastmile.training.optimizer import MuonAdamW

WARM = 3
"""Updates that are taken, and taken back, before one is recorded."""


class Sums(NamedTuple):
    """What a block of updates has come to.

    Attributes:
        nats: Sum of the losses.
        frames: Number of frames.
        bad: The first update, counted from 0, whose loss or gradient was not finite; or -1.
    """

    nats: float
    frames: int
    bad: int


class DeviceUpdates:
    """Take updates on one device.

    Args:
        policy: The policy, on the device.
        optimizer: Its optimizer; each group has its `peak` learning rate.
        schedule: Learning rate of an update, counted from 0, as a share of its peak.
        data: The frames.
        plan: The windows of some updates; says how much room for frames all of them have.
        shape: (B, T), number and length of the windows of an update.
        clip: Largest norm of the gradient.
        half: Half-precision type to compute with, or None for float32.
        compiled: Use torch.compile.
        recorded: Replay updates as a CUDA graph, where there is a GPU.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: MuonAdamW,
        schedule: Callable[[int], float],
        data: DeviceData,
        plan: Plan,
        shape: tuple[int, int],
        clip: float,
        half: torch.dtype | None = None,
        compiled: bool = False,
        recorded: bool = True,
    ) -> None:
        self.policy = policy
        self.optimizer = optimizer
        self.schedule = schedule
        self.data = data
        self.shape = shape
        self.clip = clip
        self.half = half
        self.nats = torch.compile(policy.nats, dynamic=False) if compiled else policy.nats
        self.device = policy.device
        if half is not None and self.device.type == "cuda":
            # What is not computed in half precision, Muon above all, need not be exact either.
            torch.set_float32_matmul_precision("high")
        self.parameters = [p for p in policy.parameters() if p.requires_grad]

        # What an update reads and writes, always at the same addresses.
        def on_device(*size: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=self.device)

        room = plan.frames.shape[1]
        self._frames = on_device(room, dtype=torch.int64)
        self._slots = on_device(room, dtype=torch.int64)
        self._count = on_device(dtype=torch.int64)
        self._share = on_device(dtype=torch.float32)
        self._nats = on_device(dtype=torch.float64)
        self._bad = on_device(dtype=torch.int64)
        self._rates = [on_device(dtype=torch.float32) for _ in optimizer.param_groups]
        self._load(plan.to(self.device), 0, 0)
        self._graph = self._record() if recorded and self.device.type == "cuda" else None

    def run(self, plan: Plan, first: int) -> Sums:
        """Take the updates of a plan, the first of which has this number, counted from 0."""
        self._nats.zero_()
        self._bad.fill_(-1)
        plan = plan.to(self.device)
        updates = len(plan.frames)
        for row in range(updates):
            self._load(plan, row, first + row)
            if self._graph is None:
                self._update()
            else:
                self._graph.replay()
        for group in self.optimizer.param_groups:  # in checkpoints they are numbers
            group["lr"] = group["peak"] * self.schedule(first + updates - 1)
        bad = int(self._bad)  # the host waits here, once per block
        return Sums(
            float(self._nats), int(plan.counts.sum()), first + updates - 1 - bad if bad >= 0 else -1
        )

    def _load(self, plan: Plan, row: int, update: int) -> None:
        """Put what an update reads where it reads it."""
        self._frames.copy_(plan.frames[row])
        self._slots.copy_(plan.slots[row])
        self._count.copy_(plan.counts[row])
        self._share.fill_(self.schedule(update))

    def _update(self) -> None:
        """Take one update."""
        frames = self._frames
        for rate, group in zip(self._rates, self.optimizer.param_groups):
            if self.device.type == "cuda":
                group["lr"] = rate.copy_(self._share * group["peak"])
            else:
                group["lr"] = group["peak"] * float(self._share)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            self.device.type, self.half, enabled=self.half is not None, cache_enabled=False
        ):
            nats = self.nats(
                self.data.screens(frames),
                self.data.previous(frames),
                self.data.targets[frames].long(),
                self._slots,
                self.shape,
            )
        real = torch.arange(len(frames), device=self.device) < self._count
        total = nats.where(real, 0.0).sum()
        (total / self._count).backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()

        self._nats += total.detach()
        # How many updates ago the first bad one was; -1 without one.
        fine = torch.isfinite(total.detach()) & torch.isfinite(norm)
        self._bad.copy_(torch.where((self._bad >= 0) | ~fine, self._bad + 1, self._bad))

    def _record(self) -> torch.cuda.CUDAGraph:
        """Record one update as a graph; weights and optimizer are afterwards as before."""
        weights = [parameter.detach().clone() for parameter in self.parameters]
        states = {
            parameter: {name: value.clone() for name, value in state.items()}
            for parameter, state in self.optimizer.state.items()
        }

        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self._update()
        torch.cuda.current_stream(self.device).wait_stream(stream)

        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._update()

        with torch.no_grad():
            for trained, weight in zip(self.parameters, weights):
                trained.copy_(weight)
            for parameter, state in self.optimizer.state.items():
                for name, value in state.items():
                    value.copy_(
                        states[parameter][name] if parameter in states else torch.zeros_like(value)
                    )
        torch.cuda.synchronize(self.device)
        return graph
