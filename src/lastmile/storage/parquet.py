"""Tables as Parquet files: sealed by a digest, and read within bounds.

A file is read into memory whole, and its seal is checked before any of it is parsed. The sizes that
it states (rows, bytes once uncompressed) are checked before anything of that size is allocated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lastmile.errors import LastmileError
from lastmile.storage import seal

MAX_INFLATION = 200
"""Largest ratio of uncompressed to compressed bytes that is believed; our tables stay below."""
MAX_ROWS_PER_BYTE = 20
"""Most rows per byte of a file that are believed."""


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
        if schema is not None and (problem := _misfit(file.schema_arrow, schema)):
            raise TableError(f"{path}: {problem}")
        table = file.read()
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

    inflated = [column.total_uncompressed_size for column in columns]
    if any(count < 0 for count in inflated) or sum(inflated) > MAX_INFLATION * size:
        raise LastmileError(f"states {sum(inflated)} bytes of data in {size}")


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
