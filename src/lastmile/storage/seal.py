"""Files that carry a digest of themselves, so that a changed byte is found before anything in them is believed.

A format with room for a line of text (Parquet and safetensors have metadata) is written with `BLANK` in it; `close` then puts the digest of the file
in the blank's place, and `check` compares. Nothing of the format is parsed for that.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lastmile.errors import LastmileError

BLANK = "lastmile-seal-" + 32 * "0"
_SEAL = re.compile(rb"lastmile-seal-([0-9a-f]{32})")


class SealError(LastmileError):
    """A file whose seal is missing or broken."""


def close(path: str | Path, end: int | None = None) -> None:
    """Replace the blank of a new file by the digest of its first `end` bytes, of all of them by default. Raises SealError without a blank."""
    with open(path, "r+b") as handle:
        data = bytearray(handle.read(-1 if end is None else end))
        place = _find(data)
        digest = _digest(data, place)
        handle.seek(place.start(1))
        handle.write(digest)


def check(data: bytes | bytearray) -> None:
    """Raises SealError unless these bytes are those that were sealed."""
    place = _find(data)
    if _digest(data, place) != place[1]:
        raise SealError("its digest is not the one it was sealed with: bytes were changed")


def _find(data: bytes | bytearray) -> re.Match:
    found = [*_SEAL.finditer(data)]
    if len(found) != 1:
        raise SealError(f"{'no' if not found else 'more than one'} seal")
    return found[0]


def _digest(data: bytes | bytearray, place: re.Match) -> bytes:
    """Digest of the bytes with the place of the seal blank."""
    a, b = place.span(1)
    code = hashlib.blake2b(memoryview(data)[:a], digest_size=16)
    code.update(b"0" * (b - a))
    code.update(memoryview(data)[b:])
    return code.hexdigest().encode()
