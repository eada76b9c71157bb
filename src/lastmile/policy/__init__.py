"""The policy: a network that learns to annotate by clicking.

The names below are imported on first use, so that modules without torch (`lastmile.policy.sizes`)
stay light. Training is apart, in `lastmile.training`: it needs Lightning, the policy does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lastmile.policy.memory import Memory
    from lastmile.policy.policy import Policy, parameter_count
    from lastmile.policy.sizes import flops_per_frame
    from lastmile.policy.weights import PolicyError

__all__ = ["Memory", "Policy", "PolicyError", "flops_per_frame", "parameter_count"]

_MODULES = {
    "Memory": "memory",
    "Policy": "policy",
    "PolicyError": "weights",
    "flops_per_frame": "sizes",
    "parameter_count": "policy",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
