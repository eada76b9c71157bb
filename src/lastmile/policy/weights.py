"""Weights in files: sealed safetensors, and whether they fit a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lastmile.closed import canonical
from lastmile.errors import LastmileError
from lastmile.storage import seal
from lastmile.storage.tensors import Part, array_part, write_streamed


class PolicyError(LastmileError):
    """Files of a policy that cannot be used; the message names the file and what was expected."""


def weights(policy: nn.Module) -> dict[str, Tensor]:
    """Return all weights on the CPU, in a form that safetensors takes."""
    return {name: value.detach().cpu().contiguous() for name, value in policy.state_dict().items()}


def restore(policy: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy weights into a policy.

    Raises:
        PolicyError: As `check_weights` does, and for a weight that is not finite; the policy is
            then unchanged.
    """
    check_weights(policy.state_dict(), state, source)
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise PolicyError(f"{source}: weight '{name}' holds values that are not finite")
    policy.load_state_dict(state)


def check_weights(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str | Path
) -> None:
    """Check that weights have the expected names, shapes and types.

    Args:
        expected: The weights of the network; only their names, shapes and types are read.
        state: The weights that were read.
        source: The file they come from, for messages.

    Raises:
        PolicyError: Naming `source` and the first weight that differs.
    """
    for name in sorted(expected.keys() | state.keys()):
        if name not in state:
            raise PolicyError(
                f"{source}: weight '{name}' of shape {tuple(expected[name].shape)} is missing"
            )
        if name not in expected:
            raise PolicyError(
                f"{source}: unknown weight '{name}'; does it belong to another config.json?"
            )
        if expected[name].shape != state[name].shape:
            raise PolicyError(
                f"{source}: weight '{name}': expected shape {tuple(expected[name].shape)}, "
                f"got {tuple(state[name].shape)}"
            )
        if expected[name].dtype != state[name].dtype:
            raise PolicyError(
                f"{source}: weight '{name}': expected {expected[name].dtype}, "
                f"got {state[name].dtype}"
            )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a sealed safetensors file.

    Args:
        path: The file.
        tensors: What it holds, by name.
        meta: Kept in it as JSON, as a single entry: safetensors writes several in random order.
    """
    write_parts(path, {name: array_part(value.numpy()) for name, value in tensors.items()}, meta)


def write_parts(path: Path, parts: Mapping[str, Part], meta: dict[str, Any]) -> None:
    """Write a sealed safetensors file whose tensors are made one at a time."""
    write_streamed(path, parts, {"lastmile": canonical({**meta, "seal": seal.BLANK})})
    seal.close(path)


def read_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a sealed safetensors file.

    Args:
        path: The file.
        what: What it should hold, in words, for messages.

    Returns:
        Its tensors by name, and its `meta`.

    Raises:
        PolicyError: If it is missing, truncated, damaged or foreign; the message names it.
    """
    meta = read_meta(path, what)
    return read_named(path, what), meta


def read_meta(path: Path, what: str) -> dict[str, Any]:
    """Check the seal of a file and return its `meta`; arguments and errors as in `read_tensors`."""
    with _opened(path, what, sealed=True) as handle:
        meta = json.loads((handle.metadata() or {})["lastmile"])
        if not isinstance(meta, dict):
            raise LastmileError("expected an object as metadata")
        return meta


def read_named(path: Path, what: str, prefix: str = "") -> dict[str, Tensor]:
    """Read the tensors whose names begin with `prefix`, by the rest of their names.

    The seal is not checked again; other arguments and errors as in `read_tensors`.
    """
    with _opened(path, what) as handle:
        names = [name for name in handle.keys() if name.startswith(prefix)]
        return {name.removeprefix(prefix): handle.get_tensor(name) for name in names}


@contextmanager
def _opened(path: Path, what: str, sealed: bool = False) -> Iterator[Any]:
    """Open a safetensors file, after checking its seal if it is `sealed`."""
    if not path.is_file():
        raise PolicyError(f"{path}: no such file; expected {what}")
    try:
        if sealed:
            seal.check(path)
        with safe_open(str(path), "pt") as handle:
            yield handle
    except KeyError:
        raise PolicyError(f"{path}: expected {what}, got a file without such metadata") from None
    except (SafetensorError, OSError, ValueError, RecursionError, OverflowError) as error:
        raise PolicyError(f"{path}: not a readable safetensors file ({error})") from None
