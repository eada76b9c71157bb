"""Snakemake at work, with the page of `status` beside what it says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from lastmile.config import Settings
from lastmile.pipeline.status import CLEAR, REFRESH, page, remaining, trainings
from lastmile.pipeline.why import Job, planned, snakemake

EVERY = 60.0
"""Seconds between two pages where they are lines among others and not a screen of their own."""
NEWEST, LAST = 6, 40
"""Lines of Snakemake under the page; lines shown when it fails."""


def make(settings: Settings, targets: list[str], configfiles: list[str], cores: str) -> int:
    """Run Snakemake for these targets and show how far it is. Returns its exit status.

    On a terminal the page is renewed in its place, with Snakemake's newest lines under it; all of them are kept in results/NAME/logs/snakemake.log.
    Elsewhere its lines go through, and the page comes between them once a minute. Ctrl-C and SIGTERM end Snakemake in order.
    """
    since, terminal = time.time_ns(), sys.stdout.isatty()
    results = Path("results") / settings.name
    log = results / "logs" / "snakemake.log"
    command = snakemake("--cores", cores, *targets, configfiles=configfiles)
    plan: list[list[Job]] = []
    threading.Thread(target=_plan, args=(targets, configfiles, plan), daemon=True).start()

    def look() -> str:
        plan[0] = remaining(plan[0], since)
        return page(settings, plan[0], trainings(Path("runs"), results))

    if terminal:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as kept:
            child = subprocess.Popen(command, stdout=kept, stderr=subprocess.STDOUT)
        print(f"{settings.name}: looking at what is there", flush=True)
    else:
        child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    shown = time.monotonic()
    while True:
        try:
            status = child.wait(REFRESH)
            break
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:  # Snakemake got it as well, and ends its jobs
            continue
        if plan and (terminal or time.monotonic() - shown > EVERY):
            shown = time.monotonic()
            print(
                f"{CLEAR}{look()}\n{_end(log, NEWEST)}" if terminal else f"\n{look()}", flush=True
            )
    if terminal:
        print(f"{CLEAR}{look()}" if plan and not status else _end(log, LAST), flush=True)
    return status


def _plan(targets: list[str], configfiles: list[str], plan: list[list[Job]]) -> None:
    try:
        plan.append(planned(targets, configfiles))
    except ValueError:  # Snakemake says itself what is wrong
        pass


def _end(log: Path, count: int) -> str:
    """The last lines, cut to the width of the terminal."""
    width = shutil.get_terminal_size().columns
    with open(log, "rb") as handle:
        handle.seek(max(0, os.fstat(handle.fileno()).st_size - 200 * count))
        lines = handle.read().decode("utf-8", "replace").splitlines()
    return "\n".join(line[:width] for line in [line for line in lines if line.strip()][-count:])
