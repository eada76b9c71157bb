"""Chunks of screens: up to 64 consecutive frames of one episode, compressed.

From one screen to the next most pixels stay the same. So a chunk holds every distinct piece of a
pixel row once, and each frame as indices of its pieces; both are compressed with Zstandard.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import zstandard

from lastmile.errors import LastmileError
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH

CHUNK = 64
"""Most frames in a chunk."""
PIECES = 4
"""Pieces that a row of pixels is cut into."""
PIECE_BYTES = SMALL_WIDTH * 3 // PIECES
"""Bytes of a piece."""
PIECES_PER_FRAME = SMALL_HEIGHT * PIECES
"""Pieces of a frame."""


def pack(frames: np.ndarray, level: int = 3) -> bytes:
    """Compress a chunk.

    Args:
        frames: (n, 126, 168, 3) uint8, 1 <= n <= CHUNK.
        level: Compression level of Zstandard.

    Raises:
        LastmileError: There are too few or too many frames.
    """
    if not 1 <= len(frames) <= CHUNK:
        raise LastmileError(f"a chunk holds 1 to {CHUNK} frames, got {len(frames)}")
    rows = np.ascontiguousarray(frames).reshape(len(frames), PIECES_PER_FRAME, PIECE_BYTES)
    pieces, index = _distinct(rows)

    # Green keeps its value, red and blue become differences to it: gray noise then costs one
    # channel instead of three.
    pixels = pieces.reshape(-1, PIECE_BYTES // 3, 3)
    planes = np.stack(
        [pixels[..., 1], pixels[..., 0] - pixels[..., 1], pixels[..., 2] - pixels[..., 1]]
    )  # (3, pieces, pixels in a piece), uint8: differences wrap around

    # Indices as differences to the frame before: zero wherever nothing changed.
    moves = index.copy()
    moves[1:] -= index[:-1]

    head = np.array([len(frames), len(pieces)], np.uint32).tobytes()
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(
        head + moves.tobytes() + planes.tobytes()
    )


def unpack(blob: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    """Decompress a chunk; `gather` makes frames of the result.

    Returns:
        The distinct pieces, (k, bytes in a piece) uint8, and which piece is where,
        (n, pieces in a frame) uint16.

    Raises:
        LastmileError: The content contradicts itself.
        zstandard.ZstdError: The bytes are damaged.
    """
    # The stated length is checked first: a few damaged bytes must not ask for gigabytes.
    stated = zstandard.frame_content_size(blob)
    if not 8 <= stated <= 8 + CHUNK * PIECES_PER_FRAME * (2 + PIECE_BYTES):
        raise LastmileError("chunk of unexpected length")
    raw = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompress(
        blob, allow_extra_data=False
    )
    frames, count = np.frombuffer(raw, np.uint32, 2).tolist()
    size = frames * PIECES_PER_FRAME
    if len(raw) != 8 + 2 * size + count * PIECE_BYTES:
        raise LastmileError("chunk of unexpected length")

    moves = np.frombuffer(raw, np.uint16, size, 8).reshape(frames, PIECES_PER_FRAME)
    index = np.cumsum(moves, axis=0, dtype=np.uint16)
    if size and int(index.max()) >= count:
        raise LastmileError("chunk refers to pieces that it does not hold")

    planes = np.frombuffer(raw, np.uint8, count * PIECE_BYTES, 8 + 2 * size).reshape(3, count, -1)
    pixels = np.empty((count, PIECE_BYTES // 3, 3), np.uint8)
    pixels[..., 1] = planes[0]
    np.add(planes[1], planes[0], out=pixels[..., 0])
    np.add(planes[2], planes[0], out=pixels[..., 2])
    return pixels.reshape(count, PIECE_BYTES), index


HEAD = 18
"""Bytes at the beginning of a chunk that hold its stated length: a header of Zstandard."""


def piece_count(head: bytes, frames: int) -> int:
    """Return the number of distinct pieces of a chunk, from its first HEAD bytes.

    Raises:
        LastmileError: A chunk of so many frames cannot have the stated length.
        zstandard.ZstdError: The bytes are damaged.
    """
    count, rest = divmod(
        zstandard.frame_content_size(head) - 8 - 2 * frames * PIECES_PER_FRAME, PIECE_BYTES
    )
    if rest or not 1 <= count <= frames * PIECES_PER_FRAME:
        raise LastmileError("chunk of unexpected length")
    return count


def gather(pieces: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the frames, (n, 126, 168, 3) uint8, of pieces and indices as `unpack` gives them."""
    return pieces.take(index.reshape(-1), axis=0).reshape(len(index), SMALL_HEIGHT, SMALL_WIDTH, 3)


@lru_cache(maxsize=1)
def _weights() -> np.ndarray:
    """Return odd random weights for the hash of a piece, one per 8 bytes, uint64."""
    words = (
        np.random.default_rng(1)
        .integers(1, 2**63, -(-PIECE_BYTES // 8), dtype=np.int64)
        .view(np.uint64)
    )
    return words | np.uint64(1)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the distinct pieces.

    Only pieces that differ from the frame before are looked at; they are told apart by a 64-bit
    hash, and then compared.

    Args:
        rows: (n, pieces in a frame, bytes in a piece) uint8.

    Returns:
        The distinct pieces, (k, bytes in a piece), and which one is where, (n, pieces in a frame)
        uint16.
    """
    changed = np.ones(rows.shape[:2], bool)  # (n, pieces in a frame)
    words = rows.view(np.uint16)
    np.any(words[1:] != words[:-1], axis=2, out=changed[1:])
    candidates = rows[changed]

    padded = np.zeros((len(candidates), len(_weights()) * 8), np.uint8)
    padded[:, :PIECE_BYTES] = candidates
    mixed = padded.view(np.uint64) * _weights()
    hashes = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    pieces = candidates[first]
    if not np.array_equal(pieces[which], candidates):
        # Two different pieces share a hash, which hardly ever happens: compare them all.
        pieces, which = np.unique(candidates, axis=0, return_inverse=True)

    index = np.zeros(changed.shape, np.uint16)
    index[changed] = which.reshape(-1)
    # An unchanged piece takes the index of the last frame in which it changed.
    last_change = np.maximum.accumulate(np.where(changed, np.arange(len(rows))[:, None], 0), axis=0)
    return pieces, np.take_along_axis(index, last_change, axis=0)
