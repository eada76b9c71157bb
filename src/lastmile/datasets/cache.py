"""The cache of real data: where it is, what is in it, and whether it is intact."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lastmile.datasets.archives import Archive
from lastmile.errors import LastmileError

VARIABLE = "LASTMILE_CACHE"
"""Environment variable with the folder of the cache, where it is not the usual one."""
ABOUT = "SOURCE.json"
"""File beside the data that says where they come from, under which licence, and whose they are."""


class DataError(LastmileError):
    """Real data that cannot be used; the message names the file and what was expected."""


def cache_folder() -> Path:
    """Return the folder in which real data are kept: `LASTMILE_CACHE`, or the user's cache."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path  # here: most users have no real data

    return user_cache_path("lastmile")


def data_folder(archive: Archive) -> Path:
    """Return where the members of an archive are kept, whether or not they are there."""
    return cache_folder() / "real" / archive.name


class Data(Protocol):
    """Files with digests: an archive, or data that were imported."""

    @property
    def name(self) -> str: ...

    def files(self) -> Mapping[str, str]: ...


def check(data: Data, folder: Path) -> None:
    """Check that all files of some data are in a folder, with the bytes they should have.

    Raises:
        DataError: Naming the file that is missing or damaged.
    """
    for name, digest in data.files().items():
        path = folder / name
        try:
            with open(path, "rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; expected data of {data.name}") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        if found != digest:
            raise DataError(f"{path}: damaged, or not the file of {data.name}")


def complete(archive: Archive) -> bool:
    """Return whether the data of an archive are in the cache, undamaged."""
    try:
        check(archive, data_folder(archive))
    except DataError:
        return False
    return (data_folder(archive) / ABOUT).is_file()
