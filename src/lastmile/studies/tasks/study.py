"""The tasks themselves: the screens along one episode of each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.screen import Look, draw
from lastmile.simulation.trajectory import Episode, Source, record
from lastmile.studies.claims import Claim
from lastmile.studies.runs import Need
from lastmile.tasks import get_task

DRAWS = True
SCREENS = 4
"""Screens shown of each episode."""
STORY = ("explore", "annotate", "correct", "verify")
"""Phases that an episode should go through to be shown: the first one that does is taken, of EPISODES."""
EPISODES = 20


def needs(settings: Settings) -> list[Need]:
    return []


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task, title, column, step, steps, phase, kind, widget, x, y (the click that follows)."""
    return pd.DataFrame(
        [{k: v for k, v in row.items() if k != "screen"} for row in _rows(settings)]
    )


def sheet(settings: Settings) -> np.ndarray:
    """The screens in one picture: a row for each task, a column for each moment, (336 * tasks, 448 * SCREENS, 3) uint8."""
    rows = _rows(settings)
    screens = [row["screen"] for row in rows]
    return np.vstack([np.hstack(screens[i : i + SCREENS]) for i in range(0, len(screens), SCREENS)])


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    return []


def moments(phases: list[str], kinds: list[str]) -> list[int]:
    """Steps to show: the first, an annotation half way, the last correction (or a late annotation), and what is seen in checking; sorted."""
    last = len(phases) - 1
    acts = [
        i for i, kind in enumerate(kinds) if kind in ("place", "decide") and phases[i] == "annotate"
    ] or list(range(len(kinds)))
    repairs = [i for i, phase in enumerate(phases) if phase == "correct"]
    undone = [i for i in repairs if kinds[i] == "undo"] or repairs
    seen = [
        i
        for i in range(acts[-1] + 1, last + 1)
        if phases[i - 1] == "verify" and phases[i] in ("verify", "finish")
    ]
    wanted = {
        0,
        acts[len(acts) // 2],
        undone[-1] if undone else acts[-1],
        seen[0] if seen else last,
    }
    spare = [i for i in np.linspace(0, last, 4 * SCREENS).astype(int).tolist() if i not in wanted]
    while len(wanted) < SCREENS and spare:
        wanted.add(spare.pop(len(spare) // 2))
    return sorted(wanted)


def story(source: Source) -> tuple[int, Episode]:
    """The first episode that goes through all phases of STORY, or else the first one, with its number."""
    for number in range(EPISODES):
        episode = record(source, number)
        if set(STORY) <= set(episode.columns["phase"]):
            return number, episode
    return 0, record(source, 0)


def _rows(settings: Settings) -> list[dict]:
    rows = []
    for name in task_list(settings):
        source = Source(
            name, "test", settings.seed, settings.worlds.difficulty, settings.worlds.style
        )
        number, episode = story(source)
        task, world = get_task(name), source.world(number)
        interface, look = task.interface(world), Look()
        columns = episode.columns
        chosen, state = set(moments(columns["phase"], columns["kind"])), interface.start()
        for step, (x, y) in enumerate(zip(columns["x"], columns["y"])):
            if step in chosen:
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
        while len(rows) % SCREENS:  # an episode shorter than the number of screens
            rows.append({**rows[-1], "column": len(rows) % SCREENS})
    return rows
