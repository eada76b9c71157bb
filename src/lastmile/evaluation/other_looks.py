"""Policies in other looks of the interface: the same states on other screens.

Teacher-forced, the most likely click is judged at every step of the annotator, on screens of each
look. What a click comes to:

| outcome | the click hits |
| --- | --- |
| right | the annotator's button, or the canvas within 5 px of the target |
| old place | the place where that button, or that target, would be in the first layout |
| off | the canvas, as is due, but farther than 5 px from the target |
| wrong widget | another button than the annotator's, or the canvas instead of a button |
| nothing | nothing: no enabled button, and no live canvas |

The first that holds counts. The first layout is one that the policy has learned; in that layout
itself nothing is in an old place. So `old place` says that the right thing was meant and looked for
where it used to be, up to clicks that are there by chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from lastmile.evaluation.closed_loop import closed_loop
from lastmile.policy.policy import Policy
from lastmile.screen import LAYOUTS, Look, draw_small_series
from lastmile.simulation.drawing import aim
from lastmile.simulation.redrawing import redraw
from lastmile.simulation.session import Step
from lastmile.simulation.trajectory import Replay, Trajectories

NEAR = 5
"""Distance within which a placement counts as right, logical px."""
OUTCOMES = ("right", "old_place", "off", "wrong_widget", "nothing")
"""What a click comes to, see above."""
BUTTON, CANVAS = "button", "canvas"
"""What the annotator clicks."""


def measure(
    policy: Policy,
    trajectories: Trajectories,
    looks: Sequence[Look],
    first: str,
    temperature: float,
    max_factor: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test a policy on the worlds of recorded episodes, in each of some looks.

    Args:
        policy: The policy.
        trajectories: Episodes of a virtual annotator, in any look.
        looks: The looks.
        first: A layout that the policy has learned, in which `old place` is looked for.
        temperature: Temperature of the sampled clicks in closed loop.
        max_factor: Rollouts are truncated after this many times the annotator's median length.
        seed: Seed of the sampled clicks, the same in all looks.
        progress: Called with a number of clicks from time to time.

    Returns:
        Teacher-forced clicks as `judge` counts them, and episodes in closed loop with the columns
        of `closed_loop`; both with the columns `layout` and `theme`.
    """
    judged = []
    played = []
    for look in looks:
        redrawn = redraw(trajectories, look)
        named = {"layout": look.layout, "theme": look.theme}
        judged.append(judge(policy, redrawn, first, progress).assign(**named))
        rollouts = closed_loop(policy, redrawn, temperature, max_factor, seed, progress)
        played.append(rollouts.assign(**named))
    return pd.concat(judged, ignore_index=True), pd.concat(played, ignore_index=True)


def judge(
    policy: Policy,
    trajectories: Trajectories,
    first: str,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Judge the most likely clicks of a policy, teacher-forced.

    Args:
        policy: The policy.
        trajectories: Episodes of a virtual annotator.
        first: A layout that the policy has learned.
        progress: Called with the number of clicks after each episode.

    Returns:
        One row per episode and what is due, `due` (a button or the canvas). `clicks`: all steps;
        `within`: those at most 5 px from what is to be learned, the middle of the button or the
        annotator's click. `judged`: steps that are judged, which leaves out the annotator's own
        mistakes on the canvas; `widget`: those that hit the annotator's widget; and one column for
        each of `OUTCOMES`, which add up to `judged`.
    """
    rows = []
    starts = trajectories.starts
    for number in range(len(trajectories.episodes)):
        replay = trajectories.open(number)
        steps = list(replay.replay())
        screens = [replay.interface.screen(step.before, replay.look) for step in steps]
        aims = [aim(screen, step.click, step.hit) for screen, step in zip(screens, steps)]
        clicks, _ = policy.predict_episode(
            draw_small_series(screens), replay.clicks, np.array(aims)
        )

        columns = trajectories.steps.iloc[starts[number] : starts[number + 1]]
        counts = {due: Counter[str]() for due in (BUTTON, CANVAS)}
        for step, click, learned, target in zip(
            steps, clicks.tolist(), aims, targets(columns), strict=True
        ):
            counted = counts[CANVAS if step.hit.widget == CANVAS else BUTTON]
            counted["clicks"] += 1
            counted["within"] += math.dist(click, learned) <= NEAR
            if step.hit.widget != CANVAS or target is not None:
                x, y = click
                hit = replay.interface.hit(step.before, x, y, replay.look)
                counted["judged"] += 1
                counted["widget"] += hit.widget == step.hit.widget
                counted[outcome(replay, step, click, target, first)] += 1
        names = ("clicks", "within", "judged", "widget", *OUTCOMES)
        rows += [
            {"episode": number, "due": due, **{name: counted[name] for name in names}}
            for due, counted in counts.items()
        ]
        if progress:
            progress(len(steps))
    return pd.DataFrame(rows)


def targets(steps: pd.DataFrame) -> Iterator[tuple[float, float] | None]:
    """Yield where each placement belongs, (x, y) in logical px; None for any other step.

    A placement that is a mistake of the annotator is no example of where something belongs.
    """
    for kind, mistake, x, y in zip(
        steps["kind"], steps["mistake"], steps["target_x"], steps["target_y"]
    ):
        yield (float(x), float(y)) if kind == "place" and not mistake and x >= 0 else None


def outcome(
    replay: Replay,
    step: Step,
    click: Sequence[int],
    target: tuple[float, float] | None,
    first: str,
) -> str:
    """Return what a click comes to: one of `OUTCOMES`.

    Args:
        replay: The episode.
        step: The annotator's step.
        click: The click that is judged, (x, y) in logical px.
        target: Where a placement belongs, logical px; None if a button is due.
        first: A layout that the policy has learned.
    """
    x, y = click
    look = replay.look
    due = step.hit.widget
    hit = replay.interface.hit(step.before, x, y, look).widget
    moved = look.layout != first
    if target is None:
        if hit == due:
            return "right"
        before = replay.interface.hit(step.before, x, y, Look(first, look.theme)).widget
        if moved and before == due:
            return "old_place"
    else:
        if hit == due and math.dist(click, target) <= NEAR:
            return "right"
        now, then = LAYOUTS[look.layout].canvas, LAYOUTS[first].canvas
        old = (target[0] - now.x + then.x, target[1] - now.y + then.y)
        if moved and math.dist(click, old) <= NEAR:
            return "old_place"
        if hit == due:
            return "off"
    return "wrong_widget" if hit else "nothing"
