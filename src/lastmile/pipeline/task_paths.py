"""Paths of measurements of tasks, which belong to no training run."""

from __future__ import annotations

from pathlib import Path


def task_table(results: Path, task: str, table: str) -> Path:
    """Return a table of measurements of a task without a policy."""
    return results / "evaluations" / "references" / task / f"{table}.parquet"
