"""Recovery: inject a mistake into a replayed episode and let the policy take over.

The mistakes are of the annotator's own kinds. The policy takes over at once, or after some further
right steps of an annotator who has not noticed. Every injected mistake has a control: the same
episode with the annotator's right annotation in the place of the wrong one. In both, the same is
asked: is that annotation gone at the end? The control tells how often the policy takes back what is
right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from lastmile.evaluation.closed_loop import play_rollouts
from lastmile.policy.policy import Policy
from lastmile.simulation.counterfactuals import Branch, Fork, branches, forks
from lastmile.simulation.pool import Rollout
from lastmile.simulation.trajectory import Trajectories
from lastmile.tasks import get_task
from lastmile.tasks.task import State, Task

DELAYS = (0, 3, 8)
"""Right steps of the annotator between an injected mistake and the policy."""
DELAYED = 3
"""Every n-th mistake is also handed over later; the first delay is what is claimed about."""
CONDITIONS = ("mistake", "control")
COLUMNS = (
    "episode",
    "step",
    "kind",
    "delay",
    "condition",
    "seen",
    "gone",
    "repaired",
    "undone",
    "after",
)
"""Columns of the table of measurements."""


class Case(NamedTuple):
    """An injected mistake or a control, as the policy gets it.

    Attributes:
        fork: Where the mistake was injected.
        delay: Right steps between the annotation and the policy.
        condition: One of CONDITIONS.
        branch: The episode so far.
    """

    fork: Fork
    delay: int
    condition: str
    branch: Branch

    @property
    def edit(self) -> object:
        """The annotation that the case is about."""
        return self.branch.state.edits[self.fork.edit_index]


def cases(trajectories: Trajectories, count: int, delays: Sequence[int], window: int) -> list[Case]:
    """Choose up to `count` mistakes, and return them with their controls, in pairs.

    They are spread evenly over the episodes and over the kinds of mistakes. Each is handed over
    after the first of `delays`, every third one after the others too. Delays at which the annotator
    would have finished, or would have removed the annotation by its work, are left out.

    Args:
        trajectories: The recording to replay.
        count: Most mistakes.
        delays: Right steps between a mistake and the policy.
        window: Screens that the policy remembers.
    """
    found = []
    for number, fork in enumerate(forks(trajectories)[:count]):
        for delay in delays if number % DELAYED == 0 else delays[:1]:
            pair = branches(trajectories, fork, window, delay)
            if pair is not None:
                found += [Case(fork, delay, *case) for case in zip(CONDITIONS, pair)]
    return found


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
        mistake), `delay`, `condition` ("mistake" or "control"), `seen` (whether the next screen
        showed the mistake), `gone` (the annotation is not in its place at the end), `repaired` (it
        is gone, or is no mistake any more; never in a control), `undone` (pressed Undo at least
        once) and `after` (steps until it was gone, -1 if it is not).
    """
    task = get_task(trajectories.source.task)
    chosen = cases(trajectories, count, delays, policy.settings.window)
    rollouts = []
    history = {}
    for number, case in enumerate(chosen):
        replay = trajectories.open(case.fork.episode)
        rollouts.append(
            Rollout(number, task.name, replay.world, replay.look, steps, case.branch.state)
        )
        history[number] = case.branch.screens, case.branch.clicks

    rows = []
    for rollout in play_rollouts(
        policy, rollouts, temperature, seed, history=history, progress=progress
    ):
        case = chosen[rollout.number]
        index = case.fork.edit_index
        stays = [stands(state, index, case.edit) for state in rollout.states]
        wrong = case.condition == "mistake"
        last = rollout.states[-1]
        rows.append(
            {
                "episode": case.fork.episode,
                "step": case.fork.step,
                "kind": case.fork.kind,
                "delay": case.delay,
                "condition": case.condition,
                "seen": case.fork.seen,
                "gone": not stays[-1],
                "repaired": wrong and not is_mistake(task, rollout.world, last, index, case.edit),
                "undone": any(step.hit.kind == "undo" for step in rollout.steps),
                "after": -1 if stays[-1] else stays.index(False),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def stands(state: State, index: int, edit: object) -> bool:
    """Return whether annotation `edit` is at position `index`."""
    return len(state.edits) > index and bool(state.edits[index] == edit)


def is_mistake(
    task: Task[Any, Any, Any], world: Any, state: State, index: int, edit: object
) -> bool:
    """Return whether annotation `edit` is still at position `index`, and still a mistake."""
    return stands(state, index, edit) and any(
        mistake.edit == index for mistake in task.mistakes(world, state)
    )
