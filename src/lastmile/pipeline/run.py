"""Run Snakemake and show the page of `lastmile status` beside its output."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lastmile.config import Settings
from lastmile.errors import LastmileError
from lastmile.pipeline.damage import verified
from lastmile.pipeline.lock import PAGE, say
from lastmile.pipeline.pace import pace
from lastmile.pipeline.status import (
    CLEAR,
    REFRESH,
    page,
    remaining,
    training_runs,
)
from lastmile.pipeline.why import NOTHING, Job, Overlay, planned, snakemake

EVERY = 60.0
"""Seconds between two pages where there is no terminal."""
START = 6.0
"""Seconds in which a Snakemake ends that finds nothing to do."""
NEWEST, LAST = 6, 40
"""Lines of Snakemake's output below the page, and lines shown when it fails."""
RESUME = "interrupted; run the same command again to resume"


def run(
    settings: Settings, targets: Sequence[str], overlay: Overlay = NOTHING, cores: str = "all"
) -> int:
    """Run Snakemake for these targets and show its progress.

    On a terminal the page is updated in place, with Snakemake's newest lines below it; its whole
    output goes to results/NAME/logs/snakemake.log. Without a terminal, Snakemake's output is
    printed as it comes, and the page once a minute. Ctrl-C and SIGTERM shut Snakemake down cleanly.

    Args:
        settings: Settings of the study.
        targets: What to make, as Snakemake names it.
        overlay: Presets and settings laid over config.yaml.
        cores: Number of cores, or "all".

    Returns:
        Snakemake's exit status; 130 after an interrupt. After `all` the results are verified; what
        does not hold is made again once, and if it does not hold then either, the status is 1.
    """
    results = Path("results") / settings.name
    status = _run(settings, targets, overlay, cores)
    if status or "all" not in targets or verified(results):
        return status
    status = _run(settings, targets, overlay, cores)
    if not status and not verified(results):
        say("these results do not hold, though they were made again; see above")
        return 1
    return status


def _run(settings: Settings, targets: Sequence[str], overlay: Overlay, cores: str) -> int:
    """Run Snakemake once, as `run` does."""
    since = time.time_ns()
    terminal = sys.stdout.isatty()
    results = Path("results") / settings.name
    log = results / "logs" / "snakemake.log"
    command = snakemake("--cores", cores, *targets, overlay=overlay)
    environment = {**os.environ, PAGE: str(os.getpid())}
    plan: list[list[Job]] = []
    seconds: dict[str, float] = {}
    ended = threading.Event()

    def find() -> None:
        """Find out what is to be done, for the page; not where there is nothing to do."""
        if ended.wait(START):
            return
        seconds.update(pace(settings, results).seconds)
        try:
            plan.append(planned(targets, overlay))
        except LastmileError:  # Snakemake itself reports what is wrong
            pass

    threading.Thread(target=find, daemon=True).start()

    def look() -> str:
        plan[0] = remaining(plan[0], since)
        runs = training_runs(Path("runs"), results)
        height = shutil.get_terminal_size().lines - NEWEST if terminal else None
        return page(settings, plan[0], runs, seconds, working=True, height=height)

    if terminal:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as handle:
            child = subprocess.Popen(
                command, stdout=handle, stderr=subprocess.STDOUT, env=environment
            )
        print(f"{settings.name}: looking at what is there", flush=True)
    else:
        child = subprocess.Popen(command, env=environment)
    interrupted = False

    def end(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        child.terminate()

    signal.signal(signal.SIGTERM, end)
    shown = time.monotonic()
    while True:
        try:
            status = child.wait(REFRESH)
            ended.set()
            break
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:  # Snakemake got it too and ends its jobs
            interrupted = True
            continue
        if plan and (terminal or time.monotonic() - shown > EVERY):
            shown = time.monotonic()
            if terminal:
                print(f"{CLEAR}{look()}\n{_end(log, NEWEST)}", flush=True)
            else:
                print(f"\n{look()}", flush=True)
    if terminal:
        print(f"{CLEAR}{look()}" if plan and not status else _end(log, LAST), flush=True)
    if interrupted and status:
        print(RESUME, file=sys.stderr, flush=True)
        return 130
    return status


def _end(log: Path, count: int) -> str:
    """Return the last lines of a log, cut to the width of the terminal."""
    width = shutil.get_terminal_size().columns
    with open(log, "rb") as handle:
        handle.seek(max(0, os.fstat(handle.fileno()).st_size - 200 * count))
        lines = handle.read().decode("utf-8", "replace").splitlines()
    kept = [line for line in lines if line.strip()][-count:]
    return "\n".join(line[:width] for line in kept)
