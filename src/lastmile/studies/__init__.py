"""The studies, one folder each.

A folder with a `study.py` is a study; it registers by existing. Its `study.py` defines

- `READS`: dotted names of all settings that its table and claims depend on, beyond `seed`, `worlds`
  and `tasks`. The study gets nothing else.
- `COLUMNS`: the columns of its table, with their types (`lastmile.storage.csv_tables`).
- `needs(settings) -> list[Need]`: the measurements it reads. A study without needs is left out,
  unless it sets `DRAWS = True`: then it draws the worlds itself.
- `LEFT_OUT`, if the settings can leave it out: what is missing then, and how to give it.
- `KEEPS`, if it reads only some rows of a measurement: by its name, the values that count, by
  column. Other rows are not kept in memory.
- `TASK_TABLES`, if it reads measurements of tasks that belong to no training run: their names. Its
  `inputs` hold the rows of all tasks, with the columns task and seed.
- `HYPOTHESES`: what its claims test (`lastmile.studies.claims.Hypothesis`).
- `table(inputs, settings) -> DataFrame` and `claims(inputs, settings) -> list[Claim]`. `inputs`
  maps the name of a measurement to all rows that the study needs, with the columns run, task and
  seed. Neither raises where a measurement has no rows.

Its `figure.py` draws the table (see `lastmile.studies.render`).
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from lastmile.config import Settings
from lastmile.errors import UnknownNameError
from lastmile.studies.runs import Need, Run, with_starts

STORY = (
    "emergence",
    "mistakes",
    "baselines",
    "scaling",
    "transfer",
    "probes",
    "probe_generalization",
    "confidence",
)
"""The order in which findings are told; studies not named here come after these."""


@lru_cache(maxsize=1)
def study_names() -> tuple[str, ...]:
    """Return the names of all studies, in the order of the story."""
    names = {path.parent.name for path in Path(__file__).parent.glob("*/study.py")}
    return tuple(
        sorted(names, key=lambda name: (STORY.index(name) if name in STORY else len(STORY), name))
    )


def get_study(name: str) -> ModuleType:
    """Return the `study` module of a study.

    Raises:
        UnknownNameError: No study has this name.
    """
    if name not in study_names():
        raise UnknownNameError("study", name, study_names())
    return importlib.import_module(f"lastmile.studies.{name}.study")


def all_needs(settings: Settings) -> dict[str, list[Need]]:
    """Return what each study needs, by study. Studies with nothing to do are left out."""
    needs = {name: get_study(name).needs(settings) for name in study_names()}
    return {
        name: needs_of_study
        for name, needs_of_study in needs.items()
        if needs_of_study or getattr(get_study(name), "DRAWS", False)
    }


def left_out(settings: Settings) -> dict[str, str]:
    """Return the studies that have nothing to do with these settings, each with the reason."""
    needed = all_needs(settings)
    return {
        name: getattr(get_study(name), "LEFT_OUT", "its settings leave nothing to do")
        for name in study_names()
        if name not in needed
    }


def task_tables(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the measurements that some studies read of each task, without a training run."""
    tables = [table for name in names for table in getattr(get_study(name), "TASK_TABLES", ())]
    return tuple(dict.fromkeys(tables))


def all_runs(settings: Settings) -> dict[str, Run]:
    """Return every training run that a study needs, by name, each after the run it starts from."""
    return with_starts([need.run for needs in all_needs(settings).values() for need in needs])
