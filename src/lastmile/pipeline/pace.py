"""How fast this machine does the jobs of a study, by those that it has done.

Snakemake writes the seconds of each job to `results/NAME/benchmarks/STAGE/`. They are compared with
what the plan expects of the same jobs. A job that was interrupted has the seconds of its last
sitting alone, so the median over the jobs of a stage counts.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import NamedTuple

from lastmile.config import Settings
from lastmile.pipeline.plan import Estimates, Jobs, rates
from lastmile.pipeline.stage import Spec, files_of
from lastmile.pipeline.stages import get_stage, stage_names


class Pace(NamedTuple):
    """How fast this machine is.

    Attributes:
        jobs: Number of jobs that are known.
        stages: By stage, the seconds that a job takes per second of the plan.
        seconds: Seconds that each job takes here, by the paths of the files that it makes.
    """

    jobs: int
    stages: dict[str, float]
    seconds: dict[str, float]


def pace(settings: Settings, results: Path) -> Pace:
    """Return how fast this machine does the jobs of a study, and how long each one takes.

    A stage of which no job is done is as fast as all that are known; with none at all, as planned.
    """
    jobs = Jobs(settings)
    estimates = Estimates(jobs.request, rates())
    planned = {
        stage: [(spec, estimates.cost(stage, spec).seconds) for spec in jobs.specs(stage).values()]
        for stage in stage_names()
    }
    done = {
        stage: [
            (took, expected)
            for spec, expected in specs
            if (took := _measured(results, stage, spec)) is not None
        ]
        for stage, specs in planned.items()
    }
    known = [pair for of_stage in done.values() for pair in of_stage]
    overall = sum(took for took, _ in known) / sum(expected for _, expected in known or [(1, 1)])
    stages = {
        stage: statistics.median(took / expected for took, expected in of_stage)
        if of_stage
        else overall or 1.0
        for stage, of_stage in done.items()
    }
    seconds = {
        str(path): expected * stages[stage]
        for stage, specs in planned.items()
        for spec, expected in specs
        for path in files_of(get_stage(stage).outputs(spec, results))
    }
    return Pace(len(known), stages, seconds)


def _measured(results: Path, stage: str, spec: Spec) -> float | None:
    """Return the seconds that a job took; None if it has not run, or the file is damaged."""
    labels = {label: str(getattr(spec, label)) for label in get_stage(stage).LABELS}
    seed = [f"seed{labels.pop('seed')}"] if "seed" in labels else []
    path = results / "benchmarks" / stage / ".".join([*labels.values(), *seed, "tsv"])
    try:
        head, row = path.read_text(encoding="utf-8").splitlines()[:2]
        seconds = float(dict(zip(head.split("\t"), row.split("\t")))["s"])
    except (OSError, ValueError, KeyError):
        return None
    return seconds if seconds > 0 else None
