"""Tokens: what a policy reads.

A token file holds small screens, clicks and latent labels of one task and split, compressed.

From one screen to the next most pixels stay the same. So each chunk (up to 64 consecutive frames of
one episode) holds every distinct piece of a pixel row once, and each frame as indices of its
pieces; both are compressed with Zstandard. Reading a window means decompressing one or two chunks
and gathering pieces; frames far from the window are not decoded.

The file is a safetensors file. Everything but the screens is sealed by a digest; each chunk of
screens carries its own checksum.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
import zstandard
from safetensors import SafetensorError, safe_open

from lastmile.config import SPLITS
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH
from lastmile.simulation.chunks import CHUNK, HEAD, gather, piece_count, unpack
from lastmile.simulation.drawing import draw_all
from lastmile.simulation.rows import NO_ANSWER
from lastmile.simulation.trajectory import Trajectories
from lastmile.simulation.workers import Workers
from lastmile.storage import files, seal
from lastmile.storage.tensors import array_part, file_part, write_streamed
from lastmile.tasks import get_task
from lastmile.tasks.annotator import PHASES

FORMAT = "lastmile.tokens/3"
NO_PHASE = -1
"""Phase of the clicks of people, whose intent nobody knows."""


class TokenError(LastmileError):
    """A token file that cannot be used; the message names the file and what was expected."""


def write(
    path: str | Path,
    trajectories: Trajectories,
    progress: Callable[[int], None] | None = None,
    pool: Workers | None = None,
) -> None:
    """Draw every screen of recorded episodes and write the token file atomically.

    Args:
        path: File to write.
        trajectories: The recording.
        progress: Called with the number of frames after each episode.
        pool: Processes that draw side by side. The file is the same with and without.

    Raises:
        TrajectoryError: A world is no longer the one that was annotated.
    """
    starts = trajectories.starts
    sizes: list[int] = []  # of each chunk, in bytes
    first_frames: list[int] = []  # of each chunk
    targets: list[np.ndarray] = []  # of each episode, (steps, 2)
    with files.writing(path) as temporary, TemporaryFile(dir=Path(path).parent) as blobs:
        for start, drawn in zip(starts.tolist(), draw_all(trajectories, pool)):
            sizes += [blobs.write(chunk) for chunk in drawn.chunks]
            first_frames += [start + begin for begin in drawn.begins]
            targets.append(drawn.targets)
            if progress:
                progress(len(drawn.targets))

        rows = trajectories.steps
        phases = rows["phase"].astype("category").cat
        numbers = np.array([(*PHASES, "").index(name) for name in phases.categories], np.int8)
        numbers[numbers == len(PHASES)] = NO_PHASE
        arrays = {
            "blob_offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            "chunk_frames": np.array([*first_frames, len(rows)], np.int64),
            "starts": starts,
            "clicks": rows[["x", "y"]].to_numpy(np.int16),
            "targets": np.concatenate(targets),
            "phase": numbers[phases.codes.to_numpy()],
            "position": rows["position"].to_numpy(np.float32),
            "open_mistakes": rows["open_mistakes"].to_numpy(np.int16),
        }
        task = get_task(trajectories.source.task)
        meta = {
            "format": FORMAT,
            "task": task.name,
            "task_version": task.version,
            "split": trajectories.source.split,
            "seal": seal.BLANK,
        }
        # The screens come last, as the only bytes, are copied piece by piece, and stay outside the
        # seal.
        about = {"lastmile": json.dumps(meta, sort_keys=True)}
        parts = {name: array_part(array) for name, array in arrays.items()}
        write_streamed(temporary, {**parts, "blobs": file_part(blobs)}, about)
        seal.close(temporary, temporary.stat().st_size - sum(sizes))


_PARTS = {
    "starts": ("I64", 1),
    "chunk_frames": ("I64", 1),
    "blob_offsets": ("I64", 1),
    "clicks": ("I16", 2),
    "targets": ("I16", 2),
    "phase": ("I8", 1),
    "position": ("F32", 1),
    "open_mistakes": ("I16", 1),
    "blobs": ("U8", 1),
}
"""Parts of a token file: type, as safetensors names it, and number of axes."""


class TokenStore:
    """A token file, open for reading.

    The file is not kept mapped into memory: if it is truncated or written to while it is read, the
    read ends in an error instead of killing the process.

    Attributes:
        path: The file.
        task: Name of the task.
        split: Name of the split.
        frames: Number of frames.
        starts: (episodes + 1,) int64, first frame of each episode, and their end.
        clicks: (frames, 2) int16, the clicks, logical px.
        targets: (frames, 2) int16, what a policy learns to predict: the click, or the middle of
            the button that it hit; `NO_ANSWER` where nothing is to be learned.
        phase: (frames,) int8, index into PHASES; NO_PHASE in recordings of people.
        position: (frames,) float32, where in the data the view is, 0 to 1.
        open_mistakes: (frames,) int16, mistakes in the annotation.
        chunk_frames: (chunks + 1,) int64, first frame of each chunk, and their end.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a token file.

        Raises:
            TokenError: The file is missing, truncated, damaged, foreign, or of another version of
                the format or the task.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise TokenError(f"{path}: no such file; expected a token file")
        self._file = open(self.path, "rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._opened = os.fstat(self._file.fileno())
        try:
            meta, parts = self._load()
        except TokenError:
            raise
        except (SafetensorError, OSError, TypeError, ValueError, RecursionError) as error:
            raise TokenError(f"{path}: not a readable token file ({error})") from None

        try:
            version = get_task(meta["task"]).version
        except ValueError as error:
            raise TokenError(f"{path}: {error}") from None
        if meta["task_version"] != version:
            raise TokenError(
                f"{path}: made for version {meta['task_version']} of task '{meta['task']}', "
                f"which is now at version {version}; make the tokens again"
            )

        self.task: str = meta["task"]
        self.split: str = meta["split"]
        self.starts = parts["starts"]
        self.clicks = parts["clicks"]
        self.targets = parts["targets"]
        self.phase = parts["phase"]
        self.position = parts["position"]
        self.open_mistakes = parts["open_mistakes"]
        self.chunk_frames = parts["chunk_frames"]
        self._offsets = parts["blob_offsets"]
        self.frames = len(self.clicks)
        if problem := self._inconsistency(self._opened.st_size - self._blobs):
            raise TokenError(f"{path}: its parts do not belong together ({problem})")

    def _load(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Read the metadata and all parts but the screens, and check their seal.

        Raises:
            TokenError: The file is foreign, of another format, or lacks a part.
            LastmileError: A part or its seal is not as it must be.
        """
        with safe_open(self.path, "np") as file:
            meta = self._check_metadata(file.metadata())
            names = set(file.keys())
            if missing := sorted(_PARTS.keys() - names):
                raise TokenError(f"{self.path}: a part is missing ({', '.join(missing)})")
            if unknown := sorted(names - _PARTS.keys()):
                raise LastmileError(f"unknown parts: {', '.join(unknown)}")
            for name, (kind, axes) in _PARTS.items():
                part = file.get_slice(name)
                shape = part.get_shape()
                if part.get_dtype() != kind or len(shape) != axes or shape[1:] not in ([], [2]):
                    raise LastmileError(
                        f"'{name}' is {part.get_dtype()} of shape {shape}, expected {kind} "
                        f"of shape {'(n, 2)' if axes == 2 else '(n,)'}"
                    )

            # The screens are the last part of the file, and all before them is sealed.
            screens = file.get_slice("blobs").get_shape()[0]
            self._blobs = self._opened.st_size - screens
            seal.check(self._read(0, self._blobs))

            # Copies: they outlive the mapping, and torch takes them without a warning.
            parts = {name: np.array(file.get_tensor(name)) for name in _PARTS if name != "blobs"}
        self._check_unchanged()
        # safetensors opened the path again: it must still be the file that was sealed.
        if not os.path.samestat(os.stat(self.path), self._opened):
            raise self._changed()
        return meta, parts

    def _check_metadata(self, metadata: dict[str, str] | None) -> dict[str, Any]:
        """Return what the file says about itself."""
        try:
            meta = json.loads((metadata or {})["lastmile"])
            written_format = meta.get("format")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise TokenError(f"{self.path}: not a lastmile token file (no such metadata)") from None
        if written_format != FORMAT:
            raise TokenError(
                f"{self.path}: format '{written_format}', expected '{FORMAT}'; "
                "make the tokens again"
            )
        if (
            not isinstance(meta.get("task"), str)
            or meta.get("split") not in SPLITS
            or not isinstance(meta.get("task_version"), int)
        ):
            raise LastmileError("expected task, task_version and split in the metadata")
        checked: dict[str, Any] = meta
        return checked

    def _inconsistency(self, size: int) -> str:
        """Describe what is wrong with the parts, taken together; empty if all is well.

        Args:
            size: Bytes of the screens.
        """
        borders = {
            "starts": (self.starts, self.frames),
            "chunk_frames": (self.chunk_frames, self.frames),
            "blob_offsets": (self._offsets, size),
        }
        for name, (values, end) in borders.items():
            rising = len(values) >= 2 and bool((values[1:] > values[:-1]).all())
            if not rising or values[0] != 0 or values[-1] != end:
                return f"'{name}' must rise from 0 to {end}"

        chunks = len(self.chunk_frames) - 1
        if chunks != len(self._offsets) - 1 or int(np.diff(self.chunk_frames).max()) > CHUNK:
            return (
                f"{chunks} chunks of at most {CHUNK} frames, "
                f"{len(self._offsets) - 1} pieces of data"
            )
        labels = (self.targets, self.phase, self.position, self.open_mistakes)
        if {len(values) for values in labels} != {self.frames}:
            return (
                f"{self.frames} clicks, {len(self.targets)} targets, {len(self.phase)} phases, "
                f"{len(self.position)} positions, {len(self.open_mistakes)} counts of mistakes"
            )

        learned = self.targets[(self.targets != NO_ANSWER).any(1)]
        for points in (self.clicks, learned):
            if (points < 0).any() or (points >= (WIDTH, HEIGHT)).any():
                return "a click or its target outside the screen"
        if (
            (self.phase < NO_PHASE).any()
            or (self.phase >= len(PHASES)).any()
            or not np.isfinite(self.position).all()
        ):
            return "a phase or position that does not exist"
        return ""

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.starts) - 1

    def _read(self, begin: int, end: int) -> bytes:
        """Read bytes of the file.

        Raises:
            TokenError: The file was changed since it was opened.
        """
        data = os.pread(self._file.fileno(), end - begin, begin)
        self._check_unchanged()
        if len(data) != end - begin:
            raise self._changed()
        return data

    def _check_unchanged(self) -> None:
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise self._changed()

    def _changed(self) -> TokenError:
        return TokenError(f"{self.path}: was changed while it was read; make the tokens again")

    def screens(self, start: int, stop: int) -> np.ndarray:
        """Read frames `start` to `stop` - 1, (stop - start, 126, 168, 3) uint8.

        Raises:
            IndexError: A frame is outside the file.
            TokenError: A chunk is damaged, or the file was changed after it was opened.
        """
        if not 0 <= start < stop <= self.frames:
            raise IndexError(
                f"frames {start} to {stop} are not in {self.path}, which has {self.frames}"
            )
        chunk = int(np.searchsorted(self.chunk_frames, start, "right")) - 1
        pieces_of_range = []
        while start < stop:
            begin, end = self.chunk_frames[chunk : chunk + 2].tolist()
            pieces, index = self.chunk(chunk)
            pieces_of_range.append(gather(pieces, index[start - begin : min(stop, end) - begin]))
            start = end
            chunk += 1
        return pieces_of_range[0] if len(pieces_of_range) == 1 else np.concatenate(pieces_of_range)

    @cached_property
    def piece_counts(self) -> np.ndarray:
        """The number of distinct pieces of each chunk, (chunks,), without reading them.

        Raises:
            TokenError: A chunk is damaged, or the file was changed after it was opened.
        """
        counts = np.empty(len(self._offsets) - 1, np.int64)
        lengths = np.diff(self.chunk_frames).tolist()
        for number, (begin, end) in enumerate(zip(self._offsets[:-1], self._offsets[1:])):
            head = self._read(*(self._blobs + int(b) for b in (begin, min(end, begin + HEAD))))
            try:
                counts[number] = piece_count(head, lengths[number])
            except (zstandard.ZstdError, LastmileError) as error:
                raise self._damaged(number, error) from None
        return counts

    def chunk(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a chunk of frames as it is kept; `chunks.gather` makes frames of it.

        Returns:
            The distinct pieces, (k, bytes in a piece) uint8, and which piece is where,
            (frames, pieces in a frame) uint16.

        Raises:
            TokenError: It is damaged, or the file was changed after it was opened.
        """
        begin, end = self.chunk_frames[number : number + 2].tolist()
        first_byte, last_byte = (self._blobs + self._offsets[number : number + 2]).tolist()
        try:
            pieces, index = unpack(self._read(first_byte, last_byte))
            if len(index) != end - begin:
                raise LastmileError("chunk of unexpected length")
        except TokenError:
            raise
        except (zstandard.ZstdError, ValueError) as error:
            raise self._damaged(number, error) from None
        return pieces, index

    def _damaged(self, chunk: int, error: Exception) -> TokenError:
        return TokenError(f"{self.path}: chunk {chunk} is damaged ({error}); make the tokens again")


class Store(Protocol):
    """What training and evaluation need of a token store.

    Attributes:
        starts: (episodes + 1,), first frame of each episode, and the number of frames.
        clicks: (frames, 2), what the annotator did, in logical px.
        targets: (frames, 2), what is to be predicted, in logical px; `NO_ANSWER` for nothing.
    """

    starts: np.ndarray
    clicks: np.ndarray
    targets: np.ndarray

    def screens(self, start: int, stop: int) -> np.ndarray:
        """Return frames start to stop, (stop - start, 126, 168, 3) uint8."""


class FirstEpisodes:
    """The first episodes of a store, as a store of its own.

    Args:
        store: The store, which stays open and is read from.
        count: Number of episodes.

    Raises:
        LastmileError: If the store has fewer episodes.
    """

    def __init__(self, store: Store, count: int) -> None:
        episodes = len(store.starts) - 1
        self.path: Path | None = getattr(store, "path", None)
        if not 1 <= count <= episodes:
            raise LastmileError(
                f"episodes: expected 1 to {episodes}, as many as {self.path or 'the store'} has, "
                f"got {count}"
            )
        self.store = store
        self.starts = store.starts[: count + 1]
        frames = int(self.starts[-1])
        self.clicks = store.clicks[:frames]
        self.targets = store.targets[:frames]

    def screens(self, start: int, stop: int) -> np.ndarray:
        """Return frames start to stop, (stop - start, 126, 168, 3) uint8."""
        return self.store.screens(start, stop)
