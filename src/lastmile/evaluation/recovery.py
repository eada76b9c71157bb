"""Recovery: a mistake of the annotator's own kinds is put into a state that was reached by replay, and the policy goes on from there.

It takes over at once, or after some further right steps of an annotator who has not noticed. For every injected mistake there is a control: the same
with the right step in its place. Repaired: the injected annotation no longer stands as a mistake at the end. The control tells how often the policy
undoes where nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from lastmile.evaluation.closed_loop import roll_out
from lastmile.policy.policy import Policy
from lastmile.screen import draw_small
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Replay, Trajectories
from lastmile.tasks import get_task
from lastmile.tasks.annotator import STYLES, click, make_annotator, notice_nothing
from lastmile.tasks.task import MISTAKES, RIGHT, State, generator

UNNOTICING = replace(STYLES["typical"], name="unnoticing", mistakes=0.0, noticing=notice_nothing)
"""Makes no mistakes of its own and notices none."""


DELAYS = (0, 3, 8)
"""Right steps of the annotator between an injected mistake and the policy."""


class Line(NamedTuple):
    """What was seen and done before the policy takes over. screens: (n, 126, 168, 3); clicks: (n, 2); state: the one that it finds."""

    screens: np.ndarray
    clicks: np.ndarray
    state: State


class Injection(NamedTuple):
    """A state with a mistake in it, and its control. index, edit: the mistaken annotation. delay: right steps after it."""

    episode: int
    step: int
    kind: str
    delay: int
    world: object
    look: object
    index: int
    edit: object
    wrong: Line
    right: Line


def injections(
    trajectories: Trajectories, count: int, delays: Sequence[int], window: int
) -> list[Injection]:
    """Up to `count` injected mistakes, kinds in turn, spread over the episodes; at most one of each kind an episode, with every delay.

    Only states are taken in which no mistake stands and the annotator's own next step is a right one. A delay at which the annotator would have
    finished, or would have removed the mistake by its work, is passed over.
    """
    found: dict[str, list[list[Injection]]] = {kind: [] for kind in MISTAKES}
    for number in range(len(trajectories.episodes)):
        for cases in _candidates(trajectories, number, delays, window):
            found[cases[0].kind].append(cases)
        if all(len(items) * len(delays) >= count for items in found.values()):
            break
    chosen: list[Injection] = []
    while len(chosen) < count and any(found.values()):
        for kind in MISTAKES:
            if found[kind] and len(chosen) < count:
                chosen += found[kind].pop(0)[: count - len(chosen)]
    return chosen


def _candidates(
    trajectories: Trajectories, number: int, delays: Sequence[int], window: int
) -> Iterator[list[Injection]]:
    """One injected mistake of each kind, at a random fitting step of an episode, with every delay."""
    source, replay = trajectories.source, trajectories.open(number)
    rng = generator(source.key(number), source.task, "recovery")
    task, world = replay.task, replay.world
    annotator = make_annotator(task, world, replay.interface, "oracle", rng)
    steps = list(replay.replay())
    states = [step.before for step in steps]
    for kind in MISTAKES:
        for at in rng.permutation(len(steps)).tolist():
            state, after = steps[at].before, steps[at].after
            if task.mistakes(world, state) or task.mistakes(world, after) or after.done:
                continue
            intent = annotator.blunder(state, kind)
            if intent is None:
                continue
            session = Session(task, world, replay.look, state)
            step = session.click(*click(intent, session.screen(), rng))
            wrong_click, wrong = step.click, step.after
            if session.verdict(step) in ("", RIGHT) or not session.mistakes:
                continue
            index, edit = len(wrong.edits) - 1, wrong.edits[-1]
            past = (
                states[max(0, at - window + 1) : at + 1],
                replay.clicks[max(0, at - window + 1) : at].tolist(),
            )
            cases = []
            for delay in delays:
                lines = [
                    _line(replay, [*past[0], new], [*past[1], first], delay, window, rng)
                    for new, first in ((wrong, wrong_click), (after, replay.clicks[at].tolist()))
                ]
                if (
                    None not in lines
                    and stands(task, world, lines[0].state, index, edit)
                    and not task.mistakes(world, lines[1].state)
                ):
                    cases.append(
                        Injection(number, at, kind, delay, world, replay.look, index, edit, *lines)
                    )
            if cases:
                yield cases
                break


def _line(
    replay: Replay,
    states: list[State],
    clicks: list,
    delay: int,
    window: int,
    rng: np.random.Generator,
) -> Line | None:
    """Go on for `delay` steps from the last of `states` without noticing anything. None if the work is finished on the way."""
    session = Session(replay.task, replay.world, replay.look, states[-1])
    annotator = make_annotator(replay.task, replay.world, replay.interface, UNNOTICING, rng)
    for _ in range(delay):
        session.click(*click(annotator.next(session.state), session.screen(), rng))
        if session.done:
            return None
    clicks = [*clicks, *(step.click for step in session.steps)]
    seen = [*states[:-1], *session.states[:-1]][-window:]
    screens = np.stack([draw_small(session.interface.screen(state, replay.look)) for state in seen])
    return Line(screens, np.array(clicks[-window:]), session.state)


def measure(
    policy: Policy,
    trajectories: Trajectories,
    count: int,
    steps: int,
    temperature: float,
    seed: int,
    progress=None,
    delays: Sequence[int] = DELAYS,
) -> pd.DataFrame:
    """Let the policy go on for `steps` steps after each injected mistake and each control.

    Returns one row for each with columns episode, step, kind (of the mistake), delay (right steps between it and the policy), condition (mistake or
    control), repaired, undone (pressed Undo at least once), after (steps until repaired, -1 if never).
    """
    task = trajectories.source.task
    cases = injections(trajectories, count, delays, policy.settings.window)
    made, history = [], {}
    for i, case in enumerate(cases):
        for j, line in enumerate((case.wrong, case.right)):
            made.append(Rollout(2 * i + j, task, case.world, case.look, steps, line.state))
            history[2 * i + j] = line.screens, line.clicks
    rows = []
    for rollout in roll_out(policy, made, temperature, seed, history=history, progress=progress):
        case, control = cases[rollout.number // 2], rollout.number % 2
        hits = [step.hit for step in rollout.steps]
        standing = [
            not control and stands(get_task(task), case.world, state, case.index, case.edit)
            for state in rollout.states
        ]
        rows.append(
            {
                "episode": case.episode,
                "step": case.step,
                "kind": case.kind,
                "delay": case.delay,
                "condition": "control" if control else "mistake",
                "repaired": not control and not standing[-1],
                "undone": any(hit.kind == "undo" for hit in hits),
                "after": -1 if control or all(standing) else standing.index(False),
            }
        )
    return pd.DataFrame(
        rows,
        columns=["episode", "step", "kind", "delay", "condition", "repaired", "undone", "after"],
    )


def stands(task, world, state: State, index: int, edit: object) -> bool:
    """Whether that annotation is still there and still a mistake."""
    if len(state.edits) <= index or state.edits[index] != edit:
        return False
    return any(mistake.edit == index for mistake in task.mistakes(world, state))
