"""The tables of the studies: written by `study.py`, read by figures, findings and the report."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from lastmile.storage import csv_tables

if TYPE_CHECKING:
    import pandas as pd


def read(study: str, path: str | Path) -> pd.DataFrame:
    """Read the table of a study.

    Args:
        study: Name of the study, whose `COLUMNS` the table must have.
        path: The CSV table.

    Raises:
        CsvError: The table cannot be read, or is not one that this study writes.
    """
    # By name: a figure is drawn again if its table changes, not if the code of its study does.
    module = importlib.import_module(f"lastmile.studies.{study}.study")
    return csv_tables.read(path, module.COLUMNS)
