"""Show the state of a study: its training runs and its remaining jobs, in 80 columns."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lastmile.config import Settings
from lastmile.errors import LastmileError
from lastmile.pipeline import lock
from lastmile.pipeline.pace import pace
from lastmile.pipeline.why import NOTHING, Job, Overlay, planned
from lastmile.progress import clock
from lastmile.storage import locks
from lastmile.training.spec import ProgressLine, RunSpec, read_spec

SKILL = "placement@5"
"""The key skill: placements within 5 px of the annotator's."""
REFRESH = 2.0
"""Seconds between two updates of `--follow`; ten times as many without a terminal."""
CLEAR = "\x1b[H\x1b[2J"
"""Escape sequence that clears a terminal."""
LEGEND = "skill: share of placements within 5 px of the target, on held-out episodes"
_STATES = ("running", "stopped", "done")
_NAME = 28  # width of the column of names


class TrainingRun(NamedTuple):
    """A training run as its folder in `runs/` shows it.

    Attributes:
        name: Labels of the run.
        state: "running", "stopped" or "done".
        frames: Frames seen so far.
        total: Frames of the whole run.
        rate: Frames per second.
        loss: Newest training loss; None before the first one.
        skill: The key skill (`SKILL`); None before it is measured.
        left: Seconds left; None unless the run is running.
    """

    name: str
    state: str
    frames: int
    total: int
    rate: float
    loss: float | None
    skill: float | None
    left: float | None


def training_runs(runs: Path, results: Path) -> list[TrainingRun]:
    """Return the newest run of each name, running ones first."""
    newest: dict[str, tuple[int, Path, RunSpec]] = {}
    for path in runs.glob("*/spec.json"):
        try:
            spec = read_spec(path)
            labels = spec.run.items()
            name = " ".join(f"{key if key != 'run' else ''}{value}" for key, value in labels)
            time_ns = path.stat().st_mtime_ns
        except (OSError, LastmileError):  # of another version, or damaged: nothing to show
            continue
        if name not in newest or time_ns >= newest[name][0]:
            newest[name] = time_ns, path, spec
    found = [
        _training_run(name, path.parent, spec, results) for name, (_, path, spec) in newest.items()
    ]
    return sorted(found, key=lambda run: (_STATES.index(run.state), run.name))


def _training_run(name: str, folder: Path, spec: RunSpec, results: Path) -> TrainingRun:
    last = _last_line(folder / "progress.jsonl")
    total = spec.training.frames
    frames = last.frames if last else 0
    if locks.is_held(folder / ".lock", otherwise=False):
        state = "running"
    else:
        state = "done" if frames >= total else "stopped"
    return TrainingRun(
        name,
        state,
        frames,
        total,
        last.frames_per_s if last else 0.0,
        last.loss if last else None,
        _skill(results, spec),
        last.seconds_left if last and state == "running" else None,
    )


def _last_line(path: Path) -> ProgressLine | None:
    """Return the last line of progress that is whole, or None."""
    try:
        with open(path, "rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - 10_000))
            lines = handle.read().splitlines()[-2:]
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return ProgressLine.model_validate_json(line)
        except ValueError:  # cut off, or damaged
            continue
    return None


def _skill(results: Path, spec: RunSpec) -> float | None:
    """Return the key skill of the trained policy, averaged over the tasks of its evaluations."""
    from lastmile.storage import parquet  # with pandas, which takes a while

    labels = spec.run
    shares = []
    run = labels.get("run", labels.get("task"))
    for path in results.glob(f"evaluations/{run}/**/seed{spec.seed}/skills.parquet"):
        try:
            table = parquet.frame(path)
            table = table[(table["predictor"] == "policy") & (table["skill"] == SKILL)]
            last = table[table["frames"] == table["frames"].max()]
            hits, total = float(last["hits"].sum()), float(last["total"].sum())
        except (parquet.TableError, OSError, KeyError):
            continue
        if total:  # a task without placements has no such skill
            shares.append(hits / total)
    return sum(shares) / len(shares) if shares else None


def remaining(jobs: Sequence[Job], since: int) -> list[Job]:
    """Return the planned jobs that have not made all their outputs since the plan.

    Args:
        jobs: Planned jobs.
        since: Time of the plan, in nanoseconds of the file system's clock.
    """

    def is_new(path: str) -> bool:
        try:
            return Path(path).stat().st_mtime_ns > since
        except OSError:
            return False

    return [job for job in jobs if not all(map(is_new, job.outputs))]


def time_left(
    jobs: Sequence[Job], runs: Sequence[TrainingRun], seconds: Mapping[str, float]
) -> float:
    """Return an estimate of the time left on all cores of this machine, in seconds."""
    work = sum(seconds.get(job.outputs[0], 0.0) for job in jobs if job.outputs)
    longest = max((run.left or 0.0 for run in runs), default=0.0)
    return max(work / (os.cpu_count() or 1), longest)


def page(
    settings: Settings,
    jobs: Sequence[Job],
    runs: Sequence[TrainingRun],
    seconds: Mapping[str, float] | None = None,
    working: bool = False,
    height: int | None = None,
) -> str:
    """Return the state of a study, in lines of at most 80 columns.

    Args:
        settings: Settings of the study.
        jobs: Remaining jobs.
        runs: Training runs, running ones first.
        seconds: Seconds of a job by the files that it makes, for the time left.
        working: Whether a Snakemake is running in this folder.
        height: Lines of the terminal; runs that do not fit are only counted.
    """
    running = sum(run.state == "running" for run in runs)
    if jobs:
        headline = [f"{len(jobs)} job{'s' * (len(jobs) > 1)} to go"]
        if running:
            headline.append(f"{running} training run{'s' * (running > 1)} running")
        elif not working:
            headline.append("nothing is running")
        if seconds:
            headline.append(f"about {clock(time_left(jobs, runs, seconds))} left")
        lines = [f"{settings.name}: {', '.join(headline)}"]
    else:
        lines = [f"{settings.name}: everything is made"]

    counts = Counter(job.rule for job in jobs).most_common()
    lines += _wrapped([f"{rule} {count}" for rule, count in counts])
    if runs:
        head = f"{'training run':<{_NAME}}{'state':<9}{'frames':>15}{'/s':>7}{'loss':>8}"
        lines += ["", f"{head}{'skill':>6}{'left':>7}"]
        room = max(4, height - len(lines) - 4) if height else len(runs)
        lines += [_row(run) for run in runs[:room]]
        if len(runs) > room:
            lines.append(f"... and {len(runs) - room} more")
        lines.append(LEGEND)
    return "\n".join(line[:80].rstrip() for line in lines) + "\n"


def _wrapped(words: list[str]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= 80:
            lines[-1] += f", {word}"
        else:
            lines.append(f"  {word}")
    return lines


def _row(run: TrainingRun) -> str:
    frames = f"{_short(run.frames)} of {_short(run.total)}"
    loss = "-" if run.loss is None else f"{run.loss:.3f}"
    skill = "-" if run.skill is None else f"{run.skill:.2f}"
    left = "-" if run.left is None else clock(run.left)
    name = f"{_fit(run.name):<{_NAME}}{run.state:<9}"
    return f"{name}{frames:>15}{run.rate:>7.0f}{loss:>8}{skill:>6}{left:>7}"


def _fit(name: str) -> str:
    """Return a name of at most 27 characters, cut in the middle: names differ at their ends."""
    width = _NAME - 1
    return name if len(name) <= width else f"{name[:9]}~{name[-(width - 10) :]}"


def _short(frames: int) -> str:
    if frames >= 1e6:
        return f"{frames / 1e6:.1f}M"
    return f"{frames / 1e3:.1f}k" if frames >= 1e3 else str(frames)


def show(settings: Settings, overlay: Overlay = NOTHING, follow: bool = False) -> None:
    """Print the page, once or until nothing runs any more.

    Args:
        settings: Settings of the study.
        overlay: Presets and settings laid over config.yaml.
        follow: Keep printing until nothing runs any more, or until Ctrl-C. On a terminal each page
            replaces the one before.
    """
    results = Path("results") / settings.name
    since = time.time_ns()  # compared with modification times, which come from the same clock
    jobs = planned([], overlay)
    seconds = pace(settings, results).seconds if jobs else {}
    terminal = sys.stdout.isatty()
    before = None
    while True:
        jobs = remaining(jobs, since)
        runs = training_runs(Path("runs"), results)
        working = lock.holder() is not None
        height = shutil.get_terminal_size().lines if terminal else None
        text = page(settings, jobs, runs, seconds, working, height)
        if text != before:
            clear = CLEAR if terminal and follow else ""
            print(clear + text, end="" if terminal or not follow else "\n", flush=True)
        before = text
        active = working or any(run.state == "running" for run in runs)
        if not follow or not active:
            return
        time.sleep(REFRESH if terminal else 10 * REFRESH)
