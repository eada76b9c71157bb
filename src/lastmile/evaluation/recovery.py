"""Recovery: a mistake of the annotator's own kinds is put into a state that was reached by replay, and the policy goes on from there.

For every injected mistake there is a control: the same state, with the right step of the annotator in its place. Repaired: the injected
annotation no longer stands as a mistake at the end. The control tells how often the policy undoes where nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from lastmile.annotator import click, make_annotator
from lastmile.env import Job
from lastmile.evaluation.rollout import rollout
from lastmile.policy.policy import Policy
from lastmile.screen import draw_small
from lastmile.tasks import get_task
from lastmile.tasks.task import MISTAKES, generator
from lastmile.trajectory import Trajectories, verdict


class Injection(NamedTuple):
    """A state with a mistake in it and its control. screens: (n, 126, 168, 3) seen before; clicks: (n, 2) up to and including the last one."""

    episode: int
    step: int
    kind: str
    world: object
    look: object
    screens: np.ndarray
    wrong_clicks: np.ndarray
    wrong: object
    right_clicks: np.ndarray
    right: object


def injections(trajectories: Trajectories, count: int, window: int) -> list[Injection]:
    """Up to `count` injected mistakes, kinds in turn, spread over the episodes; at most one of each kind an episode.

    Only states are taken in which no mistake stands and the annotator's own next step is a right one.
    """
    found: dict[str, list[Injection]] = {kind: [] for kind in MISTAKES}
    for number in range(len(trajectories.episodes)):
        for one in _candidates(trajectories, number, window):
            found[one.kind].append(one)
        if all(len(items) >= count for items in found.values()):
            break
    chosen: list[Injection] = []
    while len(chosen) < count and any(found.values()):
        for kind in MISTAKES:
            if found[kind] and len(chosen) < count:
                chosen.append(found[kind].pop(0))
    return chosen


def _candidates(trajectories: Trajectories, number: int, window: int) -> Iterator[Injection]:
    """One injection of each kind, at a random fitting step of an episode."""
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
            x, y = click(intent, interface.screen(state, replay.look), rng)
            wrong = interface.apply(state, interface.hit(state, x, y, replay.look))
            if verdict(task, world, state, wrong) in ("", "right") or not task.mistakes(world, wrong):
                continue
            first = max(0, at - window + 1)
            screens = np.stack([draw_small(interface.screen(s, replay.look)) for s in states[first : at + 1]])
            before = replay.clicks[first:at]
            yield Injection(
                number, at, kind, world, replay.look, screens,
                np.concatenate([before, [(x, y)]]), wrong, replay.clicks[first : at + 1], after,
            )  # fmt: skip
            break


def measure(policy: Policy, trajectories: Trajectories, count: int, steps: int, temperature: float, seed: int, progress=None) -> pd.DataFrame:
    """Let the policy go on for `steps` steps after each injected mistake and each control.

    Returns one row for each with columns episode, step, kind (of the mistake), condition (mistake or control), repaired, undone (pressed Undo at
    least once), delay (steps until repaired, -1 if never).
    """
    task = trajectories.source.task
    cases = injections(trajectories, count, policy.settings.window)
    made, history = [], {}
    for i, case in enumerate(cases):
        for j, (state, clicks) in enumerate(((case.wrong, case.wrong_clicks), (case.right, case.right_clicks))):
            made.append(Job(2 * i + j, task, case.world, case.look, steps, state))
            history[2 * i + j] = case.screens, clicks
    rows = []
    for job in rollout(policy, made, temperature, seed, history=history, progress=progress):
        case, control = cases[job.number // 2], job.number % 2
        delay = -1 if control else next((k for k, s in enumerate(job.states) if k and not _stands(trajectories, case, s)), -1)
        rows.append(
            {
                "episode": case.episode, "step": case.step, "kind": case.kind, "condition": "control" if control else "mistake",
                "repaired": bool(not control and not _stands(trajectories, case, job.states[-1])),
                "undone": any(hit.kind == "undo" for hit in job.hits), "delay": delay,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["episode", "step", "kind", "condition", "repaired", "undone", "delay"])


def _stands(trajectories: Trajectories, case: Injection, state) -> bool:
    """Whether the injected annotation still stands as a mistake."""
    index = len(case.wrong.edits) - 1
    if len(state.edits) <= index or state.edits[index] != case.wrong.edits[index]:
        return False
    return any(m.index == index for m in get_task(trajectories.source.task).mistakes(case.world, state))
