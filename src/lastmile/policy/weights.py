"""Weights in files: sealed safetensors, and whether they fit."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lastmile.config import canonical
from lastmile.errors import LastmileError
from lastmile.storage import seal


class PolicyError(LastmileError):
    """A policy folder that cannot be used; the message names the file and what was expected."""


def weights(policy: nn.Module) -> dict[str, Tensor]:
    """All weights, on the CPU, in a form that safetensors takes."""
    return {name: value.detach().cpu().contiguous() for name, value in policy.state_dict().items()}


def restore(policy: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Fill a policy with weights. Raises PolicyError naming `source` and the first weight that is missing, unknown, or of another shape."""
    check_weights(policy.state_dict(), state, source)
    policy.load_state_dict(state)


def check_weights(wanted: dict[str, Tensor], state: dict[str, Tensor], source: str | Path) -> None:
    """Raises PolicyError naming `source` and the first weight that is missing, unknown, or of another shape or type than wanted."""
    for name in sorted(wanted.keys() | state.keys()):
        if name not in state:
            raise PolicyError(
                f"{source}: weight '{name}' of shape {tuple(wanted[name].shape)} is missing"
            )
        if name not in wanted:
            raise PolicyError(
                f"{source}: unknown weight '{name}'; does it belong to another config.json?"
            )
        if wanted[name].shape != state[name].shape:
            raise PolicyError(
                f"{source}: weight '{name}': expected shape {tuple(wanted[name].shape)}, got {tuple(state[name].shape)}"
            )
        if wanted[name].dtype != state[name].dtype:
            raise PolicyError(
                f"{source}: weight '{name}': expected {wanted[name].dtype}, got {state[name].dtype}"
            )


def write_tensors(path: Path, tensors: dict[str, Tensor], meta: dict) -> None:
    """A sealed safetensors file. meta: kept in it as JSON, as one entry: safetensors writes several in random order."""
    try:
        save_file(tensors, path, metadata={"lastmile": canonical({**meta, "seal": seal.BLANK})})
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(f"{path}: cannot be written ({error})") from None
    seal.close(path)


def read_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors of a sealed safetensors file, and its `meta`. what: what was expected, in words.

    Raises PolicyError naming the file when it is missing, truncated, damaged or foreign.
    """
    if not path.is_file():
        raise PolicyError(f"{path}: no such file; expected {what}")
    try:
        seal.check(path.read_bytes())
        with safe_open(str(path), "pt") as handle:
            meta = json.loads((handle.metadata() or {})["lastmile"])
            if not isinstance(meta, dict):
                raise LastmileError("expected an object as metadata")
            return {name: handle.get_tensor(name) for name in handle.keys()}, meta  # noqa: SIM118 (no mapping)
    except KeyError:
        raise PolicyError(f"{path}: expected {what}, got a file without such metadata") from None
    except (SafetensorError, OSError, ValueError, RecursionError, OverflowError) as error:
        raise PolicyError(f"{path}: not a readable safetensors file ({error})") from None
