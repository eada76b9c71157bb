"""Environments: Gymnasium's own checks for every task, and the pool in which policies are tested."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from lastmile.evaluation.closed_loop import roll_out, rollouts
from lastmile.simulation.env import env_id, register
from lastmile.simulation.pool import Pool, Rollout
from lastmile.tasks import task_names
from lastmile.tasks.task import digest


def make(task: str = "colored_dots", **options):
    return gymnasium.make(env_id(task), disable_env_checker=True, **options)


@pytest.mark.parametrize("task", task_names())
def test_gymnasium_finds_nothing_wrong(task):
    env = make(task, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=0)
    assert env.render().shape == (336, 448, 3)


def test_every_task_is_registered_once():
    before = dict(gymnasium.registry)
    register()
    assert gymnasium.registry == before
    assert [name for name in gymnasium.registry if name.startswith("lastmile/")] == [
        env_id(task) for task in task_names()
    ]
    assert env_id("colored_dots") == "lastmile/ColoredDots-v0"


def test_made_by_its_id_alone_and_without_torch():
    code = "import sys, gymnasium; gymnasium.make('lastmile.simulation.env:lastmile/ColoredDots-v0').reset(seed=1); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_seed_gives_one_course_of_events():
    one, two = make(), make()
    assert np.array_equal(one.reset(seed=5)[0], two.reset(seed=5)[0])
    for click in np.random.default_rng(0).integers(0, (448, 336), (25, 2)):
        first, second = one.step(click), two.step(click)
        assert np.array_equal(first[0], second[0]) and first[1:] == second[1:]
        if first[2]:
            break
    worlds = [
        digest(env.unwrapped.world) for env in (one, one, two) if env.reset()
    ]  # the next worlds are as reproducible
    assert worlds[0] == worlds[2] != worlds[1]
    assert digest(one.unwrapped.task.world((9, 5), "short")) not in worlds


@pytest.mark.parametrize("click", [(448, 0), (0, 336), (-1, 5)])
def test_a_click_outside_changes_nothing_and_is_an_error(click):
    env = make()
    env.reset(seed=0)
    state = env.unwrapped.state
    with pytest.raises(ValueError, match="outside the screen"):
        env.step(np.array(click))
    assert env.unwrapped.state is state and env.unwrapped.steps == 0


def test_rewards_add_up_to_the_score_and_done_ends_the_episode():
    env = make()
    _, info = env.reset(seed=3)
    task, world = env.unwrapped.task, env.unwrapped.world
    total, interface = info["score"], env.unwrapped.interface
    canvas = interface.screen(env.unwrapped.state).canvas
    done = interface.screen(env.unwrapped.state).widget("done").rect
    for u, v in world.xy[world.z == 0]:
        _, reward, ended, cut, info = env.step((int(canvas.x + u), int(canvas.y + v)))
        total += reward
        assert info["kind"] == "place" and not ended and not cut
    _, reward, ended, cut, info = env.step((done.x + 3, done.y + 3))
    assert ended and not cut and info["widget"] == "done" and not info["success"]
    assert (
        total + reward
        == pytest.approx(info["score"])
        == pytest.approx(task.score(world, env.unwrapped.state).score)
    )
    assert info["score"] > 0


def test_an_episode_is_cut_off():
    env = make(max_steps=3)
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
        ({"max_steps": 0}, "max_steps"),
        ({"look": None}, "check"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises((ValueError, AttributeError), match=words):
        make(**options)


@dataclass
class Toy:
    """A job that is over after some rounds."""

    number: int
    left: int

    @property
    def over(self) -> bool:
        return self.left <= 0


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 5))
def test_a_pool_returns_every_job_once(lengths, size):
    pool, finished, seen, rounds = Pool((Toy(i, n) for i, n in enumerate(lengths)), size), [], [], 0
    while True:
        new = pool.refill()
        seen += [pool.rows[row].number for row in new]
        active = pool.active()
        assert len(active) == min(
            size, len(lengths) - len(finished)
        )  # no row waits while there is work
        if not active:
            break
        for row in active:
            pool.rows[row].left -= 1
        finished += [job.number for job in pool.collect()]
        rounds += 1
    assert seen == sorted(finished) == list(range(len(lengths)))
    assert rounds <= sum(max(1, n) for n in lengths)


def test_a_pool_needs_room():
    with pytest.raises(ValueError, match="size: expected at least 1, got 0"):
        Pool([], 0)


def played(policy, recorded, rows: int) -> list[Rollout]:
    made = rollouts(recorded.source, recorded, 1)
    for job in made:
        job.max_steps = 5
    return roll_out(policy, made, 1.0, seed=3, rows=rows)


def test_a_rollout_does_not_depend_on_how_many_run_at_a_time(policy, recorded):
    one, three, eight = (played(policy, recorded, rows) for rows in (1, 3, 8))
    assert [job.number for job in one] == [0, 1, 2, 3]
    assert [len(job.steps) for job in one] == [5] * 4 and len(
        {tuple(step.click for step in job.steps) for job in one}
    ) == 4
    for first, second, third in zip(one, three, eight):
        assert first.clicks == second.clicks == third.clicks
        assert first.states == second.states == third.states


def test_a_rollout_needs_a_temperature(policy, recorded):
    with pytest.raises(ValueError, match="temperature: expected more than 0"):
        roll_out(policy, [], 0.0)
