"""What a study will take, before it is begun: jobs, time and disk, from measured rates. No torch here: the Snakefile reads this module."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.config import SPLITS, PolicySettings, Settings, task_list
from lastmile.errors import LastmileError
from lastmile.studies import all_needs, all_runs
from lastmile.studies.runs import JOINT, Need, Run

RATES = Path(__file__).with_name("rates.json")
"""Made by `python -m lastmile rates`."""
STEP_BYTES = 12
"""Of a step in a trajectory file."""
PLAYED = 1.3
"""Steps of a policy's episode in closed loop over those of the annotator's, about; policies that never finish need up to `max_steps`."""
FIT, STUDY, FIGURE, REPORT = 0.6, 6.0, 3.0, 15.0
"""Seconds: of one probe, one study, one figure, and the report."""
SHARED = 0.65
"""Of the training rate of one core beside idle ones, what is left when all cores train, since they share the memory; measured on the study `desk`, two cores."""
LIGHTNING = 3.5
"""Seconds that a training takes to start beyond other jobs."""
SPARSE = 3
"""Only each so manieth snapshot of a policy with patch context is measured: it sees its whole window anew for every frame."""
PROBES = 30
"""Probes of a task: features by targets by labels, about."""


class Work(NamedTuple):
    """What jobs of one rule take together: how many there are, seconds on one core, bytes left on disk; longest: seconds of the longest."""

    rule: str
    jobs: int
    seconds: float
    bytes: float
    longest: float


@cache
def rates(path: Path = RATES) -> dict[str, Any]:
    """The table of rates. Raises ValueError naming a file that cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LastmileError(
            f"{path}: not a readable table of rates ({error}); make one by: python -m lastmile rates --out {path}"
        ) from None


def shape(policy: PolicySettings) -> str:
    """Name of a policy's shape in the table of rates."""
    default = PolicySettings()
    parts = [
        getattr(policy, key)
        for key in ("encoder", "context", "head")
        if getattr(policy, key) != getattr(default, key)
    ]
    return ".".join([policy.size, *parts])


def of_policy(policy: PolicySettings, table: dict[str, Any]) -> dict[str, float]:
    """Rates of a policy; of one of its size if there are none of its shape."""
    policies = table["policies"]
    return policies.get(shape(policy)) or policies.get(policy.size) or policies["l"]


def train_seconds(run: Run, table: dict[str, Any] | None = None) -> float:
    """Seconds that a training takes on one core, while others train on the others."""
    return LIGHTNING + run.frames / (SHARED * of_policy(run.policy, table or rates())["train"])


def plan(settings: Settings, table: dict[str, Any] | None = None) -> list[Work]:
    """The work of every rule, in the order of the workflow."""
    table = table or rates()
    tasks, seeds = task_list(settings), len(settings.training.seeds)
    runs, needs = all_runs(settings), all_needs(settings)
    known = {
        task: table["tasks"].get(task) or next(iter(table["tasks"].values())) for task in tasks
    }
    steps = {
        task: one["steps"].get(settings.worlds.difficulty) or one["steps"]["short"]
        for task, one in known.items()
    }
    episodes = settings.episodes.model_dump()
    found = []

    def add(rule: str, seconds: Iterable[float], disk: float = 0.0) -> None:
        all_seconds = [table["start"] + one for one in seconds]
        if all_seconds:
            found.append(Work(rule, len(all_seconds), sum(all_seconds), disk, max(all_seconds)))

    frames = {(task, split): episodes[split] * steps[task] for task in tasks for split in SPLITS}
    add(
        "record",
        [
            n * known[t]["record" if split == "train" else "record_again"]
            for (t, split), n in frames.items()
        ],
        STEP_BYTES * sum(frames.values()),
    )
    add(
        "tokenize",
        [n * known[t]["tokenize"] for (t, _), n in frames.items()],
        sum(n * known[t]["bytes"] for (t, _), n in frames.items()),
    )
    weights = sum(
        4 * of_policy(run.policy, table)["parameters"] * (settings.training.snapshots + 1)
        for run in runs.values()
    )
    add(
        "train",
        [train_seconds(run, table) for run in runs.values() for _ in range(seeds)],
        seeds * weights,
    )
    wanted = {
        ("skills" if need.table == "losses" else need.table, need.run.name, need.task): need
        for all_of in needs.values()
        for need in all_of
    }
    by_rule: dict[str, list[float]] = {}
    for (name, _, _), need in wanted.items():
        by_rule.setdefault(name, []).extend(
            [_evaluation(name, need, settings, steps, table)] * seeds
        )
    for name in sorted(by_rule):
        add(
            {"probes": "fit_probes", "probe_transfer": "fit_transfer_probes"}.get(name, name),
            by_rule[name],
        )
    add("study", [STUDY] * len(needs))
    add("figure", [FIGURE] * len(needs), 4e6 * len(needs))
    add("findings, runs, report", [1.0, 1.0, REPORT], 2e7)
    return found


def _evaluation(
    name: str, need: Need, settings: Settings, steps: dict[str, float], table: dict[str, Any]
) -> float:
    """Seconds of one evaluation on one core."""
    rate = of_policy(need.run.policy, table)
    length = sum(steps.values()) if need.task == JOINT else steps[need.task]
    episodes, evaluation = settings.episodes, settings.evaluation
    shared = min(episodes.shared_test, episodes.test)
    played = rate["rollout"] / PLAYED
    if name == "skills":
        slow = need.run.policy.context == "patch"
        return (
            _points(settings, SPARSE if slow else 1)
            * (shared if slow or len(need.run.tasks) > 1 else episodes.test)
            * length
            / rate["predict"]
        )
    if name == "closed_loop":
        return episodes.test * length / played
    if name == "closed_loop_along":
        return _points(settings, 2) * shared * length / played
    if name == "recovery":
        return (
            2
            * evaluation.recovery_states
            * (evaluation.recovery_steps + settings.policy.window / 2)
            / rate["rollout"]
        )
    if name == "speed":
        return 12 * settings.training.batch * settings.policy.window / rate["train"]
    probed = min(
        settings.probes.frames,
        episodes.test * length / (len(steps) if need.task == JOINT else 1),
    )
    if name == "probes":
        return 2 * probed / rate["predict"] + PROBES * FIT * probed / 2500
    return len(steps) * (probed / rate["predict"] + 1.0)


def _points(settings: Settings, every: int) -> int:
    """Policies along a training that are evaluated: before it, and every so many of the snapshots, the last one included."""
    return 1 + -(-settings.training.snapshots // every)


def clock_seconds(works: list[Work], cores: int) -> float:
    """How long it takes on some cores: the work shared evenly, but no less than the longest chain of data, training and evaluation."""
    chain = sum(
        max((work.longest for work in works if work.rule in rules), default=0.0) for rules in CHAIN
    )
    return max(sum(work.seconds for work in works) / cores, chain)


CHAIN = (
    ("record",),
    ("tokenize",),
    ("train",),
    ("skills", "closed_loop", "fit_probes", "fit_transfer_probes"),
    ("study",),
    ("figure",),
    ("findings, runs, report",),
)
"""Rules that wait for each other."""


def to_text(settings: Settings, cores: int, table: dict[str, Any] | None = None) -> str:
    """The plan in words."""
    works = plan(settings, table)
    runs = all_runs(settings)
    seeds = len(settings.training.seeds)
    lines = [
        f"{settings.name}: {len(task_list(settings))} tasks, {len(runs) * seeds} trainings, {seeds * sum(run.frames for run in runs.values()):,} frames of training",
        "",
    ]
    lines.append(f"{'rule':<24}{'jobs':>6}{'core minutes':>14}{'disk':>10}")
    for work in works:
        lines.append(
            f"{work.rule:<24}{work.jobs:>6}{work.seconds / 60:>14.1f}{_size(work.bytes):>10}"
        )
    lines.append(
        f"{'all':<24}{sum(w.jobs for w in works):>6}{sum(w.seconds for w in works) / 60:>14.1f}{_size(sum(w.bytes for w in works)):>10}"
    )
    lines += [
        "",
        f"About {_duration(clock_seconds(works, cores))} on {cores} core{'s' if cores > 1 else ''} like the one that was measured; a GPU trains faster.",
    ]
    return "\n".join(lines) + "\n"


def _size(count: float) -> str:
    if not count:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 86400:.1f} days"
        if seconds > 2 * 86400
        else f"{seconds / 3600:.1f} hours"
        if seconds > 2 * 3600
        else f"{max(1, round(seconds / 60))} minutes"
    )
