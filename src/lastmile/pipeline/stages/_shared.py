"""Functions that several stages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lastmile.pipeline import paths

if TYPE_CHECKING:
    import pandas as pd

    from lastmile.pipeline.stage import OnTask
    from lastmile.policy.policy import Policy
    from lastmile.studies.runs import Points, Run


class PolicyAndWorlds(NamedTuple):
    """A policy and the recorded episodes of its worlds."""

    config: Path
    policy: Path
    trajectories: Path
    episodes: Path


def policy_and_worlds(spec: OnTask, results: Path) -> PolicyAndWorlds:
    """Return the files of a policy, and of the test episodes of its task."""
    folder = paths.model(results, spec.run, spec.seed)
    return PolicyAndWorlds(
        folder / "config.json",
        folder / "policy.safetensors",
        paths.trajectories(results, spec.task, "test"),
        paths.episodes(results, spec.task, "test"),
    )


def write_table(path: Path, table: pd.DataFrame, spec: OnTask) -> None:
    """Write measurements, with the labels of the policy as their first columns.

    The file is written whole or not at all.
    """
    from lastmile.storage import files, parquet

    for position, (name, value) in enumerate(spec.labels().items()):
        table.insert(position, name, value)
    with files.writing(path) as temporary:
        parquet.write(table, temporary)


def write_probes(path: Path, table: pd.DataFrame, spec: OnTask, needed: str) -> None:
    """Write measurements of probes; if there are none, tell the log what was too little for them.

    Args:
        path: The table to write.
        table: What was measured.
        spec: The spec of the job.
        needed: What would have been needed, in words.
    """
    if table.empty:
        print(f"nothing measured: the test episodes do not hold {needed}")
    write_table(path, table, spec)


BEFORE = 1000
"""Frames below which only skills of the interface are learned."""


def least_frames(run: Run, points: Points) -> int:
    """Return the frames from which on the policies along a training run are measured."""
    if points == "last":
        return run.frames
    return 0 if points == "all" else min(BEFORE, run.frames // 10)


def policies_along(
    snapshots: Path, config: Path, start: Path | None, seed: int, every: int, least: int
) -> Iterator[tuple[int, Policy]]:
    """Yield the number of frames seen, and the policy at that point of a training run.

    The first policy is the one before the run: the one that the run started from, or a random one.
    Then comes every n-th snapshot, counted back from the last one, from `least` frames on.

    Args:
        snapshots: File of the snapshots of the run.
        config: Settings of the policy, in the folder of the trained policy.
        start: Weights that the run started from; None for random ones.
        seed: Seed of the run.
        every: Every n-th snapshot is used.
        least: Frames below which a snapshot is not used.
    """
    from lastmile.policy.policy import Policy, initial, read_settings
    from lastmile.training.checkpoints import load_snapshots

    before = Policy.load(start.parent) if start else initial(read_settings(config.parent), seed)
    yield 0, before
    for frames, policy in load_snapshots(snapshots, every):
        if frames >= least:
            yield frames, policy
