# Settings and named helpers for all rules. Nothing here imports torch.

import sys

from lastmile import config as lastmile_config
from lastmile.figures import figure_names
from lastmile.provenance import fingerprint

try:
    SETTINGS = lastmile_config.parse(config, "config")
except lastmile_config.ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{SETTINGS.name}"
TASKS = lastmile_config.task_list(SETTINGS)
SPLITS = lastmile_config.SPLITS
SEEDS = SETTINGS.training.seeds
FIGURES = figure_names()
EVALUATIONS = ("skills", "closed_loop", "recovery", "probes")
LASTMILE = f"{sys.executable} -m lastmile"


wildcard_constraints:
    task="|".join(TASKS),
    split="|".join(SPLITS),
    seed=r"\d+",


def as_json(value):
    """One canonical string: settings that are equal give params that are equal."""
    return lastmile_config.canonical(value)


def code(module, *tasks):
    """Fingerprint of the sources that a step depends on, with those of the tasks named."""
    return fingerprint(f"lastmile.{module}", tuple(sorted(tasks)))


def task_code(module):
    """Params function: the same for the task of a job."""

    def of_job(wildcards):
        return code(module, wildcards.task)

    return of_job


def run_of(wildcards):
    """What tells one policy from another in a table."""
    return {"task": wildcards.task, "seed": int(wildcards.seed)}


def figure_files():
    """Every figure in every format, with its table."""
    return expand(f"{RESULTS}/figures/{{figure}}.{{form}}", figure=FIGURES, form=["png", "svg", "pdf", "csv"])
