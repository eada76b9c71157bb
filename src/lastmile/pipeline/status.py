"""What is going on: trainings with step, speed, loss, skill and time left, and what remains of the whole study. Fits 80 columns."""

from __future__ import annotations

import fcntl
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.config import Settings
from lastmile.pipeline.why import Job, planned
from lastmile.progress import clock
from lastmile.storage import parquet

SKILL = "placement@5"
"""The key skill: placements within 5 px of the annotator's."""
REFRESH = 2.0
"""Seconds between two looks of `--follow`; on no terminal, ten times as many."""
CLEAR = "\x1b[H\x1b[2J"
"""Empties a terminal."""
_STATES = ("running", "stopped", "done")


class Training(NamedTuple):
    """A training as its folder in `runs/` shows it. frames, of: seen and wanted. skill: of its evaluation, None before that."""

    name: str
    state: str
    frames: int
    of: int
    rate: float
    loss: float | None
    skill: float | None
    left: float | None


def trainings(runs: Path, results: Path) -> list[Training]:
    """The newest training of each name, running ones first."""
    newest: dict[str, tuple[int, Path, dict[str, Any]]] = {}
    for path in runs.glob("*/spec.json"):
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            name = " ".join(
                f"{key if key != 'run' else ''}{value}" for key, value in spec["run"].items()
            )
            newest[name] = max(
                newest.get(name, (0, path, spec)),
                (path.stat().st_mtime_ns, path, spec),
                key=lambda item: item[0],
            )
        except (OSError, ValueError, KeyError, AttributeError):
            continue
    found = [
        _training(name, path.parent, spec, results) for name, (_, path, spec) in newest.items()
    ]
    return sorted(found, key=lambda one: (_STATES.index(one.state), one.name))


def _training(name: str, folder: Path, spec: dict[str, Any], results: Path) -> Training:
    rows = _rows(folder / "progress.jsonl")
    last, of = (rows[-1] if rows else {}), int(spec["training"]["frames"])
    frames = int(last.get("frames", 0))
    state = "running" if _held(folder / ".lock") else "done" if frames >= of else "stopped"
    left = last.get("seconds_left") if state == "running" else None
    return Training(
        name,
        state,
        frames,
        of,
        float(last.get("frames_per_s", 0)),
        last.get("loss"),
        _skill(results, spec),
        left,
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of progress; a torn last one is left out."""
    found = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines()[-2:]:
            found.append(json.loads(line))
    except (OSError, ValueError):
        pass
    return found


def _held(path: Path) -> bool:
    """Whether a process holds this lock."""
    try:
        with open(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _skill(results: Path, spec: dict[str, Any]) -> float | None:
    """The key skill of the trained policy, over the tasks on which it was measured."""
    about, shares = spec["run"], []
    for path in results.glob(
        f"evaluations/{about.get('run', about.get('task'))}/**/seed{spec['seed']}/skills.parquet"
    ):
        try:
            table = parquet.frame(path)
            table = table[(table["predictor"] == "policy") & (table["skill"] == SKILL)]
            last = table[table["frames"] == table["frames"].max()]
            shares.append(last["hits"].sum() / last["total"].sum())
        except (parquet.TableError, OSError, KeyError, ZeroDivisionError):
            continue
    return float(sum(shares) / len(shares)) if shares else None


def remaining(jobs: list[Job], since: int) -> list[Job]:
    """The planned jobs that have not made all their outputs since the plan (in ns of the file system's clock)."""

    def made(path: str) -> bool:
        try:
            return Path(path).stat().st_mtime_ns > since
        except OSError:
            return False

    return [job for job in jobs if not all(made(output) for output in job.outputs)]


def page(settings: Settings, jobs: list[Job], found: list[Training]) -> str:
    """All that there is to say, in lines of at most 80 columns."""
    running = sum(one.state == "running" for one in found)
    lines = [
        f"{settings.name}: {len(jobs)} job{'s' * (len(jobs) > 1)} to go"
        + (f", {running} training{'s' if running > 1 else ''} running" if running else "")
        if jobs
        else f"{settings.name}: all is made"
    ]
    rest = ""
    for rule, count in Counter(job.rule for job in jobs).most_common():
        word = f"{rule} {count}"
        if len(rest) + len(word) + 4 > 80:
            lines.append(f"  {rest}")
            rest = ""
        rest = f"{rest}, {word}" if rest else word
    lines += [f"  {rest}"] if rest else []
    if found:
        lines += [
            "",
            f"{'training':<28}{'state':<9}{'frames':>15}{'/s':>7}{'loss':>8}{'skill':>6}{'left':>7}",
        ]
    for one in found:
        seen = f"{_short(one.frames)} of {_short(one.of)}"
        loss, skill = (
            "-" if value is None else f"{value:.{digits}f}"
            for value, digits in ((one.loss, 3), (one.skill, 2))
        )
        name = one.name if len(one.name) < 28 else f"{one.name[:26]}~"
        lines.append(
            f"{name:<28}{one.state:<9}{seen:>15}{one.rate:>7.0f}{loss:>8}{skill:>6}{clock(one.left) if one.left is not None else '-':>7}"
        )
    return "\n".join(line[:80].rstrip() for line in lines) + "\n"


def _short(frames: int) -> str:
    return (
        f"{frames / 1e6:.1f}M"
        if frames >= 1e6
        else f"{frames / 1e3:.1f}k"
        if frames >= 1e3
        else str(frames)
    )


def show(settings: Settings, configfiles: list[str], follow: bool) -> None:
    """Print the page; with `follow`, again and again until all is made or Ctrl-C. On a terminal each page takes the place of the one before."""
    results, runs = Path("results") / settings.name, Path("runs")
    since = time.time_ns()  # compared with the times of files, which are taken from the same clock
    jobs = planned([], configfiles)
    terminal, before = sys.stdout.isatty(), None
    while True:
        jobs, found = remaining(jobs, since), trainings(runs, results)
        text = page(settings, jobs, found)
        if text != before:
            print(
                (CLEAR if terminal and follow else "") + text,
                end="" if terminal or not follow else "\n",
                flush=True,
            )
        before = text
        if not follow or not (jobs or any(one.state == "running" for one in found)):
            return
        time.sleep(REFRESH if terminal else 10 * REFRESH)
