"""What formats for learning hold of an episode: screens, clicks, rewards, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lastmile.exports.format import Episode
from lastmile.screen import Screen, draw, draw_small_series


class Rollout(NamedTuple):
    """An episode of T clicks.

    Attributes:
        clicks: (T, 2) int64, (x, y) in logical px of the screen.
        rewards: (T,) float32, the gain in score of each click, as in the environments.
        terminated: Whether `Done` was pressed, with the last click.
        success: Whether the last state is a success.
    """

    clicks: np.ndarray
    rewards: np.ndarray
    terminated: bool
    success: bool


def rollout(episode: Episode) -> Rollout:
    """Return clicks and rewards of an episode."""
    session = episode.session
    scores = np.array([session.task.score(session.world, state).score for state in session.states])
    return Rollout(
        np.array([step.click for step in session.steps], np.int64).reshape(-1, 2),
        np.diff(scores).astype(np.float32),
        session.done,
        bool(session.score.success),
    )


def small_screens(episode: Episode) -> np.ndarray:
    """Return the screen before each click and the last one, (T + 1, 126, 168, 3) uint8."""
    return draw_small_series(_screens(episode))


def full_screens(episode: Episode) -> np.ndarray:
    """Return the screen before each click and the last one, (T + 1, 336, 448, 3) uint8."""
    return np.stack([draw(screen) for screen in _screens(episode)])


Screens = Callable[[Episode], np.ndarray]
"""One of the two functions above."""


def _screens(episode: Episode) -> list[Screen]:
    session = episode.session
    return [session.interface.screen(state, session.look) for state in session.states]
