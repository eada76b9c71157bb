"""Which windows each step of a training sees, and reading them."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from lastmile.errors import LastmileError
from lastmile.policy.policy import NOWHERE

PREFETCH = 4
"""Batches that wait for the model."""


class Store(Protocol):
    """What training needs of a TokenStore."""

    starts: np.ndarray  # (episodes + 1,)
    clicks: np.ndarray  # (frames, 2), what was done
    targets: np.ndarray  # (frames, 2), what is to be predicted

    def screens(self, start: int, stop: int) -> np.ndarray: ...  # (stop - start, 126, 168, 3) uint8


class Window(NamedTuple):
    """Consecutive frames of one episode."""

    store: int
    start: int
    length: int


class FirstEpisodes:
    """The first `count` episodes of a store, as a store. Raises ValueError if there are fewer."""

    def __init__(self, store: Store, count: int) -> None:
        there = len(store.starts) - 1
        if not 1 <= count <= there:
            raise LastmileError(
                f"episodes: expected 1 to {there}, as many as {getattr(store, 'path', 'the store')} has, got {count}"
            )
        self.store, self.starts = store, store.starts[: count + 1]
        self.path = getattr(store, "path", None)
        self.clicks, self.targets = (
            each[: int(self.starts[-1])] for each in (store.clicks, store.targets)
        )

    def screens(self, start: int, stop: int) -> np.ndarray:
        return self.store.screens(start, stop)


def mixture_weights(tasks: Sequence[str], mixture: Mapping[str, float]) -> list[Fraction]:
    """The weight of each store, whose tasks are given: its task's, divided among the stores of that task.

    Raises ValueError, naming the task, for an empty mixture, a task without a store or without a weight, and a weight that is no number above 0.
    """
    if not mixture:
        raise LastmileError("mixture: expected a weight for each task, got none")
    for task, weight in mixture.items():
        if task not in tasks:
            raise LastmileError(
                f"mixture: no tokens of task '{task}' were given (tasks: {', '.join(sorted(set(tasks)))})"
            )
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not 0 < weight < math.inf
        ):
            raise LastmileError(
                f"mixture: the weight of '{task}' must be a number above 0, got {weight!r}"
            )
    for task in tasks:
        if task not in mixture:
            raise LastmileError(f"mixture: task '{task}' has tokens but no weight")
    return [Fraction(str(mixture[task])) / tasks.count(task) for task in tasks]


class WindowSampler:
    """Which windows each step sees: a pure function of (seed, step).

    Each epoch of a store cuts every episode at a random offset into consecutive windows of at most `window` frames and shuffles them, so every
    frame, the first and the last of an episode included, is seen exactly once in an epoch. Stores take turns, window by window: evenly, or so that
    each keeps as close to its share as whole windows allow. Frames are counted as they are: padding of short windows does not count.

    starts: one array (episodes + 1,) for each store. batch: windows a step. weights: one for each store, above 0; without them all are equal.
    Raises ValueError for stores without frames, weights that are not above 0, or another number of them than stores.
    """

    def __init__(
        self,
        starts: Sequence[np.ndarray],
        window: int,
        batch: int,
        seed: int,
        weights: Sequence[float | Fraction] | None = None,
    ) -> None:
        for number, each in enumerate(starts):
            if len(each) < 2 or np.any(np.diff(each) < 1):
                raise LastmileError(
                    f"store {number}: expected at least one episode, none of them empty"
                )
        if not starts:
            raise LastmileError("expected at least one store of tokens")
        if weights is not None and (
            len(weights) != len(starts) or not all(0 < w < math.inf for w in weights)
        ):
            raise LastmileError(
                f"weights: expected {len(starts)} numbers above 0, got {list(weights)}"
            )
        self.starts = [np.asarray(each, np.int64) for each in starts]
        self.window, self.batch, self.seed = window, batch, seed
        self.weights = (
            None
            if weights is None or len(set(weights)) == 1
            else [Fraction(str(w)) for w in weights]
        )
        self._turns: list[
            tuple[int, int]
        ] = []  # with weights: store and position of each window so far
        self._ends: list[list[int]] = [[0] for _ in starts]  # windows of a store before each epoch
        self._epoch = lru_cache(maxsize=2 * len(starts))(self._cut)

    def _cut(self, store: int, epoch: int) -> np.ndarray:
        """All windows of an epoch in their order, (windows, 2): start and length."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, store, epoch]))
        first, last = self.starts[store][:-1], self.starts[store][1:]
        offset = rng.integers(1, self.window + 1, len(first))  # length of an episode's first window
        counts = 1 + np.maximum(0, -(-(last - first - offset) // self.window))
        episode = np.repeat(np.arange(len(first)), counts)
        piece = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = np.maximum(
            first[episode], first[episode] + offset[episode] + (piece - 1) * self.window
        )
        end = np.minimum(last[episode], first[episode] + offset[episode] + piece * self.window)
        return np.stack([begin, end - begin], 1)[rng.permutation(len(episode))]

    def _at(self, store: int, position: int) -> Window:
        """A store's window by its position in the row of all epochs."""
        ends = self._ends[store]
        while position >= ends[-1]:
            ends.append(ends[-1] + len(self._epoch(store, len(ends) - 1)))
        epoch = int(np.searchsorted(ends, position, side="right")) - 1
        start, length = self._epoch(store, epoch)[position - ends[epoch]].tolist()
        return Window(store, start, length)

    def _turn(self, number: int) -> tuple[int, int]:
        """Which store a window comes from, and its position among the windows of that store.

        With weights it is the store that lags most behind its share, the first one of those: after n windows each has had its share of n up to a
        few windows, whatever n. Exact fractions, so that no rounding decides.
        """
        if self.weights is None:
            position, store = divmod(number, len(self.starts))
            return store, position
        if number >= len(self._turns):
            common = math.lcm(*(w.denominator for w in self.weights))
            shares = [int(w * common) for w in self.weights]
            taken = [0] * len(shares)
            for store, _ in self._turns:
                taken[store] += 1
            total = sum(shares)
            for n in range(len(self._turns), 2 * number + 64):
                store = max(
                    range(len(shares)), key=lambda k: (n + 1) * shares[k] - taken[k] * total
                )
                self._turns.append((store, taken[store]))
                taken[store] += 1
        return self._turns[number]

    def windows(self, step: int) -> list[Window]:
        """The windows of a step, counted from 0."""
        return [
            self._at(*self._turn(number))
            for number in range(step * self.batch, (step + 1) * self.batch)
        ]

    def schedule(self, frames: int) -> np.ndarray:
        """Frames seen after each step, (steps,), up to the first step that reaches `frames`."""
        seen = []
        while not seen or seen[-1] < frames:
            seen.append(
                (seen[-1] if seen else 0) + sum(window.length for window in self.windows(len(seen)))
            )
        return np.array(seen)


def read_batch(stores: Sequence[Store], chosen: Sequence[Window], length: int) -> dict[str, Tensor]:
    """Windows as the policy takes them: screens (B, T, 126, 168, 3) uint8, targets and previous (B, T, 2) int64, mask (B, T); T = length."""
    shape = (len(chosen), length)
    screens = None
    targets, previous = np.zeros((*shape, 2), np.int64), np.full((*shape, 2), NOWHERE, np.int64)
    mask = np.arange(length) < np.array([window.length for window in chosen])[:, None]
    for row, (number, start, n) in enumerate(chosen):
        store = stores[number]
        read = store.screens(start, start + n)
        if screens is None:
            screens = np.zeros((*shape, *read.shape[1:]), np.uint8)
        screens[row, :n] = read
        targets[row, :n] = store.targets[start : start + n]
        previous[row, 1:n] = store.clicks[start : start + n - 1]
        if not _begins(store, start):
            previous[row, 0] = store.clicks[start - 1]
    return {
        name: torch.from_numpy(value)
        for name, value in zip(
            ("screens", "targets", "previous", "mask"), (screens, targets, previous, mask)
        )
    }


def _begins(store: Store, frame: int) -> bool:
    """Whether an episode begins at this frame."""
    return store.starts[np.searchsorted(store.starts, frame)] == frame


def next_ready(ready: queue.Queue, seconds: float = 1.0) -> Any:
    """What comes next, or None if nothing has come for a while."""
    try:
        return ready.get(timeout=seconds)
    except queue.Empty:
        return None


class Batches:
    """The batches of steps `first` to `last` - 1, read ahead by a thread. `waited` counts the seconds in which the model waited for them.

    The windows of a step are divided among `devices`, of which this is number `rank`, and on each into `parts`, given one after the other. To what
    `read_batch` gives is added `frames`, those of the whole step. Raises ValueError if a step has fewer windows than parts on all devices.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        sampler: WindowSampler,
        first: int,
        last: int,
        rank: int = 0,
        devices: int = 1,
        parts: int = 1,
    ) -> None:
        if sampler.batch < devices * parts:
            raise LastmileError(
                f"training.batch: {sampler.batch} windows a step cannot be divided among {devices} devices (training.devices) with {parts} parts each "
                "(training.accumulate)"
            )
        self.stores, self.sampler, self.first, self.last = stores, sampler, first, last
        self.rank, self.devices, self.parts = rank, devices, parts
        self.waited = 0.0

    def part(self, step: int, part: int) -> list[Window]:
        """The windows of one part of a step on this device."""
        windows, number, of = (
            self.sampler.windows(step),
            self.rank * self.parts + part,
            self.devices * self.parts,
        )
        return windows[number * len(windows) // of : (number + 1) * len(windows) // of]

    def describe(
        self, step: int, part: int | None = None, rows: Sequence[int] | None = None
    ) -> str:
        """The windows of a step, or some rows of a part of it, in words: which frames of which episode of which file."""
        windows = self.sampler.windows(step) if part is None else self.part(step, part)
        said = []
        for row in range(len(windows)) if rows is None else rows:
            number, start, length = windows[row]
            store = self.stores[number]
            episode = int(np.searchsorted(store.starts, start, "right")) - 1
            begin = start - int(store.starts[episode])
            said.append(
                f"{getattr(store, 'path', None) or f'store {number}'}, episode {episode}, frames {begin} to {begin + length - 1}"
            )
        return "; ".join(said)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        ready: queue.Queue = queue.Queue(PREFETCH)
        stop = threading.Event()

        def put(item: Any) -> bool:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        def read() -> None:
            try:
                for step in range(self.first, self.last):
                    frames = sum(window.length for window in self.sampler.windows(step))
                    for part in range(self.parts):
                        if not put(
                            {
                                **read_batch(
                                    self.stores, self.part(step, part), self.sampler.window
                                ),
                                "frames": frames,
                            }
                        ):
                            return
            except BaseException as error:  # handed to the training, which fails with it
                put(error)

        thread = threading.Thread(target=read, name="batches", daemon=True)
        thread.start()
        try:
            for _ in range((self.last - self.first) * self.parts):
                asked = time.perf_counter()
                while (item := next_ready(ready)) is None:
                    if not thread.is_alive() and ready.empty():
                        raise OSError(
                            "the thread that reads batches has died without a word; give the same command again"
                        )
                self.waited += time.perf_counter() - asked
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()
