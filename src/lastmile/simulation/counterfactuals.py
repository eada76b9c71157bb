"""Counterfactuals: the same world and moment, continued with a wrong and with a right annotation.

A fork is a step of a recorded episode at which the annotator made a right annotation, and where a
mistake of one of its own kinds was as possible. Both branches of a fork share everything up to that
step: world, screens, clicks, number of the step and kind of action. They differ in whether the
annotation is right, and in nothing that tells it without looking.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lastmile.screen import draw_small
from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import Replay, Trajectories
from lastmile.tasks.annotator import STYLES, click, make_annotator, notice_nothing
from lastmile.tasks.task import MISTAKES, RIGHT, State, generator

UNNOTICING = replace(STYLES["typical"], name="unnoticing", mistakes=0.0, noticing=notice_nothing)
"""Style of an annotator who makes no mistakes and notices none."""


class Fork(NamedTuple):
    """A step at which an episode can go right or wrong.

    Attributes:
        episode: Number of the episode.
        step: Number of the step.
        kind: Kind of the mistake.
        action: Kind of the click, the same in both branches.
        wrong: The click that makes the mistake, logical px.
        right: The annotator's own click.
        edit_index: Position in `State.edits` of the annotation that either of them makes.
        seen: Whether the next screen shows the mistake.
    """

    episode: int
    step: int
    kind: str
    action: str
    wrong: tuple[int, int]
    right: tuple[int, int]
    edit_index: int
    seen: bool


class Branch(NamedTuple):
    """An episode up to some steps after a fork.

    Attributes:
        screens: The last screens that were clicked, (n, 126, 168, 3) uint8.
        clicks: The clicks on them, (n, 2), logical px.
        state: The state that they lead to.
        screen: The screen of that state, (126, 168, 3) uint8.
    """

    screens: np.ndarray
    clicks: np.ndarray
    state: State
    screen: np.ndarray


def forks(trajectories: Trajectories) -> list[Fork]:
    """Find forks in every episode of a recording: one of each kind, at a random suitable step.

    A step is suitable if there is no mistake before it and none after the annotator's own click,
    and if both clicks are the same kind of action and make an annotation. No step serves twice, so
    that right branches are as many as wrong ones.

    Returns:
        The forks in turns: the first of every episode, then the second of every episode, and so on.
        The kind that an episode begins with changes from one to the next.
    """
    by_episode = [
        list(_forks_of(trajectories, number)) for number in range(len(trajectories.episodes))
    ]
    turns = max(map(len, by_episode), default=0)
    return [
        of_episode[turn]
        for turn in range(turns)
        for of_episode in by_episode
        if turn < len(of_episode)
    ]


def _forks_of(trajectories: Trajectories, number: int) -> Iterator[Fork]:
    source = trajectories.source
    replay = trajectories.open(number)
    task, world = replay.task, replay.world
    rng = generator(source.key(number), source.task, "counterfactuals")
    annotator = make_annotator(task, world, replay.interface, "oracle", rng)
    clean = [
        step
        for step in enumerate(replay.replay())
        if len(step[1].after.edits) == len(step[1].before.edits) + 1
        and not step[1].after.done
        and not task.mistakes(world, step[1].before)
        and not task.mistakes(world, step[1].after)
    ]

    taken: set[int] = set()
    first = number % len(MISTAKES)
    for kind in (*MISTAKES[first:], *MISTAKES[:first]):
        for place in rng.permutation(len(clean)).tolist():
            at, right = clean[place]
            intent = None if at in taken else annotator.blunder(right.before, kind)
            if intent is None:
                continue
            session = Session(task, world, replay.look, right.before)
            wrong = session.click(*click(intent, session.screen(), rng))
            index = len(right.before.edits)
            made = [mistake for mistake in session.mistakes if mistake.edit == index]
            if (
                wrong.hit.kind != right.hit.kind
                or len(wrong.after.edits) != index + 1
                or session.verdict(wrong) == RIGHT
                or not made
            ):
                continue
            taken.add(at)
            seen = annotator.visible(wrong.after, made[0])
            yield Fork(number, at, kind, right.hit.kind, wrong.click, right.click, index, seen)
            break


def branches(
    trajectories: Trajectories, fork: Fork, window: int, delay: int = 0
) -> tuple[Branch, Branch] | None:
    """Return the wrong and the right branch of a fork.

    Args:
        trajectories: The recording.
        fork: One of its forks.
        window: Most screens to return.
        delay: Further right steps, of an annotator who notices nothing.

    Returns:
        The branches. None if the annotator finishes, or removes the annotation by its work, before
        the delay is over.
    """
    replay = trajectories.open(fork.episode)
    before = [step.before for step in replay.replay()][: fork.step + 1]
    clicks = replay.clicks[: fork.step].tolist()
    found = []
    drawn: dict[State, np.ndarray] = {}  # most screens are the same in both branches
    for chosen in (fork.wrong, fork.right):
        source = trajectories.source
        rng = generator(source.key(fork.episode), source.task, f"delay {fork.kind}")
        branch = _branch(replay, before, [*clicks, chosen], window, delay, rng, drawn)
        if branch is None:
            return None
        found.append(branch)

    wrong, right = found
    task, world = replay.task, replay.world
    wrong_at = {mistake.edit for mistake in task.mistakes(world, wrong.state)}
    if fork.edit_index not in wrong_at or len(right.state.edits) <= fork.edit_index:
        return None
    return None if task.mistakes(world, right.state) else (wrong, right)


def _branch(
    replay: Replay,
    states: list[State],
    clicks: list[tuple[int, int]],
    window: int,
    delay: int,
    rng: np.random.Generator,
    drawn: dict[State, np.ndarray],
) -> Branch | None:
    """Make the last of `clicks` in the last of `states`, then work on for `delay` steps."""
    session = Session(replay.task, replay.world, replay.look, states[-1])
    session.click(*clicks[-1])
    annotator = make_annotator(replay.task, replay.world, replay.interface, UNNOTICING, rng)
    for _ in range(delay):
        if session.done:
            return None
        session.click(*click(annotator.next(session.state), session.screen(), rng))
    if session.done:
        return None

    clicked = [*states[:-1], *session.states[:-1]][-window:]
    made = [*clicks[:-1], *(step.click for step in session.steps)][-window:]
    for state in (*clicked, session.state):
        if state not in drawn:
            drawn[state] = draw_small(session.interface.screen(state, replay.look))
    screens = np.stack([drawn[state] for state in clicked])
    return Branch(screens, np.array(made), session.state, drawn[session.state])
