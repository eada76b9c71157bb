"""Rates: how fast one core does each stage of the workflow. `lastmile plan` computes with them.

The table in `rates.json` was measured by `lastmile rates`. Seconds are processor time of the
process itself, so that other work on the machine does not count.

Reading the table imports neither torch nor the simulation: those are imported by what measures.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from lastmile.closed import Closed
from lastmile.config import PolicySettings

if TYPE_CHECKING:
    from lastmile.simulation.tokens import TokenStore

RATES = Path(__file__).with_name("rates.json")
"""The table that comes with the package."""
EPISODES = 4
"""Episodes that are measured of each task."""
SHAPES = (
    *({"size": size} for size in ("xs", "s", "m", "l")),
    {"size": "xs", "context": "patch", "head": "bins"},
)
"""Settings of the policies that are measured."""
EXTRAPOLATED = (
    *({"size": size, "context": "patch", "head": "bins"} for size in ("s", "m", "l")),
    {"size": "paper", "encoder": "dinov2", "context": "patch", "head": "bins"},
)
"""Settings of policies whose speed follows, by their FLOPs, from the last one measured."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TaskRates(Closed):
    """The rates of a task, as `task_rates` returns them."""

    record: Positive
    record_again: Positive
    tokenize: Positive
    bytes: Positive
    steps: dict[str, Positive]


class PolicyRates(Closed):
    """The rates of a policy's shape, as `measure` returns them."""

    parameters: Positive
    operations: Positive
    train: Positive
    predict: Positive
    rollout: Positive


class RateTable(Closed):
    """The table of rates."""

    start: Positive
    tasks: Annotated[dict[str, TaskRates], Field(min_length=1)]
    policies: Annotated[dict[str, PolicyRates], Field(min_length=1)]


T = TypeVar("T")


def shape(policy: PolicySettings) -> str:
    """Return the name of a policy's shape in the table: its size, and what is not the default."""
    default = PolicySettings()
    parts = [
        getattr(policy, key)
        for key in ("encoder", "context", "head")
        if getattr(policy, key) != getattr(default, key)
    ]
    return ".".join([policy.size, *parts])


def task_rates(table: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the rates of a task; of a task that was not measured, the median of the others.

    Args:
        table: The table of rates.
        task: Name of the task.

    Returns:
        `record`, `record_again` and `tokenize` in seconds per step, `bytes` per frame of a token
        file, and `steps` per episode by difficulty.
    """
    known: dict[str, dict[str, Any]] = table["tasks"]
    if task in known:
        return known[task]
    tasks = list(known.values())
    medians: dict[str, Any] = {
        key: statistics.median(rates[key] for rates in tasks)
        for key in ("record", "record_again", "tokenize", "bytes")
    }
    medians["steps"] = {
        difficulty: statistics.median(rates["steps"][difficulty] for rates in tasks)
        for difficulty in tasks[0]["steps"]
    }
    return medians


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Measure all rates, which takes some minutes.

    Args:
        say: Called with a line about each result.

    Returns:
        - `start`: seconds that a job takes before it begins.
        - `tasks`: by task, as `task_rates` returns them.
        - `policies`: by shape, the number of `parameters`, forward `operations` (FLOPs) per frame,
          frames per second in training (`train`) and in teacher-forced prediction (`predict`), and
          steps per second in closed loop (`rollout`).
    """
    import torch

    from lastmile.tasks import task_names

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {}
        for name in task_names():
            tasks[name] = _measure_task(name, Path(folder))
            say(f"{name}: {tasks[name]}")

        policies = {}
        for chosen in SHAPES:
            settings = PolicySettings.model_validate(chosen)
            rates = _measure_policy(settings, Path(folder) / "colored_dots.tokens")
            policies[shape(settings)] = rates
            say(f"{shape(settings)}: {rates}")

    for chosen in EXTRAPOLATED:
        settings = PolicySettings.model_validate(chosen)
        policies[shape(settings)] = _extrapolated(settings, rates)
    return {"start": _start_seconds(), "tasks": tasks, "policies": policies}


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the processor seconds that `work` takes, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _rounded(rates: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.3g}") for key, value in rates.items()}


def _measure_task(name: str, folder: Path) -> dict[str, Any]:
    """Measure the rates of a task, and leave its recording and tokens in `folder`."""
    from lastmile.simulation import tokens, trajectory

    trajectory.record(trajectory.Source(name, "train", 0), 0)  # fills the caches

    steps: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for difficulty in ("short", "full"):
        source = trajectory.Source(name, "test", 0, difficulty)

        def record_all(source: trajectory.Source = source) -> list[trajectory.Episode]:
            return [trajectory.record(source, number) for number in range(EPISODES)]

        spent, episodes = _timed(record_all)
        steps[difficulty] = sum(len(episode.columns["x"]) for episode in episodes) / EPISODES
        seconds[difficulty] = spent / (EPISODES * steps[difficulty])

    path = folder / f"{name}.parquet"
    token_path = path.with_suffix(".tokens")
    source = trajectory.Source(name, "test", 0)
    recording, _ = _timed(lambda: trajectory.write(path, source, EPISODES))
    drawing, _ = _timed(lambda: tokens.write(token_path, trajectory.read(path)))
    frames = EPISODES * steps["short"]
    rates = {
        "record": seconds["short"],
        "record_again": recording / frames,
        "tokenize": drawing / frames,
        "bytes": token_path.stat().st_size / frames,
    }
    lengths = {difficulty: round(length, 1) for difficulty, length in steps.items()}
    return {**_rounded(rates), "steps": lengths}


def _measure_policy(settings: PolicySettings, path: Path) -> dict[str, Any]:
    """Measure the rates of a policy on a token file of colored dots."""
    from lastmile.evaluation.skills import predictions
    from lastmile.performance.speed import rollout_rate, training_rate
    from lastmile.policy.policy import initial, parameter_count
    from lastmile.policy.sizes import flops_per_frame
    from lastmile.simulation.tokens import FirstEpisodes, TokenStore

    store = TokenStore(path)
    training_rate(store, settings, 1)  # warms up
    training, _ = _timed(lambda: training_rate(store, settings, 4))

    policy = initial(settings, 0)
    episodes = FirstEpisodes(store, 2)
    predicting, _ = _timed(lambda: predictions(policy, episodes))

    # Rollouts are timed by the clock on the wall: count only the share of it that we had.
    processor, wall = time.process_time(), time.perf_counter()
    rollouts = rollout_rate(policy, "colored_dots", 1)
    share = (time.process_time() - processor) / (time.perf_counter() - wall)

    rates = {
        "train": _frames_of(store, settings, 4) / training,
        "predict": len(episodes.clicks) / predicting,
        "rollout": rollouts / min(1.0, share),
    }
    return {
        "parameters": parameter_count(settings),
        "operations": flops_per_frame(settings),
        **_rounded(rates),
    }


def _frames_of(store: TokenStore, settings: PolicySettings, steps: int) -> int:
    """Count the frames of the updates that `training_rate` makes, warm-up included."""
    from lastmile.config import Training
    from lastmile.performance.speed import WARM
    from lastmile.training.windows import WindowSampler

    sampler = WindowSampler([store.starts], settings.window, Training().batch, 0)
    return sum(window.length for step in range(WARM + steps) for window in sampler.windows(step))


def _extrapolated(settings: PolicySettings, measured: dict[str, Any]) -> dict[str, Any]:
    """Compute the rates of a policy from those of a measured one, by the ratio of their FLOPs."""
    from lastmile.policy.policy import parameter_count
    from lastmile.policy.sizes import flops_per_frame

    operations = flops_per_frame(settings)
    rates = {
        key: measured[key] * measured["operations"] / operations
        for key in ("train", "predict", "rollout")
    }
    return {
        "parameters": parameter_count(settings),
        "operations": operations,
        **_rounded(rates),
    }


def _start_seconds() -> float:
    """Measure the processor seconds that a job takes to import what it needs."""
    import resource
    import subprocess
    import sys

    def children_seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = children_seconds()
    imports = "import lastmile.evaluation.skills, lastmile.simulation.tokens, pandas"
    subprocess.run([sys.executable, "-c", imports], check=True)
    return round(children_seconds() - before, 2)
