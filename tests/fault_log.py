"""The record of faults: what tests injected, into what, and what came of it.

Tests write it, one JSON object a line, to the file that LASTMILE_FAULT_LOG names, if any;
`docs/fault_table.py` makes the page about faults from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

HELD = "as if undisturbed"
"""The same command ended with the results of an undisturbed run, byte for byte."""
FAILED = "did not heal"


@contextmanager
def fault(kind: str, targets: str | list[str], outcome: str = HELD) -> Iterator[None]:
    """Record faults that the block injects, and whether what it asserts of them holds.

    Args:
        kind: What is injected, such as "a bit flipped".
        targets: Into what; a fault is recorded for each.
        outcome: What comes of it if nothing in the block fails.
    """
    try:
        yield
    except BaseException:
        _write(kind, targets, FAILED)
        raise
    _write(kind, targets, outcome)


def _write(kind: str, targets: str | list[str], outcome: str) -> None:
    if path := os.environ.get("LASTMILE_FAULT_LOG"):
        with open(path, "a", encoding="utf-8") as log:
            for target in [targets] if isinstance(targets, str) else targets:
                line = {"fault": kind, "target": target, "outcome": outcome}
                log.write(json.dumps(line) + "\n")


def class_of(name: str) -> str:
    """Return what kind of file a name below a study's folder of results, or `runs/`, is of."""
    path = PurePath(name)
    if path.name == "manifest.json" or path.name.endswith(".manifest.json"):
        return "manifest"
    if path.parts[0] == "runs":
        return "work in progress"
    classes = {
        "trajectories": "recording",
        "tokens": "tokens",
        "models": "policy",
        "evaluations": "measurement",
        "claims": "claims",
        "figures": "table of a figure" if path.suffix == ".csv" else "figure",
    }
    return classes.get(path.parts[0], "report and findings")
