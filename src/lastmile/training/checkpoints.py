"""What a training run keeps: a checkpoint to resume from, snapshots along the way, the results."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from lastmile.errors import LastmileError
from lastmile.policy.outline import outline
from lastmile.policy.policy import Policy
from lastmile.policy.weights import (
    PolicyError,
    check_weights,
    read_meta,
    read_named,
    read_tensors,
    restore,
    weights,
    write_parts,
    write_tensors,
)
from lastmile.storage import files, seal
from lastmile.storage.seal import SealError
from lastmile.storage.tensors import Part
from lastmile.training.devices import Precision
from lastmile.training.processes import say

CHECKPOINT = "last.ckpt"
PROGRESS = "progress.jsonl"
COLUMNS = ("step", "frames", "loss", "learning_rate", "validation_loss")
"""Columns of progress.csv: what is the same for each repetition of a run."""


class Checkpoint(TypedDict):
    """What a training run resumes from.

    Attributes:
        spec: What the run is; a checkpoint is only used for an equal one.
        done: Updates so far.
        losses: Sum of nats and number of frames since the last line of progress.
        policy: The weights.
        optimizer: State of the optimizer.
        scaling: State of the gradient scaler.
        progress: The lines of progress so far: after a loss of power the file may lack some.
        arithmetic: Number formats that the run computes with, wherever it is resumed.
        seconds: Seconds that the run has taken so far, interruptions not counted.
    """

    spec: str
    done: int
    losses: list[float]
    policy: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaling: dict[str, Any]
    progress: str
    arithmetic: Precision
    seconds: float


class ReadError(LastmileError):
    """Work that exists but cannot be read now; the message names the file."""


def resume(
    folder: Path, policy: Policy, spec: str, snapshots: Mapping[int, int]
) -> Checkpoint | None:
    """Resume the run in `folder`, if there is one of this spec and nothing of it is lost.

    A checkpoint or a snapshot that is broken for sure is kept as `NAME.bad`, and the log says why
    it is not used.

    Args:
        folder: Folder of the run.
        policy: Takes the weights of the checkpoint.
        spec: What the run is.
        snapshots: Frames seen by each update after which a snapshot is kept; the last update is
            one of them.

    Returns:
        The checkpoint, or None if the run starts from the beginning.

    Raises:
        ReadError: There is a checkpoint, but it cannot be read now: a disk or server that does not
            answer, too many open files, too little memory. Nothing is changed.
    """
    path = folder / CHECKPOINT
    for torn in folder.glob(".*.part"):  # left by a process that was killed while writing
        torn.unlink(missing_ok=True)
    problem = ""
    try:
        checkpoint = read_checkpoint(path)
        done = checkpoint["done"]
        kept = [frames for update, frames in snapshots.items() if update <= done]
        if checkpoint["spec"] != spec:
            problem = "it belongs to other settings, data or code"
        elif lost := lost_snapshot(folder, kept):
            problem = lost
        else:
            files.write_text(folder / PROGRESS, checkpoint["progress"])
            restore(policy, checkpoint["policy"], path)
            say(f"resuming after update {done}/{max(snapshots)}")
            return checkpoint
    except FileNotFoundError:
        pass
    except (SealError, KeyError, TypeError) as error:
        message = str(error).splitlines()[0] if str(error) else ""
        problem = f"it is damaged or foreign ({type(error).__name__}: {message})"
    except (OSError, MemoryError, RuntimeError) as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ReadError(
            f"{path}: cannot be read now ({message}); nothing was changed. Run the same command "
            f"again, or remove {folder} to start from the beginning"
        ) from error
    if problem:
        path.replace(path.with_name(f"{path.name}.bad"))
        say(f"{path}: not used, kept as {path.name}.bad: {problem}; starting from the beginning")
    (folder / PROGRESS).unlink(missing_ok=True)
    return None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all, sealed by a digest."""
    with files.writing(path) as temporary:
        try:
            torch.save(checkpoint, temporary)
        except RuntimeError as error:  # what torch raises on a full disk
            raise OSError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from None
        with open(temporary, "ab") as handle:
            handle.write(seal.BLANK.encode())
        seal.close(temporary)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        SealError: A byte of it was changed, or it was not written here.
        KeyError: Another version of this package wrote it.
        OSError: It is missing, or cannot be read now.
        MemoryError, RuntimeError: There is too little memory.
    """
    data = path.read_bytes()
    seal.check(data)
    content = io.BytesIO(data[: -len(seal.BLANK)])
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except (OSError, MemoryError, RuntimeError):
        raise
    except Exception as error:  # what torch thinks of other files, it says in many ways
        raise SealError(f"not a checkpoint ({type(error).__name__})") from None
    return Checkpoint(
        spec=state["spec"],
        done=state["done"],
        losses=state["losses"],
        policy=state["policy"],
        optimizer=state["optimizer"],
        scaling=state["scaling"],
        progress=state["progress"],
        arithmetic=state["arithmetic"],
        seconds=state["seconds"],
    )


def read_progress(folder: Path) -> str:
    """Return the lines of progress so far."""
    path = folder / PROGRESS
    return path.read_text(encoding="utf-8") if path.exists() else ""


EARLY = (1, 2, 4, 8)
"""Updates after which a snapshot is kept; by number, so that all seeds have the same ones."""
SHORT = 40
"""Runs of at most this many updates have no early snapshots."""


def snapshot_updates(seen: np.ndarray, count: int) -> list[int]:
    """Return the updates, counted from 1, after which a snapshot is kept.

    They are log-spaced in frames, from a hundredth of all (at least 1000) to the last update.
    Before them come those after EARLY updates, unless the run is short: skills of the interface
    are learned there.

    Args:
        seen: (updates,), frames seen after each update.
        count: Number of snapshots besides the early ones; fewer where two fall on one update.
    """
    last = int(seen[-1])
    first = min(max(1000, last // 100), last)
    wanted = np.geomspace(first, last, count) if count > 1 else np.array([last])
    early = set(EARLY) if len(seen) > SHORT else set()
    return sorted(
        {min(int(np.searchsorted(seen, frames)) + 1, len(seen)) for frames in wanted}
        | {len(seen)}
        | early
    )


def snapshot_path(folder: Path, frames: int) -> Path:
    """Return the file of the snapshot after `frames` frames."""
    return folder / f"snapshot-{frames:012d}.safetensors"


def save_snapshot(folder: Path, frames: int, policy: Policy) -> None:
    """Write the snapshot after `frames` frames, whole or not at all."""
    with files.writing(snapshot_path(folder, frames)) as temporary:
        write_tensors(temporary, weights(policy), {})


def lost_snapshot(folder: Path, counts: list[int]) -> str:
    """Return which of the snapshots after these numbers of frames cannot be used, or "".

    Raises:
        OSError: A snapshot exists but cannot be read now.
    """
    for frames in counts:
        path = snapshot_path(folder, frames)
        try:
            seal.check(path)
        except (FileNotFoundError, SealError) as error:
            return f"the snapshot after {frames} frames is missing or damaged ({error})"
    return ""


def load_snapshots(path: str | Path, every: int = 1) -> Iterator[tuple[int, Policy]]:
    """Read the policies along a training run, in order, with one of them in memory at a time.

    Args:
        path: A snapshots.safetensors file.
        every: Read only every n-th snapshot, counted back from the last one.

    Yields:
        Frames seen, and the policy then.

    Raises:
        PolicyError: If the file is missing, truncated or foreign; the message names it.
    """
    what = "the snapshots of a policy"
    meta = read_meta(Path(path), what)
    try:
        config = meta["config"]
        counts = [int(frames) for frames in meta["frames"]]
    except (KeyError, TypeError, ValueError):
        raise PolicyError(f"{path}: not a file of snapshots (no such metadata)") from None

    for frames in counts[(len(counts) - 1) % every :: every]:
        state = read_named(Path(path), what, f"{frames}/")
        # Nothing of the promised size is allocated before the file is known to hold it.
        with outline():
            check_weights(Policy.from_config(config, path).state_dict(), state, path)
        policy = Policy.from_config(config, path)
        restore(policy, state, path)
        del state
        yield frames, policy.eval()


def merge_snapshots(path: Path, run_folder: Path, policy: Policy, counts: list[int]) -> None:
    """Write the snapshots of a run into one file, with no more than one in memory at a time.

    Args:
        path: The file, written in place.
        run_folder: Folder of the run.
        policy: A policy of the run.
        counts: Frames seen at each snapshot.
    """

    @lru_cache(maxsize=1)
    def snapshot(frames: int) -> dict[str, Tensor]:
        return read_tensors(snapshot_path(run_folder, frames), "a snapshot")[0]

    def part(frames: int, name: str, like: np.ndarray) -> Part:
        return Part(like.dtype.name, like.shape, lambda: [snapshot(frames)[name].numpy().tobytes()])

    arrays = {name: value.numpy() for name, value in weights(policy).items()}
    parts = {
        f"{frames}/{name}": part(frames, name, like)
        for frames in counts
        for name, like in arrays.items()
    }
    write_parts(path, parts, {"config": policy.config(), "frames": counts})


def finish(run_folder: Path, out_folder: Path, policy: Policy, counts: list[int]) -> None:
    """Write the results of a run: policy, snapshots and progress.

    All files are first written beside the folder and then moved into place, one by one.

    Args:
        run_folder: Folder of the run.
        out_folder: Folder of the results.
        policy: The trained policy.
        counts: Frames seen at each snapshot.
    """
    beside = out_folder.with_name(f".{out_folder.name}.{os.getpid()}.part")
    # Left by processes that were killed while they wrote results.
    for torn in out_folder.parent.glob(f".{glob.escape(out_folder.name)}.*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    try:
        policy.save(beside)

        with files.writing(beside / "snapshots.safetensors") as temporary:
            merge_snapshots(temporary, run_folder, policy, counts)

        lines = (run_folder / PROGRESS).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        with (
            files.writing(beside / "progress.csv") as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as handle,
        ):
            table = csv.DictWriter(handle, COLUMNS, extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)

        out_folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(beside.iterdir()):
            os.replace(path, out_folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
