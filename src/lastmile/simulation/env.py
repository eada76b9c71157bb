"""The tasks as Gymnasium environments.

`import lastmile` registers them: the task `colored_dots` is `lastmile/ColoredDots-v0`.

    import gymnasium, lastmile

    env = gymnasium.make("lastmile/ColoredDots-v0", difficulty="full")
    observation, info = env.reset(seed=0)

Worlds made by `reset(seed=...)` never occur in the recorded splits, so training on them leaves the
test worlds unseen; real ones are made of the data for training. To be tested on the worlds that the
studies use, ask for them by number:

    for number in range(100):
        observation, info = env.reset(options={"world": number, "split": "test"})
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH, Hit, draw, draw_small
from lastmile.screen.layout import Look
from lastmile.simulation.session import DEFAULT_LOOK, Session
from lastmile.simulation.source import Source
from lastmile.tasks import get_task
from lastmile.tasks.real import SYNTHETIC, check_source, real_world

RENDER_MODES = ("rgb_array",)
RESET_OPTIONS = ("world", "split")
"""Keys of `reset(options=...)`."""
_SEEDS = 9  # keeps the worlds of `reset(seed=...)` apart from the worlds of recorded splits


class AnnotationEnv(gymnasium.Env[np.ndarray, Any]):
    """One task, to be annotated click by click.

    - Observation: the small screen, (126, 168, 3) uint8.
    - Action: a click, two integers (x, y) in logical px, 0 <= x < 448 and 0 <= y < 336.
    - Reward: the gain in score; an episode's rewards and its first score add up to the last score.
    - Terminated: `Done` was pressed. Truncated: by `gymnasium.make`, after `max_episode_steps`.
    - Info: `widget` and `kind` of what was hit, `score`, `success`, and the number of `mistakes`
      in the annotation.

    Attributes:
        session: The session that is played.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}

    def __init__(
        self,
        task: str,
        difficulty: str = "short",
        look: Look = DEFAULT_LOOK,
        render_mode: str | None = None,
        source: str = SYNTHETIC,
    ) -> None:
        """Make an environment; `reset` makes its first world.

        Args:
            task: Name of the task.
            difficulty: Name of one of the task's difficulties.
            look: Layout and theme of the interface.
            render_mode: None, or "rgb_array".
            source: Where worlds come from: "synthetic", "real", or the folder of imported worlds.

        Raises:
            LastmileError: The task, difficulty, look, render mode or source does not exist, or the
                task has no worlds of that source.
        """
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise LastmileError(
                f"render_mode: expected None or {' or '.join(map(repr, RENDER_MODES))}, "
                f"got {render_mode!r}; to watch an episode, save the arrays as a video"
            )
        self.task = get_task(task)
        self.task.difficulty(difficulty)
        self.difficulty = difficulty
        check_source(source, task)
        self.source = source
        self.look = look.check()
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(
            0, 255, (SMALL_HEIGHT, SMALL_WIDTH, 3), np.uint8
        )
        self.action_space = gymnasium.spaces.MultiDiscrete([WIDTH, HEIGHT])

    @property
    def world(self) -> Any:
        """The world that is annotated."""
        return self.session.world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode on a new world.

        Args:
            seed: Seed of the world, and of the worlds of later resets without a seed. Without one,
                the world's seed is drawn from the environment's generator.
            options: None, or `{"world": N}` or `{"world": N, "split": SPLIT}`: the N-th world
                (from 0) of a recorded split ("train", "validation" or "test", the default) of the
                studies with seed 0, at the environment's difficulty. It is the world of
                `Source(task, split, 0, difficulty, worlds=source).world(N)`, drawn in the
                environment's own look.

        Returns:
            The first observation and info.

        Raises:
            LastmileError: An option is unknown, or its value is impossible.
        """
        super().reset(seed=seed)
        if options:
            world = self._recorded_world(options)
        else:
            number = int(self.np_random.integers(2**31)) if seed is None else seed
            world = self._own_world(number)
        self.session: Session[Any, Any] = Session(self.task, world, self.look)
        self.score = self.session.score
        return self._observe(), self._info(Hit("", "invalid"))

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Click once.

        Args:
            action: Two integers (x, y) in logical px.

        Returns:
            Observation, reward, terminated, truncated (never here: the wrapper that
            `gymnasium.make` adds counts the steps) and info.

        Raises:
            LastmileError: The action is not two integers, or outside the screen.
        """
        x, y = _pixel(action)
        step = self.session.click(x, y)
        previous_score = self.score
        self.score = self.session.score
        reward = float(self.score.score - previous_score.score)
        return self._observe(), reward, self.session.done, False, self._info(step.hit)

    def render(self) -> np.ndarray | None:
        """Draw the full screen, (336, 448, 3) uint8; None without a render mode."""
        return draw(self.session.screen()) if self.render_mode == "rgb_array" else None

    def _own_world(self, number: int) -> Any:
        """Return a world of no recorded split; a real one has the data of training worlds."""
        key = (_SEEDS, number)
        if self.source == SYNTHETIC:
            return self.task.world(key, self.difficulty)
        return real_world(self.task.name, key, "train", self.difficulty, self.source)

    def _recorded_world(self, options: dict[str, Any]) -> Any:
        for key in options:
            if key not in RESET_OPTIONS:
                raise UnknownNameError("option of reset", str(key), RESET_OPTIONS)
        number = _integer(options.get("world"))
        if number is None or number < 0:
            raise LastmileError(
                "options of reset: expected 'world' to be the number of a world, an integer of at "
                f"least 0, got {options.get('world')!r}"
            )
        split = options.get("split", "test")
        return Source(self.task.name, split, 0, self.difficulty, worlds=self.source).world(number)

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


def make_environment(**arguments: Any) -> AnnotationEnv:
    """Make an `AnnotationEnv`; the entry point of all registered ids.

    Given the class itself, `gymnasium.make` would read its render modes and answer
    `render_mode="human"` with a window that cannot be clicked. This way the class refuses it.
    """
    return AnnotationEnv(**arguments)


def _pixel(action: Sequence[Any] | np.ndarray) -> tuple[int, int]:
    """Return an action as two integers."""
    try:
        coordinates = [_integer(coordinate) for coordinate in action]
    except TypeError:  # a single number, or None
        coordinates = []
    if len(coordinates) == 2:
        x, y = coordinates
        if x is not None and y is not None:
            return x, y
    raise LastmileError(f"action: expected two integers (x, y) in logical px, got {action!r}")


def _integer(value: Any) -> int | None:
    """Return a value as an int, or None if it is not an integer."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
