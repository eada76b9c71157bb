"""Report the progress of long work on stderr: what is done, how fast, how long the rest takes."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Progress:
    """Count units of work and write a line every few seconds, and one at the end.

    Call it with the number of units done since the last call, and use it as a context manager:
    the last line is written when the block ends without an error.

    Attributes:
        done: Units done so far.
    """

    def __init__(self, name: str, total: int | None, unit: str, every: float = 5.0) -> None:
        """Start counting.

        Args:
            name: What is being done; the lines begin with it.
            total: Units in all, or None if unknown.
            unit: Name of the units in the plural, as in "frames".
            every: Seconds between two lines, at least.
        """
        self.name = name
        self.total = total
        self.unit = unit
        self.every = every
        self.done = 0
        self.start = time.monotonic()
        self.last = self.start

    def __call__(self, count: int = 1) -> None:
        """Count `count` more units as done."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            self._write(now)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        rate = self.done / max(1e-9, now - self.start)
        of_total = f" of {self.total:,}" if self.total else ""

        remaining = ""
        if self.total and rate and self.done < self.total:
            remaining = f", {clock((self.total - self.done) / rate)} left"
        say(f"{self.name}: {self.done:,}{of_total} {self.unit}, {rate:,.0f}/s{remaining}")


def say(line: str) -> None:
    """Write a line to stderr at once."""
    print(line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Format a duration as 0:07, 12:30 or 3:05:00."""
    whole = int(round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
