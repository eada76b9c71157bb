# Settings and named helpers for all rules. Nothing here imports torch.

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

from lastmile import config as lastmile_config
from lastmile import warm
from lastmile.errors import LastmileError
from lastmile.pipeline import damage, lock, plan
from lastmile.pipeline.stages import get_stage
from lastmile.studies.render import figure_names
from lastmile.studies.runs import JOINT

try:
    # Snakemake's own reader takes keys that are given twice, and aliases.
    for path in dict.fromkeys(["config.yaml", *map(str, workflow.configfiles)]):
        lastmile_config.read(path)
    SETTINGS = lastmile_config.parse(config, "config")
    RESULTS = f"results/{SETTINGS.name}"
    JOBS = plan.Jobs(SETTINGS)
    OUTPUTS = JOBS.outputs(Path(RESULTS))
except LastmileError as error:
    raise WorkflowError(str(error)) from None

# What every stage is to do is in JOBS, one spec for each job; the files that each makes are in OUTPUTS.
REQUEST = JOBS.request
SEEDS = REQUEST.settings.training.seeds
STUDIES = tuple(REQUEST.needs)
FIGURES = tuple(name for name in STUDIES if name in figure_names())
SCREENS = tuple(spec.study for spec in JOBS.specs("figure").values() if spec.screens)
"""Studies whose figure shows a picture of screens beside its table."""

# Jobs run the Python that runs Snakemake, whether its environment is activated or not.
os.environ["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), os.environ["PATH"]]
)

os.environ[lock.PARENT] = str(os.getpid())
if workflow.is_main_process:
    if lock.looking(sys.argv[1:]):
        damage.report(Path(RESULTS), OUTPUTS)
    else:
        lock.claim()
        damage.mend(Path(RESULTS), OUTPUTS)


os.environ.pop(warm.SOCKET, None)  # a job on a node has nothing to do with us
SERVER = []
"""What keeps the server of warm starts running."""


onstart:
    if workflow.is_main_process:
        SERVER.append(warm.start())


onsuccess:
    damage.report(Path(RESULTS), OUTPUTS)


def recordings(stage):
    """Names of the recordings of a stage, as a wildcard constraint."""
    names = (re.escape(job.recording) for job in JOBS.specs(stage).values())
    return "|".join(dict.fromkeys(names)) or "(?!)"


wildcard_constraints:
    run="|".join(map(re.escape, REQUEST.runs)),
    task="|".join((*REQUEST.recorded, JOINT)),
    recording=recordings("tokenize"),
    split="train|validation|test",
    seed=r"\d+",
    study="|".join(STUDIES),


def spec(stage):
    """Params function: what a job is to do, as one canonical JSON string."""

    def of_job(wildcards):
        return JOBS.spec(stage, wildcards).canonical()

    return of_job


def code(stage):
    """Params function: the code that a job depends on."""

    def of_job(wildcards):
        return JOBS.code(stage, JOBS.spec(stage, wildcards))

    return of_job


def files(stage, field):
    """Input function: the files that a job reads under one name, several or none."""

    def of_job(wildcards):
        job = JOBS.spec(stage, wildcards)
        found = getattr(get_stage(stage).inputs(job, Path(RESULTS)), field)
        return (
            []
            if found is None
            else list(map(str, found if isinstance(found, tuple) else [found]))
        )

    return of_job


def command(stage):
    """Shell command of a stage."""
    return (
        f"python -m lastmile stage {stage} --spec {{params.spec:q}} --results {RESULTS}"
        " --code {params.code:q} > {log:q} 2>&1"
    )


ESTIMATES = plan.Estimates(REQUEST, plan.rates())


def memory(stage):
    """Resources function: what a job reserves, in MB; twice as much when it is tried again."""

    def of_job(wildcards, attempt):
        return attempt * ESTIMATES.mem_mb(stage, JOBS.spec(stage, wildcards))

    return of_job


WORK = {
    (job.run, str(job.seed)): ESTIMATES.cost("train", job).seconds
    for job in JOBS.specs("train").values()
}
"""Seconds of each training run on one core."""


def train_rank(rank):
    """Names of the runs of a rank, as a wildcard constraint: 0 for one task, 1 for several, 2 for the longest of these."""
    longest = max(WORK.values(), default=0)
    ranks = {
        name: (len(run.tasks) > 1) * (1 + (WORK[name, str(SEEDS[0])] > longest / 2))
        for name, run in REQUEST.runs.items()
    }
    return "|".join(re.escape(name) for name in ranks if ranks[name] == rank) or "(?!)"
