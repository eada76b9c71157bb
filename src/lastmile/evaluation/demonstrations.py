"""Let a policy and an annotator make demonstrations together: see `simulation.demonstrating`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lastmile.errors import LastmileError
from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.policy.policy import Policy
from lastmile.simulation import trajectory
from lastmile.simulation.demonstrating import Demonstration
from lastmile.simulation.rows import EPISODES, STEPS_WITH_ANSWERS
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import Recorded
from lastmile.simulation.ways import WITH_POLICY, Way

HORIZON = 2
"""Longest rollout that is relabelled, in median lengths of the annotator's episodes: a policy that
goes in circles would fill the recording with one of them."""


def write(
    path: Path,
    source: Source,
    way: Way,
    policy: Policy | None,
    episodes: range,
    temperature: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Make demonstrations and write them like any recording, with what is to be learned.

    Args:
        path: File of the steps; the table of episodes goes beside it.
        source: Where the episodes come from.
        way: How they are made.
        policy: The policy, if one is needed.
        episodes: Their numbers.
        temperature: Temperature of the policy's clicks.
        seed: Seed of the policy's clicks.
        progress: Called with the number of steps, now and then.

    Raises:
        LastmileError: There is no policy, but the way needs one.
    """
    recordings = demonstrate(source, way, policy, episodes, temperature, seed, progress)
    trajectory.write_recorded(path, source, recordings, schemas=(STEPS_WITH_ANSWERS, EPISODES))


def demonstrate(
    source: Source,
    way: Way,
    policy: Policy | None,
    episodes: range,
    temperature: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Recorded]:
    """Yield demonstrations in the order of their numbers; arguments as in `write`.

    Where a policy is at work, every other demonstration is a plain one.
    """
    numbers = list(episodes)
    together = numbers[1::2] if way in WITH_POLICY else []
    made = {
        number: _alone(source, number, way, progress) for number in sorted({*numbers} - {*together})
    }
    if together:
        if policy is None:
            raise LastmileError(f"demonstrations '{way}' need a policy")
        median = float(np.median([one.row["steps"] for one in made.values()]))
        rollouts = [
            Demonstration(source, number, way, _limit(source, number, way, median))
            for number in together
        ]
        play_rollouts(policy, rollouts, temperature, seed, progress=progress)
        for rollout in rollouts:
            if way == "handed-over":
                rollout.finish()
            made[rollout.number] = rollout.recorded()
    yield from (made[number] for number in numbers)


def _alone(
    source: Source, number: int, way: Way, progress: Callable[[int], None] | None
) -> Recorded:
    """Make a demonstration without the policy."""
    episode = Demonstration(source, number, "plain" if way in WITH_POLICY else way)
    episode.finish()
    if progress:
        progress(len(episode.steps))
    return episode.recorded()


def _limit(source: Source, number: int, way: Way, median: float) -> int:
    """Return how many steps the policy makes at most."""
    if way == "relabelled":
        return int(HORIZON * median)
    return int(source.generator(number, "hand-over").integers(1, max(2, round(median) + 1)))
