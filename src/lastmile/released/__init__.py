"""Policies that come with the package, by name.

Each has a folder here, which is its name, and is found by existing: `config.json` and
`policy.safetensors` as `Policy.save` writes them, its card `README.md`, and `release.json`, which
says what it was trained on and holds digests of its files. `scripts/release_policy.py` makes one.

The name of a task stands for the policy that is called like it or, without one, for the joint one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from lastmile.closed import Closed
from lastmile.errors import LastmileError, UnknownNameError
from lastmile.provenance.manifests import file_digest
from lastmile.storage.records import read_json

HERE = Path(__file__).parent
RECORD = "release.json"
FORMAT = "lastmile.release/1"
JOINT = "joint"
"""The policy that does every task which has none of its own."""


class Record(Closed):
    """What `release.json` holds.

    Attributes:
        format: Version of this format.
        tasks: The tasks that the policy was trained on.
        digests: Digest of each file that is loaded, by its name.
    """

    format: Literal["lastmile.release/1"]
    tasks: tuple[str, ...]
    digests: dict[str, str]


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


@cache
def releases() -> Mapping[str, Release]:
    """Return the released policies by name.

    Raises:
        LastmileError: A `release.json` cannot be used.
    """
    found = {}
    for path in sorted(HERE.glob(f"*/{RECORD}")):
        record = read_json(path, Record, "the record of a released policy")
        found[path.parent.name] = Release(path.parent, record.tasks, record.digests)
    return found


def names() -> tuple[str, ...]:
    """Return all names that stand for a released policy: its own, and those of tasks."""
    known = releases()
    of_tasks = known[JOINT].tasks if JOINT in known else ()
    return tuple(dict.fromkeys([*known, *of_tasks]))


def policy_folder(policy: str | Path) -> Path:
    """Return the folder of a policy that is given by its name or by its folder.

    A name stands for the released policy even where a folder is called the same; write `./joint`
    or a `Path` for the folder.

    Args:
        policy: Name of a released policy, whose files are checked; name of a task, for the released
            policy that does it; or any folder.

    Raises:
        UnknownNameError: A single word is neither the name of a policy nor a folder.
        LastmileError: No released policy was trained on the task, or a file of one is missing or is
            not the one that was released.
    """
    if isinstance(policy, Path):
        return policy
    if policy in names():
        name = policy if policy in releases() else JOINT
        _check(name, releases()[name])
        return releases()[name].folder
    if "/" not in policy and not Path(policy).exists():
        raise _unknown(policy)
    return Path(policy)


def _check(name: str, release: Release) -> None:
    for file, digest in release.digests.items():
        path = release.folder / file
        if not path.is_file() or file_digest(path) != digest:
            raise LastmileError(
                f"{path}: expected the file of the released policy '{name}' (digest {digest}), "
                f"{'got another one' if path.is_file() else 'but it is missing'}; "
                "install the package again"
            )


def _unknown(name: str) -> LastmileError:
    from lastmile.tasks import task_names

    if name in task_names():
        return LastmileError(
            f"no released policy was trained on '{name}'; expected a folder or a name "
            f"(known: {', '.join(names())})"
        )
    return UnknownNameError("policy or folder", name, names())


def trained_on(folder: Path) -> Sequence[str]:
    """Return the tasks that the policy in a folder was trained on; empty if that is not known.

    The policy itself does not know. For a released one its record says so; for others the manifest
    beside it, which lists the training data as `TASK/SPLIT.tokens`.
    """
    for release in releases().values():
        if release.folder == folder:
            return release.tasks
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["spec"]["data"]
        return sorted({name.partition("/")[0] for name in data if name.endswith(".tokens")})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
