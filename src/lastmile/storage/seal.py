"""Seals: a file carries a digest of itself, so that a changed byte is noticed before it is parsed.

A format that can hold a line of text (Parquet and safetensors have metadata) is written with
`BLANK` in it. `close` then replaces the zeros of the blank by the digest of the file, and `check`
compares. Neither parses anything of the format. A seal guards against damage, not against forgery.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lastmile.errors import LastmileError

BLANK = "lastmile-seal-" + 32 * "0"
"""The seal of a file that is not yet sealed."""
_SEAL = re.compile(rb"lastmile-seal-([0-9a-f]{32})")


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
        data = bytearray(handle.read(-1 if end is None else end))
        place = _find(data)
        digest = _digest(data, place)
        handle.seek(place.start(1))
        handle.write(digest)


def check(data: bytes | bytearray) -> None:
    """Check that these bytes are the ones that were sealed.

    Raises:
        SealError: There is no seal, or the bytes do not fit it.
    """
    place = _find(data)
    if _digest(data, place) != place[1]:
        raise SealError("the digest does not match its seal: bytes were changed")


def _find(data: bytes | bytearray) -> re.Match[bytes]:
    seals = [*_SEAL.finditer(data)]
    if len(seals) != 1:
        raise SealError(f"{'no' if not seals else 'more than one'} seal")
    return seals[0]


def _digest(data: bytes | bytearray, place: re.Match[bytes]) -> bytes:
    """Return the digest of the bytes with zeros in the place of the seal."""
    start, end = place.span(1)
    # Through memory views, so that large files are not copied.
    digest = hashlib.blake2b(memoryview(data)[:start], digest_size=16)
    digest.update(b"0" * (end - start))
    digest.update(memoryview(data)[end:])
    return digest.hexdigest().encode()
