"""Progress of long work on stderr: how much is done, how fast, how long it will take."""

from __future__ import annotations

import sys
import time


class Progress:
    """Call it with the number of units done since the last call; it writes a line every few seconds, and one at the end.

    total: units in all, or None if unknown. unit: their name, as in "frames". every: seconds between lines.
    """

    def __init__(self, name: str, total: int | None, unit: str, every: float = 5.0) -> None:
        self.name, self.total, self.unit, self.every = name, total, unit, every
        self.done, self.start = 0, time.monotonic()
        self.last = self.start

    def __call__(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            self._write(now)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        rate = self.done / max(1e-9, now - self.start)
        of = f" of {self.total:,}" if self.total else ""
        left = (
            f", {clock((self.total - self.done) / rate)} left"
            if self.total and rate and self.done < self.total
            else ""
        )
        print(
            f"{self.name}: {self.done:,}{of} {self.unit}, {rate:,.0f}/s{left}",
            file=sys.stderr,
            flush=True,
        )


def clock(seconds: float) -> str:
    """A duration as 0:07, 12:30 or 3:05:00."""
    whole = int(round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
