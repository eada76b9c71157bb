"""The tasks as environments for Gymnasium.

Ids are made from the names of the tasks: `colored_dots` is `lastmile/ColoredDots-v0`. `import lastmile` registers them.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH, Hit, draw, draw_small
from lastmile.screen.layout import Look
from lastmile.simulation.session import DEFAULT_LOOK, Session
from lastmile.tasks import get_task, task_names

MAX_STEPS = 500
"""Steps after which an episode is cut off when not told otherwise."""
_SEEDS = 9  # keeps the worlds of `reset(seed=...)` apart from those of recorded splits


class AnnotationEnv(gymnasium.Env):
    """One task. Observation: the small screen, (126, 168, 3) uint8. Action: a click, (x, y) in logical px. Reward: the gain in score.

    `info` holds what was hit (`widget`, `kind`), `score`, `success` and the open mistakes (`mistakes`).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        task: str,
        difficulty: str = "short",
        look: Look = DEFAULT_LOOK,
        max_steps: int = MAX_STEPS,
        render_mode: str | None = None,
    ) -> None:
        if max_steps < 1:
            raise LastmileError(f"max_steps: expected at least 1, got {max_steps}")
        self.task = get_task(task)
        self.task.difficulty(difficulty)
        self.difficulty = difficulty
        self.look = look.check()
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(
            0, 255, (SMALL_HEIGHT, SMALL_WIDTH, 3), np.uint8
        )
        self.action_space = gymnasium.spaces.MultiDiscrete([WIDTH, HEIGHT])

    @property
    def world(self) -> Any:
        """The world that is worked on."""
        return self.session.world

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start on a new world: that of `seed`, or of the next number from the environment's generator."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        world = self.task.world((_SEEDS, number), self.difficulty)
        self.session: Session[Any, Any] = Session(self.task, world, self.look)
        self.score = self.session.score
        return self._observe(), self._info(Hit("", "invalid"))

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Make one click.

        Raises:
            LastmileError: The click is outside the screen.
        """
        x, y = (int(c) for c in action)
        step = self.session.click(x, y)
        before, self.score = self.score, self.session.score
        reward = float(self.score.score - before.score)
        terminated = self.session.done
        truncated = not terminated and len(self.session.steps) >= self.max_steps
        return self._observe(), reward, terminated, truncated, self._info(step.hit)

    def render(self) -> np.ndarray | None:
        """The full screen, (336, 448, 3) uint8."""
        return draw(self.session.screen()) if self.render_mode == "rgb_array" else None

    def _observe(self) -> np.ndarray:
        return draw_small(self.session.screen())

    def _info(self, hit: Hit) -> dict[str, Any]:
        return {
            "widget": hit.widget,
            "kind": hit.kind,
            "score": float(self.score.score),
            "success": bool(self.score.success),
            "mistakes": len(self.session.mistakes),
        }


def env_id(task: str) -> str:
    """Gymnasium id of a task."""
    return f"lastmile/{''.join(part.capitalize() for part in task.split('_'))}-v0"


def register() -> None:
    """Make all tasks known to Gymnasium. Importing this module does so (Gymnasium 1.0 and later look for no entry points)."""
    for name in task_names():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(
                env_id(name),
                entry_point="lastmile.simulation.env:AnnotationEnv",
                kwargs={"task": name},
                max_episode_steps=None,
            )


register()
