"""Trajectories made of people's logs: the tables of virtual annotators, with times and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lastmile.simulation import trajectory
from lastmile.simulation.people import (
    POLICY,
    SPLIT,
    STYLE,
    Log,
    PeopleError,
    interventions,
)
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import Recorded
from lastmile.tasks.real import SYNTHETIC
from lastmile.tasks.task import State

STEPS = pa.schema(
    [
        *trajectory.STEPS,
        ("shown_ms", pa.float64()),
        ("down_ms", pa.float64()),
        ("up_ms", pa.float64()),
        ("received_ms", pa.float64()),
        ("via", pa.dictionary(pa.int32(), pa.string())),
        ("intervention", pa.bool_()),
    ]
)
"""Columns of the steps of people. Times are in ms since 1970, unedited.

- `shown_ms`, `down_ms`, `up_ms`: when the screen was shown, and the pointer or key went down and up
  again, by the clock of the browser; -1 for clicks of a policy.
- `received_ms`: when the click arrived, by the clock of the server; when a policy made it.
- `via`: `pointer`; `key`, a shortcut that presses the middle of a button; or `policy`, for one that
  worked beside the person.
- `intervention`: whether it is a click of the person after the first one of the policy; see
  `lastmile.simulation.people.interventions`.
"""

EPISODES = pa.schema(
    [
        *trajectory.EPISODES,
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("practice", pa.bool_()),
        ("device", pa.dictionary(pa.int32(), pa.string())),
        ("ended", pa.dictionary(pa.int32(), pa.string())),
        ("policy", pa.dictionary(pa.int32(), pa.string())),
        ("weights", pa.dictionary(pa.int32(), pa.string())),
        ("temperature", pa.float32()),
    ]
)
"""Columns of the episodes of people.

- `source`: the pseudonym of the person.
- `practice`: whether the world was for practice, where hints are given.
- `device`: size and pixel ratio of the browser's window, and the kind of pointer.
- `ended`: `done`, `abandoned` (given up by the person) or `cut off` (everything else).
- `policy`, `weights`, `temperature`: see `lastmile.simulation.people.Helper`; empty, empty and 0
  where no policy clicked, or it has none.
"""


def ended(log: Log, state: State) -> str:
    """Return how an episode ended whose last state is given."""
    return "done" if state.done else log.ending if log.ending == "abandoned" else "cut off"


def steps_of(session: Session[Any, Any], episode: int) -> dict[str, list[Any]]:
    """Return the columns `trajectory.STEPS` of what somebody did who does not tell intents.

    `kind`, `verdict`, `position` and `open_mistakes` come from state and truth, as for virtual
    annotators; what only an annotator knows of itself stays empty.

    Args:
        session: The session, with its steps.
        episode: Number of the episode.
    """
    columns: dict[str, list[Any]] = {name: [] for name in trajectory.STEPS.names}
    for number, step in enumerate(session.steps):
        row = {
            "episode": episode,
            "step": number,
            "x": step.click[0],
            "y": step.click[1],
            "widget": step.hit.widget,
            "kind": step.hit.kind,
            "phase": "",
            "mistake": "",
            "open_mistakes": len(session.task.mistakes(session.world, step.before)),
            "position": session.interface.position(step.before),
            "target_x": -1.0,
            "target_y": -1.0,
            "critical": False,
            "verdict": session.verdict(step),
            "again_x": -1,
            "again_y": -1,
        }
        for name, value in row.items():
            columns[name].append(value)
    return columns


def convert(log: Log) -> Recorded:
    """Replay a log, and return the row of each click and that of the episode.

    Raises:
        PeopleError: There are no clicks, or the world is no longer the one that was worked on.
    """
    opening = log.opening
    if not log.clicks:
        raise PeopleError(f"{log.path}: has no clicks")
    *_, (_, session) = log.replay()  # the same session at each click
    columns = steps_of(session, opening.episode)
    for name in ("shown_ms", "down_ms", "up_ms", "received_ms", "via"):
        values = (getattr(click, name) for click in log.clicks)
        columns[name] = [-1.0 if value is None else value for value in values]
    columns["intervention"] = interventions(log.clicks)
    clicked = any(click.via == POLICY for click in log.clicks)
    helper = log.helper if clicked else None
    return Recorded(
        columns,
        {
            "episode": opening.episode,
            "steps": len(log.clicks),
            "score": session.score.score,
            "success": session.score.success,
            "layout": opening.layout,
            "theme": opening.theme,
            "world": opening.world,
            "source": opening.person,
            "practice": opening.practice,
            "device": opening.device,
            "ended": ended(log, session.state),
            "policy": helper.policy if helper else "",
            "weights": helper.weights if helper else "",
            "temperature": (helper and helper.temperature) or 0.0,
        },
    )


def export(path: str | Path, chosen: Sequence[Log]) -> int:
    """Write logs of one task, difficulty and seed as trajectories.

    They can be read, tokenized and trained on like those of virtual annotators, and have the
    further columns of `STEPS` and `EPISODES`. Logs without clicks are left out.

    Args:
        path: File of the steps; the episodes go to `trajectory.episodes_path(path)`.
        chosen: The logs.

    Returns:
        The number of episodes.

    Raises:
        PeopleError: None has a click, they do not belong together, or one cannot be replayed.
    """
    chosen = [log for log in chosen if log.clicks]
    kinds = {
        (log.opening.task, log.opening.difficulty, log.opening.seed, log.opening.worlds)
        for log in chosen
    }
    if len(kinds) != 1:
        found = "; ".join(
            f"{task}, {level}, seed {seed}" + (f", worlds {worlds}" if worlds != SYNTHETIC else "")
            for task, level, seed, worlds in sorted(kinds)
        )
        raise PeopleError(
            f"{path}: expected recordings of one task, difficulty and seed, got {found or 'none'}"
        )
    (task, difficulty, seed, worlds), *_ = kinds
    layouts, themes = (
        tuple(sorted({getattr(log.opening, part) for log in chosen}))
        for part in ("layout", "theme")
    )
    source = Source(task, SPLIT, seed, difficulty, STYLE, layouts, themes, worlds)
    recorded = map(convert, chosen)
    schemas = (STEPS, EPISODES)
    trajectory.write_recorded(path, source, recorded, schemas=schemas)
    return len(chosen)
