"""CSV tables are read by the columns that are declared, and by nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lastmile.storage import csv_tables
from lastmile.storage.csv_tables import (
    FLAG,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    WHOLE,
    CsvError,
    read,
    write,
)
from lastmile.studies import get_study, tables

COLUMNS = {
    "task": TEXT,
    "kind": TEXT_OR_NONE,
    "n": WHOLE,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "start": FLAG,
}
HEAD = "task,kind,n,value,low,start\n"
ROW = "a,b,3,0.5,,True\n"


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "task": ["a", 'with "quotes", and a comma', "nan"],
            "kind": ["b", np.nan, "NA"],
            "n": [3, -1, 10**17],
            "value": [0.1, 1e-300, 12345.678],
            "low": [np.nan, 1.0, 2.0],
            "start": [True, False, True],
        }
    )
    write(table, tmp_path / "t.csv", COLUMNS)
    pd.testing.assert_frame_equal(read(tmp_path / "t.csv", COLUMNS), table, check_dtype=False)


def test_numbers_that_are_whole_are_read_as_whole(tmp_path: Path) -> None:
    """As pandas reads them, so that a figure labels 1000 frames and not 1000.0."""
    (tmp_path / "t.csv").write_text(HEAD + "a,,3,1000,,True\n")
    table = read(tmp_path / "t.csv", COLUMNS)
    assert [str(table[name].dtype) for name in ("value", "low")] == ["int64", "float64"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("task,kind\n", r"expected the columns .* \(missing: n, value, low, start\)"),
        (HEAD.replace("low", "lower"), r"\(missing: low; unknown: lower\)"),
        (HEAD.replace("\n", ",n\n"), r"\(given twice: n\)"),
        ("kind,task,n,value,low,start\n", "in another order"),
        (HEAD + ROW + "a,b\n", "row 2: expected 6 cells, got 2"),
        (HEAD + ",b,3,0.5,,True\n", "row 1, column 'task': expected a text, got an empty cell"),
        (HEAD + ROW + "a,b,3.5,1,,True\n", "row 2, column 'n': expected a whole number, got '3.5'"),
        (HEAD + "a,b,3,,,True\n", "column 'value': expected a number, got an empty cell"),
        (HEAD + "a,b,3,nan,,True\n", "column 'value': expected a number, got 'nan'"),
        (HEAD + "a,b,3,1e999,,True\n", "column 'value': expected a number, got '1e999'"),
        (HEAD + "a,b,3,1,x,True\n", "column 'low': expected a number or nothing, got 'x'"),
        (HEAD + "a,b,٣,1,,True\n", "column 'n': expected a whole number"),
        (HEAD + "a,b,3,1,,1\n", "column 'start': expected True or False, got '1'"),
        (HEAD + 'a,"b', "not a readable CSV table"),
        (HEAD + f"a,{'b' * 200_000},3,1,,True\n", "not a readable CSV table .*field larger"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CsvError, match=f"t.csv: .*{words}") as error:
        read(path, COLUMNS)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_ratio_over_nothing_is_a_gap(tmp_path: Path) -> None:
    row = pd.DataFrame([["a", "b", 3, 0.5, np.inf, True]], columns=list(COLUMNS))
    write(row, tmp_path / "t.csv", COLUMNS)
    assert (tmp_path / "t.csv").read_text() == HEAD + ROW


def test_files_that_are_no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(CsvError, match="No such file"):
        read(path, COLUMNS)
    path.write_bytes(HEAD.encode() + b"\xff")
    with pytest.raises(CsvError, match="byte 28 is no UTF-8"):
        read(path, COLUMNS)
    monkeypatch.setattr(csv_tables, "LARGEST", 10)
    with pytest.raises(CsvError, match="at most 10 bytes, got 29"):
        read(path, COLUMNS)
    os.mkfifo(tmp_path / "waits.csv")
    with pytest.raises(CsvError, match="no regular file"):
        read(tmp_path / "waits.csv", COLUMNS)


def test_a_study_cannot_write_what_it_does_not_declare(tmp_path: Path) -> None:
    good = pd.DataFrame([["a", "b", 3, 0.5, None, True]], columns=list(COLUMNS))
    for table in (good.assign(more=1), good.drop(columns="low"), good.assign(value=np.nan)):
        with pytest.raises(CsvError, match=r"t\.csv: "):
            write(table, tmp_path / "t.csv", COLUMNS)
    assert not list(tmp_path.iterdir())


KEPT = (
    "annotators",
    "baselines",
    "confidence",
    "emergence",
    "mistakes",
    "probe_generalization",
    "probes",
    "scaling",
    "tasks",
    "transfer",
)
"""Studies of `desk`."""


@pytest.mark.parametrize("name", KEPT)
def test_the_kept_tables_are_read_as_pandas_reads_them(root: Path, name: str) -> None:
    path = root / "results" / "reference" / "desk" / "figures" / f"{name}.csv"
    table = tables.read(name, path)
    pd.testing.assert_frame_equal(table, pd.read_csv(path), check_dtype=False, rtol=1e-14)
    assert list(table) == list(get_study(name).COLUMNS)
