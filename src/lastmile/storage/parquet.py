"""Tables as Parquet files: sealed by a digest, and read within bounds.

A file is read into memory whole, and its seal is checked before any of it is parsed. The sizes that
it states (rows, bytes once uncompressed) are checked before anything of that size is allocated.
Texts are read as dictionaries, and expanded only if the whole table stays within bounds: a text of
a megabyte, kept once, can stand in every row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lastmile.errors import LastmileError
from lastmile.storage import seal

MAX_INFLATION = 200
"""Largest ratio of uncompressed to compressed bytes that is believed; our tables stay below."""
MAX_ROWS_PER_BYTE = 20
"""Most rows per byte of a file that are believed."""
LARGEST_TABLE = 256_000_000
"""Bytes of a table in memory that any file may hold; above it, `MAX_INFLATION` times its size."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
"""Bytes in memory of a value, by its type in a file, at most."""


class TableError(LastmileError):
    """A table that cannot be used; the message names the file and what was expected."""


def write(
    table: pa.Table | pd.DataFrame, path: str | Path, meta: dict[str, Any] | None = None
) -> None:
    """Write a sealed table.

    Args:
        table: The table.
        path: File to write, in place; wrap in `files.writing` to write atomically.
        meta: Kept as JSON in the metadata of the file, under the key `lastmile`.
    """
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    with writing(path, table.schema, meta) as add:
        add(table)


@contextmanager
def writing(
    path: str | Path, schema: pa.Schema, meta: dict[str, Any] | None = None
) -> Iterator[Callable[[pa.Table], None]]:
    """Write a sealed table piece by piece, so that no more than a piece is in memory.

    Args:
        path: As in `write`.
        schema: Columns of the table.
        meta: As in `write`.

    Yields:
        A function that adds rows; each call begins a new row group.
    """
    sealed = json.dumps({**(meta or {}), "seal": seal.BLANK}, sort_keys=True)
    whole = schema.with_metadata({**(schema.metadata or {}), b"lastmile": sealed.encode()})
    with pq.ParquetWriter(path, whole, compression="zstd", write_page_checksum=True) as writer:
        yield writer.write_table
    seal.close(path)


def read(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a table.

    Args:
        path: File written by `write`.
        schema: Columns that the table must have, with their types; further ones are kept.

    Returns:
        The table, with the metadata given to `write` and no other.

    Raises:
        FileNotFoundError: There is no such file.
        TableError: The file is truncated, damaged, foreign, or has other columns.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise TableError(f"{path}: is no regular file")
    data = Path(path).read_bytes()
    if len(data) < 12 or data[:4] != b"PAR1" or data[-4:] != b"PAR1":
        raise TableError(
            f"{path}: not a readable Parquet file (its first or last bytes are not those of one)"
        )
    try:
        seal.check(data)
    except seal.SealError as error:
        raise TableError(
            f"{path}: not a table of lastmile as it was written ({error}); make it again"
        ) from None

    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        _check_bounds(file.metadata, len(data))
        columns = file.schema_arrow
        if schema is not None and (problem := _misfit(columns, schema)):
            raise TableError(f"{path}: {problem}")
        table = _read_bounded(data, columns)
        table.validate(full=True)
    except TableError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise TableError(f"{path}: not a readable Parquet file ({first_line})") from None

    # Other metadata, such as hints for pandas, could change how the table is read: drop it.
    metadata = table.schema.metadata or {}
    return table.replace_schema_metadata({k: v for k, v in metadata.items() if k == b"lastmile"})


def frame(path: str | Path, schema: pa.Schema | None = None) -> pd.DataFrame:
    """Read a table as a DataFrame; arguments and errors as in `read`."""
    try:
        # Each column is freed as soon as it is converted.
        return read(path, schema).to_pandas(self_destruct=True)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{path}: cannot be made a DataFrame ({error})") from None


def _check_bounds(meta: pq.FileMetaData, size: int) -> None:
    """Refuse a file of `size` bytes that states to hold much more than that.

    Raises:
        LastmileError: A stated size is impossible or negative.
    """
    groups = [meta.row_group(number) for number in range(min(meta.num_row_groups, size))]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]

    most = MAX_ROWS_PER_BYTE * size
    if not 0 <= meta.num_rows <= most or sum(group.num_rows for group in groups) != meta.num_rows:
        raise LastmileError(f"states {meta.num_rows} rows in {size} bytes")
    if any(not 0 <= column.num_values <= most for column in columns):
        raise LastmileError("states more values than rows")

    for column in range(meta.num_columns):
        leaf = meta.schema.column(column)
        if leaf.max_repetition_level or leaf.physical_type not in (*_WIDTHS, "BYTE_ARRAY"):
            raise LastmileError(f"column '{leaf.path}' is nested or of an unknown type")
    wide = [column.num_values * _WIDTHS.get(column.physical_type, 4) for column in columns]
    if sum(wide) > _most_bytes(size):
        raise LastmileError(f"{size} bytes hold a table of {sum(wide)}, which is not believed")

    inflated = [column.total_uncompressed_size for column in columns]
    if any(count < 0 for count in inflated) or sum(inflated) > MAX_INFLATION * size:
        raise LastmileError(f"states {sum(inflated)} bytes of data in {size}")


def _most_bytes(size: int) -> int:
    """Return how large a table from a file of `size` bytes may be in memory."""
    return max(LARGEST_TABLE, MAX_INFLATION * size)


def _read_bounded(data: bytes, columns: pa.Schema) -> pa.Table:
    """Read a table of these columns, and expand its texts if it then stays within bounds.

    Raises:
        LastmileError: It would be larger.
    """
    texts = [field.name for field in columns if not _is_fixed(field.type)]
    file = pq.ParquetFile(
        pa.BufferReader(data), page_checksum_verification=True, read_dictionary=texts
    )
    table = file.read()
    table.validate(full=True)

    size = table.nbytes
    for name in texts:
        for chunk in table.column(name).chunks:
            if isinstance(chunk, pa.DictionaryArray):
                lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
                size += pc.sum(lengths).as_py() or 0
    if size > _most_bytes(len(data)):
        raise LastmileError(f"{len(data)} bytes hold a table of {size}, which is not believed")
    return table.cast(columns)


def _is_fixed(kind: pa.DataType) -> bool:
    """Whether values of a type take the same number of bytes each."""
    return not (
        pa.types.is_dictionary(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _misfit(columns: pa.Schema, wanted: pa.Schema) -> str:
    """Describe columns that are missing or of another type; empty if all fit."""
    if missing := [name for name in wanted.names if name not in columns.names]:
        return f"columns missing: {', '.join(missing)}"
    for field in wanted:
        if columns.field(field.name).type != field.type:
            return (
                f"column '{field.name}' is {columns.field(field.name).type}, expected {field.type}"
            )
    return ""
