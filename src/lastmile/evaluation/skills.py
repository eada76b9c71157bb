"""Skills, teacher-forced: at every step of held-out episodes the policy sees what the annotator saw, and its most likely click is judged.

| skill | counted on | right when |
| --- | --- | --- |
| valid | all steps | the click hits an enabled widget or a live canvas |
| action | all steps | it is the right kind of action (place, navigate, undo, ...) |
| button | steps whose click is a button | it is the right button |
| placement@k | placements without mistake | it lies within k logical px of the target |
| decision | critical steps | it is the right button, or a placement where one was due |
| undo, done, look, decide | steps of that kind | it is that kind of action |

Ceiling and floor are measured by the same code: the clicks of the annotator asked again with fresh randomness, and the commonest click.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from lastmile.errors import LastmileError
from lastmile.policy.policy import Policy
from lastmile.simulation.tokens import TokenStore
from lastmile.simulation.trajectory import Trajectories

RADII = (2, 5, 10)
SKILLS = (
    "valid",
    "action",
    "button",
    *(f"placement@{k}" for k in RADII),
    "decision",
    "undo",
    "done",
    "look",
    "decide",
)


def predictions(policy: Policy, tokens: TokenStore) -> tuple[np.ndarray, np.ndarray]:
    """The policy's most likely clicks on all frames of a token file, (frames, 2), and the nats of what was to be predicted, (frames,)."""
    modes, nlls = [], []
    for start, stop in zip(tokens.starts[:-1].tolist(), tokens.starts[1:].tolist()):
        clicks, nats = policy.predict_episode(
            tokens.screens(start, stop), tokens.clicks[start:stop], tokens.targets[start:stop]
        )
        modes.append(clicks)
        nlls.append(nats)
    return np.concatenate(modes), np.concatenate(nlls)


def ceiling(trajectories: Trajectories) -> np.ndarray:
    """Clicks of the annotator asked again, (frames, 2).

    Raises ValueError if it was not asked (in the training split).
    """
    clicks = trajectories.steps[["again_x", "again_y"]].to_numpy()
    if (clicks < 0).any():
        raise LastmileError(
            f"{trajectories.path}: the annotator was not asked again; use the split 'test' or 'validation'"
        )
    return clicks


def floor(trajectories: Trajectories) -> np.ndarray:
    """The commonest click at every step, (frames, 2): the middle of the commonest widget's clicks."""
    steps = trajectories.steps
    commonest = Counter(steps["widget"]).most_common(1)[0][0]
    middle = steps.loc[steps["widget"] == commonest, ["x", "y"]].median().round().to_numpy()
    return np.tile(middle.astype(np.int64), (len(steps), 1))


def measure(trajectories: Trajectories, clicks: dict[str, np.ndarray]) -> pd.DataFrame:
    """Judge predicted clicks on every step.

    clicks: by predictor, (frames, 2) each. Returns one row for each predictor, skill and episode with columns predictor, skill, episode, hits, total.
    Raises ValueError if a predictor has another number of clicks than there are frames.
    """
    steps, starts = trajectories.steps, trajectories.starts
    for name, values in clicks.items():
        if len(values) != len(steps):
            raise LastmileError(
                f"predictor '{name}' has {len(values)} clicks, but {trajectories.path} has {len(steps)} steps"
            )
    right = {name: np.zeros((len(steps), 2), bool) for name in clicks}  # (same widget, same kind)
    valid = {name: np.zeros(len(steps), bool) for name in clicks}
    listed = {name: np.asarray(values).tolist() for name, values in clicks.items()}
    for number in range(len(starts) - 1):
        replay = trajectories.open(number)
        row = int(starts[number])
        for state, _, hit, _ in replay.replay():
            screen = replay.interface.screen(state, replay.look)
            for name, values in listed.items():
                found = screen.hit(*values[row])
                kind = (
                    replay.interface.place_kind(state, found.u, found.v)
                    if found.widget == "canvas"
                    else found.kind
                )
                valid[name][row] = kind != "invalid"
                right[name][row] = found.widget == hit.widget, kind == hit.kind
            row += 1
    kind = steps["kind"].to_numpy(str)
    target = steps[["target_x", "target_y"]].to_numpy(float)
    placing = (kind == "place") & (steps["mistake"].to_numpy(str) == "") & (target[:, 0] >= 0)
    on_button = steps["widget"].to_numpy(str) != "canvas"
    critical = steps["critical"].to_numpy(bool)
    everything = np.ones(len(steps), bool)
    tables = []
    for name, values in clicks.items():
        same_widget, same_kind = right[name].T
        far = np.hypot(*(np.asarray(values, float) - target).T)
        counted = {
            "valid": (valid[name], everything),
            "action": (same_kind, everything),
            "button": (same_widget, on_button),
            "decision": (np.where(on_button, same_widget, same_kind), critical),
            **{f"placement@{k}": (far <= k, placing) for k in RADII},
            **{skill: (same_kind, kind == skill) for skill in ("undo", "done", "look", "decide")},
        }
        for skill in SKILLS:
            hits, total = counted[skill]
            sums = (
                np.add.reduceat((hits & total).astype(np.int64), starts[:-1]),
                np.add.reduceat(total.astype(np.int64), starts[:-1]),
            )
            tables.append(
                pd.DataFrame(
                    {
                        "predictor": name,
                        "skill": skill,
                        "episode": np.arange(len(starts) - 1),
                        "hits": sums[0],
                        "total": sums[1],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)
