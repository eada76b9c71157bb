"""Errors that a user can cause, all of one base class.

The command line prints them without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LastmileError(ValueError):
    """Something a user can mend. The message says what was expected, what came, and what to do."""


class UnknownNameError(LastmileError):
    """A name that does not exist; the message suggests the closest one and lists those that do."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        super().__init__(f"unknown {what} '{name}'{hint} (known: {', '.join(names)})")


class MissingExtraError(LastmileError):
    """A feature whose packages are not installed; the message names the extra that brings them."""

    def __init__(self, feature: str, extra: str, error: ImportError) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed ({error}); "
            f"in the folder of lastmile run: pip install -e '.[{extra}]'"
        )
