"""What a training keeps: its checkpoint, to go on from; snapshots of the policy along the way; the results at the end."""

from __future__ import annotations

import csv
import fcntl
import glob
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lastmile.policy.policy import Policy
from lastmile.policy.weights import (
    PolicyError,
    check_weights,
    read_tensors,
    restore,
    weights,
    write_tensors,
)
from lastmile.storage import files, seal

if TYPE_CHECKING:
    from lastmile.training.loop import PolicyModule


def start_from(policy: Policy, folder: str | Path) -> None:
    """Fine-tuning: give `policy` the weights of the policy in `folder` that have the same name and shape, and say what is copied and what is new.

    Raises PolicyError naming the folder and what differs: screen, bins, size, encoder, window.
    """
    other = Policy.load(folder)
    mine, theirs = policy.config(), other.config()
    differ = [
        f"{key} {theirs[key]}, not {mine[key]}"
        for key in ("screen", "bins")
        if mine[key] != theirs[key]
    ]
    for key in ("size", "encoder", "window"):
        wanted, there = getattr(policy.settings, key), getattr(other.settings, key)
        if wanted != there:
            differ.append(f"{key} {there}, not {wanted}")
    if differ:
        raise PolicyError(
            f"{folder}: this policy cannot be started from; it has {'; '.join(differ)}"
        )
    own, given = policy.state_dict(), other.state_dict()
    copied = {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    policy.load_state_dict({**own, **copied})
    new, unused = sorted(own.keys() - copied.keys()), sorted(given.keys() - copied.keys())
    say(
        f"starting from {folder}: {len(copied)} of {len(own)} weights copied ({sum(v.numel() for v in copied.values()):,} numbers); "
        f"new: {', '.join(new) or 'none'}"
        + (f"; left behind: {', '.join(unused)}" if unused else "")
    )


def resume(
    folder: Path, module: PolicyModule, spec: str, snapshots: list[int], steps: list[int]
) -> None:
    """Take up the work in `folder` if there is any for this spec, else clear the folder of it and say why."""
    path = folder / "last.ckpt"
    for torn in folder.glob(".*.part"):  # a kill while a file was written
        torn.unlink(missing_ok=True)
    problem = None
    if path.exists():
        try:
            state = read_checkpoint(path)
            if state["spec"] != spec:
                problem = "it belongs to other settings, data or code"
            elif lost := lost_snapshot(
                folder, [frames for frames, step in zip(snapshots, steps) if step <= state["done"]]
            ):
                problem = lost
            else:
                restore(module.policy, state["policy"], path)
                module.scaling = state["scaling"]
                module.done, module.losses, module.resumed = (
                    state["done"],
                    list(state["losses"]),
                    state["optimizer"],
                )
                files.write_text(folder / "progress.jsonl", state["progress"])
                say(f"going on after step {module.done}/{module.steps}")
                return
        except Exception as error:  # torch.load raises whatever the damage makes it stumble over
            problem = f"it cannot be read ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        say(f"{path}: {problem}; starting from the beginning")
    for old in (path, folder / "progress.jsonl", *folder.glob("snapshot-*.safetensors")):
        old.unlink(missing_ok=True)


def write_checkpoint(path: Path, state: dict) -> None:
    """A checkpoint, whole or not at all, sealed by a digest."""
    with files.writing(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what it makes of a full disk
            raise OSError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from None
        with open(temporary, "ab") as handle:
            handle.write(seal.BLANK.encode())
        seal.close(temporary)


def read_checkpoint(path: Path) -> dict:
    """What a checkpoint holds. Raises SealError for one of which a byte was changed, and whatever torch stumbles over in another file."""
    data = path.read_bytes()
    seal.check(data)
    return torch.load(io.BytesIO(data[: -len(seal.BLANK)]), map_location="cpu", weights_only=True)


def read_progress(folder: Path) -> str:
    """The lines of progress so far. A checkpoint holds them: after a loss of power the file may have lost some."""
    path = folder / "progress.jsonl"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def lost_snapshot(folder: Path, wanted: list[int]) -> str:
    """Which of the snapshots after so many frames cannot be used, in words; empty if all are there."""
    for frames in wanted:
        try:
            read_tensors(snapshot_path(folder, frames), "a snapshot")
        except PolicyError as error:
            return f"the snapshot after {frames} frames is missing or damaged ({error})"
    return ""


def snapshot_path(folder: Path, frames: int) -> Path:
    return folder / f"snapshot-{frames:012d}.safetensors"


def save_snapshot(folder: Path, frames: int, policy: Policy) -> None:
    with files.writing(snapshot_path(folder, frames)) as temporary:
        write_tensors(temporary, weights(policy), {})


def load_snapshots(path: str | Path, every: int = 1) -> Iterator[tuple[int, Policy]]:
    """Frames seen and the policy then, in order, from a snapshots.safetensors file. every: only each so manieth, the last one included.

    Raises PolicyError naming the file when it is missing, truncated or foreign.
    """
    tensors, meta = read_tensors(Path(path), "the snapshots of a policy")
    try:
        config, counts = meta["config"], [int(frames) for frames in meta["frames"]]
    except (KeyError, TypeError, ValueError):
        raise PolicyError(f"{path}: not a file of snapshots (no such metadata)") from None
    for frames in counts[(len(counts) - 1) % every :: every]:
        prefix = f"{frames}/"
        state = {
            name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
        }
        with torch.device("meta"):
            check_weights(Policy.from_config(config, path).state_dict(), state, path)
        policy = Policy.from_config(config, path)
        restore(policy, state, path)
        yield frames, policy.eval()


def finish(run_dir: Path, out_dir: Path, policy: Policy, snapshots: list[int]) -> None:
    """Put the results into out_dir: first all are written beside it, then each is moved into place."""
    beside = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.part")
    for torn in out_dir.parent.glob(
        f".{glob.escape(out_dir.name)}.*.part"
    ):  # a kill while results were written
        shutil.rmtree(torn, ignore_errors=True)
    try:
        policy.save(beside)
        merged = {}
        for frames in snapshots:
            merged.update(
                {
                    f"{frames}/{name}": value
                    for name, value in read_tensors(snapshot_path(run_dir, frames), "a snapshot")[
                        0
                    ].items()
                }
            )
        with files.writing(beside / "snapshots.safetensors") as temporary:
            write_tensors(temporary, merged, {"config": policy.config(), "frames": snapshots})
        rows = [
            json.loads(line)
            for line in (run_dir / "progress.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        with (
            files.writing(beside / "progress.csv") as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as handle,
        ):
            columns = ["step", "frames", "loss", "learning_rate", "validation_loss"]
            table = csv.DictWriter(handle, columns, extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        out_dir.mkdir(parents=True, exist_ok=True)
        for path in sorted(beside.iterdir()):
            os.replace(path, out_dir / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def rank() -> int:
    """Number of this process among those of one training: Lightning starts one for each further device, and tells it so."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in the folder of a run that no other training works in at the same time; waits for one that does. A lock ends with its process."""
    if rank():
        yield  # the first process of this training holds the lock
        return
    with open(folder / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"{folder}: another training works here; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    """A line of the log, said once by each training."""
    if rank() == 0:
        print(line, file=sys.stderr, flush=True)
