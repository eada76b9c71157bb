"""The studies, one folder each: what a study needs, its table, its claims (`study.py`), its figure and its caption (`figure.py`).

A folder with a `study.py` that defines `needs`, `table` and `claims` is a study; it registers by existing.

- `needs(settings) -> list[Need]`: the measurements that it reads. Without any the study is left out, unless it says `DRAWS = True`:
  then it draws the worlds itself.
- `READS`: the settings that its table depends on, beyond the seed, the worlds and the tasks, by dotted name.
- `table(inputs, settings) -> DataFrame` and `claims(inputs, settings) -> list[Claim]`; `inputs` holds, by name of the measurement,
  all rows that the study needs, with the columns run, task and seed.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from lastmile.config import Settings
from lastmile.errors import UnknownNameError
from lastmile.studies.runs import Need, Run, with_starts

STORY = ("emergence", "mistakes", "scaling", "transfer", "probes", "probe_generalization")
"""The order in which findings are told; studies that are not named come after these."""


@lru_cache(maxsize=1)
def study_names() -> tuple[str, ...]:
    """Names of all studies, in the order of the story."""
    names = {path.parent.name for path in Path(__file__).parent.glob("*/study.py")}
    return tuple(
        sorted(names, key=lambda name: (STORY.index(name) if name in STORY else len(STORY), name))
    )


def get_study(name: str) -> ModuleType:
    """Return the study of that name.

    Raises:
        UnknownNameError: There is no such study.
    """
    if name not in study_names():
        raise UnknownNameError("study", name, study_names())
    return importlib.import_module(f"lastmile.studies.{name}.study")


def all_needs(settings: Settings) -> dict[str, list[Need]]:
    """What each study needs, by its name. Studies for which the settings leave nothing to do are left out."""
    found = {name: get_study(name).needs(settings) for name in study_names()}
    return {
        name: needs
        for name, needs in found.items()
        if needs or getattr(get_study(name), "DRAWS", False)
    }


def all_runs(settings: Settings) -> dict[str, Run]:
    """Every training run that some study needs, by its name, each once, after the one that it starts from."""
    return with_starts([need.run for needs in all_needs(settings).values() for need in needs])
