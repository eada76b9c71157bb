"""Golden digests: what a task's recorded episodes must hash to on every machine.

They are stored with the task, in `src/lastmile/tasks/NAME/golden.json`. Run

    python tests/golden.py [TASK ...]

to write the digests of the named tasks, or of all, after a change of a task that is intended.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import lastmile.tasks
from lastmile.config import canonical
from lastmile.screen import LAYOUTS, THEMES, Look, draw, draw_small_series
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Episode, Source, record
from lastmile.tasks import get_task, task_names

EPISODES = (("typical", 0), ("hasty", 1))
"""Style of the annotator and number of the episode."""


PIXELS = "pixels"
"""The digest that also depends on the versions of the libraries that draw."""


def golden_path(task: str) -> Path:
    """Return where the digests of a task are stored."""
    return Path(lastmile.tasks.__file__).parent / task / "golden.json"


def compute_digests(task: str) -> dict[str, object]:
    """Record the episodes of a task and digest them.

    Returns:
        The task's version and, for each episode, the digest of its world, the number of steps, the
        digest of all clicks and labels, the digest of the pixels, and the score.
    """
    digests: dict[str, object] = {"version": get_task(task).version}

    for style, number in EPISODES:
        source = Source(task, "test", 7, style=style)
        episode = record(source, number, again=True)
        # Rounded, so that the last bits of floating-point sums may differ between processors.
        rows = canonical(
            {
                column: [
                    value if isinstance(value, (str, bool)) else round(float(value), 4)
                    for value in values
                ]
                for column, values in episode.columns.items()
            }
        )
        digests[f"{style} {number}"] = {
            "world": episode.world,
            "steps": len(episode.columns["x"]),
            "rows": hashlib.blake2b(rows.encode(), digest_size=12).hexdigest(),
            PIXELS: _digest_pixels(source, number, episode),
            "score": round(float(episode.score.score), 6),
            "success": bool(episode.score.success),
        }

    return digests


def _digest_pixels(source: Source, number: int, episode: Episode) -> str:
    """Digest what a policy sees of an episode, and its last screen as a person sees it in any look."""
    session = Session(get_task(source.task), source.world(number), source.look(number))
    screens = [session.screen()]
    clicks = zip(episode.columns["x"], episode.columns["y"], strict=True)
    screens += [session.screen() for _ in session.play(clicks)]
    seen = hashlib.blake2b(draw_small_series(screens).tobytes(), digest_size=12)
    for layout, theme in itertools.product(LAYOUTS, THEMES):
        look = Look(layout, theme)
        seen.update(draw(session.interface.screen(session.state, look)).tobytes())
    return seen.hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the digests of the tasks named on the command line, or of all tasks."""
    parser = argparse.ArgumentParser(description="Write the golden digests of tasks.")
    parser.add_argument("task", nargs="*", help="names of tasks; all if none is named")
    names = parser.parse_args(arguments).task or task_names()

    for name in names:
        text = json.dumps(compute_digests(name), indent=1) + "\n"
        golden_path(name).write_text(text, encoding="utf-8")
        print(golden_path(name))


if __name__ == "__main__":
    main()
