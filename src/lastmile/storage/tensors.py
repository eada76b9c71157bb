"""Write safetensors files that are larger than memory.

The library needs all bytes of a file at once, three times over. The format is a line of JSON and
then the bytes of the tensors, one after the other, so they can be made one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

KINDS = {
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "int32": "I32",
    "float16": "F16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Names of types in the format, in the order in which safetensors writes tensors."""
_BLOCK = 1 << 20


class Part(NamedTuple):
    """A tensor of a file.

    Attributes:
        dtype: Its type, as numpy names it.
        shape: Its shape.
        content: Makes its bytes, in pieces. Called when they are written.
    """

    dtype: str
    shape: tuple[int, ...]
    content: Callable[[], Iterable[bytes]]


def array_part(array: np.ndarray) -> Part:
    """Return an array as a part."""
    return Part(array.dtype.name, array.shape, lambda: [array.tobytes()])


def file_part(file: IO[bytes]) -> Part:
    """Return the bytes of a file that can be sought as a part, (n,) uint8."""

    def blocks() -> Iterable[bytes]:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block

    return Part("uint8", (file.seek(0, 2),), blocks)


def write_streamed(path: Path, parts: Mapping[str, Part], metadata: Mapping[str, str]) -> None:
    """Write the file that `safetensors.numpy.save_file` writes, byte for byte.

    The parts come in the order of their types, as in `KINDS`, and then of their names.

    Args:
        path: The file, written in place.
        parts: The tensors by name.
        metadata: Kept in the file.
    """
    ranks = {dtype: rank for rank, dtype in enumerate(KINDS)}
    order = sorted(parts, key=lambda name: (ranks[parts[name].dtype], name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    start = 0
    for name in order:
        dtype, shape, _ = parts[name]
        end = start + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": KINDS[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end

    line = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    line += b" " * (-len(line) % 8)
    with open(path, "wb") as handle:
        handle.write(len(line).to_bytes(8, "little") + line)
        for name in order:
            for piece in parts[name].content():
                handle.write(piece)
