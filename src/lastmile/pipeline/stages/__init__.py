"""The stages of the workflow, one module each; a stage registers by existing.

See `lastmile.pipeline.stage` for what a stage defines.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import cast

from lastmile.errors import UnknownNameError
from lastmile.pipeline.stage import Stage

ORDER = (
    "record",
    "tokenize",
    "train",
    "repair_record",
    "skills",
    "closed_loop",
    "closed_loop_curve",
    "recovery",
    "side_by_side",
    "reference_players",
    "deferral",
    "other_looks",
    "speed",
    "linear_probes",
    "cross_task_probes",
    "example",
    "study",
    "figure",
    "findings",
    "run_table",
    "report",
)
"""The order of the workflow; stages not named here come after these."""


@lru_cache(maxsize=1)
def stage_names() -> tuple[str, ...]:
    """Return the names of all stages, in the order of the workflow."""
    names = {path.stem for path in Path(__file__).parent.glob("[!_]*.py")}
    return tuple(
        sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    )


def get_stage(name: str) -> Stage:
    """Return the stage of that name.

    Raises:
        UnknownNameError: There is no such stage.
    """
    if name not in stage_names():
        raise UnknownNameError("stage", name, stage_names())
    return cast(Stage, importlib.import_module(f"lastmile.pipeline.stages.{name}"))
