"""The columns of `runs.csv`, which the stage `run_table` writes and the report shows."""

from lastmile.storage.csv_tables import (
    FLAG,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    WHOLE,
    WHOLE_OR_NONE,
)

COLUMNS = {
    "run": TEXT,
    "seed": WHOLE,
    "tasks": TEXT,
    "start": FLAG,
    "size": TEXT,
    "encoder": TEXT,
    "context": TEXT,
    "head": TEXT,
    "episodes": WHOLE_OR_NONE,
    "frames": WHOLE,
    "seconds": NUMBER,
    "frames_per_s": NUMBER_OR_NONE,
    "threads": WHOLE,
    "arithmetic": TEXT,
    "device": TEXT,
    "torch": TEXT_OR_NONE,
    "code": TEXT,
}
