"""The policy as users load it: by its name or by its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Self, cast

import torch

from lastmile.policy import policy as network
from lastmile.released import policy_folder


class Policy(network.Policy):
    """A policy that is loaded by its name, too.

    Stages of the workflow load theirs from folders, with `lastmile.policy.policy.Policy`: their
    results do not depend on what is released.
    """

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read a policy that comes with the package, or the one in a folder.

        Args:
            folder: Name of a released policy, name of a task for the released policy that does it,
                or a folder; see `lastmile.released.policy_folder`.
            device: Where it computes.

        Raises:
            LastmileError: There is no such policy, or its files are damaged.
        """
        return cast(Self, super().load(policy_folder(folder), device))
