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

from lastmile.annotator import STYLES, Annotator, click, make_annotator
from lastmile.env import Job
from lastmile.evaluation.rollout import rollout
from lastmile.policy.policy import Policy
from lastmile.screen import draw_small
from lastmile.tasks import get_task
from lastmile.tasks.task import MISTAKES, State, generator
from lastmile.trajectory import Replay, Trajectories, verdict

UNNOTICING = replace(STYLES["typical"], name="unnoticing", mistakes=1e-9)
"""Makes no mistakes of its own; together with nothing being visible to it (`_unnoticing`) it notices none either."""


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


def injections(trajectories: Trajectories, count: int, delays: Sequence[int], window: int) -> list[Injection]:
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


def _candidates(trajectories: Trajectories, number: int, delays: Sequence[int], window: int) -> Iterator[list[Injection]]:
    """One injected mistake of each kind, at a random fitting step of an episode, with every delay."""
    source, replay = trajectories.source, trajectories.open(number)
    rng = generator(source.key(number), source.task, "recovery")
    task, world, interface = replay.task, replay.world, replay.interface
    annotator = make_annotator(task, world, interface, "oracle", rng)
    steps = list(replay.states())
    states = [state for state, _, _ in steps]
    for kind in MISTAKES:
        for at in rng.permutation(len(steps)).tolist():
            state, _, after = steps[at]
            if task.mistakes(world, state) or task.mistakes(world, after) or after.done:
                continue
            intent = annotator.blunder(state, kind)
            if intent is None:
                continue
            wrong_click = click(intent, interface.screen(state, replay.look), rng)
            wrong = interface.apply(state, interface.hit(state, *wrong_click, replay.look))
            if verdict(task, world, state, wrong) in ("", "right") or not task.mistakes(world, wrong):
                continue
            index, edit = len(wrong.edits) - 1, wrong.edits[-1]
            past = states[max(0, at - window + 1) : at + 1], replay.clicks[max(0, at - window + 1) : at].tolist()
            cases = []
            for delay in delays:
                lines = [
                    _line(replay, [*past[0], new], [*past[1], first], delay, window, rng)
                    for new, first in ((wrong, wrong_click), (after, replay.clicks[at].tolist()))
                ]
                if None not in lines and stands(task, world, lines[0].state, index, edit) and not task.mistakes(world, lines[1].state):
                    cases.append(Injection(number, at, kind, delay, world, replay.look, index, edit, *lines))
            if cases:
                yield cases
                break


def _line(replay: Replay, states: list[State], clicks: list, delay: int, window: int, rng: np.random.Generator) -> Line | None:
    """Go on for `delay` steps from the last of `states` without noticing anything. None if the work is finished on the way."""
    states, clicks = list(states), list(clicks)
    annotator = _unnoticing(replay, rng)
    for _ in range(delay):
        state = states[-1]
        x, y = click(annotator.next(state), replay.interface.screen(state, replay.look), rng)
        clicks.append((x, y))
        states.append(replay.interface.apply(state, replay.interface.hit(state, x, y, replay.look)))
        if states[-1].done:
            return None
    seen = states[:-1][-window:]
    screens = np.stack([draw_small(replay.interface.screen(state, replay.look)) for state in seen])
    return Line(screens, np.array(clicks[-window:]), states[-1])


def _unnoticing(replay: Replay, rng: np.random.Generator) -> Annotator:
    """An annotator that makes no mistakes and notices none."""
    annotator = replay.task.annotator(replay.task, replay.world, replay.interface, UNNOTICING, rng)
    annotator.visible = _never
    return annotator


def _never(state: State, mistake: object) -> bool:
    return False


def measure(
    policy: Policy, trajectories: Trajectories, count: int, steps: int, temperature: float, seed: int, progress=None, delays: Sequence[int] = DELAYS
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
            made.append(Job(2 * i + j, task, case.world, case.look, steps, line.state))
            history[2 * i + j] = line.screens, line.clicks
    rows = []
    for job in rollout(policy, made, temperature, seed, history=history, progress=progress):
        case, control = cases[job.number // 2], job.number % 2
        standing = [not control and stands(get_task(task), case.world, state, case.index, case.edit) for state in job.states]
        rows.append(
            {
                "episode": case.episode, "step": case.step, "kind": case.kind, "delay": case.delay, "condition": "control" if control else "mistake",
                "repaired": not control and not standing[-1], "undone": any(hit.kind == "undo" for hit in job.hits),
                "after": -1 if control or all(standing) else standing.index(False),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["episode", "step", "kind", "delay", "condition", "repaired", "undone", "after"])


def stands(task, world, state: State, index: int, edit: object) -> bool:
    """Whether that annotation is still there and still a mistake."""
    if len(state.edits) <= index or state.edits[index] != edit:
        return False
    return any(mistake.index == index for mistake in task.mistakes(world, state))
