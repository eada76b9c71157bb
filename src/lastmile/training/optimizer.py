"""Muon for hidden matrices, AdamW for everything else, as one optimizer.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum of a
matrix by the nearest semi-orthogonal matrix: all directions of an update are then equally long, and
rare ones are learned as fast as common ones. `torch.optim.Muon` needs torch 2.9 and takes no
convolutions; this one works with torch 2.6, and makes matrices of one shape orthogonal together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adamw import adamw

BETAS = (0.9, 0.95)
"""Betas of AdamW."""
EPSILON = 1e-8
"""Epsilon of AdamW."""
MOMENTUM = 0.95
"""Momentum of Muon, Nesterov's kind."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al.): fast rather than exact."""
NEWTON_SCHULZ_STEPS = 5
"""Iterations; the singular values then lie between about 0.7 and 1.2."""

NOT_HIDDEN = (
    "encoder.embed.",
    "encoder.model.",
    "encoder.position",
    "encoder.stem.",
    "tokens.position",
    "head.cell_prior.",
    "head.cell_score.",
    "head.place.",
    "head.place_prior.",
    "head.x.",
    "head.y.",
)
"""Beginnings of the names of the first and last layers, positions, and pretrained weights."""


def takes_muon(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter of a policy is a hidden matrix, which Muon updates."""
    return parameter.ndim >= 2 and not name.startswith(NOT_HIDDEN)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return about the nearest semi-orthogonal matrices, by Newton-Schulz iterations.

    All iterates are polynomials of the same small Gram matrix times `matrices`. So the polynomials
    are multiplied, and the product is applied once.

    Args:
        matrices: (N, rows, columns) float.

    Returns:
        (N, rows, columns); singular values of about 1, except those near 0.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    product = unit = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand_as(gram)
    for _ in range(NEWTON_SCHULZ_STEPS):
        polynomial = torch.baddbmm(a * unit + b * gram, gram, gram, alpha=c)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial  # of the next iterate
    x = product @ x
    return x if wide else x.mT


class MuonAdamW(torch.optim.Optimizer):
    """Muon for groups with `muon: True`, AdamW with decoupled weight decay for the others.

    A weight of more than two axes is seen as the matrix of its first axis against all others. The
    step is scaled by sqrt(max(1, rows / columns)), so that one learning rate fits all shapes.

    Args:
        groups: Parameter groups with `params`, `lr`, `weight_decay` and `muon`.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        # `fused` makes `load_state_dict` move the counts of steps to where the parameters are.
        super().__init__(
            list(groups), {"lr": 1e-3, "weight_decay": 0.0, "muon": False, "fused": True}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one update; parameters without a gradient are left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                (self._muon if group["muon"] else self._adamw)(parameters, group)
        return loss

    def _muon(self, parameters: list[Parameter], group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[Parameter, Tensor]]] = {}
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
            ahead = parameter.grad.lerp(momentum, MOMENTUM).flatten(1)
            by_shape.setdefault((ahead.shape[0], ahead.shape[1]), []).append((parameter, ahead))

        for (rows, columns), members in by_shape.items():
            steps = orthogonalize(torch.stack([ahead for _, ahead in members]))
            scale = max(1.0, rows / columns) ** 0.5
            for (parameter, _), step in zip(members, steps):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if isinstance(group["lr"], Tensor):  # inside a CUDA graph, which reads it anew
                    parameter.sub_(step.view_as(parameter) * (group["lr"] * scale))
                else:
                    parameter.add_(step.view_as(parameter), alpha=-group["lr"] * scale)

    def _adamw(self, parameters: list[Parameter], group: dict[str, Any]) -> None:
        states = [self.state[parameter] for parameter in parameters]
        for parameter, state in zip(parameters, states):
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["mean"] = torch.zeros_like(parameter)
                state["square"] = torch.zeros_like(parameter)
        adamw(
            [*parameters],
            [p.grad for p in parameters if p.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=EPSILON,
            maximize=False,
        )
