"""People, virtual annotators and a policy on the same worlds, click by click.

For each episode of a person, every style of the virtual annotator and the policy do the same world
once, with random numbers of their own. All are described by the same code, from states and truth
alone: what only an annotator knows of itself is not used.

The distance of a placement that is judged right is that to the target of the oracle's placement in
the same state. Beyond `FARTHEST` the oracle is at something else, and the distance is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import hypot
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.evaluation.exclusions import ATTEMPTS, Recording
from lastmile.policy.policy import Policy
from lastmile.screen import draw_small
from lastmile.simulation.annotating import work_on
from lastmile.simulation.people import working_ms
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import Session
from lastmile.tasks.annotator import make_annotator
from lastmile.tasks.task import RIGHT, generator

PEOPLE = "people"
POLICY = "policy"
SHOWN = ("careful", "typical", "hasty")
"""Styles of the virtual annotator that do the worlds of people."""
FARTHEST = 6.0
"""Logical px up to which the target of the oracle is that of a right placement: the 5 px of the
judges, and what rounding to a pixel may add."""
NEAR = 5.0
"""Logical px within which a predicted placement is right."""

CLICKS = (
    "who",
    "person",
    "episode",
    "repeat",
    "step",
    "kind",
    "again",
    "off_x",
    "off_y",
    "jump",
    "verdict",
    "distance",
    "made",
    "repaired",
    "delay",
    "predicted",
    "same_kind",
    "same_widget",
    "near",
)
"""Columns of clicks.

- `who`: `people`, a style, or `policy`; `person`: the pseudonym, of people alone.
- `episode`: number of the world among those of people; `repeat`: how many people did it before.
- `again`: whether it is on the widget of the click before; `jump`: logical px from there.
- `off_x`, `off_y`: where on a button it is, from -0.5 to 0.5; nan elsewhere, and for keys.
- `verdict`: what `Task.judge` says of the annotation it makes; `distance`: logical px, see above.
- `made`, `repaired`: mistakes that come with it and go with it; `delay`: steps that those that go
  were there, in all.
- `predicted`: whether the policy was asked for this click, seeing all that came before it;
  `same_kind`, `same_widget`: whether its most likely click is that; `near`: whether it also places
  within `NEAR` of a placement.
"""
EPISODES = (
    "who",
    "person",
    "episode",
    "repeat",
    "rule",
    "log",
    "steps",
    "finished",
    "success",
    "seconds",
)
"""Columns of episodes: `rule` is the one of `lastmile.evaluation.exclusions` by which it is left
out, `log` its file, `seconds` the working time (nan but for people)."""


class Played(NamedTuple):
    """An episode that somebody has worked on.

    Attributes:
        who: Who: `people`, a style, or `policy`.
        person: Pseudonym; empty but for people.
        episode: Number of the world.
        repeat: How many people did the world before.
        session: The episode.
        keyed: Whether each click was a key; empty if none was.
    """

    who: str
    person: str
    episode: int
    repeat: int
    session: Session[Any, Any]
    keyed: tuple[bool, ...] = ()


def measure(
    policy: Policy,
    recordings: list[Recording],
    style: str,
    temperature: float,
    max_factor: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let everybody do the worlds of people, and describe what each did.

    Args:
        policy: The policy.
        recordings: Recordings of one task.
        style: Style of the annotator who made the data of the policy.
        temperature: Temperature of the policy's clicks in closed loop.
        max_factor: Its episodes are cut off after this many times the median length of the
            annotator's.
        seed: Seed of its clicks.
        progress: Called with the number of clicks of each episode that was described.

    Returns:
        The clicks (`CLICKS`) of the episodes that count, and all episodes (`EPISODES`).
    """
    clicks: list[dict[str, Any]] = []
    episodes = [_left_out(recording) for recording in recordings if recording.rule]
    counted = _counted(recordings)
    virtual = [
        Played(name, "", one.episode, one.repeat, _annotate(one, name))
        for name in dict.fromkeys((*SHOWN, style))
        for one in counted
    ]
    lengths = [len(one.session.steps) for one in virtual if one.who == style]
    played: list[Played] = []
    if counted:
        limit = int(max_factor * np.median(lengths))
        rollouts = [
            Rollout(number, one.session.task.name, one.session.world, one.session.look, limit)
            for number, one in enumerate(counted)
        ]
        done = play_rollouts(policy, rollouts, temperature, seed)
        played = [
            Played(POLICY, "", one.episode, one.repeat, rollout)
            for one, rollout in zip(counted, done)
        ]

    seconds = iter([working_ms(r.log) / 1000 for r in recordings if not r.rule and r.log])
    names = iter([_name(r.path) for r in recordings if not r.rule])
    for one in (*counted, *virtual, *played):
        rows = describe(one)
        if one.who in (PEOPLE, style):
            for row, same in zip(rows, predict(policy, one.session)):
                row.update(same)
        clicks += rows
        episodes.append(
            {
                "who": one.who,
                "person": one.person,
                "episode": one.episode,
                "repeat": one.repeat,
                "rule": "",
                "log": next(names) if one.who == PEOPLE else "",
                "steps": len(rows),
                "finished": one.session.done,
                "success": one.session.score.success,
                "seconds": next(seconds) if one.who == PEOPLE else np.nan,
            }
        )
        if progress:
            progress(len(rows))
    return pd.DataFrame(clicks, columns=list(CLICKS)), pd.DataFrame(
        episodes, columns=list(EPISODES)
    )


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _counted(recordings: Iterable[Recording]) -> list[Played]:
    """Return the episodes of people that count, with numbers for their worlds."""
    counted = [one for one in recordings if not one.rule]
    worlds = sorted({_world(one) for one in counted})
    times: dict[tuple[Any, ...], int] = {}
    played = []
    for one in counted:
        assert one.opening is not None and one.log is not None and one.session is not None
        repeat = times.get(_world(one), 0)
        times[_world(one)] = repeat + 1
        keyed = tuple(line.via == "key" for line in one.log.clicks)
        number = worlds.index(_world(one))
        played.append(Played(PEOPLE, one.opening.person, number, repeat, one.session, keyed))
    return played


def _world(recording: Recording) -> tuple[Any, ...]:
    """Return what tells worlds and looks apart."""
    opening = recording.opening
    assert opening is not None
    return opening.seed, opening.episode, opening.layout, opening.theme


def _left_out(recording: Recording) -> dict[str, Any]:
    """Return the row of an episode that does not count; those that are no attempt have no steps."""
    attempt = recording.rule in ATTEMPTS
    return {
        "who": PEOPLE,
        "person": recording.opening.person if recording.opening else "",
        "episode": -1,
        "repeat": 0,
        "rule": recording.rule,
        "log": _name(recording.path),
        "steps": len(recording.log.clicks) if recording.log and attempt else 0,
        "finished": False,
        "success": False,
        "seconds": np.nan,
    }


def _annotate(beside: Played, style: str) -> Session[Any, Any]:
    """Let an annotator do the world of a person."""
    like = beside.session
    session = Session(like.task, like.world, like.look)
    rng = generator((beside.episode, beside.repeat), like.task.name, f"beside people {style}")
    work_on(session, style, rng)
    return session


def describe(played: Played) -> list[dict[str, Any]]:
    """Return a row for each click of an episode, with the columns `CLICKS`."""
    session = played.session
    task, world, interface = session.task, session.world, session.interface
    rng = generator((played.episode, played.repeat), task.name, "targets")
    rows: list[dict[str, Any]] = []
    since: dict[Any, int] = {}  # the step that made each mistake that is there
    last = None
    for number, step in enumerate(session.steps):
        # A new one at each step: whoever it looks at may have explored less, or more.
        oracle = make_annotator(task, world, interface, "oracle", rng)
        screen = interface.screen(step.before, session.look)
        off = (np.nan, np.nan)
        keyed = bool(played.keyed) and played.keyed[number]
        if step.hit.widget not in ("", "canvas") and not keyed:
            rect = screen.widget(step.hit.widget).rect
            off = (
                (step.click[0] - rect.x) / rect.width - 0.5,
                (step.click[1] - rect.y) / rect.height - 0.5,
            )

        distance = np.nan
        verdict = session.verdict(step)
        if step.hit.kind == "place" and verdict == RIGHT:
            intent = oracle.annotate(step.before)
            if intent is not None and intent.target is not None:
                u, v = intent.target
                x, y = step.click
                distance = hypot(x - screen.canvas.x - u, y - screen.canvas.y - v)

        there = {oracle.key(step.after, mistake) for mistake in task.mistakes(world, step.after)}
        gone = [key for key in since if key not in there]
        delay = sum(number - since.pop(key) for key in gone)
        new = [key for key in there if key not in since]
        since.update(dict.fromkeys(new, number))

        rows.append(
            {
                "who": played.who,
                "person": played.person,
                "episode": played.episode,
                "repeat": played.repeat,
                "step": number,
                "kind": step.hit.kind,
                "again": last is not None and last.hit.widget == step.hit.widget,
                "off_x": off[0],
                "off_y": off[1],
                "jump": np.nan
                if last is None
                else hypot(step.click[0] - last.click[0], step.click[1] - last.click[1]),
                "verdict": verdict,
                "distance": distance if distance <= FARTHEST else np.nan,
                "made": len(new),
                "repaired": len(gone),
                "delay": delay,
                "predicted": False,
                "same_kind": False,
                "same_widget": False,
                "near": False,
            }
        )
        last = step
    return rows


def predict(policy: Policy, session: Session[Any, Any]) -> list[dict[str, bool]]:
    """Compare the policy's most likely clicks with those of an episode, teacher-forced.

    Returns:
        The columns `predicted`, `same_kind`, `same_widget` and `near` of each click.
    """
    interface, look = session.interface, session.look
    screens = np.stack([draw_small(interface.screen(s.before, look)) for s in session.steps])
    clicks = np.array([step.click for step in session.steps], np.int64)
    modes, _ = policy.predict_episode(screens, clicks, clicks)
    rows = []
    for step, (x, y) in zip(session.steps, modes.tolist()):
        hit = interface.hit(step.before, x, y, look)
        same_kind = hit.kind == step.hit.kind
        apart = hypot(x - step.click[0], y - step.click[1])
        rows.append(
            {
                "predicted": True,
                "same_kind": same_kind,
                "same_widget": hit.widget == step.hit.widget,
                "near": same_kind and step.hit.kind == "place" and apart <= NEAR,
            }
        )
    return rows
