# Settings and named helpers for all rules. Nothing here imports torch.

import os
import sys

from lastmile import config as lastmile_config
from lastmile.figures import figure_names
from lastmile.provenance import fingerprint
from lastmile.studies import get_study, study_names

try:
    SETTINGS = lastmile_config.parse(config, "config")
except lastmile_config.ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{SETTINGS.name}"
TASKS = lastmile_config.task_list(SETTINGS)
SPLITS = lastmile_config.SPLITS
SEEDS = SETTINGS.training.seeds
FIGURES = figure_names()
STUDIES = study_names()
EVALUATIONS = ("skills", "closed_loop", "recovery", "probes")

# Jobs run the Python that runs Snakemake, whether its environment is activated or not.
os.environ["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), os.environ["PATH"]]
)


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
    return expand(
        f"{RESULTS}/figures/{{figure}}.{{form}}",
        figure=FIGURES,
        form=["png", "svg", "pdf", "csv"],
    )


def trajectory_spec(wildcards):
    worlds = SETTINGS.worlds
    return as_json(
        {
            "task": wildcards.task,
            "split": wildcards.split,
            "seed": SETTINGS.seed,
            "difficulty": worlds.difficulty,
            "style": worlds.style,
            "layouts": worlds.layouts,
            "themes": worlds.themes,
            "episodes": getattr(SETTINGS.episodes, wildcards.split),
        }
    )


def train_threads():
    """An even share of the cores for each training: side by side they are faster than one after the other on all cores."""
    return max(1, min(4, (workflow.cores or 1) // (len(TASKS) * len(SEEDS))))


def train_spec(wildcards):
    return as_json(
        {
            "run": run_of(wildcards),
            "seed": int(wildcards.seed),
            "policy": SETTINGS.policy.model_dump(mode="json"),
            "training": SETTINGS.training.model_dump(mode="json", exclude={"seeds"}),
        }
    )


def skills_spec(wildcards):
    return as_json({"run": run_of(wildcards)})


def closed_loop_spec(wildcards):
    evaluation = SETTINGS.evaluation
    return as_json(
        {
            "run": run_of(wildcards),
            "seed": int(wildcards.seed),
            "temperature": evaluation.temperature,
            "max_steps": evaluation.max_steps,
        }
    )


def recovery_spec(wildcards):
    evaluation = SETTINGS.evaluation
    return as_json(
        {
            "run": run_of(wildcards),
            "seed": int(wildcards.seed),
            "temperature": evaluation.temperature,
            "recovery_states": evaluation.recovery_states,
            "recovery_steps": evaluation.recovery_steps,
        }
    )


def probe_spec(wildcards):
    return as_json(
        {
            "run": run_of(wildcards),
            "seed": int(wildcards.seed),
            "frames": SETTINGS.probes.frames,
            "train_share": SETTINGS.probes.train_share,
        }
    )


def study_inputs(wildcards):
    return [
        f"{RESULTS}/evaluations/{task}/seed{seed}/{table}.parquet"
        for table in get_study(wildcards.study).READS
        for task in TASKS
        for seed in SEEDS
    ]


def study_code(wildcards):
    """A study that reads no evaluations draws the worlds itself, and then depends on the tasks."""
    return code(
        f"studies.{wildcards.study}",
        *(() if get_study(wildcards.study).READS else TASKS),
    )


def study_spec(wildcards):
    """The settings that a study's table depends on; which trainings there are is in its inputs."""
    read = {"seed": True, "worlds": True, "evaluation": {"resamples", "recovery_steps"}}
    kept = SETTINGS.model_dump(mode="json", include=read)
    return as_json({**kept, "tasks": TASKS})


def nested(options):
    """Snakemake on this same workflow and these same settings, from within a job."""
    files = " ".join(str(path) for path in workflow.overwrite_configfiles)
    return f"{sys.executable} -m snakemake --snakefile {workflow.main_snakefile} {'--configfile ' + files if files else ''} {options}"
