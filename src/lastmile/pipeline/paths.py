"""Paths below the results folder of a study.

The rules of the workflow contain the same paths; a test compares both.
"""

from __future__ import annotations

from pathlib import Path


def recording(task: str, variant: str | None = None) -> str:
    """Return the name of a recording: its task, and in what it differs from those of the study."""
    return task if variant is None else f"{task}.{variant}"


def trajectories(results: Path, recording: str, split: str) -> Path:
    """Return the file with the steps of recorded episodes."""
    return results / "trajectories" / recording / f"{split}.parquet"


def episodes(results: Path, recording: str, split: str) -> Path:
    """Return the table of recorded episodes, beside their steps."""
    return results / "trajectories" / recording / f"{split}.episodes.parquet"


def tokens(results: Path, recording: str, split: str) -> Path:
    """Return the file of tokens: recorded episodes as a policy reads them."""
    return results / "tokens" / recording / f"{split}.tokens"


def model(results: Path, run: str, seed: int) -> Path:
    """Return the folder of a trained policy."""
    return results / "models" / run / f"seed{seed}"


def evaluation(results: Path, run: str, task: str, seed: int, table: str) -> Path:
    """Return a table of measurements of a policy on a task."""
    return results / "evaluations" / run / task / f"seed{seed}" / f"{table}.parquet"


def table(results: Path, study: str) -> Path:
    """Return the table that a study's figure is drawn from."""
    return results / "figures" / f"{study}.csv"


def screens(results: Path, study: str) -> Path:
    """Return the picture of screens that a study's figure shows."""
    return results / "figures" / f"{study}_screens.png"


def claims(results: Path, study: str) -> Path:
    """Return the claims of a study with their verdicts."""
    return results / "claims" / f"{study}.json"
