"""The tasks themselves: the screens along one episode of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.storage.csv_tables import TEXT, TEXT_OR_NONE, WHOLE
from lastmile.studies.claims import Claim, Hypothesis
from lastmile.studies.runs import Need

if TYPE_CHECKING:
    import pandas as pd

    from lastmile.simulation.trajectory import Episode, Source

DRAWS = True
READS: tuple[str, ...] = ()
COLUMNS = {
    "task": TEXT,
    "title": TEXT,
    "column": WHOLE,
    "step": WHOLE,
    "steps": WHOLE,
    "phase": TEXT,
    "kind": TEXT,
    "widget": TEXT_OR_NONE,
    "x": WHOLE,
    "y": WHOLE,
}
HYPOTHESES: tuple[Hypothesis, ...] = ()
SCREENS = 4
"""Screens shown of each episode."""
STORY = ("explore", "annotate", "correct", "verify")
"""Phases that an episode should go through to be shown."""
EPISODES = 20
"""Episodes among which the first one that does is taken."""


def needs(settings: Settings) -> list[Need]:
    """Return nothing: the study records the episodes itself."""
    return []


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return one row per screen shown, with the click that follows it (x, y in pixels)."""
    import pandas as pd

    rows = _rows(settings)
    return pd.DataFrame([{column: row[column] for column in COLUMNS} for row in rows])


def sheet(settings: Settings) -> np.ndarray:
    """Return all screens in one picture, (336 * tasks, 448 * SCREENS, 3) uint8.

    A row for each task, a column for each moment.
    """
    screens = [row["screen"] for row in _rows(settings)]
    return np.vstack([np.hstack(screens[i : i + SCREENS]) for i in range(0, len(screens), SCREENS)])


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Return nothing: the study makes no claims."""
    return []


def moments(phases: list[str], kinds: list[str]) -> list[int]:
    """Return the steps to show, sorted.

    They are the first one, an annotation half way, the last correction (or a late annotation), and
    what the annotator sees while checking.

    Args:
        phases: Phase of the work at each step.
        kinds: Kind of action at each step.
    """
    last = len(phases) - 1
    annotations = [
        i for i, kind in enumerate(kinds) if kind in ("place", "decide") and phases[i] == "annotate"
    ] or list(range(len(kinds)))
    repairs = [i for i, phase in enumerate(phases) if phase == "correct"]
    undos = [i for i in repairs if kinds[i] == "undo"] or repairs
    checks = [
        i
        for i in range(annotations[-1] + 1, last + 1)
        if phases[i - 1] == "verify" and phases[i] in ("verify", "finish")
    ]
    steps = {
        0,
        annotations[len(annotations) // 2],
        undos[-1] if undos else annotations[-1],
        checks[0] if checks else last,
    }

    spare = [i for i in np.linspace(0, last, 4 * SCREENS).astype(int).tolist() if i not in steps]
    while len(steps) < SCREENS and spare:
        steps.add(spare.pop(len(spare) // 2))
    return sorted(steps)


def story(source: Source) -> tuple[int, Episode]:
    """Return the first episode that goes through all phases of `STORY`, or else the first one.

    Returns:
        The number of the episode, and the episode.
    """
    from lastmile.simulation.trajectory import record

    for number in range(EPISODES):
        episode = record(source, number)
        if set(STORY) <= set(episode.columns["phase"]):
            return number, episode
    return 0, record(source, 0)


def _rows(settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of the table, each with its picture in `screen`."""
    from lastmile.screen import Look, draw
    from lastmile.simulation.trajectory import Source
    from lastmile.tasks import get_task

    worlds = settings.worlds
    rows: list[dict[str, Any]] = []
    for name in task_list(settings):
        source = Source(
            name, "test", settings.seed, worlds.difficulty, worlds.style, worlds=worlds.source
        )
        number, episode = story(source)
        columns = episode.columns
        shown = set(moments(columns["phase"], columns["kind"]))

        interface = get_task(name).interface(source.world(number))
        look = Look()
        state = interface.start()
        for step, (x, y) in enumerate(zip(columns["x"], columns["y"])):
            if step in shown:
                rows.append(
                    {
                        "task": name,
                        "title": interface.title,
                        "column": len(rows) % SCREENS,
                        "step": step,
                        "steps": len(columns["x"]),
                        "phase": columns["phase"][step],
                        "kind": columns["kind"][step],
                        "widget": columns["widget"][step],
                        "x": x,
                        "y": y,
                        "screen": draw(interface.screen(state, look)),
                    }
                )
            state = interface.apply(state, interface.hit(state, x, y, look))
        # An episode shorter than the number of screens: repeat its last one.
        while len(rows) % SCREENS:
            rows.append({**rows[-1], "column": len(rows) % SCREENS})
    return rows
