"""The public names of the package, as a third party uses them."""

from __future__ import annotations

import doctest
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import lastmile
import lastmile.api
from lastmile.errors import LastmileError, MissingExtraError
from lastmile.evaluation.closed_loop import annotator_table, closed_loop
from lastmile.simulation.trajectory import STEPS, Source, Trajectories, episodes_path, read
from lastmile.tasks import get_task
from lastmile.tasks.annotator import click, make_annotator


def python(code: str) -> str:
    """What a new Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Names


def test_importing_it_imports_nothing_large() -> None:
    code = (
        "import sys; before = set(sys.modules); import lastmile;"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = set(eval(python(code)))
    large = {"numpy", "torch", "gymnasium", "pandas", "cv2", "pydantic", "click", "scipy", "yaml"}
    assert "lastmile" in loaded and not loaded & large


def test_the_environments_do_without_torch() -> None:
    code = (
        "import sys, lastmile; lastmile.make_env('colored_dots').reset(seed=0);"
        "print([name for name in ('torch', 'pandas', 'pyarrow', 'snakemake') "
        "if name in sys.modules])"
    )
    assert python(code) == "[]\n"


@pytest.mark.parametrize("order", ["lastmile, gymnasium", "gymnasium, lastmile"])
def test_importing_it_registers_the_tasks(order: str) -> None:
    code = f"import {order}; print(gymnasium.make('lastmile/ColoredDots-v0').spec.id)"
    assert python(code) == "lastmile/ColoredDots-v0\n"


def test_every_public_name_exists() -> None:
    assert set(lastmile.__all__) <= set(dir(lastmile))
    for name in lastmile.__all__:
        assert getattr(lastmile, name) is not None
    assert "colored_dots" in lastmile.task_names()
    with pytest.raises(AttributeError, match="module 'lastmile' has no attribute 'nothing'"):
        lastmile.nothing  # noqa: B018 (it raises)


def test_the_version_is_that_of_the_project(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert lastmile.__version__ == project["version"]


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "lastmile.evaluation.closed_loop")
    with pytest.raises(MissingExtraError, match=r"lastmile.evaluate needs .*\[data\]"):
        lastmile.evaluate(lambda observation, info: (0, 0), "colored_dots", worlds=1)


@pytest.mark.parametrize("module", [lastmile, lastmile.api])
def test_the_examples_are_true(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


# Environments


def test_gymnasium_finds_nothing_wrong() -> None:
    env = lastmile.make_env("limb_tracking", layout="split", theme="light", render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray) and picture.shape == (336, 448, 3)


def test_an_episode_is_cut_off() -> None:
    env = lastmile.make_env("colored_dots", max_steps=3)
    env.reset(seed=0)
    assert [env.step((300, 20))[3] for _ in range(3)] == [False, False, True]


def test_layout_and_theme_change_the_screen() -> None:
    looks = (("right", "dark"), ("left", "dark"), ("right", "light"))
    screens = [
        lastmile.make_env("colored_dots", layout=layout, theme=theme).reset(seed=0)[0]
        for layout, theme in looks
    ]
    assert len({screen.tobytes() for screen in screens}) == 3


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"task": "colored_dot"}, "did you mean 'colored_dots'?"),
        ({"difficulty": "huge"}, "'huge'"),
        ({"layout": "middle"}, "'middle'"),
        ({"theme": "neon"}, "'neon'"),
        ({"max_steps": 0}, "max_steps: expected at least 1, got 0"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_environments_that_cannot_be_made(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(LastmileError) as error:
        lastmile.make_env(**{"task": "colored_dots", **wrong})
    assert words in str(error.value)


# Recordings


def test_a_recording_is_the_same_in_memory_and_in_files(tmp_path: Path) -> None:
    out = tmp_path / "steps.parquet"
    memory = lastmile.record("colored_dots", episodes=2, seed=3, style="hasty")
    written = lastmile.record("colored_dots", episodes=2, seed=3, style="hasty", out=out)
    assert sorted(tmp_path.iterdir()) == sorted([out, episodes_path(out)])
    assert list(memory.steps.columns) == STEPS.names and len(memory.episodes) == 2
    for recording in (written, read(out)):
        assert recording.steps.equals(memory.steps) and recording.episodes.equals(memory.episodes)
        assert recording.source == Source("colored_dots", "test", 3, style="hasty")
    assert len(list(memory.open(1).replay())) == memory.episodes["steps"].iloc[1]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"task": "colored_dot"}, "did you mean 'colored_dots'?"),
        ({"episodes": 0}, "episodes: expected at least 1, got 0"),
        ({"split": "tests"}, "'tests'"),
        ({"seed": -1}, "-1"),
        ({"difficulty": "huge"}, "'huge'"),
        ({"style": "lazy"}, "'lazy'"),
    ],
)
def test_recordings_that_cannot_be_made(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(LastmileError) as error:
        lastmile.record(**{"task": "colored_dots", "out": tmp_path / "x.parquet", **wrong})
    assert words in str(error.value) and not list(tmp_path.iterdir())


# Evaluation


class Recorded:
    """A player that repeats recorded clicks, and keeps what it was given."""

    def __init__(self, recording: Trajectories) -> None:
        self.recording = recording
        self.episode = -1
        self.infos: list[dict[str, Any]] = []
        self.screens: list[np.ndarray] = []

    def reset(self) -> None:
        self.episode += 1
        self.clicks = iter(self.recording.clicks(self.episode).tolist())

    def __call__(self, observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        self.screens.append(observation)
        self.infos.append(info)
        x, y = next(self.clicks)
        return x, y


def test_a_player_that_repeats_the_annotator_scores_like_it(recorded: Trajectories) -> None:
    player = Recorded(recorded)
    table = lastmile.evaluate(player, "colored_dots", worlds=4, seed=3)
    assert table.equals(annotator_table(recorded).drop(columns="loop"))


def test_a_player_is_told_what_a_person_would_know(recorded: Trajectories) -> None:
    player = Recorded(recorded)
    table = lastmile.evaluate(player, "colored_dots", worlds=1, seed=3, theme="light")
    clicks = recorded.clicks(0).tolist()
    assert {(screen.shape, screen.dtype) for screen in player.screens} == {
        ((126, 168, 3), np.dtype(np.uint8))
    }
    assert [info["step"] for info in player.infos] == list(range(table["steps"].iloc[0]))
    assert [info["click"] for info in player.infos] == [None, *map(tuple, clicks[:-1])]
    kinds = recorded.steps["kind"].tolist()[: len(clicks)]
    assert [info["kind"] for info in player.infos] == ["", *kinds[:-1]]
    assert set(player.infos[0]) == {"task", "step", "max_steps", "click", "widget", "kind"}


def test_a_policy_scores_as_in_the_studies(
    recorded: Trajectories, policy: Any, tmp_path: Path
) -> None:
    expected = closed_loop(policy, recorded.first(2), 0.4, 3, 3).drop(columns="loop")
    policy.save(tmp_path)
    for same in (policy, tmp_path, str(tmp_path)):
        table = lastmile.evaluate(same, "colored_dots", worlds=2, seed=3)
        assert table.equals(expected)


def test_a_function_is_a_player() -> None:
    table = lastmile.evaluate(
        lambda observation, info: (224, 168), "limb_tracking", worlds=2, max_steps=5
    )
    assert len(table) == 2 and (table["steps"] == 5).all() and not table["success"].any()


def test_an_annotator_can_be_scored_with_a_few_lines() -> None:
    """Worlds are known by number, so that a player with the truth is possible, too."""
    task = get_task("road_mapping")
    world = Source("road_mapping", "test", 0).world(0)
    interface = task.interface(world)
    rng = np.random.default_rng(0)
    annotator = make_annotator(task, world, interface, "oracle", rng)
    state = interface.start()

    def play(observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        nonlocal state
        screen = interface.screen(state)
        x, y = click(annotator.next(state), screen, rng)
        state = interface.apply(state, interface.hit(state, x, y))
        return x, y

    table = lastmile.evaluate(play, "road_mapping", worlds=1)
    assert table["success"].all() and table["finished"].all()


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"task": "colored_dot"}, "did you mean 'colored_dots'?"),
        ({"worlds": 0}, "worlds: expected at least 1, got 0"),
        ({"max_steps": 0}, "max_steps: expected at least 1, got 0"),
        ({"split": "tests"}, "'tests'"),
        ({"seed": -1}, "-1"),
        ({"difficulty": "huge"}, "'huge'"),
        ({"layout": "middle"}, "'middle'"),
        ({"theme": "neon"}, "'neon'"),
        ({"policy": lambda observation, info: (448, 0)}, "outside the screen"),
        ({"policy": lambda observation, info: (0.5, 1)}, "expected two integers (x, y)"),
        ({"policy": lambda observation, info: None}, "expected two integers (x, y)"),
        ({"policy": "joitn"}, "unknown policy or folder 'joitn'; did you mean 'joint'?"),
        ({"policy": "no/where"}, "no/where/config.json"),
    ],
)
def test_evaluations_that_cannot_be_made(wrong: dict[str, Any], words: str) -> None:
    def nothing(observation: np.ndarray, info: dict[str, Any]) -> tuple[int, int]:
        return 0, 0

    with pytest.raises(LastmileError) as error:
        lastmile.evaluate(
            **{"policy": nothing, "task": "colored_dots", "worlds": 1, "max_steps": 2, **wrong}
        )
    assert words in str(error.value)


def test_a_temperature_that_is_not_above_zero_is_refused(policy: Any) -> None:
    with pytest.raises(LastmileError, match="temperature"):
        lastmile.evaluate(policy, "colored_dots", worlds=1, max_steps=1, temperature=0)
