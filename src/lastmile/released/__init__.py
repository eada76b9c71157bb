"""Policies that come with the package, by name.

Each has a folder here, with `config.json` and `policy.safetensors` as `Policy.save` writes them,
and its card, `README.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.provenance.manifests import file_digest


class Release(NamedTuple):
    """A policy that comes with the package.

    Attributes:
        folder: Where its files are.
        tasks: The tasks that it was trained on.
        digests: Digest of each file that is loaded, by its name.
    """

    folder: Path
    tasks: tuple[str, ...]
    digests: Mapping[str, str]


RELEASES: Mapping[str, Release] = {
    "joint": Release(
        Path(__file__).parent / "joint",
        (
            "behavior_tracking",
            "cell_lineage",
            "channel_alignment",
            "colored_dots",
            "limb_tracking",
            "neuron_tracing",
            "object_exploration",
            "plume_finding",
            "road_mapping",
        ),
        {
            "config.json": "e4343a0896a6740e3d34e64e0af72d7a",
            "policy.safetensors": "8d503f85a0d03186ffded84a74dce4a8",
        },
    ),
}
"""The released policies by name."""


def policy_folder(policy: str | Path) -> Path:
    """Return the folder of a policy that is given by its name or by its folder.

    A name stands for the released policy even where a folder is called the same; write `./joint`
    or a `Path` for the folder.

    Args:
        policy: Name of a released policy, whose files are checked, or any folder.

    Raises:
        UnknownNameError: A single word is neither the name of a policy nor a folder.
        LastmileError: A file of a released policy is missing, or is not the one that was released.
    """
    if isinstance(policy, Path):
        return policy
    if policy not in RELEASES:
        if "/" not in policy and not Path(policy).exists():
            raise UnknownNameError("policy or folder", policy, RELEASES)
        return Path(policy)

    release = RELEASES[policy]
    for name, digest in release.digests.items():
        path = release.folder / name
        if not path.is_file() or file_digest(path) != digest:
            raise LastmileError(
                f"{path}: expected the file of the released policy '{policy}' (digest {digest}), "
                f"{'got another one' if path.is_file() else 'but it is missing'}; "
                "install the package again"
            )
    return release.folder
