"""The functions that users call: environments, recordings, and the evaluation of any policy.

Import them from `lastmile`.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastmile.errors import LastmileError
from lastmile.extras import needed_for

if TYPE_CHECKING:
    import gymnasium
    import numpy as np
    import pandas as pd
    import torch

    from lastmile.evaluation.players import Player
    from lastmile.released.loading import Policy
    from lastmile.simulation.trajectory import Trajectories


def make_env(
    task: str,
    *,
    difficulty: str = "short",
    layout: str = "right",
    theme: str = "dark",
    render_mode: str | None = None,
    max_steps: int = 500,
    source: str = "synthetic",
) -> gymnasium.Env[np.ndarray, Any]:
    """Make the Gymnasium environment of a task.

    See `lastmile.simulation.env.AnnotationEnv` for observations, actions, rewards and info, and for
    how to play the held-out worlds.

    Args:
        task: Name of the task; see `lastmile.task_names`.
        difficulty: Name of one of the task's difficulties; all have "short" and "full".
        layout: Layout of the interface: "right", "left", "top", "bottom" or "split".
        theme: Theme of the interface: "dark", "light" or "retro".
        render_mode: None, or "rgb_array", with which `render` returns the full screen.
        max_steps: Steps after which an episode is truncated.
        source: Where worlds come from: "synthetic", "real" (see `lastmile fetch real`), or the
            folder of worlds that `lastmile import` made.

    Raises:
        LastmileError: The task, difficulty, layout, theme, render mode or source does not exist,
            or `max_steps` is below 1.

    Example:
        >>> env = make_env("colored_dots", theme="light")
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step((100, 100))
        >>> info["widget"]
        'canvas'
    """
    import gymnasium

    from lastmile.screen import Look
    from lastmile.simulation.registration import env_id, register_environments
    from lastmile.tasks import get_task

    if max_steps < 1:
        raise LastmileError(f"max_steps: expected at least 1, got {max_steps}")
    get_task(task).difficulty(difficulty)
    look = Look(layout, theme).check()

    register_environments()
    env: gymnasium.Env[np.ndarray, Any] = gymnasium.make(
        env_id(task),
        max_episode_steps=max_steps,
        difficulty=difficulty,
        look=look,
        render_mode=render_mode,
        source=source,
    )
    return env


def record(
    task: str,
    *,
    episodes: int = 1,
    split: str = "test",
    seed: int = 0,
    difficulty: str = "short",
    style: str = "typical",
    source: str = "synthetic",
    out: str | Path | None = None,
) -> Trajectories:
    """Record episodes of the virtual annotator.

    Args:
        task: Name of the task.
        episodes: Number of episodes, at least 1.
        split: "train", "validation" or "test". Worlds of different splits differ. Outside "train"
            the annotator is asked twice at every step, which gives its self-agreement.
        seed: Seed of the recording.
        difficulty: Name of one of the task's difficulties.
        style: Style of the annotator: "careful", "typical", "hasty", "oracle" or "mixed", with
            changes if any, as in "typical+uncorrected" (see `lastmile.tasks.styles.get_style`).
        source: Where worlds come from: "synthetic", "real" (see `lastmile fetch real`), or the
            folder of worlds that `lastmile import` made.
        out: Parquet file of the steps; the episodes are written beside it, to
            `STEM.episodes.parquet`. Without it nothing is kept on disk.

    Returns:
        The recording: `steps` and `episodes` are data frames (columns as in
        `lastmile.simulation.trajectory.STEPS` and `EPISODES`), `clicks(number)` are the clicks of
        an episode, and `open(number)` replays it.

    Raises:
        LastmileError: An argument is impossible.

    Example:
        >>> recording = record("colored_dots", episodes=2)
        >>> len(recording.episodes)
        2
        >>> screens = [recording.open(0).screen()]
    """
    from lastmile.tasks import get_task
    from lastmile.tasks.styles import check_style

    get_task(task).difficulty(difficulty)
    check_style(style)

    with needed_for("lastmile.record"):
        from lastmile.simulation import trajectory
        from lastmile.simulation.trajectory import Source

    origin = Source(task, split, seed, difficulty, style, worlds=source)
    if out is not None:
        trajectory.write(out, origin, episodes)
        return trajectory.read(out)

    # One way to make a recording, one way to read it: through files, which are then removed.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.parquet"
        trajectory.write(path, origin, episodes)
        return replace(trajectory.read(path), path=Path("(in memory)"))


def load_policy(policy: str | Path, device: str | torch.device = "cpu") -> Policy:
    """Load a policy that comes with the package, or one from a folder, as `Policy.load` does.

    Args:
        policy: Name of a released policy, name of a task for the released policy that does it, or
            the folder of any. A name stands for the released policy even where a folder is called
            the same; write `./joint` for the folder.
        device: Where it computes.

    Raises:
        LastmileError: There is no such policy, or its files are damaged.

    Example:
        >>> policy = load_policy("joint")
        >>> policy.settings.size
        's'
    """
    with needed_for("lastmile.load_policy"):
        from lastmile.released.loading import Policy
    return Policy.load(policy, device)


def evaluate(
    policy: Policy | Player | str | Path,
    task: str,
    *,
    worlds: int = 20,
    seed: int = 0,
    difficulty: str = "short",
    temperature: float = 0.4,
    split: str = "test",
    layout: str = "right",
    theme: str = "dark",
    max_steps: int | None = None,
    source: str = "synthetic",
) -> pd.DataFrame:
    """Let a policy annotate worlds with its own clicks, and score it.

    The worlds depend on `task`, `split`, `seed`, `difficulty` and `source` alone: all policies get
    the same ones, and with seed 0 they are those of the studies.

    Args:
        policy: A `lastmile.Policy`, the name or folder of one as for `load_policy`, or any
            `Player`: a callable that takes a screen and returns a click.
        task: Name of the task.
        worlds: Number of worlds, at least 1; one episode is played on each.
        seed: Seed of the worlds, and of the clicks that a `Policy` samples.
        difficulty: Name of one of the task's difficulties.
        temperature: Temperature at which a `Policy` samples its clicks, above 0; not used for
            players of other kinds.
        split: Split of the worlds: "train", "validation" or "test".
        layout: Layout of the interface.
        theme: Theme of the interface.
        max_steps: Clicks after which an episode is truncated. By default three times the median
            length of the virtual annotator's episodes on these worlds, as in the studies.
        source: Where worlds come from: "synthetic", "real" (see `lastmile fetch real`), or the
            folder of worlds that `lastmile import` made.

    Returns:
        One row per episode. Columns: `episode`, `score` (0 to 1), `success`, `finished` (whether
        `Done` was pressed), `steps`, `coverage`, the number of clicks of each kind, `placements`,
        `mistakes` (wrong ones among them) and `left` (mistakes at the end).

    Raises:
        LastmileError: An argument is impossible, or a click is no pair of integers or outside the
            screen.

    Example:
        Any callable can be scored. This one always clicks the middle of the screen:

        >>> table = evaluate(lambda observation, info: (224, 168), "colored_dots", worlds=2)
        >>> len(table), float(table["success"].mean())
        (2, 0.0)
    """
    from lastmile.screen import Look
    from lastmile.tasks import get_task

    get_task(task).difficulty(difficulty)
    look = Look(layout, theme).check()
    if worlds < 1:
        raise LastmileError(f"worlds: expected at least 1, got {worlds}")
    if max_steps is not None and max_steps < 1:
        raise LastmileError(f"max_steps: expected at least 1, got {max_steps}")

    if temperature <= 0:
        raise LastmileError(f"temperature: expected more than 0, got {temperature}")
    with needed_for("lastmile.evaluate"):
        import pandas as pd

        from lastmile.evaluation.players import play_worlds, step_limit
        from lastmile.simulation.pool import describe
        from lastmile.simulation.source import Source

        player = load_policy(policy) if isinstance(policy, (str, Path)) else policy
        origin = Source(task, split, seed, difficulty, worlds=source)
        if max_steps is None:
            max_steps = step_limit(origin, worlds)
    rollouts = play_worlds(player, origin, worlds, look, max_steps, temperature)
    return pd.DataFrame([describe(rollout) for rollout in rollouts])
