"""Draw the screens of recorded episodes, in one process or in many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from lastmile.screen import Hit, Screen, draw_small_series
from lastmile.simulation.chunks import CHUNK, pack
from lastmile.simulation.rows import NO_ANSWER
from lastmile.simulation.trajectory import EPISODES_PER_JOB, Replay, Trajectories
from lastmile.simulation.workers import Workers


class Drawn(NamedTuple):
    """What a token file holds of an episode, besides its labels.

    Attributes:
        chunks: Its screens, in chunks. Each is packed when it is taken, and only once.
        begins: First frame of each chunk, counted from the start of the episode.
        targets: (steps, 2) int16, what a policy learns to predict; `NO_ANSWER` for nothing.
    """

    chunks: Iterable[bytes]
    begins: list[int]
    targets: np.ndarray


def draw_all(trajectories: Trajectories, pool: Workers | None = None) -> Iterator[Drawn]:
    """Draw the episodes of a recording, in their order.

    Args:
        trajectories: The recording.
        pool: Processes that draw side by side.

    Raises:
        TrajectoryError: A world is no longer the one that was annotated.
    """
    if pool is None:
        for number in range(len(trajectories.episodes)):
            yield _draw(trajectories.open(number))
    else:
        parts = trajectories.parts(EPISODES_PER_JOB)
        yield from chain.from_iterable(pool.ordered(_draw_part, parts))


def _draw(replay: Replay) -> Drawn:
    """Draw every screen of an episode."""
    steps = list(replay.replay())
    screens = [replay.interface.screen(step.before, replay.look) for step in steps]
    aims = []
    for screen, step, (x, y) in zip(screens, steps, replay.answers.tolist()):
        if (x, y) == NO_ANSWER:
            aims.append(NO_ANSWER)
        elif (x, y) == step.click:
            aims.append(aim(screen, step.click, step.hit))
        else:
            hit = replay.interface.hit(step.before, x, y, replay.look)
            aims.append(aim(screen, (x, y), hit))
    frames = draw_small_series(screens)
    chunks = -(-len(frames) // CHUNK)
    cuts = np.linspace(0, len(frames), chunks + 1).round().astype(int).tolist()
    packed = (pack(frames[begin:end]) for begin, end in zip(cuts[:-1], cuts[1:]))
    return Drawn(packed, cuts[:-1], np.array(aims, np.int16))


def aim(screen: Screen, click: tuple[int, int], hit: Hit) -> tuple[int, int]:
    """Return what is to be learned from a click, (x, y) in logical px.

    Where in a button somebody clicks says nothing: its middle is to be learned.

    Args:
        screen: The screen.
        click: The click on it, logical px.
        hit: What the click hits.
    """
    return click if hit.widget in ("", "canvas") else screen.widget(hit.widget).rect.middle


def _draw_part(part: Trajectories) -> list[Drawn]:
    """Draw a few episodes, in a worker process."""
    drawn = (_draw(part.open(number)) for number in range(len(part.episodes)))
    return [episode._replace(chunks=list(episode.chunks)) for episode in drawn]
