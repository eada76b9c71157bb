"""Skills: teacher-forced accuracies of a policy on held-out episodes.

At every step the policy sees what the annotator saw, and its most likely click is judged.

| skill | counted on | right when |
| --- | --- | --- |
| valid | all steps | the click hits an enabled widget or a live canvas |
| action | all steps | it is the right kind of action (place, navigate, undo, ...) |
| button | steps whose click is on a button | it is on the right button |
| placement@k | placements without mistake | it is within k logical px of the target |
| decision | critical steps | it is the right button, or a placement where one was due |
| decision by sight | critical steps that the trigram gets wrong | the same |
| undo | the first step of each run of undos | it is an undo |
| done, look, decide | steps of that kind | it is that kind of action |
| annotation | predicted annotations, in states without a mistake | the annotation is right |

Three baselines are measured by the same code. The ceiling is annotator self-agreement: the same
annotator asked again with fresh randomness. The floor always makes the most common click. The
trigram clicks the widget that most often follows the last three widgets in the other episodes: it
knows the procedure and never looks at the screen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from copy import deepcopy

import numpy as np
import pandas as pd

from lastmile.errors import LastmileError
from lastmile.policy.policy import Policy
from lastmile.simulation.session import verdict
from lastmile.simulation.tokens import Store
from lastmile.simulation.trajectory import Trajectories
from lastmile.tasks.task import RIGHT

RADII = (2, 5, 10)
"""Distances within which a placement counts as right, logical px."""
SKILLS = (
    "valid",
    "action",
    "button",
    *(f"placement@{k}" for k in RADII),
    "decision",
    "decision by sight",
    "undo",
    "done",
    "look",
    "decide",
    "annotation",
)
TRIGRAM = "trigram"
"""The predictor that `decision by sight` is counted with."""


def predictions(policy: Policy, tokens: Store) -> tuple[np.ndarray, np.ndarray]:
    """Predict every click of a token file, teacher-forced.

    Returns:
        The most likely clicks, (frames, 2), and the negative log-likelihoods of the targets,
        (frames,), in nats.
    """
    modes = []
    losses = []
    for start, stop in zip(tokens.starts[:-1].tolist(), tokens.starts[1:].tolist()):
        clicks, nats = policy.predict_episode(
            tokens.screens(start, stop), tokens.clicks[start:stop], tokens.targets[start:stop]
        )
        modes.append(clicks)
        losses.append(nats)
    return np.concatenate(modes), np.concatenate(losses)


def ceiling(trajectories: Trajectories) -> np.ndarray:
    """Return the clicks of the annotator asked again, (frames, 2).

    Raises:
        LastmileError: The annotator was not asked again (in the training split).
    """
    clicks = trajectories.steps[["again_x", "again_y"]].to_numpy()
    if (clicks < 0).any():
        raise LastmileError(
            f"{trajectories.path}: the annotator was not asked again; "
            "use the split 'test' or 'validation'"
        )
    return clicks


def floor(trajectories: Trajectories) -> np.ndarray:
    """Return the most common click at every step, (frames, 2).

    It is the median of the clicks on the widget that is clicked most often.
    """
    steps = trajectories.steps
    widget = Counter(steps["widget"]).most_common(1)[0][0]
    median = steps.loc[steps["widget"] == widget, ["x", "y"]].median().round().to_numpy()
    return np.tile(median.astype(np.int64), (len(steps), 1))


def trigram(trajectories: Trajectories) -> np.ndarray:
    """Predict clicks, (frames, 2), from the last three widgets and without the screen.

    The widget is the one that follows them most often in the other episodes; after three that
    occur nowhere else, the last two count, and so on. The click is in its middle.
    """
    widgets = trajectories.steps["widget"].to_numpy(str).tolist()
    starts = trajectories.starts.tolist()
    # How often each widget follows some last ones, in all episodes and in each of them.
    total: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    own = [deepcopy(total) for _ in starts[1:]]
    for number, (start, stop) in enumerate(zip(starts[:-1], starts[1:])):
        for row in range(start, stop):
            for length in range(min(3, row - start) + 1):
                last = tuple(widgets[row - length : row])
                total[last][widgets[row]] += 1
                own[number][last][widgets[row]] += 1

    clicks = []
    for number, start in enumerate(starts[:-1]):
        replay = trajectories.open(number)
        for offset, step in enumerate(replay.replay()):
            row = start + offset
            predicted = "canvas"
            for length in range(min(3, offset), -1, -1):
                last = tuple(widgets[row - length : row])
                elsewhere = total[last] - own[number][last]
                if elsewhere:
                    predicted = min(elsewhere, key=lambda widget: (-elsewhere[widget], widget))
                    break
            screen = replay.interface.screen(step.before, replay.look)
            rect = screen.canvas if predicted == "canvas" else screen.widget(predicted).rect
            clicks.append((rect.x + rect.width // 2, rect.y + rect.height // 2))
    return np.array(clicks, np.int64).reshape(-1, 2)


def measure(trajectories: Trajectories, clicks: dict[str, np.ndarray]) -> pd.DataFrame:
    """Judge predicted clicks on every step.

    Args:
        trajectories: The recording.
        clicks: Predicted clicks by predictor, (frames, 2) each.

    Returns:
        One row per predictor, skill and episode, with the columns `predictor`, `skill`, `episode`,
        `hits` (right steps) and `total` (counted steps). Without the predictor `TRIGRAM` no
        decision is counted as one by sight.

    Raises:
        LastmileError: A predictor has another number of clicks than there are frames.
    """
    steps, starts = trajectories.steps, trajectories.starts
    for name, values in clicks.items():
        if len(values) != len(steps):
            raise LastmileError(
                f"predictor '{name}' has {len(values)} clicks, "
                f"but {trajectories.path} has {len(steps)} steps"
            )
    same_widget, same_kind, valid, judged = _compare(trajectories, clicks)

    # What is counted on which steps depends on the annotator alone, except for annotations.
    kind = steps["kind"].to_numpy(str)
    target = steps[["target_x", "target_y"]].to_numpy(float)
    placing = (kind == "place") & (steps["mistake"].to_numpy(str) == "") & (target[:, 0] >= 0)
    on_button = steps["widget"].to_numpy(str) != "canvas"
    critical = steps["critical"].to_numpy(bool)
    everything = np.ones(len(steps), bool)
    undo = kind == "undo"
    first_undo = undo & ~np.concatenate([[False], undo[:-1] & (np.diff(steps["episode"]) == 0)])
    decided = {
        name: np.where(on_button, same_widget[name], same_kind[name]) for name in clicks
    }  # (frames,) bool each
    by_sight = critical & ~decided[TRIGRAM] if TRIGRAM in clicks else np.zeros(len(steps), bool)

    tables = []
    for name, values in clicks.items():
        distance = np.hypot(*(np.asarray(values, float) - target).T)
        counted = {  # by skill, (frames,) each: whether the step is right, whether it counts
            "valid": (valid[name], everything),
            "action": (same_kind[name], everything),
            "button": (same_widget[name], on_button),
            "decision": (decided[name], critical),
            "decision by sight": (decided[name], by_sight),
            "undo": (same_kind[name], first_undo),
            "annotation": (judged[name] == RIGHT, judged[name] != ""),
            **{f"placement@{k}": (distance <= k, placing) for k in RADII},
            **{skill: (same_kind[name], kind == skill) for skill in ("done", "look", "decide")},
        }
        for skill in SKILLS:
            right, counts = counted[skill]
            columns = {
                "predictor": name,
                "skill": skill,
                "episode": np.arange(len(starts) - 1),
                "hits": np.add.reduceat((right & counts).astype(np.int64), starts[:-1]),
                "total": np.add.reduceat(counts.astype(np.int64), starts[:-1]),
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _compare(
    trajectories: Trajectories, clicks: dict[str, np.ndarray]
) -> tuple[
    dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]
]:
    """Make the predicted clicks on the annotator's screens and compare what they hit.

    Returns:
        By predictor, (frames,) each: whether the same widget is hit, whether it is the same kind of
        action, whether the click is valid (bool); and the verdict on the annotation that it makes
        (text, empty without one, or if there is a mistake already).
    """
    frames = len(trajectories.steps)
    same_widget = {name: np.zeros(frames, bool) for name in clicks}
    same_kind = {name: np.zeros(frames, bool) for name in clicks}
    valid = {name: np.zeros(frames, bool) for name in clicks}
    judged = {name: np.full(frames, "", dtype="U16") for name in clicks}
    open_mistakes = trajectories.steps["open_mistakes"].to_numpy()
    points = {name: np.asarray(values).tolist() for name, values in clicks.items()}

    row = 0
    for number in range(len(trajectories.episodes)):
        replay = trajectories.open(number)
        for step in replay.replay():
            for name in clicks:
                x, y = points[name][row]
                hit = replay.interface.hit(step.before, x, y, replay.look)
                same_widget[name][row] = hit.widget == step.hit.widget
                same_kind[name][row] = hit.kind == step.hit.kind
                valid[name][row] = hit.kind != "invalid"
                if open_mistakes[row] == 0 and hit.kind in ("place", "decide"):
                    after = replay.interface.apply(step.before, hit)
                    judged[name][row] = verdict(replay.task, replay.world, step.before, after)
            row += 1
    return same_widget, same_kind, valid, judged
