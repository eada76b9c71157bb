"""Parameters, and networks that have only their shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = {
    Tensor.normal_,
    nn.init.normal_,
    nn.init.trunc_normal_,
    nn.init.uniform_,
    nn.init.kaiming_uniform_,
    nn.init.xavier_uniform_,
}
"""What fills a tensor, its first argument, with random numbers."""


def small_parameter(*shape: int) -> nn.Parameter:
    """Return a parameter of this shape, drawn from a normal distribution of deviation 0.02."""
    return nn.Parameter(torch.empty(shape).normal_(std=0.02))


@contextmanager
def outline() -> Iterator[None]:
    """Build networks on torch's device `meta`: shapes and types without values or memory.

    Weights are not drawn. Even on `meta`, where nothing is drawn, the first random number would
    make torch import its compiler, which takes seconds.
    """
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Leave tensors alone that were to be filled with random numbers."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _DRAWS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
