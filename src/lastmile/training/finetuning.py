"""Fine-tuning: start a training run from the weights of another policy."""

from __future__ import annotations

from pathlib import Path

from lastmile.policy.policy import Policy
from lastmile.policy.weights import PolicyError
from lastmile.training.processes import say


def start_from(policy: Policy, folder: str | Path) -> None:
    """Copy into `policy` all weights of another one that have the same name and shape.

    Logs how many are copied, which ones of `policy` keep their initial values, and which ones of
    the other policy are not used.

    Args:
        policy: The policy to be trained, changed in place.
        folder: Folder of the policy to start from.

    Raises:
        PolicyError: If the folder cannot be read, or the policies differ in screen, bins, size,
            encoder or window; the message names what differs.
    """
    other = Policy.load(folder)
    own_config = policy.config()
    other_config = other.config()
    differences = [
        f"{key} {other_config[key]}, not {own_config[key]}"
        for key in ("screen", "bins")
        if own_config[key] != other_config[key]
    ]
    for key in ("size", "encoder", "window"):
        own_value = getattr(policy.settings, key)
        other_value = getattr(other.settings, key)
        if own_value != other_value:
            differences.append(f"{key} {other_value}, not {own_value}")
    if differences:
        raise PolicyError(
            f"{folder}: training cannot start from this policy, which has {'; '.join(differences)}"
        )

    own = policy.state_dict()
    theirs = other.state_dict()
    copied = {
        name: value
        for name, value in theirs.items()
        if name in own and own[name].shape == value.shape
    }
    policy.load_state_dict({**own, **copied})

    new = sorted(own.keys() - copied.keys())
    unused = sorted(theirs.keys() - copied.keys())
    parameters = sum(value.numel() for value in copied.values())
    say(
        f"starting from {folder}: {len(copied)} of {len(own)} weight tensors copied "
        f"({parameters:,} parameters); new: {', '.join(new) or 'none'}"
        + (f"; not used: {', '.join(unused)}" if unused else "")
    )
