"""Run Snakemake and show the page of `lastmile status` beside its output."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

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
    printed as it comes, and the page once a minute. Ctrl-C and SIGTERM end Snakemake and its jobs;
    a training run first writes a checkpoint.

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
        print(f"{settings.name}: looking at what is there", flush=True)
    with (
        open(log, "wb") if terminal else contextlib.nullcontext() as output,
        _started(command, environment, output) as (child, interrupted),
    ):
        shown = time.monotonic()
        while True:
            try:
                status = child.wait(REFRESH)
                ended.set()
                break
            except subprocess.TimeoutExpired:
                pass
            if plan and (terminal or time.monotonic() - shown > EVERY):
                shown = time.monotonic()
                if terminal:
                    print(f"{CLEAR}{look()}\n{_end(log, NEWEST)}", flush=True)
                else:
                    print(f"\n{look()}", flush=True)
    if terminal:
        print(f"{CLEAR}{look()}" if plan and not status else _end(log, LAST), flush=True)
    if interrupted.is_set() and status:
        print(RESUME, file=sys.stderr, flush=True)
        return 130
    return status


@contextlib.contextmanager
def _started(
    command: list[str], environment: Mapping[str, str], output: IO[bytes] | None
) -> Iterator[tuple[subprocess.Popen[bytes], threading.Event]]:
    """Start Snakemake, and let SIGINT and SIGTERM end it and its jobs.

    After SIGTERM Snakemake waits for its jobs, so its whole process group gets SIGINT, as from
    Ctrl-C. The handlers are there before it starts: a process that ignores SIGINT
    (`nohup ... &`) would hand that down.

    Yields:
        The process, and what is set after a signal.
    """
    interrupted = threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def end(*_: object) -> None:
        interrupted.set()
        for child in started:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGINT)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        started.append(
            subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=environment,
                process_group=0,
            )
        )
        if interrupted.is_set():
            end()
        yield started[0], interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(log: Path, count: int) -> str:
    """Return the last lines of a log, cut to the width of the terminal."""
    width = shutil.get_terminal_size().columns
    with open(log, "rb") as handle:
        handle.seek(max(0, os.fstat(handle.fileno()).st_size - 200 * count))
        lines = handle.read().decode("utf-8", "replace").splitlines()
    kept = [line for line in lines if line.strip()][-count:]
    return "\n".join(line[:width] for line in kept)
