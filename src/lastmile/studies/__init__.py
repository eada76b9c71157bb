"""The studies: one module each. A study says which evaluations it reads, makes the table of its figure, and tests its claims.

A module here that defines `READS`, `table` and `claims` is a study; it registers by existing.
READS: names of the evaluations it reads. table(inputs, settings) -> DataFrame. claims(inputs, settings) -> list of `Claim`.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType


@lru_cache(maxsize=1)
def study_names() -> tuple[str, ...]:
    """Names of all studies: the files beside this one, but `claims.py`."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "claims")))


def get_study(name: str) -> ModuleType:
    """A study by name. Raises ValueError naming those that exist."""
    if name not in study_names():
        raise ValueError(f"unknown study '{name}' (known: {', '.join(study_names())})")
    return importlib.import_module(f"lastmile.studies.{name}")
