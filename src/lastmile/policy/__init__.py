"""The policy: a network that annotates by clicking, learned from clicks. `training` is imported apart, since it needs Lightning."""

from lastmile.policy.policy import Memory, Policy
from lastmile.policy.sizes import flops_per_frame, parameter_count
from lastmile.policy.weights import PolicyError

__all__ = ["Memory", "Policy", "PolicyError", "flops_per_frame", "parameter_count"]
