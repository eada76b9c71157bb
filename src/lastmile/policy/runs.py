"""A run: one training, known by a key. Its work in progress lies in `runs/KEY`, where it is found again after an interruption."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from lastmile import provenance
from lastmile.config import PolicySettings, Training, canonical
from lastmile.policy.policy import Policy
from lastmile.policy.training import train
from lastmile.tokens import TokenStore


def run(
    spec: dict[str, Any], stores: Sequence[TokenStore], validation: Sequence[TokenStore], runs: Path, out: Path, threads: int | None = None
) -> None:
    """Train what `spec` says (policy, training, seed) on these tokens and put policy, snapshots, progress and manifest into `out`.

    The key is a hash of the spec, the token files and the code that training depends on.
    Raises ValueError naming what is missing or wrong in the spec.
    """
    try:
        settings, training, seed = (
            PolicySettings.model_validate(spec["policy"]),
            Training.model_validate(spec["training"]),
            int(spec["seed"]),
        )
    except KeyError as error:
        raise ValueError(f"spec: {error} is missing") from None
    except ValidationError as error:
        item = error.errors()[0]
        raise ValueError(f"spec: '{'.'.join(map(str, item['loc']))}': {item['msg']}, got {item['input']!r}") from None
    inputs: dict[str, str | Path] = {f"{store.task}/{store.path.name}": store.path for store in (*stores, *validation)}
    digests = {name: provenance.file_digest(path) for name, path in sorted(inputs.items())}
    whole = {**spec, "data": digests, "code": provenance.fingerprint("lastmile.policy.training")}
    key = hashlib.blake2b(canonical(whole).encode(), digest_size=8).hexdigest()
    started = time.monotonic()
    with device_slot(runs) as device:
        train(runs / key, settings, training, seed, stores, validation, whole, out, threads)
    outputs = [out / name for name in ("config.json", "policy.safetensors", "snapshots.safetensors", "progress.csv")]
    provenance.write_manifest(
        out / "manifest.json",
        whole,
        inputs,
        outputs,
        device=device,
        threads=torch.get_num_threads(),
        seconds=round(time.monotonic() - started, 1),
    )


def initial(settings: PolicySettings, seed: int) -> Policy:
    """The policy as it is before training with that seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Policy(settings).eval()


@contextmanager
def device_slot(folder: Path) -> Iterator[str]:
    """One GPU of its own for the time of a training; waits while all are taken. Without GPUs, the CPU at once.

    Slots are locked files in `folder`, so that trainings started side by side share the devices of a machine one by one.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        yield "cpu"
        return
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for number in range(count):
            handle = open(folder / f".gpu{number}.lock", "w")  # noqa: SIM115 (held for the whole training)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.close()
                continue
            try:
                handle.write(str(os.getpid()))
                torch.cuda.set_device(number)
                yield torch.cuda.get_device_name(number)
            finally:
                handle.close()
            return
        time.sleep(2.0)
