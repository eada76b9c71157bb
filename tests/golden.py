"""Digests of recorded episodes of every task, which must be the same on every machine. After a change that is meant: `python tests/golden.py`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lastmile.config import canonical
from lastmile.simulation.trajectory import Source, record
from lastmile.tasks import get_task, task_names

FILE = Path(__file__).with_name("golden.json")
EPISODES = (("typical", 0), ("hasty", 1))


def of_task(name: str) -> dict:
    """Version of a task; of each episode: digest of its world, of all that was clicked and labelled, and the score."""
    found = {"version": get_task(name).version}
    for style, number in EPISODES:
        one = record(Source(name, "test", 7, style=style), number, again=True)
        rows = canonical(
            {
                column: [
                    value if isinstance(value, (str, bool)) else round(float(value), 4)
                    for value in values
                ]
                for column, values in one.columns.items()
            }
        )
        found[f"{style} {number}"] = {
            "world": one.world,
            "steps": len(one.columns["x"]),
            "rows": hashlib.blake2b(rows.encode(), digest_size=12).hexdigest(),
            "score": round(float(one.score.score), 6),
            "success": bool(one.score.success),
        }
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: of_task(name) for name in task_names()}, indent=1) + "\n")
