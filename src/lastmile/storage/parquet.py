"""Tables as Parquet files: sealed by a digest, and read within bounds.

A file is read into memory whole and its seal checked before any of it is parsed. What it states of itself (rows, bytes once uncompressed) is
checked before anything of that size is made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lastmile.errors import LastmileError
from lastmile.storage import seal

INFLATED = 200
"""A file may state that it inflates to this many times its bytes: more than any table of ours."""
DENSE = 20
"""Rows for each byte of a file, at most."""


class TableError(LastmileError):
    """A table that cannot be used; the message names the file and what was expected."""


def write(
    table: pa.Table | pd.DataFrame, path: str | Path, meta: dict[str, Any] | None = None
) -> None:
    """Write a table, sealed. meta: kept as JSON in the file's metadata, under `lastmile`."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    kept = {
        **(table.schema.metadata or {}),
        b"lastmile": json.dumps({**(meta or {}), "seal": seal.BLANK}, sort_keys=True).encode(),
    }
    pq.write_table(
        table.replace_schema_metadata(kept), path, compression="zstd", write_page_checksum=True
    )
    seal.close(path)


def read(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """A table; with a schema, one that has these columns, of these types.

    Columns that the schema does not name are kept. Raises FileNotFoundError for a missing file, TableError naming the file when it is truncated, damaged, foreign, or of other columns.
    """
    data = Path(path).read_bytes()
    if len(data) < 12 or data[:4] != b"PAR1" or data[-4:] != b"PAR1":
        raise TableError(f"{path}: not a readable Parquet file (it does not begin and end as one)")
    try:
        seal.check(data)
    except seal.SealError as error:
        raise TableError(f"{path}: not a table of lastmile as it was written ({error})") from None
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        _bounded(file.metadata, len(data))
        if schema is not None and (problem := _misfit(file.schema_arrow, schema)):
            raise TableError(f"{path}: {problem}")
        table = file.read()
        table.validate(full=True)
    except TableError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise TableError(
            f"{path}: not a readable Parquet file ({(str(error).splitlines() or [type(error).__name__])[0]})"
        ) from None
    # What else lies in the metadata (hints for pandas among it) is not believed.
    return table.replace_schema_metadata(
        {k: v for k, v in (table.schema.metadata or {}).items() if k == b"lastmile"}
    )


def frame(path: str | Path, schema: pa.Schema | None = None) -> pd.DataFrame:
    """The same as a DataFrame."""
    try:
        return read(path, schema).to_pandas()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{path}: cannot be made a DataFrame ({error})") from None


def _bounded(meta: pq.FileMetaData, size: int) -> None:
    """Raises ValueError for a file that states to be much more than its bytes can hold."""
    groups = [meta.row_group(number) for number in range(min(meta.num_row_groups, size))]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    if (
        not 0 <= meta.num_rows <= DENSE * size
        or sum(group.num_rows for group in groups) != meta.num_rows
    ):
        raise LastmileError(f"states {meta.num_rows} rows in {size} bytes")
    if any(not 0 <= column.num_values <= DENSE * size for column in columns):
        raise LastmileError("states more values than rows")
    inflated = sum(column.total_uncompressed_size for column in columns)
    if (
        not all(column.total_uncompressed_size >= 0 for column in columns)
        or inflated > INFLATED * size
    ):
        raise LastmileError(f"states {inflated} bytes of data in {size}")


def _misfit(found: pa.Schema, wanted: pa.Schema) -> str:
    """Columns that are missing, or of other types, in words; empty if there are none."""
    if missing := [name for name in wanted.names if name not in found.names]:
        return f"columns missing: {', '.join(missing)}"
    for field in wanted:
        if found.field(field.name).type != field.type:
            return f"column '{field.name}' is {found.field(field.name).type}, expected {field.type}"
    return ""
