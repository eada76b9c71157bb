"""Training data on a device: all screens in the form of chunks, gathered there into batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lastmile.policy.policy import NO_CLICK
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH
from lastmile.simulation.chunks import PIECE_BYTES, PIECES_PER_FRAME
from lastmile.simulation.tokens import FirstEpisodes, Store, TokenStore
from lastmile.simulation.workers import ordered
from lastmile.training.windows import WindowSampler, read_ahead

CHUNKS_AT_ONCE = 32
"""Chunks that a thread reads before they are copied to the device."""

ROOM = 0.6
"""Largest share of a device's free memory that training data may take."""


def token_store(store: Store) -> TokenStore | None:
    """Return the token file that a store reads from, or None if it is none."""
    inner = store.store if isinstance(store, FirstEpisodes) else store
    return inner if isinstance(inner, TokenStore) else None


class DeviceData:
    """Recorded frames of several stores in the memory of a device.

    A frame takes about 10 kB here instead of 64: distinct pieces of pixel rows are kept once per
    chunk, as in the token file. Frames are numbered through all stores.

    Args:
        stores: Token files, or the first episodes of token files.
        device: The device.

    Attributes:
        offsets: (stores + 1,) int64, first frame of each store, and their end.
        clicks: (frames, 2) int16, what the annotator did.
        targets: (frames, 2) int16, what is to be predicted.
        first: (frames,) bool, whether an episode begins there.
    """

    def __init__(self, stores: Sequence[Store], device: torch.device) -> None:
        self.offsets = first_frames(stores)
        frames = int(self.offsets[-1])
        self.clicks = _on(device, [store.clicks for store in stores])
        self.targets = _on(device, [store.targets for store in stores])
        first = np.zeros(frames, bool)
        for store, offset in zip(stores, self.offsets):
            first[store.starts[:-1] + offset] = True
        self.first = torch.from_numpy(first).to(device)

        counts = [piece_counts(store) for store in stores]
        total = sum(int(count.sum()) for count in counts)
        # Two bytes at a time are gathered twice as fast as one.
        self._pieces = torch.empty(total, PIECE_BYTES // 2, dtype=torch.int16, device=device)
        self._index = torch.empty(frames, PIECES_PER_FRAME, dtype=torch.int16, device=device)
        self._base = torch.empty(frames, dtype=torch.int64, device=device)

        piece = frame = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            groups = (
                (store, range(begin, min(begin + CHUNKS_AT_ONCE, len(count))))
                for store, count in zip(stores, counts)
                for begin in range(0, len(count), CHUNKS_AT_ONCE)
            )
            ahead = 2 * (os.cpu_count() or 1)
            for pieces, index, base in ordered(pool, _read_chunks, groups, ahead):
                self._pieces[piece : piece + len(pieces)] = torch.from_numpy(pieces).to(device)
                self._index[frame : frame + len(index)] = torch.from_numpy(index).to(device)
                self._base[frame : frame + len(index)] = torch.from_numpy(base + piece).to(device)
                piece += len(pieces)
                frame += len(index)

    def screens(self, frames: Tensor) -> Tensor:
        """Gather screens.

        Args:
            frames: (N,) int64, numbers of the frames, on the device.

        Returns:
            (N, 126, 168, 3) uint8.
        """
        rows = self._base[frames][:, None] + self._index[frames]  # (N, pieces in a frame)
        pixels = self._pieces.index_select(0, rows.flatten()).view(torch.uint8)
        return pixels.view(len(frames), SMALL_HEIGHT, SMALL_WIDTH, 3)

    def previous(self, frames: Tensor) -> Tensor:
        """Return the click before each of N frames, (N, 2) int64."""
        before = self.clicks[(frames - 1).clamp_min(0)].long()
        return before.masked_fill(self.first[frames][:, None], NO_CLICK[0])


def first_frames(stores: Sequence[Store]) -> np.ndarray:
    """Return the first frame of each store, and their end, (stores + 1,) int64."""
    lengths = [len(store.clicks) for store in stores]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _on(device: torch.device, points: Sequence[np.ndarray]) -> Tensor:
    """Return points of all stores on a device, (frames, 2) int16."""
    return torch.from_numpy(np.concatenate([p.astype(np.int16) for p in points])).to(device)


def piece_counts(store: Store) -> np.ndarray:
    """Return the number of distinct pieces of each chunk of a store, (chunks,)."""
    tokens = token_store(store)
    assert tokens is not None, "only token files are kept on a device"
    chunks = int(np.searchsorted(tokens.chunk_frames, len(store.clicks)))
    return tokens.piece_counts[:chunks]


def device_bytes(stores: Sequence[Store]) -> int:
    """Return about how many bytes the frames of token files take on a device."""
    frames = sum(len(store.clicks) for store in stores)
    pieces = sum(int(piece_counts(store).sum()) for store in stores)
    return pieces * PIECE_BYTES + frames * (2 * PIECES_PER_FRAME + 8 + 2 * 4 + 1)


def fits(stores: Sequence[Store], device: torch.device) -> bool:
    """Return whether a device has room for the frames of these stores."""
    if any(token_store(store) is None for store in stores):
        return False
    free = torch.cuda.mem_get_info(device)[0]
    return device_bytes(stores) <= ROOM * free


def _read_chunks(group: tuple[Store, range]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read consecutive chunks of a store.

    Returns:
        Pieces (k, 63) int16, indices (n, 504) int16, and (n,) int64, which of these pieces is the
        first one of each frame's chunk.
    """
    store, numbers = group
    tokens = token_store(store)
    assert tokens is not None
    chunks = [tokens.chunk(number) for number in numbers]
    pieces = np.concatenate([pieces for pieces, _ in chunks])
    index = np.concatenate([index for _, index in chunks])
    first = np.cumsum([0, *(len(pieces) for pieces, _ in chunks[:-1])])
    base = np.repeat(first, [len(index) for _, index in chunks]).astype(np.int64)
    # A chunk has at most 64 * 504 pieces: their numbers stay below 2**15.
    return pieces.view(np.int16), index.view(np.int16), base


class Plan(NamedTuple):
    """What consecutive updates see.

    All updates have room for the same number of frames N; what is left over is padding.

    Attributes:
        frames: (updates, N) int64, numbers of the frames, the real ones first.
        slots: (updates, N) int64, where each is in the flattened windows of its update.
        counts: (updates,) int64, number of real frames.
    """

    frames: Tensor
    slots: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> Plan:
        """Return the plan on a device."""
        return Plan(*(values.to(device) for values in self))


def make_plan(
    sampler: WindowSampler, offsets: np.ndarray, first: int, last: int, room: int
) -> Plan:
    """Plan updates `first` to `last` - 1.

    Args:
        sampler: Says which windows each update sees.
        offsets: (stores + 1,), first frame of each store.
        first: First update.
        last: Update to stop before.
        room: Frames that each update has room for, at least those of the fullest one.
    """
    table = sampler.table(first, last)  # (updates, batch, 3)
    time = np.arange(sampler.window)
    real = (time < table[:, :, 2, None]).reshape(len(table), -1)  # (updates, batch T)
    frames = (offsets[table[:, :, 0]] + table[:, :, 1])[:, :, None] + time
    # Real frames first, in their order; then padding.
    slots = np.argsort(~real, axis=1, kind="stable")[:, :room]
    counts = real.sum(1)
    assert counts.max() <= room, "an update has more frames than there is room for"
    frames = np.take_along_axis(frames.reshape(len(table), -1), slots, 1)
    frames[np.arange(room) >= counts[:, None]] = 0  # some frame that exists
    return Plan(*(torch.from_numpy(values) for values in (frames, slots, counts)))


class Blocks:
    """The plans of a run's updates, block by block, made ahead by a thread.

    Args:
        sampler: Says which windows each update sees.
        offsets: (stores + 1,), first frame of each store.
        room: Frames that each update has room for.
        blocks: First update of each block, and the one to stop before.

    Attributes:
        first: First update of all, or 0 without any.
        waited: Seconds in which the device has waited for plans.
    """

    def __init__(
        self,
        sampler: WindowSampler,
        offsets: np.ndarray,
        room: int,
        blocks: Sequence[tuple[int, int]],
    ) -> None:
        self.sampler = sampler
        self.offsets = offsets
        self.room = room
        self.blocks = blocks
        self.first = blocks[0][0] if blocks else 0
        self.waited = 0.0

    def plan(self, first: int, last: int) -> Plan:
        """Plan updates `first` to `last` - 1."""
        return make_plan(self.sampler, self.offsets, first, last, self.room)

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[tuple[int, Plan]]:
        plans = ((first, self.plan(first, last)) for first, last in self.blocks)
        for item, waited in read_ahead(plans, len(self.blocks)):
            self.waited += waited
            yield item


def borders(updates: Sequence[int], first: int, last: int, most: int) -> list[tuple[int, int]]:
    """Cut updates `first` to `last` - 1 into blocks that end after each of `updates`.

    Args:
        updates: Updates, counted from 1, after which a block has to end.
        first: First update, counted from 0.
        last: Update to stop before.
        most: Most updates of a block.

    Returns:
        First update of each block, and the one to stop before.
    """
    ends = sorted({update for update in updates if first < update < last} | {last})
    blocks = []
    for begin, end in pairwise([first, *ends]):
        blocks += [(start, min(start + most, end)) for start in range(begin, end, most)]
    return blocks
