"""A training run, known by a key: after an interruption it finds its work in `runs/KEY`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lastmile.closed import canonical
from lastmile.errors import LastmileError
from lastmile.policy.weights import PolicyError
from lastmile.provenance.manifests import input_digest
from lastmile.simulation.tokens import FirstEpisodes, Store, TokenStore
from lastmile.storage import files
from lastmile.training.devices import device_slot
from lastmile.training.loop import train
from lastmile.training.processes import rank, say
from lastmile.training.spec import RunSpec, read_spec, run_key

__all__ = ["RunResult", "RunSpec", "run"]

OUTPUTS = ("config.json", "policy.safetensors", "snapshots.safetensors", "progress.csv")
"""Files of a trained policy."""


@dataclass(frozen=True)
class RunResult:
    """What a training run read and wrote: its manifest is made from it.

    Attributes:
        spec: The whole spec: that of the run, with `data`, the digests of its inputs by name, and
            `code`, the fingerprint of the code.
        inputs: Files that were read.
        outputs: Files that were written.
        device: Name of the GPU, or `cpu`.
        threads: Threads that torch used.
        arithmetic: Number formats that it was computed with.
        seconds: Duration of the whole run, also of one that was interrupted and resumed.
    """

    spec: dict[str, Any]
    inputs: list[Path]
    outputs: list[Path]
    device: str
    threads: int
    arithmetic: str
    seconds: float


def run(
    spec: RunSpec,
    tokens: Sequence[TokenStore],
    validation: Sequence[TokenStore],
    runs: Path,
    out: Path,
    start: Path | None,
    code: str,
) -> RunResult | None:
    """Train a policy on tokens, or resume its training.

    The key of the run is a hash of the spec, the token files, the weights at the start, and the
    code.

    Args:
        spec: What to train.
        tokens: Tokens to train on, of the split `train`.
        validation: Tokens for the validation loss, of the split `validation`.
        runs: Folder of all runs.
        out: Gets the policy, its snapshots and its progress.
        start: Folder of a policy to fine-tune, or None to train from scratch.
        code: Fingerprint of the code that training depends on.

    Returns:
        What was read and written; None in the further processes of a run on several devices.

    Raises:
        LastmileError: If the tokens do not fit the spec.
        PolicyError: If the policy in `start` does not fit.
    """
    check_tokens(tokens, validation)
    stores: list[Store] = [
        store if spec.episodes is None else FirstEpisodes(store, spec.episodes) for store in tokens
    ]
    inputs = {f"{store.task}/{store.path.name}": store.path for store in (*tokens, *validation)}
    if start is not None:
        inputs["start"] = start / "policy.safetensors"
        if not inputs["start"].is_file():
            raise PolicyError(
                f"{inputs['start']}: no such file; expected the weights of a policy to start from"
            )
    if spec.policy.encoder == "dinov2":
        backbone = Path(spec.policy.weights) / "model.safetensors"
        if backbone.is_file():
            inputs["backbone"] = backbone

    digests = {name: input_digest(path) for name, path in sorted(inputs.items())}
    whole = {**spec.values(), "data": digests, "code": code}
    key = run_key(whole)
    if rank() == 0:
        keep_spec(runs, key, whole)

    with device_slot(runs, spec.training.devices) as gpus:
        trained = train(
            run_folder=runs / key,
            settings=spec.policy,
            training=spec.training,
            seed=spec.seed,
            stores=stores,
            validation=validation,
            spec=whole,
            out_folder=out,
            start=start,
            gpus=gpus,
            stretch=spec.stretch,
        )
        device = torch.cuda.get_device_name(gpus[0]) if gpus else "cpu"
    if rank():
        return None
    return RunResult(
        spec=whole,
        inputs=list(inputs.values()),
        outputs=[out / name for name in OUTPUTS],
        device=device,
        threads=torch.get_num_threads(),
        arithmetic=trained.arithmetic,
        seconds=round(trained.seconds, 1),
    )


def keep_spec(runs: Path, key: str, spec: dict[str, Any]) -> None:
    """Write what a run is into its folder, if that is new.

    If there is a run with the same labels, log what has changed since, as the reason why that one
    is not resumed.
    """
    path = runs / key / "spec.json"
    if path.exists():
        return

    same_labels = []
    for other in runs.glob("*/spec.json"):
        try:
            kept = read_spec(other)
        except LastmileError:  # of another version, or damaged
            continue
        if spec.get("run") and kept.run == spec["run"]:
            values = {**kept.values(), "data": kept.data, "code": kept.code}
            same_labels.append((other.stat().st_mtime_ns, other, values))
    if same_labels:
        _, other, values = max(same_labels, key=lambda item: item[0])
        before = flatten(values)
        now = flatten(spec)
        changes = [
            # Digests and fingerprints tell a reader nothing.
            name
            if name.startswith(("data.", "code"))
            else f"{name} {before.get(name)} -> {now.get(name)}"
            for name in sorted(now.keys() | before.keys())
            if now.get(name) != before.get(name)
        ]
        say(
            f"starting from the beginning instead of resuming {other.parent}; "
            f"changed since then: {'; '.join(changes)}"
        )
    files.write_text(path, canonical(spec))


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def check_tokens(tokens: Sequence[TokenStore], validation: Sequence[TokenStore]) -> None:
    """Check that token files hold the right splits and can be told apart.

    Raises:
        LastmileError: Naming the first file of another split, or with the task and name of another
            file.
    """
    paths: dict[str, Path] = {}
    for split, stores in (("train", tokens), ("validation", validation)):
        for store in stores:
            if store.split != split:
                option = "--tokens" if split == "train" else "--validation"
                raise LastmileError(
                    f"{store.path}: holds the split '{store.split}' of {store.task}; "
                    f"{option} expects '{split}'"
                )
            name = f"{store.task}/{store.path.name}"
            if name in paths:
                raise LastmileError(
                    f"{store.path}: tokens of {store.task} were given already as {paths[name]}"
                )
            paths[name] = store.path
