"""A run: one training, known by a key. Its work in progress lies in `runs/KEY`, where it is found again after an interruption."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from pydantic import ValidationError

from lastmile import provenance
from lastmile.config import PolicySettings, Training, canonical
from lastmile.errors import LastmileError
from lastmile.policy.weights import PolicyError
from lastmile.simulation.tokens import TokenStore
from lastmile.storage import files
from lastmile.training.checkpoints import rank, say
from lastmile.training.loop import train
from lastmile.training.windows import FirstEpisodes, mixture_weights

SLOTS = "LASTMILE_GPUS"
"""Environment variable in which a training's further processes find the numbers of its GPUs."""
WAIT_SECONDS = 1.0
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
    parts: Sequence[Any] = (
        stores
        if spec.get("episodes") is None
        else [FirstEpisodes(store, spec["episodes"]) for store in stores]
    )
    weights = (
        None
        if spec.get("mixture") is None
        else mixture_weights([store.task for store in stores], spec["mixture"])
    )
    inputs: dict[str, str | Path] = {
        f"{store.task}/{store.path.name}": store.path for store in (*stores, *validation)
    }
    if start is not None:
        inputs["start"] = Path(start) / "policy.safetensors"
        if not inputs["start"].is_file():
            raise PolicyError(
                f"{inputs['start']}: no such file; expected the weights of a policy to start from"
            )
    if (
        settings.encoder == "dinov2"
        and (weights_file := Path(settings.weights) / "model.safetensors").is_file()
    ):
        inputs["backbone"] = weights_file
    digests = {name: provenance.file_digest(path) for name, path in sorted(inputs.items())}
    whole = {**spec, "data": digests, "code": provenance.fingerprint("lastmile.training.loop")}
    key = hashlib.blake2b(canonical(whole).encode(), digest_size=8).hexdigest()
    if rank() == 0:
        say_why(runs, key, whole)
    started = time.monotonic()
    with device_slot(runs, training.devices) as gpus:
        train(
            runs / key,
            settings,
            training,
            seed,
            parts,
            validation,
            whole,
            out,
            threads,
            start,
            weights,
            gpus,
        )
        device = torch.cuda.get_device_name(gpus[0]) if gpus else "cpu"
    if rank():
        return
    outputs = [
        out / name
        for name in ("config.json", "policy.safetensors", "snapshots.safetensors", "progress.csv")
    ]
    provenance.write_manifest(
        out / "manifest.json",
        "train",
        whole,
        provenance.code_label("policy.runs"),
        [Path(path) for path in inputs.values()],
        outputs,
        device=device,
        threads=torch.get_num_threads(),
        seconds=round(time.monotonic() - started, 1),
    )


def say_why(runs: Path, key: str, spec: dict[str, Any]) -> None:
    """Keep in the folder of a run what it is. Where the run is new and one with the same labels is there, say what has changed since."""
    path = runs / key / "spec.json"
    if path.exists():
        return
    labelled = []
    for other in runs.glob("*/spec.json"):
        try:
            read = json.loads(other.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if spec.get("run") and read.get("run") == spec["run"]:
            labelled.append((other.stat().st_mtime_ns, other, read))
    if labelled:
        _, other, read = max(labelled, key=lambda item: item[0])
        mine, theirs = flat(spec), flat(read)
        changed = sorted(
            name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
        )
        said = [
            f"{name} {theirs.get(name)} -> {mine.get(name)}"
            if not name.startswith(("data.", "code"))
            else name
            for name in changed
        ]
        say(
            f"starting from the beginning and not from {other.parent}, since this has changed: {'; '.join(said)}"
        )
    files.write_text(path, canonical(spec))


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        found.update(
            flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {f"{prefix}{name}": item}
        )
    return found


def parse_spec(spec: dict[str, Any]) -> tuple[PolicySettings, Training, int]:
    """Settings of policy and training, and the seed. Raises ValueError naming the key that is missing, unknown, or of another kind."""
    for name, kinds in (("seed", int), ("policy", dict), ("training", dict)):
        if name not in spec:
            raise LastmileError(f"spec: '{name}' is missing")
        if not isinstance(spec[name], kinds):
            raise LastmileError(
                f"spec: '{name}' must be of type {kinds.__name__}, got {spec[name]!r}"
            )
    if unknown := sorted(spec.keys() - KEYS):
        raise LastmileError(f"spec: unknown key '{unknown[0]}' (known: {', '.join(sorted(KEYS))})")
    if spec.get("mixture") is not None and not isinstance(spec["mixture"], dict):
        raise LastmileError(
            f"spec: 'mixture' must give a weight for each task, got {spec['mixture']!r}"
        )
    if spec.get("episodes") is not None and type(spec["episodes"]) is not int:
        raise LastmileError(f"spec: 'episodes' must be a whole number, got {spec['episodes']!r}")
    found = []
    for name, kind in (("policy", PolicySettings), ("training", Training)):
        try:
            found.append(kind.model_validate(spec[name]))
        except ValidationError as error:
            item = error.errors()[0]
            raise LastmileError(
                f"spec: '{name}.{'.'.join(map(str, item['loc']))}': {item['msg']}, got {item['input']!r}"
            ) from None
    return found[0], found[1], spec["seed"]


def check_stores(stores: Sequence[TokenStore], validation: Sequence[TokenStore]) -> None:
    """Raises ValueError, naming the file, for tokens of the wrong split, and for two files that cannot be told apart."""
    seen: dict[str, Path] = {}
    for wanted, group in (("train", stores), ("validation", validation)):
        for store in group:
            if store.split != wanted:
                option = "--tokens" if wanted == "train" else "--validation"
                raise LastmileError(
                    f"{store.path}: holds the split '{store.split}' of {store.task}; {option} expects '{wanted}'"
                )
            name = f"{store.task}/{store.path.name}"
            if name in seen:
                raise LastmileError(
                    f"{store.path}: tokens of {store.task} were given already as {seen[name]}"
                )
            seen[name] = store.path


@contextmanager
def device_slot(folder: Path, wanted: int = 1) -> Iterator[list[int]]:
    """GPUs of its own for the time of a training: their numbers among those that torch sees. Without GPUs an empty list, at once.

    A GPU's slot is a locked file in `folder`, named after the device itself and not its number, which depends on CUDA_VISIBLE_DEVICES (SLURM sets
    it for each job): so trainings side by side share the devices of a machine. A lock ends with its process, however that ends. Waits while too
    few are free, without holding any, so that two trainings that want several cannot block each other.
    Raises ValueError if there are fewer devices than wanted.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        yield []
        return
    if wanted > count:
        raise LastmileError(f"training.devices: {wanted} GPUs wanted, but there are {count}")
    if given := os.environ.get(SLOTS):  # a further process of a training that holds them already
        yield [int(number) for number in given.split(",")]
        return
    folder.mkdir(parents=True, exist_ok=True)
    said = False
    while True:
        held: dict[int, IO[str]] = {}
        for number in range(count):
            handle = open(folder / f".{device_name(number)}.lock", "a")  # noqa: SIM115 (held for the whole training)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held[number] = handle
            except OSError:
                handle.close()
            if len(held) == wanted:
                break
        try:
            if len(held) == wanted:
                os.environ[SLOTS] = ",".join(map(str, held))
                yield list(held)
                return
        finally:
            os.environ.pop(SLOTS, None)
            for handle in held.values():
                handle.close()
        if not said:
            say(f"waiting for {wanted} of {count} GPUs to become free")
            said = True
        time.sleep(WAIT_SECONDS * (1 + random.random()))


def device_name(number: int) -> str:
    """A name that the device has whatever CUDA_VISIBLE_DEVICES says."""
    uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
    if uuid is not None:
        return f"gpu-{uuid}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"gpu-{platform.node()}-{visible.split(',')[number].strip() if visible else number}"
