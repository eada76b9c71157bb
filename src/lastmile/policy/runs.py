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
from lastmile.policy.policy import Policy, PolicyError
from lastmile.policy.training import train
from lastmile.policy.windows import FirstEpisodes, mixture_weights
from lastmile.tokens import TokenStore

KEYS = {"run", "seed", "policy", "training", "episodes", "mixture"}
"""What a spec may hold; `seed`, `policy` and `training` it must."""


def run(
    spec: dict[str, Any],
    stores: Sequence[TokenStore],
    validation: Sequence[TokenStore],
    runs: Path,
    out: Path,
    threads: int | None = None,
    start: Path | None = None,
) -> None:
    """Train what `spec` says on these tokens and put policy, snapshots, progress and manifest into `out`.

    spec: `policy` and `training`, the settings of these names; `seed`; optional `run`, labels; `episodes`, to train on the first ones of each store
    alone; `mixture`, a weight for each task in place of even turns. start: folder of a policy to fine-tune.
    The key is a hash of the spec, the token files, the weights at the start, and the code that training depends on.
    Raises ValueError naming what is missing or wrong in the spec or the tokens, PolicyError for a start that does not fit.
    """
    settings, training, seed = parse_spec(spec)
    check_stores(stores, validation)
    parts: Sequence[Any] = stores if spec.get("episodes") is None else [FirstEpisodes(store, spec["episodes"]) for store in stores]
    weights = None if spec.get("mixture") is None else mixture_weights([store.task for store in stores], spec["mixture"])
    inputs: dict[str, str | Path] = {f"{store.task}/{store.path.name}": store.path for store in (*stores, *validation)}
    if start is not None:
        inputs["start"] = Path(start) / "policy.safetensors"
        if not inputs["start"].is_file():
            raise PolicyError(f"{inputs['start']}: no such file; expected the weights of a policy to start from")
    digests = {name: provenance.file_digest(path) for name, path in sorted(inputs.items())}
    whole = {**spec, "data": digests, "code": provenance.fingerprint("lastmile.policy.training")}
    key = hashlib.blake2b(canonical(whole).encode(), digest_size=8).hexdigest()
    started = time.monotonic()
    with device_slot(runs) as device:
        train(runs / key, settings, training, seed, parts, validation, whole, out, threads, start, weights)
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


def parse_spec(spec: dict[str, Any]) -> tuple[PolicySettings, Training, int]:
    """Settings of policy and training, and the seed. Raises ValueError naming the key that is missing, unknown, or of another kind."""
    for name, kinds in (("seed", int), ("policy", dict), ("training", dict)):
        if name not in spec:
            raise ValueError(f"spec: '{name}' is missing")
        if not isinstance(spec[name], kinds):
            raise ValueError(f"spec: '{name}' must be of type {kinds.__name__}, got {spec[name]!r}")
    if unknown := sorted(spec.keys() - KEYS):
        raise ValueError(f"spec: unknown key '{unknown[0]}' (known: {', '.join(sorted(KEYS))})")
    if spec.get("mixture") is not None and not isinstance(spec["mixture"], dict):
        raise ValueError(f"spec: 'mixture' must give a weight for each task, got {spec['mixture']!r}")
    if spec.get("episodes") is not None and type(spec["episodes"]) is not int:
        raise ValueError(f"spec: 'episodes' must be a whole number, got {spec['episodes']!r}")
    found = []
    for name, kind in (("policy", PolicySettings), ("training", Training)):
        try:
            found.append(kind.model_validate(spec[name]))
        except ValidationError as error:
            item = error.errors()[0]
            raise ValueError(f"spec: '{name}.{'.'.join(map(str, item['loc']))}': {item['msg']}, got {item['input']!r}") from None
    return found[0], found[1], spec["seed"]


def check_stores(stores: Sequence[TokenStore], validation: Sequence[TokenStore]) -> None:
    """Raises ValueError, naming the file, for tokens of the wrong split, and for two files that cannot be told apart."""
    seen: dict[str, Path] = {}
    for wanted, group in (("train", stores), ("validation", validation)):
        for store in group:
            if store.split != wanted:
                option = "--tokens" if wanted == "train" else "--validation"
                raise ValueError(f"{store.path}: holds the split '{store.split}' of {store.task}; {option} expects '{wanted}'")
            name = f"{store.task}/{store.path.name}"
            if name in seen:
                raise ValueError(f"{store.path}: tokens of {store.task} were given already as {seen[name]}")
            seen[name] = store.path


def initial(settings: PolicySettings, seed: int) -> Policy:
    """The policy as it is before training with that seed. Raises WeightsError if pretrained weights cannot be had."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(settings)
    policy.begin_weights()
    return policy.eval()


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
