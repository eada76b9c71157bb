"""Plan a study: which jobs it needs, and how much time and disk they take, from measured rates.

This module must not import torch: the Snakefile imports it for every job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.config import Settings, task_list
from lastmile.errors import LastmileError
from lastmile.performance.rates import RATES, RateTable, shape, task_rates
from lastmile.pipeline.stage import Cost, Request, Spec, files_of
from lastmile.pipeline.stages import get_stage, stage_names
from lastmile.policy.sizes import TRAINING_PASSES
from lastmile.provenance.fingerprints import code_label
from lastmile.storage.records import RecordError, read_json
from lastmile.studies import all_needs
from lastmile.studies.runs import with_starts

PLAYED = 1.3
"""About how many steps a policy takes in closed loop per step of the annotator; a policy that never
finishes takes up to `evaluation.max_steps`."""
SPARE = 1.5
"""Memory that is reserved for a job, as a multiple of its estimate."""
ON_DEVICE = 8e9
"""Bytes of activations above which a network is taken to run on a GPU."""
H100 = 13.2e12
"""FLOP/s of training at size `s` with 64 windows an update, see results/reference/h100."""
CHAIN = (
    ("record",),
    ("tokenize",),
    ("train",),
    ("repair_record",),
    (
        "skills",
        "closed_loop",
        "closed_loop_curve",
        "recovery",
        "side_by_side",
        "reference_players",
        "deferral",
        "other_looks",
        "linear_probes",
        "cross_task_probes",
        "example",
    ),
    ("study",),
    ("figure",),
    ("findings",),
    ("report",),
)
"""Groups of stages, each of which waits for the group before it."""


def request(settings: Settings) -> Request:
    """Return all that a study asks for."""
    needs = all_needs(settings)
    runs = with_starts([need.run for of_study in needs.values() for need in of_study])
    return Request(settings, task_list(settings), needs, runs)


class Jobs:
    """All jobs of a study: their specs by stage and labels, and their code.

    Args:
        settings: Settings of the study.
    """

    def __init__(self, settings: Settings) -> None:
        self.request = request(settings)
        self._specs: dict[str, dict[tuple[str, ...], Spec]] = {}

    def specs(self, stage: str) -> dict[tuple[str, ...], Spec]:
        """Return the specs of a stage by the values of its labels, as strings."""
        if stage not in self._specs:
            module = get_stage(stage)
            self._specs[stage] = {
                tuple(str(getattr(spec, label)) for label in module.LABELS): spec
                for spec in module.wanted(self.request)
            }
        return self._specs[stage]

    def spec(self, stage: str, labels: Any) -> Any:
        """Return the spec of one job.

        Args:
            stage: Name of the stage.
            labels: Labels of the job as attributes, such as the wildcards of a Snakemake rule.
        """
        return self.specs(stage)[tuple(getattr(labels, name) for name in get_stage(stage).LABELS)]

    def outputs(self, results: Path) -> list[tuple[Path, ...]]:
        """Return the files that each job makes."""
        return [
            tuple(files_of(get_stage(stage).outputs(spec, results)))
            for stage in stage_names()
            for spec in self.specs(stage).values()
        ]

    def code(self, stage: str, spec: Spec) -> str:
        """Return the label of the code that a job runs."""
        return code_label(f"pipeline.stages.{stage}", get_stage(stage).parts(spec))


class Work(NamedTuple):
    """What all jobs of one stage take.

    Attributes:
        stage: Name of the stage.
        jobs: Number of jobs.
        seconds: Seconds on one core.
        disk: Bytes that stay on disk.
        longest: Seconds of the longest job.
    """

    stage: str
    jobs: int
    seconds: float
    disk: float
    longest: float


@cache
def rates(path: Path = RATES) -> dict[str, Any]:
    """Return the table of rates.

    Raises:
        LastmileError: The file cannot be read.
    """
    try:
        return read_json(path, RateTable, "a table of rates").model_dump()
    except RecordError as error:
        raise LastmileError(f"{error}; make one by: lastmile rates --out {path}") from None


@dataclass(frozen=True)
class Estimates:
    """What the costs of jobs are estimated from.

    Attributes:
        request: What the study asks for.
        table: Rates of one core, as `lastmile rates` measures them.
    """

    request: Request
    table: dict[str, Any]

    def steps(self, task: str) -> float:
        """Return the mean number of steps of an episode."""
        steps = task_rates(self.table, task)["steps"]
        return float(steps.get(self.request.settings.worlds.difficulty) or steps["short"])

    def task_rate(self, task: str, name: str) -> float:
        """Return seconds (record, record_again, tokenize) or bytes per step of a task."""
        return float(task_rates(self.table, task)[name])

    def policy_rate(self, run: str, name: str) -> float:
        """Return a rate of the policy of a run: train, predict, rollout, played, parameters.

        A policy whose shape was not measured gets the rates of the default policy of its size.
        """
        policies = self.table["policies"]
        policy = self.request.runs[run].policy
        rate = policies.get(shape(policy)) or policies.get(policy.size) or policies["l"]
        if name == "played":
            return rate["rollout"] / PLAYED
        return float(rate[name])

    def network_memory(self, run: str, frames: int, copies: int) -> float:
        """Return the bytes that a network takes: `copies` of its weights, and `frames` at once.

        What takes more than `ON_DEVICE` is computed on a GPU, in memory of its own.
        """
        screen, activations = 1.3e6, 7.5e-3 * self.policy_rate(run, "operations")
        weights = 4 * self.policy_rate(run, "parameters")
        return min(frames * (screen + activations), ON_DEVICE) + copies * weights

    def mem_mb(self, stage: str, spec: Spec) -> int:
        """Return the memory to reserve for a job, in MB: what it takes, with room to spare."""
        return 500 * ceil(SPARE * get_stage(stage).cost(spec, self).memory / 500e6)

    def cost(self, stage: str, spec: Spec) -> Cost:
        """Return what a job takes, including the time to start it."""
        cost = get_stage(stage).cost(spec, self)
        return cost._replace(seconds=cost.seconds + self.table["start"])


def plan(settings: Settings, table: dict[str, Any] | None = None) -> list[Work]:
    """Return the work of every stage, in the order of the workflow."""
    jobs = Jobs(settings)
    estimates = Estimates(jobs.request, table or rates())
    works = []
    for stage in stage_names():
        costs = [estimates.cost(stage, spec) for spec in jobs.specs(stage).values()]
        if costs:
            seconds = [cost.seconds for cost in costs]
            disk = sum(cost.disk for cost in costs)
            works.append(Work(stage, len(costs), sum(seconds), disk, max(seconds)))
    return works


def clock_seconds(works: Sequence[Work], cores: int) -> float:
    """Return how many seconds the work takes on this many cores.

    The work is shared evenly among the cores, but it takes no less than the longest chain of jobs
    that wait for each other (`CHAIN`).
    """
    chain = sum(
        max((work.longest for work in works if work.stage in stages), default=0.0)
        for stages in CHAIN
    )
    return max(sum(work.seconds for work in works) / cores, chain)


def to_text(
    settings: Settings,
    cores: int,
    table: dict[str, Any] | None = None,
    paces: Mapping[str, float] | None = None,
) -> str:
    """Return the plan as text: jobs, core minutes and disk by stage, and the time in all.

    Args:
        settings: Settings of the study.
        cores: Cores to plan for.
        table: Rates of one core; those of the package by default.
        paces: Seconds that jobs took on this machine per second of the plan, by stage.
    """
    works = plan(settings, table)
    runs = request(settings).runs
    seeds = settings.training.seeds
    trained = {name: len(run.of_seeds(seeds)) for name, run in runs.items()}
    frames = sum(trained[name] * run.frames for name, run in runs.items())
    lines = [
        f"{settings.name}: {len(task_list(settings))} tasks, {sum(trained.values())} training "
        f"runs, {frames:,} frames of training",
        "",
        f"{'stage':<24}{'jobs':>6}{'core minutes':>14}{'disk':>10}",
    ]
    rows = [(work.stage, work.jobs, work.seconds, work.disk) for work in works]
    rows.append(("all", *(sum(column) for column in list(zip(*rows))[1:])))
    for stage, jobs, seconds, disk in rows:
        lines.append(f"{stage:<24}{jobs:>6}{seconds / 60:>14.1f}{size_text(disk):>10}")
    time = _duration(clock_seconds(works, cores))
    estimates = Estimates(request(settings), table or rates())
    operations = TRAINING_PASSES * sum(
        trained[name] * run.frames * estimates.policy_rate(name, "operations")
        for name, run in runs.items()
    )
    lines += [
        "",
        f"About {time} on {cores} core{'s' if cores > 1 else ''} like the one that was measured.",
        *_here(works, cores, paces or {}),
        f"Training takes {operations:.1e} operations: {_duration(operations / H100)} on an H100 at"
        f" the {H100 / 1e12:.0f} TFLOP/s measured there (size s, training.batch: 64).",
    ]
    return "\n".join(lines) + "\n"


def _here(works: Sequence[Work], cores: int, paces: Mapping[str, float]) -> list[str]:
    """Say how long it takes on this machine, if that is known."""
    if not paces:
        return []
    slower = [
        work._replace(seconds=work.seconds * pace, longest=work.longest * pace)
        for work in works
        for pace in [paces[work.stage]]
    ]
    time = _duration(clock_seconds(slower, cores))
    return [f"About {time} on this machine, by the jobs that it has done."]


def size_text(count: float) -> str:
    """Return a number of bytes in words; none are nothing."""
    if not count:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds > 2 * 86400:
        return f"{seconds / 86400:.1f} days"
    if seconds > 2 * 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{max(1, round(seconds / 60))} minutes"
