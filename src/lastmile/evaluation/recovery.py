"""Recovery: inject a mistake into a replayed episode and let the policy take over.

The mistakes are of the annotator's own kinds. The policy takes over at once, or after some further
right steps of an annotator who has not noticed. Every injected mistake has a control: the same
episode with the right step instead. A mistake is repaired if the injected annotation is no longer a
mistake at the end; the control tells how often the policy undoes where nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.policy.policy import Policy
from lastmile.screen import Look, draw_small
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Replay, Trajectories
from lastmile.tasks import get_task
from lastmile.tasks.annotator import STYLES, click, make_annotator, notice_nothing
from lastmile.tasks.task import MISTAKES, RIGHT, State, Task, generator

UNNOTICING = replace(STYLES["typical"], name="unnoticing", mistakes=0.0, noticing=notice_nothing)
"""Style of an annotator who makes no mistakes and notices none."""
DELAYS = (0, 3, 8)
"""Right steps of the annotator between an injected mistake and the policy."""


class Prefix(NamedTuple):
    """The end of an episode up to where the policy takes over.

    Attributes:
        screens: The last screens, (n, 126, 168, 3) uint8, n at most the policy's window.
        clicks: The clicks on them, (n, 2), logical px.
        state: The state in which the policy takes over.
    """

    screens: np.ndarray
    clicks: np.ndarray
    state: State


class Injection(NamedTuple):
    """An injected mistake and its control.

    Attributes:
        episode: Number of the replayed episode.
        step: The step that is replaced by the mistake.
        kind: Kind of the mistake.
        delay: Right steps between the mistake and the policy.
        world: World of the episode.
        look: Layout and theme of the interface.
        edit_index: Position of the wrong annotation in `state.edits`.
        edit: The wrong annotation.
        mistaken: The prefix with the mistake.
        control: The prefix with the right step instead.
    """

    episode: int
    step: int
    kind: str
    delay: int
    world: Any
    look: Look
    edit_index: int
    edit: Any
    mistaken: Prefix
    control: Prefix


def injections(
    trajectories: Trajectories, count: int, delays: Sequence[int], window: int
) -> list[Injection]:
    """Choose injected mistakes, spread evenly over kinds and over the first episodes.

    An episode gets at most one mistake of each kind, with every delay. A mistake is injected only
    where the state holds none and the annotator's own step is right. Delays at which the annotator
    would have finished, or would have removed the mistake by its work, are left out.

    Args:
        trajectories: The recording to replay.
        count: Most injections.
        delays: Right steps between a mistake and the policy.
        window: Screens that the policy remembers.
    """
    by_kind: dict[str, list[list[Injection]]] = {kind: [] for kind in MISTAKES}
    for number in range(len(trajectories.episodes)):
        for delayed in _candidates(trajectories, number, delays, window):
            by_kind[delayed[0].kind].append(delayed)
        if all(len(mistakes) * len(delays) >= count for mistakes in by_kind.values()):
            break

    # Kinds take turns, so that a common kind does not crowd out a rare one.
    chosen: list[Injection] = []
    while len(chosen) < count and any(by_kind.values()):
        for kind in MISTAKES:
            if by_kind[kind] and len(chosen) < count:
                chosen += by_kind[kind].pop(0)[: count - len(chosen)]
    return chosen


def _candidates(
    trajectories: Trajectories, number: int, delays: Sequence[int], window: int
) -> Iterator[list[Injection]]:
    """Yield one mistake of each kind, at a random suitable step of an episode, with every delay."""
    source = trajectories.source
    replay = trajectories.open(number)
    rng = generator(source.key(number), source.task, "recovery")
    task, world = replay.task, replay.world
    annotator = make_annotator(task, world, replay.interface, "oracle", rng)
    steps = list(replay.replay())
    states = [step.before for step in steps]

    for kind in MISTAKES:
        for at in rng.permutation(len(steps)).tolist():
            before, after = steps[at].before, steps[at].after
            if task.mistakes(world, before) or task.mistakes(world, after) or after.done:
                continue
            intent = annotator.blunder(before, kind)
            if intent is None:
                continue
            session = Session(task, world, replay.look, before)
            step = session.click(*click(intent, session.screen(), rng))
            if session.verdict(step) in ("", RIGHT) or not session.mistakes:
                continue  # what was meant as a mistake turned out right, or annotated nothing

            index = len(step.after.edits) - 1
            edit = step.after.edits[-1]
            past_states = states[max(0, at - window + 1) : at + 1]
            past_clicks = replay.clicks[max(0, at - window + 1) : at].tolist()
            delayed = []
            for delay in delays:
                mistaken, control = (
                    _prefix(replay, [*past_states, new], [*past_clicks, last], delay, window, rng)
                    for new, last in ((step.after, step.click), (after, replay.clicks[at].tolist()))
                )
                if (
                    mistaken is not None
                    and control is not None
                    and is_mistake(task, world, mistaken.state, index, edit)
                    and not task.mistakes(world, control.state)
                ):
                    look = replay.look
                    delayed.append(
                        Injection(
                            number, at, kind, delay, world, look, index, edit, mistaken, control
                        )
                    )
            if delayed:
                yield delayed
                break


def _prefix(
    replay: Replay,
    states: list[State],
    clicks: list[Any],
    delay: int,
    window: int,
    rng: np.random.Generator,
) -> Prefix | None:
    """Work on for `delay` steps from the last of `states` without noticing anything.

    Returns:
        What is before the policy then, or None if the work is finished on the way.
    """
    session = Session(replay.task, replay.world, replay.look, states[-1])
    annotator = make_annotator(replay.task, replay.world, replay.interface, UNNOTICING, rng)
    for _ in range(delay):
        session.click(*click(annotator.next(session.state), session.screen(), rng))
        if session.done:
            return None

    clicks = [*clicks, *(step.click for step in session.steps)]
    clicked_states = [*states[:-1], *session.states[:-1]][-window:]
    screens = [session.interface.screen(state, replay.look) for state in clicked_states]
    return Prefix(
        np.stack([draw_small(screen) for screen in screens]),
        np.array(clicks[-window:]),
        session.state,
    )


def measure(
    policy: Policy,
    trajectories: Trajectories,
    count: int,
    steps: int,
    temperature: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
    delays: Sequence[int] = DELAYS,
) -> pd.DataFrame:
    """Measure recovery from injected mistakes.

    Args:
        policy: The policy.
        trajectories: The recording to replay.
        count: Most injected mistakes.
        steps: Steps that the policy gets after each.
        temperature: Temperature of the sampled clicks.
        seed: Seed of the sampled clicks.
        progress: Called with the number of clicks after each round.
        delays: Right steps between a mistake and the policy.

    Returns:
        One row per mistake and one per control, with the columns `episode`, `step`, `kind` (of the
        mistake), `delay`, `condition` ("mistake" or "control"), `repaired`, `undone` (pressed Undo
        at least once) and `after` (steps until repaired, -1 if never).
    """
    task = get_task(trajectories.source.task)
    cases = injections(trajectories, count, delays, policy.settings.window)

    rollouts = []
    history = {}
    for i, case in enumerate(cases):
        for j, prefix in enumerate((case.mistaken, case.control)):
            number = 2 * i + j
            rollouts.append(Rollout(number, task.name, case.world, case.look, steps, prefix.state))
            history[number] = prefix.screens, prefix.clicks

    rows = []
    for rollout in play_rollouts(
        policy, rollouts, temperature, seed, history=history, progress=progress
    ):
        case = cases[rollout.number // 2]
        control = bool(rollout.number % 2)
        remains = [  # after each step, whether the injected mistake is still there
            not control and is_mistake(task, case.world, state, case.edit_index, case.edit)
            for state in rollout.states
        ]
        rows.append(
            {
                "episode": case.episode,
                "step": case.step,
                "kind": case.kind,
                "delay": case.delay,
                "condition": "control" if control else "mistake",
                "repaired": not control and not remains[-1],
                "undone": any(step.hit.kind == "undo" for step in rollout.steps),
                "after": -1 if control or all(remains) else remains.index(False),
            }
        )
    return pd.DataFrame(
        rows,
        columns=["episode", "step", "kind", "delay", "condition", "repaired", "undone", "after"],
    )


def is_mistake(
    task: Task[Any, Any, Any], world: Any, state: State, index: int, edit: object
) -> bool:
    """Return whether annotation `edit` is still at position `index`, and still a mistake."""
    if len(state.edits) <= index or state.edits[index] != edit:
        return False
    return any(mistake.edit == index for mistake in task.mistakes(world, state))
