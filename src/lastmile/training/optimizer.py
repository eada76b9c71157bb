"""Muon for hidden matrices, AdamW for everything else, as one optimizer.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum of a
matrix by the nearest semi-orthogonal matrix: all directions of an update are then equally long, and
rare ones are learned as fast as common ones. `torch.optim.Muon` needs torch 2.9 and takes no
convolutions; this one works with torch 2.6, and makes matrices of many shapes orthogonal together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


def orthogonalize(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return about the nearest semi-orthogonal matrices, by Newton-Schulz iterations.

    All iterates are polynomials of the same Gram matrix (of the shorter side) times the matrix. So
    the polynomials are multiplied, for all matrices whose shorter sides are equal at once, and the
    products are applied once.

    Args:
        matrices: (rows, columns) float each, of any shapes.

    Returns:
        The same shapes; singular values of about 1, except those near 0.
    """
    wide = [x if x.shape[0] <= x.shape[1] else x.mT for x in matrices]
    wide = [x / (x.norm() + 1e-7) for x in wide]
    by_side: dict[int, list[int]] = {}
    for number, x in enumerate(wide):
        by_side.setdefault(x.shape[0], []).append(number)

    products: dict[int, Tensor] = {}
    for members in by_side.values():
        grams = torch.stack([wide[number] @ wide[number].mT for number in members])
        products.update(zip(members, polynomial(grams)))
    steps = [products[number] @ x for number, x in enumerate(wide)]
    return [step if step.shape == x.shape else step.mT for step, x in zip(steps, matrices)]


def polynomial(grams: Tensor) -> Tensor:
    """Return the matrices that the iterations multiply a matrix by, (N, n, n).

    Args:
        grams: (N, n, n), its Gram matrices.
    """
    a, b, c = NEWTON_SCHULZ
    unit = torch.eye(grams.shape[1], dtype=grams.dtype, device=grams.device).expand_as(grams)
    product = unit
    for number in range(NEWTON_SCHULZ_STEPS):
        factor = torch.baddbmm(a * unit + b * grams, grams, grams, alpha=c)
        product = factor @ product if number else factor
        if number < NEWTON_SCHULZ_STEPS - 1:
            grams = factor @ grams @ factor  # of the next iterate
    return product


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
        gradients = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        steps = orthogonalize([x.flatten(1) for x in ahead])

        torch._foreach_mul_([*parameters], 1 - group["lr"] * group["weight_decay"])
        for parameter, step in zip(parameters, steps):
            rows, columns = step.shape
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            if isinstance(rate, Tensor):  # inside a CUDA graph, which reads it anew
                parameter.sub_(step.reshape(parameter.shape) * rate)
            else:
                parameter.add_(step.reshape(parameter.shape), alpha=-rate)

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
