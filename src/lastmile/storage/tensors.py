"""Write safetensors files whose last tensor is larger than memory.

The library needs all bytes of a file at once, three times over. The format is a line of JSON and
then the bytes of the tensors, so the last of them can be copied from another file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

_KINDS = {"int64": "I64", "float32": "F32", "int16": "I16", "int8": "I8", "uint8": "U8"}
"""Names of types in the format, in the order in which safetensors writes tensors."""
_BLOCK = 1 << 20


def write_streamed(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    last: str,
    content: IO[bytes],
    metadata: Mapping[str, str],
) -> None:
    """Write the file that `safetensors.numpy.save_file` writes, byte for byte.

    Args:
        path: The file, written in place.
        tensors: All tensors but the last one, by name.
        last: Name of the last tensor, (n,) uint8; no other one may be of this type.
        content: The bytes of the last tensor, in a file that can be sought.
        metadata: Kept in the file.

    Raises:
        ValueError: Another tensor is of the type of the last one.
    """
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in tensors}
    order = sorted(arrays, key=lambda name: (_rank(arrays[name]), name))
    if any(array.dtype == np.uint8 for array in arrays.values()):
        raise ValueError(f"'{last}' would not be the last tensor")
    size = content.seek(0, 2)
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    start = 0
    for name in order:
        array = arrays[name]
        end = start + array.nbytes
        header[name] = _entry(_KINDS[array.dtype.name], array.shape, start, end)
        start = end
    header[last] = _entry("U8", (size,), start, start + size)

    line = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    line += b" " * (-len(line) % 8)
    content.seek(0)
    with open(path, "wb") as handle:
        handle.write(len(line).to_bytes(8, "little") + line)
        for name in order:
            handle.write(arrays[name].tobytes())
        shutil.copyfileobj(content, handle, _BLOCK)


def _rank(array: np.ndarray) -> int:
    return list(_KINDS).index(array.dtype.name)


def _entry(kind: str, shape: tuple[int, ...], start: int, end: int) -> dict[str, object]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
