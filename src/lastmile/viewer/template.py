"""The files that the page is made of: template, style and script."""

from __future__ import annotations

import hashlib
from pathlib import Path

_HERE = Path(__file__).parent
SCRIPTS = ("page.map.js", "page.drawing.js", "page.js")
FILES = ("page.html", "page.css", *SCRIPTS)


def text(name: str) -> str:
    """Return one of the files."""
    return (_HERE / name).read_text(encoding="utf-8")


def digest() -> str:
    """Return a hash of all of them: they are no Python, so no fingerprint covers them."""
    return hashlib.blake2b("\0".join(map(text, FILES)).encode(), digest_size=8).hexdigest()
