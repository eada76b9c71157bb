"""The tasks as environments: one at a time for Gymnasium, and pooled for the evaluation of policies.

Ids are made from the names of the tasks (`colored_dots` is `lastmile/ColoredDots-v0`) and known to Gymnasium once this module is imported;
`gymnasium.make("lastmile.env:lastmile/ColoredDots-v0")` imports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH, Hit, Look, draw, draw_small
from lastmile.tasks import get_task, task_names
from lastmile.tasks.task import Score, State

MAX_STEPS = 500
"""Steps after which an episode is cut off when not told otherwise."""
_SEEDS = 9  # keeps the worlds of `reset(seed=...)` apart from those of recorded splits


class AnnotationEnv(gymnasium.Env):
    """One task. Observation: the small screen, (126, 168, 3) uint8. Action: a click, (x, y) in logical px. Reward: the gain in score.

    `info` holds what was hit (`widget`, `kind`), `score`, `success` and the open mistakes (`mistakes`).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(self, task: str, difficulty: str = "short", look: Look = Look(), max_steps: int = MAX_STEPS, render_mode: str | None = None):  # noqa: B008
        self.task = get_task(task)
        self.task.difficulty(difficulty)
        if max_steps < 1:
            raise ValueError(f"max_steps: expected at least 1, got {max_steps}")
        self.difficulty, self.look, self.max_steps, self.render_mode = difficulty, look.check(), max_steps, render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (SMALL_HEIGHT, SMALL_WIDTH, 3), np.uint8)
        self.action_space = gymnasium.spaces.MultiDiscrete([WIDTH, HEIGHT])

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """A new world: that of `seed`, or of the next number from the environment's generator."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        self.world = self.task.world((_SEEDS, number), self.difficulty)
        self.interface = self.task.interface(self.world)
        self.state = self.interface.start()
        self.steps, self.score = 0, self.task.score(self.world, self.state)
        return self._observe(), self._info(Hit("", "invalid"))

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One click. Raises ValueError for a click outside the screen."""
        x, y = (int(c) for c in action)
        hit = self.interface.hit(self.state, x, y, self.look)
        self.state = self.interface.apply(self.state, hit)
        self.steps += 1
        before, self.score = self.score.score, self.task.score(self.world, self.state)
        reward = float(self.score.score - before)
        return self._observe(), reward, self.state.done, not self.state.done and self.steps >= self.max_steps, self._info(hit)

    def render(self) -> np.ndarray | None:
        """The full screen, (336, 448, 3) uint8."""
        return draw(self.interface.screen(self.state, self.look)) if self.render_mode == "rgb_array" else None

    def _observe(self) -> np.ndarray:
        return draw_small(self.interface.screen(self.state, self.look))

    def _info(self, hit: Hit) -> dict[str, Any]:
        return {
            "widget": hit.widget,
            "kind": hit.kind,
            "score": float(self.score.score),
            "success": bool(self.score.success),
            "mistakes": len(self.task.mistakes(self.world, self.state)),
        }


def env_id(task: str) -> str:
    """Gymnasium id of a task."""
    return f"lastmile/{''.join(part.capitalize() for part in task.split('_'))}-v0"


def register() -> None:
    """Make all tasks known to Gymnasium. Importing this module does so (Gymnasium 1.0 and later look for no entry points)."""
    for name in task_names():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(env_id(name), entry_point="lastmile.env:AnnotationEnv", kwargs={"task": name}, max_episode_steps=None)


@dataclass
class Job:
    """One episode to be played: a world, a starting state, and what came of it.

    number: place in the queue. max_steps: clicks after which it is cut off. clicks, hits: what was done, (x, y) and `Hit` by step.
    """

    number: int
    task: str
    world: Any
    look: Look
    max_steps: int
    state: State | None = None
    clicks: list[tuple[int, int]] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interface = get_task(self.task).interface(self.world)
        self.state = self.interface.start() if self.state is None else self.state
        self.states.append(self.state)

    @property
    def over(self) -> bool:
        return self.state.done or len(self.clicks) >= self.max_steps

    @property
    def score(self) -> Score:
        return get_task(self.task).score(self.world, self.state)

    def observe(self) -> np.ndarray:
        """(126, 168, 3) uint8"""
        return draw_small(self.interface.screen(self.state, self.look))

    def step(self, x: int, y: int) -> None:
        """One click, which may lie anywhere on the screen."""
        hit = self.interface.hit(self.state, x, y, self.look)
        self.state = self.interface.apply(self.state, hit)
        self.clicks.append((int(x), int(y)))
        self.hits.append(hit)
        self.states.append(self.state)


class Pool:
    """Up to `size` episodes at a time, refilled from a queue. What becomes of an episode depends on neither the size nor its neighbors."""

    def __init__(self, jobs: Iterable[Job], size: int) -> None:
        if size < 1:
            raise ValueError(f"size: expected at least 1, got {size}")
        self._queue = iter(jobs)
        self.rows: list[Job | None] = [None] * size

    def refill(self) -> list[int]:
        """Put waiting episodes into the free rows; the rows that hold a new episode now."""
        new = []
        for row, job in enumerate(self.rows):
            if job is None:
                following = next(self._queue, None)
                if following is not None:
                    self.rows[row] = following
                    new.append(row)
        return new

    def active(self) -> list[int]:
        """Rows that hold an episode."""
        return [row for row, job in enumerate(self.rows) if job is not None]

    def collect(self) -> list[Job]:
        """Take out the episodes that are over."""
        finished = []
        for row, job in enumerate(self.rows):
            if job is not None and job.over:
                finished.append(job)
                self.rows[row] = None
        return finished


register()
