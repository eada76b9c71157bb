"""Worker processes: files are the same with and without, results come in order, errors are told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from lastmile.errors import LastmileError
from lastmile.simulation import drawing, tokens, trajectory
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import TrajectoryError, episodes_path
from lastmile.simulation.workers import Workers

pytestmark = pytest.mark.xdist_group("workers")


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    with Workers(2) as workers:
        yield workers


def test_recordings_and_tokens_are_the_same_with_and_without_a_pool(
    pool: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectory, "GROUP", 100)  # several row groups, which end inside jobs
    for module in (trajectory, drawing):
        monkeypatch.setattr(module, "EPISODES_PER_JOB", 3)
    for task, split in (("colored_dots", "train"), ("shape_matching", "validation")):
        source = Source(task, split, 5, layouts=("right", "top"), themes=("dark", "light"))
        counts: list[list[int]] = []
        for workers in (None, pool):
            folder = tmp_path / task / ("alone" if workers is None else "pool")
            folder.mkdir(parents=True)
            counts += [[], []]
            path = folder / "a.parquet"
            trajectory.write(path, source, 8, counts[-2].append, workers)
            recording = trajectory.read(path)
            tokens.write(folder / "a.tokens", recording, counts[-1].append, workers)
        assert counts[0] == counts[1] == counts[2] == counts[3] == list(recording.episodes["steps"])
        for name in ("a.parquet", episodes_path("a.parquet").name, "a.tokens"):
            alone, together = (tmp_path / task / way / name for way in ("alone", "pool"))
            assert alone.read_bytes() == together.read_bytes(), name


def test_another_world_is_refused_in_a_pool_too(
    pool: Workers, recorded: trajectory.Trajectories, tmp_path: Path
) -> None:
    episodes = recorded.episodes.copy()
    episodes.loc[2, "world"] = "0"
    damaged = trajectory.Trajectories(recorded.path, recorded.source, recorded.steps, episodes)
    with pytest.raises(TrajectoryError, match="episode 2 of task 'colored_dots' was recorded in"):
        tokens.write(tmp_path / "a.tokens", damaged, pool=pool)
    assert not list(tmp_path.iterdir())


def half(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    if number == 11:
        raise TrajectoryError("eleven")
    return number // 2


def test_results_come_in_order_and_few_jobs_are_taken_ahead(pool: Workers) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in count(0):
            taken.append(number)
            yield number

    results = pool.ordered(half, jobs(), ahead=4)
    for number in range(11):
        assert next(results) == number // 2
        assert len(taken) <= number + 1 + 4
    with pytest.raises(TrajectoryError, match="eleven"):
        next(results)
    assert list(pool.ordered(half, range(5))) == [0, 0, 1, 1, 2]


def ended(_: int) -> None:
    os._exit(1)


def test_a_worker_that_dies_is_an_error() -> None:
    with Workers(1) as workers, pytest.raises(LastmileError, match="a worker process died"):
        list(workers.ordered(ended, range(3)))


def loaded(name: str) -> bool:
    import sys

    return name in sys.modules


def test_workers_load_no_torch(pool: Workers) -> None:
    assert list(pool.ordered(loaded, ["torch", "cv2"])) == [False, True]


def test_a_pool_needs_a_process() -> None:
    with pytest.raises(LastmileError, match="workers: expected at least 1, got 0"):
        Workers(0)
