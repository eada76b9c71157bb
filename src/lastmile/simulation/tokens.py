"""Tokens: what a policy reads. Small screens, clicks and latent labels of one task and split, in one compressed file.

Screens repeat themselves: from one to the next most pixels stay. Each chunk (up to 64 consecutive frames of one episode) therefore keeps every
distinct piece of a pixel row once, and each frame as indices of its pieces; both are compressed with Zstandard. Reading a window means
inflating one or two chunks and gathering rows: no frame is decoded that is not near the window. The file is a safetensors file; all but the
screens is sealed by a digest, each chunk of screens by its own checksum.
"""

from __future__ import annotations

import json
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import zstandard
from safetensors import SafetensorError
from safetensors.numpy import save_file

from lastmile.config import SPLITS
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH, draw_small_series
from lastmile.simulation.trajectory import Trajectories
from lastmile.storage import files, seal
from lastmile.tasks import get_task
from lastmile.tasks.annotator import PHASES

FORMAT = "lastmile.tokens/3"
CHUNK = 64
"""Most frames in a chunk."""
PIECES = 4
"""Pieces that a row of pixels is cut into."""
_BYTES = SMALL_WIDTH * 3 // PIECES
_PER_FRAME = SMALL_HEIGHT * PIECES


class TokenError(LastmileError):
    """A token file that cannot be used; the message names the file and what was expected."""


def pack(frames: np.ndarray, level: int = 3) -> bytes:
    """Compress up to 64 frames, (n, 126, 168, 3) uint8."""
    if not 1 <= len(frames) <= CHUNK:
        raise LastmileError(f"a chunk holds 1 to {CHUNK} frames, got {len(frames)}")
    rows = np.ascontiguousarray(frames).reshape(len(frames), _PER_FRAME, _BYTES)
    pieces, index = _distinct(rows)
    # Green keeps its value, red and blue become differences to it: gray noise then costs one channel and not three.
    pixels = pieces.reshape(-1, _BYTES // 3, 3)
    planes = np.stack(
        [pixels[..., 1], pixels[..., 0] - pixels[..., 1], pixels[..., 2] - pixels[..., 1]]
    )
    moves = index.copy()
    moves[1:] -= index[:-1]
    head = np.array([len(frames), len(pieces)], np.uint32).tobytes()
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(
        head + moves.tobytes() + planes.tobytes()
    )


def unpack(blob: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    """Pieces (k, bytes) uint8 and indices (n, pieces a frame) uint16 of a chunk; `gather` makes frames of them."""
    stated = zstandard.frame_content_size(blob)
    if not 8 <= stated <= 8 + CHUNK * _PER_FRAME * (2 + _BYTES):
        raise LastmileError("chunk of unexpected length")
    raw = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompress(
        blob, allow_extra_data=False
    )
    frames, count = np.frombuffer(raw, np.uint32, 2).tolist()
    size = frames * _PER_FRAME
    if len(raw) != 8 + 2 * size + count * _BYTES:
        raise LastmileError("chunk of unexpected length")
    index = np.cumsum(
        np.frombuffer(raw, np.uint16, size, 8).reshape(frames, _PER_FRAME), axis=0, dtype=np.uint16
    )
    if size and int(index.max()) >= count:
        raise LastmileError("chunk refers to pieces that it does not hold")
    planes = np.frombuffer(raw, np.uint8, count * _BYTES, 8 + 2 * size).reshape(3, count, -1)
    pixels = np.empty((count, _BYTES // 3, 3), np.uint8)
    pixels[..., 1] = planes[0]
    np.add(planes[1], planes[0], out=pixels[..., 0])
    np.add(planes[2], planes[0], out=pixels[..., 2])
    return pixels.reshape(count, _BYTES), index


def gather(pieces: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Frames (n, 126, 168, 3) uint8 from pieces and indices."""
    return pieces.take(index.reshape(-1), axis=0).reshape(len(index), SMALL_HEIGHT, SMALL_WIDTH, 3)


@lru_cache(maxsize=1)
def _weights() -> np.ndarray:
    words = (
        np.random.default_rng(1).integers(1, 2**63, -(-_BYTES // 8), dtype=np.int64).view(np.uint64)
    )
    return words | np.uint64(1)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pieces, and for each piece of each frame which one it is, (n, pieces a frame) uint16.

    rows: (n, pieces a frame, bytes). Only pieces that are not what they were in the frame before are looked at; they are told apart by a 64-bit
    hash, then compared.
    """
    fresh = np.ones(rows.shape[:2], bool)
    words = rows.view(np.uint16)
    np.any(words[1:] != words[:-1], axis=2, out=fresh[1:])
    new = rows[fresh]
    padded = np.zeros((len(new), len(_weights()) * 8), np.uint8)
    padded[:, :_BYTES] = new
    mixed = padded.view(np.uint64) * _weights()
    code = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    pieces = new[first]
    if not np.array_equal(
        pieces[which], new
    ):  # two pieces with one hash: hardly ever, but then exactly
        pieces, which = np.unique(new, axis=0, return_inverse=True)
    index = np.zeros(fresh.shape, np.uint16)
    index[fresh] = which.reshape(-1)
    since = np.maximum.accumulate(np.where(fresh, np.arange(len(rows))[:, None], 0), axis=0)
    return pieces, np.take_along_axis(index, since, axis=0)


def write(path: str | Path, trajectories: Trajectories, progress=None) -> None:
    """Draw every screen of recorded episodes and write the token file, whole or not at all.

    progress: called with the number of frames after each episode. Raises TrajectoryError if a world no longer fits.
    """
    starts = trajectories.starts
    blobs, first_frames, targets = [], [], []
    for number in range(len(starts) - 1):
        replay = trajectories.open(number)
        states, _, hits, _ = zip(*replay.replay())
        screens = [replay.interface.screen(state, replay.look) for state in states]
        frames = draw_small_series(screens)
        for screen, hit, click in zip(screens, hits, replay.clicks.tolist()):
            targets.append(
                screen.widget(hit.widget).rect.middle if hit.widget not in ("", "canvas") else click
            )
        parts = -(-len(frames) // CHUNK)
        cuts = np.linspace(0, len(frames), parts + 1).round().astype(int)
        for a, b in zip(cuts[:-1], cuts[1:]):
            blobs.append(pack(frames[a:b]))
            first_frames.append(starts[number] + a)
        if progress:
            progress(len(frames))
    steps = trajectories.steps
    tensors = {
        "blobs": np.frombuffer(b"".join(blobs), np.uint8),
        "blob_offsets": np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(
            np.int64
        ),
        "chunk_frames": np.array([*first_frames, len(steps)], np.int64),
        "starts": starts,
        "clicks": np.ascontiguousarray(
            steps[["x", "y"]].to_numpy(np.int16)
        ),  # safetensors writes the memory as it lies
        "targets": np.array(targets, np.int16),
        "phase": np.array([PHASES.index(p) for p in steps["phase"]], np.int8),
        "position": steps["position"].to_numpy(np.float32),
        "open_mistakes": steps["open_mistakes"].to_numpy(np.int16),
    }
    task = get_task(trajectories.source.task)
    meta = {
        "format": FORMAT,
        "task": task.name,
        "task_version": task.version,
        "split": trajectories.source.split,
        "seal": seal.BLANK,
    }
    with files.writing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"lastmile": json.dumps(meta, sort_keys=True)})
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(f"{path}: cannot be written ({error})") from None
        seal.close(temporary, temporary.stat().st_size - len(tensors["blobs"]))


_PARTS = {
    "starts": (np.int64, 1),
    "chunk_frames": (np.int64, 1),
    "blob_offsets": (np.int64, 1),
    "clicks": (np.int16, 2),
    "targets": (np.int16, 2),
    "phase": (np.int8, 1),
    "position": (np.float32, 1),
    "open_mistakes": (np.int16, 1),
    "blobs": (np.uint8, 1),
}
"""Parts of a token file: type and number of axes. The screens, `blobs`, lie last."""
_TYPES = {"I64": np.int64, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "F32": np.float32}
_LONGEST_HEADER = 1_000_000


class TokenStore:
    """A token file, open for reading.

    task, split: what it holds. targets: (frames, 2) int16, what a policy is to predict: the click, or the middle of the button that it hit. frames: number of frames. starts: (episodes + 1,) first frame of each episode. clicks: (frames, 2) int16, logical
    px. phase: (frames,) index into PHASES. position: (frames,) 0 to 1. open_mistakes: (frames,) counts.
    The file is not mapped into memory: one that is cut or written to while it is read ends in an error, not in the death of the process.
    Raises TokenError naming the file when it is missing, truncated, damaged, foreign, or of another version of format or task.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise TokenError(f"{path}: no such file; expected a token file")
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115 (open as long as the store)
        self._opened = os.fstat(self._file.fileno())
        try:
            meta, spans = self._header()
            parts = self._small_parts(spans)
        except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
            if isinstance(error, TokenError):
                raise
            raise TokenError(f"{path}: not a readable token file ({error})") from None
        try:
            version = get_task(meta["task"]).version
        except ValueError as error:
            raise TokenError(f"{path}: {error}") from None
        if meta["task_version"] != version:
            raise TokenError(
                f"{path}: made for version {meta['task_version']} of task '{meta['task']}', which is now at version {version}; make the tokens again"
            )
        self.task, self.split = meta["task"], meta["split"]
        self.starts, self.clicks, self.targets = parts["starts"], parts["clicks"], parts["targets"]
        self.phase, self.position, self.open_mistakes = (
            parts["phase"],
            parts["position"],
            parts["open_mistakes"],
        )
        self._chunk_frames, self._offsets = parts["chunk_frames"], parts["blob_offsets"]
        self._blobs, end = spans["blobs"]
        self.frames = len(self.clicks)
        if problem := self._inconsistent(end - self._blobs):
            raise TokenError(f"{path}: its parts do not belong together ({problem})")

    def _header(self) -> tuple[dict, dict[str, tuple[int, int]]]:
        """What the file says of itself, and where its parts lie (in bytes of the file); nothing is read that the file does not hold."""
        size = self._opened.st_size
        length = int.from_bytes(self._read(0, 8), "little") if size >= 8 else size
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
            raise LastmileError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(self._read(8, 8 + length))
        try:
            meta = json.loads(header.pop("__metadata__")["lastmile"])
            found = meta.get("format")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise TokenError(f"{self.path}: not a lastmile token file (no such metadata)") from None
        if found != FORMAT:
            raise TokenError(
                f"{self.path}: format '{found}', expected '{FORMAT}'; make the tokens again"
            )
        if (
            not isinstance(meta.get("task"), str)
            or meta.get("split") not in SPLITS
            or not isinstance(meta.get("task_version"), int)
        ):
            raise LastmileError("expected task, its version, and split in the metadata")
        if missing := sorted(_PARTS.keys() - header.keys()):
            raise TokenError(f"{self.path}: a part is missing ({', '.join(missing)})")
        spans, at = {}, 8 + length
        for name, part in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            kind, axes = _PARTS[name]
            begin, end = (8 + length + offset for offset in part["data_offsets"])
            items = math.prod(part["shape"])
            if (
                _TYPES.get(part["dtype"]) is not kind
                or len(part["shape"]) != axes
                or begin != at
                or end - begin != items * np.dtype(kind).itemsize
            ):
                raise LastmileError(
                    f"'{name}' is {part}, expected {np.dtype(kind).name} with {axes} axes"
                )
            if axes == 2 and part["shape"][1] != 2:
                raise LastmileError(f"'{name}' has the shape {part['shape']}, expected pairs")
            spans[name], at = (begin, end), end
        if at != size:
            raise LastmileError(f"its parts end at byte {at}, the file at {size}")
        if spans["blobs"][1] != size:
            raise LastmileError("the screens do not lie last")
        return meta, spans

    def _small_parts(self, spans: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
        """All parts but the screens, after their seal was checked, as arrays that torch takes without a warning."""
        data = self._read(0, spans["blobs"][0])
        seal.check(data)
        parts = {
            name: np.frombuffer(data[a:b], _PARTS[name][0]).copy()
            for name, (a, b) in spans.items()
            if name != "blobs"
        }
        return {
            name: values.reshape(-1, 2) if _PARTS[name][1] == 2 else values
            for name, values in parts.items()
        }

    def _inconsistent(self, size: int) -> str:
        """What is wrong with the parts, taken together; empty if nothing is."""
        borders = {
            "starts": self.starts,
            "chunk_frames": self._chunk_frames,
            "blob_offsets": self._offsets,
        }
        for (name, found), end in zip(borders.items(), (self.frames, self.frames, size)):
            if (
                len(found) < 2
                or found[0] != 0
                or found[-1] != end
                or not (found[1:] > found[:-1]).all()
            ):
                return f"'{name}' must rise from 0 to {end}"
        if (
            len(self._chunk_frames) != len(self._offsets)
            or int(np.diff(self._chunk_frames).max()) > CHUNK
        ):
            return f"{len(self._chunk_frames) - 1} chunks of at most {CHUNK} frames, {len(self._offsets) - 1} pieces of data"
        if {len(self.targets), len(self.phase), len(self.position), len(self.open_mistakes)} != {
            self.frames
        }:
            return f"{self.frames} clicks, {len(self.targets)} targets, {len(self.phase)} phases, {len(self.position)} positions"
        if any(
            (places < 0).any() or (places >= (WIDTH, HEIGHT)).any()
            for places in (self.clicks, self.targets)
        ):
            return "a click or its target outside the screen"
        if (
            (self.phase < 0).any()
            or (self.phase >= len(PHASES)).any()
            or not np.isfinite(self.position).all()
        ):
            return "a phase or position that there is not"
        return ""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def _read(self, begin: int, end: int) -> bytes:
        """Bytes of the file. Raises TokenError if it is not the file that was opened any more."""
        data, now = os.pread(self._file.fileno(), end - begin, begin), os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (
            self._opened.st_size,
            self._opened.st_mtime_ns,
        ) or len(data) != end - begin:
            raise TokenError(f"{self.path}: was changed while it was read; make the tokens again")
        return data

    def screens(self, start: int, stop: int) -> np.ndarray:
        """Frames start to stop, (stop - start, 126, 168, 3) uint8.

        Raises IndexError outside the file, TokenError for a damaged chunk, and for a file that was changed after it was opened.
        """
        if not 0 <= start < stop <= self.frames:
            raise IndexError(
                f"frames {start} to {stop} are not in {self.path}, which has {self.frames}"
            )
        first = int(np.searchsorted(self._chunk_frames, start, "right")) - 1
        out = []
        while start < stop:
            begin, end = int(self._chunk_frames[first]), int(self._chunk_frames[first + 1])
            blob = self._read(
                self._blobs + int(self._offsets[first]), self._blobs + int(self._offsets[first + 1])
            )
            try:
                pieces, index = unpack(blob)
                if len(index) != end - begin:
                    raise LastmileError("chunk of unexpected length")
            except (zstandard.ZstdError, ValueError) as error:
                raise TokenError(
                    f"{self.path}: chunk {first} is damaged ({error}); make the tokens again"
                ) from None
            out.append(gather(pieces, index[start - begin : min(stop, end) - begin]))
            start, first = end, first + 1
        return out[0] if len(out) == 1 else np.concatenate(out)


class Store(Protocol):
    """What training and evaluation need of a token store.

    Attributes:
        starts: (episodes + 1,), first frame of each episode, and the number of frames.
        clicks: (frames, 2), what the annotator did, in logical px.
        targets: (frames, 2), what is to be predicted, in logical px.
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
