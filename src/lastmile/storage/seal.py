"""Seals: a file carries a digest of itself, so that a changed byte is noticed before it is parsed.

A format that can hold a line of text (Parquet and safetensors have metadata) is written with
`BLANK` in it. `close` then replaces the zeros of the blank by the digest of the file, and `check`
compares. Neither parses anything of the format. A seal guards against damage, not against forgery.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import IO

from lastmile.errors import LastmileError

BLANK = "lastmile-seal-" + 32 * "0"
"""The seal of a file that is not yet sealed."""
_SEAL = re.compile(rb"lastmile-seal-([0-9a-f]{32})")
_BLOCK = 1 << 20


class SealError(LastmileError):
    """A file whose seal is missing or broken."""


def close(path: str | Path, end: int | None = None) -> None:
    """Seal a new file: replace its blank by the digest.

    Args:
        path: File that holds `BLANK` once.
        end: Number of bytes, from the start, that the seal covers; by default all.

    Raises:
        SealError: The file holds no blank, or several.
    """
    with open(path, "r+b") as handle:
        start, _, digest = _read(handle, end)
        handle.seek(start)
        handle.write(digest)


def check(content: bytes | Path) -> None:
    """Check that these bytes, or those of a file, are the ones that were sealed.

    A file is read piece by piece.

    Raises:
        SealError: There is no seal, or the bytes do not fit it.
        OSError: The file cannot be read.
    """
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as handle:
        _, found, digest = _read(handle)
    if digest != found:
        raise SealError("the digest does not match its seal: bytes were changed")


def _read(handle: IO[bytes], end: int | None = None) -> tuple[int, bytes, bytes]:
    """Find the seal of a file.

    Args:
        handle: The file, at its start.
        end: Number of bytes to read; by default all.

    Returns:
        The place of its digits, the digits, and what they must be: the digest of the bytes with
        zeros in their place.
    """
    digest = hashlib.blake2b(digest_size=16)
    seals: list[tuple[int, bytes]] = []
    done = 0  # bytes that are in the digest
    pending = bytearray()  # bytes that are not, since a seal may go on behind them
    left = -1 if end is None else end
    while block := handle.read(_BLOCK if left < 0 else min(_BLOCK, left)):
        left -= len(block) if left > 0 else 0
        pending += block
        for place in [*_SEAL.finditer(pending)]:
            seals.append((done + place.start(1), place[1]))
            pending[place.start(1) : place.end(1)] = b"0" * len(place[1])
        cut = max(0, len(pending) - len(BLANK) + 1)
        digest.update(memoryview(pending)[:cut])
        done += cut
        pending = pending[cut:]
    digest.update(pending)
    if len(seals) != 1:
        raise SealError(f"{'no' if not seals else 'more than one'} seal")
    return (*seals[0], digest.hexdigest().encode())
