"""Tables as CSV: small, with columns and types that are declared, read as they are declared.

A table of figures is written and read by the columns of its study, so a figure never meets a
column, a type or a gap that its study does not write. The declaration decides whether a table is
read, never what is read.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lastmile.errors import LastmileError
from lastmile.storage import files

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 16_000_000
"""Bytes of the largest table that is read; the largest of our studies has 0.1 MB."""
_SHOWN = 40  # characters of a cell that a message shows


class CsvError(LastmileError):
    """A CSV table that cannot be used; the message names the file, the row and the column."""


class Column(NamedTuple):
    """What the cells of a column hold.

    Attributes:
        kind: str, int, float, or bool (`True` and `False`).
        gaps: Whether cells may be empty, for what was not measured or does not apply.
    """

    kind: type
    gaps: bool = False


TEXT = Column(str)
WHOLE = Column(int)
NUMBER = Column(float)
FLAG = Column(bool)
TEXT_OR_NONE = Column(str, gaps=True)
WHOLE_OR_NONE = Column(int, gaps=True)
NUMBER_OR_NONE = Column(float, gaps=True)

Columns = Mapping[str, Column]

_EXPECTED = {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}
_SHAPES = {
    str: re.compile(r"[^\0]+"),
    int: re.compile(r"-?[0-9]{1,18}"),
    float: re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?(e[+-]?[0-9]{1,3})?"),
    bool: re.compile(r"True|False"),
}


def write(
    table: pd.DataFrame, path: str | Path, columns: Columns, float_format: str | None = None
) -> None:
    """Write a table atomically, after checking that `read` takes it.

    Args:
        table: The table; nan and infinity become empty cells.
        path: File to write.
        columns: The columns that it must have, in this order.
        float_format: How numbers are written, such as `%.6g`; by default all digits.

    Raises:
        CsvError: The table has other columns, or a cell does not fit its column.
    """
    # A ratio over nothing is infinite or nan: in either case it was not measured.
    table = table.replace([math.inf, -math.inf], math.nan)
    text = table.to_csv(index=False, float_format=float_format, lineterminator="\n")
    _parse(text, path, columns)
    files.write_text(path, text)


def read(path: str | Path, columns: Columns) -> pd.DataFrame:
    """Read a table.

    Args:
        path: The file.
        columns: The columns that it must have, in this order.

    Returns:
        The table. Empty cells are nan; a column of numbers is of whole ones if all of them are.

    Raises:
        CsvError: The file is missing, unreadable, too large, or no CSV, has other columns, or a
            cell does not fit its column; one line names the file, the row and the column.
    """
    import pandas as pd

    try:
        if Path(path).exists() and not Path(path).is_file():
            raise CsvError(f"{path}: expected a CSV table, but it is no regular file")
        size = Path(path).stat().st_size
        if size > LARGEST:
            raise CsvError(f"{path}: expected a CSV table of at most {LARGEST} bytes, got {size}")
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise CsvError(f"{path}: not a readable CSV table ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise CsvError(
            f"{path}: not a readable CSV table (byte {error.start} is no UTF-8)"
        ) from None
    cells = _parse(text, path, columns)
    return pd.DataFrame(
        {name: _series(values, columns[name].kind) for name, values in cells.items()}
    )


def _parse(text: str, path: str | Path, columns: Columns) -> dict[str, list[str]]:
    """Return the cells of each column, checked; empty ones are empty texts."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    cells: dict[str, list[str]] = {name: [] for name in columns}
    number = 0
    try:
        header = next(rows, None)
        if header is None:
            raise CsvError(f"{path}: not a readable CSV table (it is empty)")
        if header != list(columns):
            raise CsvError(f"{path}: {_other_columns(header, list(columns))}")
        for number, row in enumerate(rows, 1):
            if len(row) != len(columns):
                raise CsvError(
                    f"{path}: row {number}: expected {len(columns)} cells, got {len(row)}"
                )
            for (name, column), cell in zip(columns.items(), row):
                if not _fits(cell, column):
                    gap = " or nothing" if column.gaps else ""
                    got = repr(cell[:_SHOWN]) if cell else "an empty cell"
                    raise CsvError(
                        f"{path}: row {number}, column '{name}': "
                        f"expected {_EXPECTED[column.kind]}{gap}, got {got}"
                    )
                cells[name].append(cell)
    except csv.Error as error:
        raise CsvError(f"{path}: not a readable CSV table (after row {number}: {error})") from None
    return cells


def _fits(cell: str, column: Column) -> bool:
    if cell == "":
        return column.gaps
    if not _SHAPES[column.kind].fullmatch(cell):
        return False
    return column.kind is not float or math.isfinite(float(cell))


def _other_columns(got: list[str], wanted: list[str]) -> str:
    """Say in what columns differ from those that are wanted."""
    problems = [
        f"{words}: {', '.join(name[:_SHOWN] for name in names[:10])}"
        for words, names in (
            ("missing", [name for name in wanted if name not in got]),
            ("unknown", [name for name in dict.fromkeys(got) if name not in wanted]),
            ("given twice", [name for name in wanted if got.count(name) > 1]),
        )
        if names
    ]
    problem = "; ".join(problems) or "they are in another order"
    return f"expected the columns {', '.join(wanted)} ({problem})"


def _series(cells: list[str], kind: type) -> pd.Series:
    """Return checked cells as a column."""
    import pandas as pd

    if kind is bool:
        return pd.Series([cell == "True" for cell in cells], dtype=bool)
    if kind is str:
        return pd.Series([cell or None for cell in cells])
    if cells and all(_SHAPES[int].fullmatch(cell) for cell in cells):
        return pd.Series([int(cell) for cell in cells], dtype="int64")
    return pd.Series([float(cell or "nan") for cell in cells], dtype="float64")
