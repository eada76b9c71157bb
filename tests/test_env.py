"""Environments: Gymnasium's own checks for every task, and the pool that plays rollouts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from lastmile.evaluation.closed_loop import make_rollouts, play_rollouts
from lastmile.policy.policy import Policy
from lastmile.simulation.env import AnnotationEnv
from lastmile.simulation.pool import Pool, Rollout
from lastmile.simulation.registration import env_id, register_environments
from lastmile.simulation.trajectory import Source, Trajectories
from lastmile.tasks import task_names
from lastmile.tasks.task import digest

register_environments()


def make(task: str = "colored_dots", **options: Any) -> gymnasium.Env[np.ndarray, Any]:
    return gymnasium.make(env_id(task), disable_env_checker=True, **options)


def inner(env: gymnasium.Env[np.ndarray, Any]) -> AnnotationEnv:
    """Return the environment without Gymnasium's wrappers."""
    assert isinstance(env.unwrapped, AnnotationEnv)
    return env.unwrapped


@pytest.mark.parametrize("task", task_names())
def test_gymnasium_finds_nothing_wrong(task: str) -> None:
    env = make(task, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray) and picture.shape == (336, 448, 3)


def test_every_task_is_registered_once() -> None:
    before = dict(gymnasium.registry)
    register_environments()
    assert gymnasium.registry == before
    assert [name for name in gymnasium.registry if name.startswith("lastmile/")] == [
        env_id(task) for task in task_names()
    ]
    assert env_id("colored_dots") == "lastmile/ColoredDots-v0"
    assert gymnasium.spec(env_id("colored_dots")).max_episode_steps == 500


def run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code]).returncode


REGISTER = (
    "from lastmile.simulation.registration import register_environments; register_environments()"
)


@pytest.mark.parametrize("first", [REGISTER, "import gymnasium"])
def test_ids_are_known_in_either_order_of_imports_and_without_torch(first: str) -> None:
    code = f"""
import sys
{first}
{REGISTER}
import gymnasium
from importlib.machinery import SourceFileLoader
assert type(gymnasium.__spec__.loader) is type(gymnasium.__loader__) is SourceFileLoader
assert not any("lastmile" in type(finder).__module__ for finder in sys.meta_path)
gymnasium.make("lastmile/ColoredDots-v0").reset(seed=1)
assert "torch" not in sys.modules
"""
    assert run(code) == 0


def test_importing_the_package_alone_makes_the_ids_known() -> None:
    assert run("import lastmile, gymnasium; gymnasium.make('lastmile/ColoredDots-v0')") == 0
    assert run("import gymnasium, lastmile; gymnasium.make('lastmile/ColoredDots-v0')") == 0
    assert run("import gymnasium; gymnasium.make('lastmile:lastmile/ColoredDots-v0')") == 0


def test_registering_imports_nothing_large_and_looking_for_gymnasium_does_no_harm() -> None:
    code = f"""
import sys, importlib.util
{REGISTER}
assert not {{"gymnasium", "numpy", "torch", "lastmile.tasks"}} & set(sys.modules)
assert importlib.util.find_spec("gymnasium") is not None
assert "gymnasium" not in sys.modules
import gymnasium
assert "lastmile/ColoredDots-v0" in gymnasium.registry
"""
    assert run(code) == 0


def test_a_seed_determines_the_course_of_events() -> None:
    one, two = make(), make()
    assert np.array_equal(one.reset(seed=5)[0], two.reset(seed=5)[0])
    for click in np.random.default_rng(0).integers(0, (448, 336), (25, 2)):
        first, second = one.step(click), two.step(click)
        assert np.array_equal(first[0], second[0]) and first[1:] == second[1:]
        if first[2]:
            break
    worlds = [
        digest(inner(env).world) for env in (one, one, two) if env.reset()
    ]  # the next worlds are as reproducible
    assert worlds[0] == worlds[2] != worlds[1]
    assert digest(inner(one).task.world((9, 5), "short")) not in worlds


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_worlds_of_recorded_splits_can_be_asked_for(split: str) -> None:
    env = make(difficulty="full")
    env.reset(options={"world": 3, "split": split})
    assert digest(inner(env).world) == digest(Source("colored_dots", split, 0, "full").world(3))
    env.reset(seed=1, options={"world": np.int64(3)})
    assert digest(inner(env).world) == digest(Source("colored_dots", "test", 0, "full").world(3))
    env.reset(seed=3, options={})
    assert digest(inner(env).world) == digest(inner(env).task.world((9, 3), "full"))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"wrld": 3}, "unknown option of reset 'wrld'; did you mean 'world'.*world, split"),
        ({"world": 3, "seed": 1}, "unknown option of reset 'seed'"),
        ({"world": 3, "split": "dev"}, "unknown split 'dev'.*train, validation, test"),
        ({"split": "test"}, "'world' to be the number of a world.*got None"),
        ({"world": -1}, "at least 0, got -1"),
        ({"world": 1.0}, "an integer of at least 0, got 1.0"),
        ({"world": True}, "an integer of at least 0, got True"),
    ],
)
def test_impossible_options_of_reset_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make().reset(options=options)


@pytest.mark.parametrize("click", [(448, 0), (0, 336), (-1, 5)])
def test_a_click_outside_changes_nothing_and_is_an_error(click: tuple[int, int]) -> None:
    env = make()
    env.reset(seed=0)
    state = inner(env).session.state
    with pytest.raises(ValueError, match="outside the screen"):
        env.step(np.array(click))
    assert inner(env).session.state is state and len(inner(env).session.steps) == 0


@pytest.mark.parametrize(
    "action", [(1.5, 2), np.array([3.0, 4.0]), (1,), (1, 2, 3), 7, None, "ab", (True, 2)]
)
def test_an_action_is_two_integers(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected two integers \(x, y\)"):
        env.step(action)
    assert len(inner(env).session.steps) == 0


def test_rewards_add_up_to_the_score_and_done_ends_the_episode() -> None:
    env = make()
    _, info = env.reset(seed=3)
    session = inner(env).session
    total = info["score"]
    canvas = session.screen().canvas
    done = session.screen().widget("done").rect
    for u, v in session.world.xy[session.world.z == 0]:
        _, reward, ended, cut, info = env.step((int(canvas.x + u), int(canvas.y + v)))
        total += float(reward)
        assert info["kind"] == "place" and not ended and not cut
    _, reward, ended, cut, info = env.step((done.x + 3, done.y + 3))
    assert ended and not cut and info["widget"] == "done" and not info["success"]
    assert (
        total + float(reward)
        == pytest.approx(info["score"])
        == pytest.approx(session.task.score(session.world, session.state).score)
    )
    assert info["score"] > 0


def test_an_episode_is_truncated() -> None:
    env = make(max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step((0, 0))[2:4] for _ in range(3)] == [
        (False, False),
        (False, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"difficulty": "hard"}, "'hard'"),
        ({"max_episode_steps": 0}, "max_episode_steps"),
        ({"look": None}, "check"),
        ({"render_mode": "human"}, "render_mode: expected None or 'rgb_array', got 'human'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, AttributeError, AssertionError), match=words):
        make(**options)


@dataclass
class Countdown:
    """A stand-in for a rollout that is over after some rounds."""

    number: int
    left: int

    @property
    def over(self) -> bool:
        return self.left <= 0


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 5))
def test_a_pool_returns_every_rollout_once(lengths: list[int], size: int) -> None:
    rollouts = [Countdown(i, n) for i, n in enumerate(lengths)]
    pool = Pool(rollouts, size)  # type: ignore[arg-type]  # stand-ins
    finished: list[int] = []
    seen: list[int] = []
    rounds = 0
    while True:
        new = pool.refill()
        seen += [pool[row].number for row in new]
        active = pool.active()
        # No row waits while there is work.
        assert len(active) == min(size, len(lengths) - len(finished))
        if not active:
            break
        for row in active:
            rollouts[pool[row].number].left -= 1
        finished += [rollout.number for rollout in pool.collect()]
        rounds += 1
    assert seen == sorted(finished) == list(range(len(lengths)))
    assert rounds <= sum(max(1, n) for n in lengths)
    with pytest.raises(LookupError, match="row 0 holds no rollout"):
        pool[0]


def test_a_pool_needs_room() -> None:
    with pytest.raises(ValueError, match="size: expected at least 1, got 0"):
        Pool([], 0)


def played(policy: Policy, recorded: Trajectories, rows: int) -> list[Rollout]:
    rollouts = make_rollouts(recorded, 1)
    for rollout in rollouts:
        rollout.max_steps = 5
    return play_rollouts(policy, rollouts, 1.0, seed=3, rows=rows)


def test_a_rollout_does_not_depend_on_how_many_are_played_at_a_time(
    policy: Policy, recorded: Trajectories
) -> None:
    one, three, eight = (played(policy, recorded, rows) for rows in (1, 3, 8))
    clicks = [[step.click for step in rollout.steps] for rollout in one]
    assert [rollout.number for rollout in one] == [0, 1, 2, 3]
    assert [len(rollout.steps) for rollout in one] == [5] * 4
    assert len(set(map(tuple, clicks))) == 4
    for others in (three, eight):
        assert [[step.click for step in rollout.steps] for rollout in others] == clicks
        assert [rollout.states for rollout in others] == [rollout.states for rollout in one]


def test_a_rollout_needs_a_temperature(policy: Policy) -> None:
    with pytest.raises(ValueError, match="temperature: expected more than 0"):
        play_rollouts(policy, [], 0.0)
