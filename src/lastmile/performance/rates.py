"""How fast one core does each step of the workflow, measured on this machine: what `python -m lastmile plan` reckons with.

Seconds are those that the process itself spent on processors, so that other work on the machine does not count. The table in `rates.json` was made by
`python -m lastmile rates --out src/lastmile/rates.json`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lastmile.config import PolicySettings
from lastmile.pipeline.plan import shape
from lastmile.simulation import tokens, trajectory
from lastmile.tasks import task_names

EPISODES = 4
SHAPES = (
    *({"size": size} for size in ("xs", "s", "m", "l")),
    {"size": "xs", "context": "patch", "head": "bins"},
)
"""Policies that are measured."""
RECKONED = (
    *({"size": size, "context": "patch", "head": "bins"} for size in ("s", "m", "l")),
    {"size": "paper", "encoder": "dinov2", "context": "patch", "head": "bins"},
)
"""Policies whose speed is reckoned from that of the last one measured, by their operations."""


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """All rates.

    tasks: by task, seconds to record a step (with and without asking again) and to draw its tokens, bytes of a frame in the token file, steps of an
    episode by difficulty. policies: by shape, parameters, operations a frame, frames a second in training and in teacher-forced prediction, steps a second
    in closed loop. start: seconds that a job takes before it begins.
    """
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {}
        for name in task_names():
            tasks[name] = _task(name, Path(folder))
            say(f"{name}: {tasks[name]}")
        policies = {}
        for settings in SHAPES:
            policies[shape(PolicySettings(**settings))] = found = _policy(
                PolicySettings(**settings), Path(folder) / "colored_dots.tokens"
            )
            say(f"{settings}: {found}")
    for settings in RECKONED:
        policies[shape(PolicySettings(**settings))] = _reckoned(
            PolicySettings(**settings), policies[shape(PolicySettings(**SHAPES[-1]))]
        )
    return {"start": _start(), "tasks": tasks, "policies": policies}


def _spent(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    made = work()
    return time.process_time() - begin, made


def _task(name: str, folder: Path) -> dict[str, Any]:
    steps, seconds = {}, {}
    trajectory.record(trajectory.Source(name, "train", 0), 0)  # warm
    for difficulty in ("short", "full"):
        source = trajectory.Source(name, "test", 0, difficulty)
        spent, made = _spent(
            lambda source=source: [trajectory.record(source, number) for number in range(EPISODES)]
        )
        steps[difficulty] = sum(len(one.columns["x"]) for one in made) / EPISODES
        seconds[difficulty] = spent / (EPISODES * steps[difficulty])
    path = folder / f"{name}.parquet"
    asked, _ = _spent(lambda: trajectory.write(path, trajectory.Source(name, "test", 0), EPISODES))
    drawn, _ = _spent(lambda: tokens.write(path.with_suffix(".tokens"), trajectory.read(path)))
    frames = EPISODES * steps["short"]
    size = path.with_suffix(".tokens").stat().st_size
    found = {
        "record": seconds["short"],
        "record_again": asked / frames,
        "tokenize": drawn / frames,
        "bytes": size / frames,
    }
    return {
        **{key: float(f"{value:.3g}") for key, value in found.items()},
        "steps": {key: round(value, 1) for key, value in steps.items()},
    }


def _policy(settings: PolicySettings, path: Path) -> dict[str, Any]:
    from lastmile.evaluation.skills import predictions
    from lastmile.performance.speed import rollout_rate, training_rate
    from lastmile.policy import flops_per_frame, parameter_count
    from lastmile.policy.policy import initial
    from lastmile.simulation.tokens import FirstEpisodes

    store = tokens.TokenStore(path)
    training_rate(store, settings, 1)  # warm
    spent, _ = _spent(lambda: training_rate(store, settings, 4))
    seen = _frames_of(store, settings, 4)
    policy = initial(settings, 0)
    some = FirstEpisodes(store, 2)
    predicted, _ = _spent(lambda: predictions(policy, some))
    begin, wall = time.process_time(), time.perf_counter()
    played = rollout_rate(policy, "colored_dots", 1)
    share = (time.process_time() - begin) / (time.perf_counter() - wall)
    found = {
        "train": seen / spent,
        "predict": len(some.clicks) / predicted,
        "rollout": played / min(1.0, share),
    }
    return {
        "parameters": parameter_count(settings),
        "operations": flops_per_frame(settings),
        **{key: float(f"{value:.3g}") for key, value in found.items()},
    }


def _frames_of(store: tokens.TokenStore, settings: PolicySettings, steps: int) -> int:
    """Frames of the steps that `training_rate` takes, those to warm up included."""
    from lastmile.config import Training
    from lastmile.performance.speed import WARM
    from lastmile.training.windows import WindowSampler

    sampler = WindowSampler([store.starts], settings.window, Training().batch, 0)
    return sum(window.length for step in range(WARM + steps) for window in sampler.windows(step))


def _reckoned(settings: PolicySettings, known: dict[str, Any]) -> dict[str, Any]:
    from lastmile.policy import flops_per_frame, parameter_count

    operations = flops_per_frame(settings)
    rates = {
        key: known[key] * known["operations"] / operations
        for key in ("train", "predict", "rollout")
    }
    return {
        "parameters": parameter_count(settings),
        "operations": operations,
        **{key: float(f"{value:.3g}") for key, value in rates.items()},
    }


def _start() -> float:
    import resource
    import subprocess
    import sys

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    begin = spent()
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import lastmile.evaluation.skills, lastmile.simulation.tokens, pandas",
        ],
        check=True,
    )
    return round(spent() - begin, 2)
