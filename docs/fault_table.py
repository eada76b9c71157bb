"""Write the page about faults, `docs/faults.md`, from the record `docs/faults.jsonl`.

    .venv/bin/python docs/fault_table.py                      # the page, from the record
    .venv/bin/python docs/fault_table.py build/faults.jsonl   # the record first, from these files

Tests write such files (`make test-faults`); see `tests/fault_log.py`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from lastmile.storage import files

DOCS = Path(__file__).parent
RECORD = DOCS / "faults.jsonl"
PAGE = DOCS / "faults.md"
KEYS = ("fault", "target", "outcome")
HEAD = """\
# Faults

The tests inject faults into small studies: kills, loss of power, full disks, damaged and lost files,
interrupted installations. This page is made from the record of such a test run; make your own by
`make test-faults`, with more faults drawn at random by `make test-faults LASTMILE_FAULTS=200`.
*As if undisturbed*: the same command, given again, ended with the files of an undisturbed run, byte
for byte, and `lastmile verify` found nothing.
"""


def read(path: Path) -> list[dict[str, str]]:
    """Return the faults of a record.

    Raises:
        ValueError: A line is none of a record; the message names file and line.
    """
    faults = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fault = json.loads(line)
        if not isinstance(fault, dict) or tuple(fault) != KEYS:
            raise ValueError(f"{path}: line {number}: expected {', '.join(KEYS)}")
        faults.append(fault)
    return faults


def page(faults: list[dict[str, str]]) -> str:
    """Return the page: each kind of fault, in what, how often, and what came of it."""
    counts = Counter(tuple(fault[key] for key in KEYS) for fault in faults)
    lines = [HEAD, f"{len(faults)} faults were injected.\n"]
    lines += ["| fault | in | times | what came of it |", "| --- | --- | ---: | --- |"]
    lines += [
        f"| {kind} | {target} | {counts[kind, target, outcome]} | {outcome} |"
        for kind, target, outcome in sorted(counts)
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("records", nargs="*", type=Path, help="records that replace the kept one")
    records = parser.parse_args().records
    faults = [fault for path in records or [RECORD] for fault in read(path)]
    # In order, so that the record of the same faults is the same file.
    lines = sorted(json.dumps({key: fault[key] for key in KEYS}) + "\n" for fault in faults)
    files.write_text(RECORD, "".join(lines))
    files.write_text(PAGE, page(faults))


if __name__ == "__main__":
    main()
