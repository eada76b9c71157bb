"""Which windows each update of a training run sees, and reading them ahead of time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from lastmile.errors import LastmileError
from lastmile.policy.policy import NO_CLICK
from lastmile.simulation.tokens import Store

PREFETCH = 4
"""Batches that are read ahead of the model."""

VALIDATION_WINDOWS = 48
"""Windows on which the validation loss is measured, at least one per store."""


Item = TypeVar("Item")


class Window(NamedTuple):
    """Consecutive frames of one episode.

    Attributes:
        store: Number of the store.
        start: First frame.
        length: Number of frames.
    """

    store: int
    start: int
    length: int


class WindowSampler:
    """The windows of each update: a pure function of the seed and the number of the update.

    In each epoch of a store every episode is cut, at a random offset, into consecutive stretches of
    at most `stretch` frames, and the stretches are shuffled. So each frame, the first and last of
    an episode included, is seen exactly once per epoch. Stores take turns, stretch by stretch.
    Frames are counted without the padding of short stretches.

    A stretch is one window, unless it is given to be longer: then it is cut into consecutive
    windows, which come in the same update. So samplers with different windows and equal stretches
    show the same frames in each update, each once. Windows past the end of a short stretch have
    length 0.

    Args:
        starts: For each store, (episodes + 1,), the first frame of each episode and the number of
            frames.
        window: Most frames of a window.
        batch: Stretches per update.
        seed: Seed of the offsets and of the order.
        stretch: Most frames of a stretch, at least `window`; by default `window`.

    Attributes:
        pieces: Windows of a stretch.

    Raises:
        LastmileError: Without stores, for a store without episodes or with an empty one, or if a
            stretch is shorter than a window.
    """

    def __init__(
        self,
        starts: Sequence[np.ndarray],
        window: int,
        batch: int,
        seed: int,
        stretch: int | None = None,
    ) -> None:
        for number, edges in enumerate(starts):
            if len(edges) < 2 or np.any(np.diff(edges) < 1):
                raise LastmileError(
                    f"store {number}: expected at least one episode, none of them empty"
                )
        if not starts:
            raise LastmileError("expected at least one store of tokens")
        if stretch is not None and stretch < window:
            raise LastmileError(
                f"stretch: expected at least the {window} frames of a window, got {stretch}"
            )
        self.starts = [np.asarray(edges, np.int64) for edges in starts]
        self.window = window
        self.batch = batch
        self.seed = seed
        self.stretch = stretch or window
        self.pieces = -(-self.stretch // window)
        # For each store, the number of stretches before each epoch, as far as it is known.
        self._epoch_ends: list[list[int]] = [[0] for _ in starts]
        self._epoch = lru_cache(maxsize=2 * len(starts))(self._cut_epoch)

    def _cut_epoch(self, store: int, epoch: int) -> np.ndarray:
        """Return the stretches of an epoch in their order, (stretches, 2): start and length."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, store, epoch]))
        first = self.starts[store][:-1]
        last = self.starts[store][1:]
        offset = rng.integers(1, self.stretch + 1, len(first))  # length of the first stretch
        counts = 1 + np.maximum(0, -(-(last - first - offset) // self.stretch))

        episode = np.repeat(np.arange(len(first)), counts)  # (stretches,)
        number = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = np.maximum(
            first[episode], first[episode] + offset[episode] + (number - 1) * self.stretch
        )
        end = np.minimum(last[episode], first[episode] + offset[episode] + number * self.stretch)
        return np.stack([begin, end - begin], 1)[rng.permutation(len(episode))]

    def windows(self, update: int) -> list[Window]:
        """Return the windows of an update, counted from 0."""
        return [Window(*row) for row in self.table(update, update + 1)[0].tolist()]

    def table(self, first: int, last: int) -> np.ndarray:
        """Return the windows of updates `first` to `last` - 1 at once.

        Returns:
            (updates, batch * pieces, 3) int64: store, start and length, as `windows` has them.
        """
        numbers = np.arange(first * self.batch, last * self.batch)
        positions, stores = np.divmod(numbers, len(self.starts))
        table = np.empty((len(numbers), 3), np.int64)
        table[:, 0] = stores
        for store in range(len(self.starts)):
            mine = stores == store
            if mine.any():
                wanted = positions[mine]
                table[mine, 1:] = self._range(store, int(wanted[0]), int(wanted[-1]) + 1)

        offsets = np.arange(self.pieces) * self.window
        cut = np.repeat(table[:, None], self.pieces, axis=1)  # (stretches, pieces, 3)
        cut[:, :, 2] = np.clip(cut[:, :, 2] - offsets, 0, self.window)
        cut[:, :, 1] += np.where(cut[:, :, 2] > 0, offsets, 0)
        return cut.reshape(last - first, self.batch * self.pieces, 3)

    def _range(self, store: int, first: int, last: int) -> np.ndarray:
        """Return stretches of a store by their positions, (last - first, 2): start and length."""
        ends = self._epoch_ends[store]
        while ends[-1] < last:
            ends.append(ends[-1] + len(self._epoch(store, len(ends) - 1)))
        pieces = []
        for epoch in range(len(ends) - 1):
            begin = max(first, ends[epoch])
            end = min(last, ends[epoch + 1])
            if begin < end:
                pieces.append(self._epoch(store, epoch)[begin - ends[epoch] : end - ends[epoch]])
        return np.concatenate(pieces)

    def schedule(self, frames: int) -> np.ndarray:
        """Return the frames seen after each update, (updates,), until they reach `frames`."""
        lengths: list[np.ndarray] = []  # frames of each update
        total = 0
        while total < frames:
            first = sum(map(len, lengths))
            # At least as many updates as there are left if all stretches are full.
            count = max(1, -(-(frames - total) // (self.batch * self.stretch)))
            lengths.append(self.table(first, first + count)[:, :, 2].sum(1))
            total += int(lengths[-1].sum())
        seen = np.concatenate(lengths).cumsum()
        return seen[: int(np.searchsorted(seen, frames)) + 1]


def read_batch(
    stores: Sequence[Store], windows: Sequence[Window], length: int
) -> dict[str, Tensor]:
    """Read windows in the form that `Policy.loss` takes.

    Args:
        stores: The stores, by number.
        windows: B windows, not all of them empty.
        length: Frames T to which each window is padded.

    Returns:
        `screens` (B, T, 126, 168, 3) uint8; `targets` and `previous` (B, T, 2) int64; `mask`
        (B, T) bool.
    """
    shape = (len(windows), length)
    screens: np.ndarray | None = None
    targets = np.zeros((*shape, 2), np.int64)
    previous = np.full((*shape, 2), NO_CLICK, np.int64)
    mask = np.arange(length) < np.array([window.length for window in windows])[:, None]
    for row, (number, start, n) in enumerate(windows):
        if not n:
            continue
        store = stores[number]
        frames = store.screens(start, start + n)
        if screens is None:
            screens = np.zeros((*shape, *frames.shape[1:]), np.uint8)
        screens[row, :n] = frames
        targets[row, :n] = store.targets[start : start + n]
        previous[row, 1:n] = store.clicks[start : start + n - 1]
        if not _begins_episode(store, start):
            previous[row, 0] = store.clicks[start - 1]
    arrays = {"screens": screens, "targets": targets, "previous": previous, "mask": mask}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _begins_episode(store: Store, frame: int) -> bool:
    return bool(store.starts[np.searchsorted(store.starts, frame)] == frame)


def held_out_batches(stores: Sequence[Store], window: int, batch: int) -> list[dict[str, Tensor]]:
    """Read a small fixed set of windows for the validation loss, the same for every training run.

    Args:
        stores: Stores of the validation split; without any, there are no batches.
        window: Most frames of a window.
        batch: Most windows of a batch.
    """
    if not stores:
        return []
    starts = [store.starts for store in stores]
    count = max(VALIDATION_WINDOWS, len(stores))
    windows = WindowSampler(starts, window, count, 0).windows(0)
    return [
        read_batch(stores, windows[i : i + batch], window) for i in range(0, len(windows), batch)
    ]


class Batches:
    """The batches of updates `first` to `last` - 1, read ahead of the model by a thread.

    The windows of an update are divided among `devices`, of which this is number `rank`, and on
    each of them into `parts`, which come one after the other. To what `read_batch` returns,
    `frames` is added: the number of frames of the whole update.

    Args:
        stores: The stores, by number.
        sampler: Says which windows each update sees.
        first: First update.
        last: Update to stop before.
        rank: Number of this device.
        devices: Number of devices.
        parts: Parts of an update on each device.

    Attributes:
        waited: Seconds in which the model has waited for batches.

    Raises:
        LastmileError: If an update has fewer stretches than parts on all devices.
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
                f"training.batch: {sampler.batch} windows per update cannot be divided among "
                f"{devices} devices (training.devices) with {parts} parts each "
                "(training.accumulate)"
            )
        self.stores = stores
        self.sampler = sampler
        self.first = first
        self.last = last
        self.rank = rank
        self.devices = devices
        self.parts = parts
        self.waited = 0.0

    def part(self, update: int, part: int) -> list[Window]:
        """Return the windows of one part of an update on this device."""
        windows = self.sampler.windows(update)
        number = self.rank * self.parts + part
        total = self.devices * self.parts
        return windows[number * len(windows) // total : (number + 1) * len(windows) // total]

    def describe(
        self, update: int, part: int | None = None, rows: Sequence[int] | None = None
    ) -> str:
        """Return in words which frames of which episode of which file an update sees.

        Args:
            update: The update, counted from 0.
            part: One part of it on this device; without it all windows.
            rows: Some rows of these windows; without it all rows.
        """
        windows = self.sampler.windows(update) if part is None else self.part(update, part)
        descriptions = []
        for row in range(len(windows)) if rows is None else rows:
            number, start, length = windows[row]
            if not length:
                continue
            store = self.stores[number]
            episode = int(np.searchsorted(store.starts, start, "right")) - 1
            first = start - int(store.starts[episode])
            name = getattr(store, "path", None) or f"store {number}"
            descriptions.append(
                f"{name}, episode {episode}, frames {first} to {first + length - 1}"
            )
        return "; ".join(descriptions)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        count = (self.last - self.first) * self.parts
        for batch, waited in read_ahead(self._read(), count):
            self.waited += waited
            yield batch

    def _read(self) -> Iterator[dict[str, Any]]:
        for update in range(self.first, self.last):
            frames = sum(window.length for window in self.sampler.windows(update))
            for part in range(self.parts):
                windows = self.part(update, part)
                batch = read_batch(self.stores, windows, self.sampler.window)
                yield {**batch, "frames": frames}


def read_ahead(items: Iterator[Item], count: int) -> Iterator[tuple[Item, float]]:
    """Let a thread make items ahead of those who use them.

    Args:
        items: Makes them; runs in the thread.
        count: Number of items.

    Yields:
        Each item, and how many seconds it was waited for.

    Raises:
        OSError: If the thread has died.
    """
    ready: queue.Queue[Any] = queue.Queue(PREFETCH)
    stop = threading.Event()

    def put(item: Any) -> bool:
        """Hand over an item or an error; return False if nobody wants it any more."""
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # handed to the training loop, which raises it
            put(error)

    thread = threading.Thread(target=read, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(count):
            begin = time.perf_counter()
            while (item := _next_item(ready)) is None:
                if not thread.is_alive() and ready.empty():
                    raise OSError(
                        "the thread that reads batches has died without an error; run the "
                        "same command again to resume"
                    )
            if isinstance(item, BaseException):
                raise item
            yield item, time.perf_counter() - begin
    finally:
        stop.set()
        thread.join()


def _next_item(ready: queue.Queue[Any], seconds: float = 1.0) -> Any:
    """Return what comes next, or None if nothing comes for a while."""
    try:
        return ready.get(timeout=seconds)
    except queue.Empty:
        return None
