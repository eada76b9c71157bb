"""The studies: one module each. A study says which measurements of which trainings it needs, makes the table of its figure, and tests its claims.

A module here that defines `needs`, `table` and `claims` is a study; it registers by existing.
needs(settings) -> list of `Need`: without any, the study is left out, unless it says DRAWS = True: then it draws the worlds itself.
SECTIONS: sections of the settings, beyond those that all studies get, that its table depends on.
table(inputs, settings) -> DataFrame and claims(inputs, settings) -> list of `Claim`; inputs: by name of the measurement, all rows that it needs, with the
columns run, task and seed.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from lastmile.config import Settings
from lastmile.studies.runs import Need, Run, with_starts

STORY = ("emergence", "mistakes", "scaling", "transfer", "probes", "probe_transfer")
"""The order in which findings are told; studies that are not named come after these."""


@lru_cache(maxsize=1)
def study_names() -> tuple[str, ...]:
    """Names of all studies, in the order of the story: the files beside this one, but `claims.py` and `runs.py`."""
    names = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "claims", "runs"}
    return tuple(sorted(names, key=lambda name: (STORY.index(name) if name in STORY else len(STORY), name)))


def get_study(name: str) -> ModuleType:
    """A study by name. Raises ValueError naming those that exist."""
    if name not in study_names():
        raise ValueError(f"unknown study '{name}' (known: {', '.join(study_names())})")
    return importlib.import_module(f"lastmile.studies.{name}")


def all_needs(settings: Settings) -> dict[str, list[Need]]:
    """What each study needs, by its name. Studies for which the settings leave nothing to do are left out."""
    found = {name: get_study(name).needs(settings) for name in study_names()}
    return {name: needs for name, needs in found.items() if needs or getattr(get_study(name), "DRAWS", False)}


def all_runs(settings: Settings) -> dict[str, Run]:
    """Every training that some study needs, by its name, each once, after the one that it starts from."""
    return with_starts([need.run for needs in all_needs(settings).values() for need in needs])
