# Settings and named helpers for all rules. Nothing here imports torch.

import os
import re
import sys

from lastmile import config as lastmile_config
from lastmile import plan, workplace
from lastmile.figures import figure_names
from lastmile.provenance import code_label
from lastmile.studies import all_needs, all_runs, get_study
from lastmile.studies.runs import JOINT

try:
    SETTINGS = lastmile_config.parse(config, "config")
except lastmile_config.ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{SETTINGS.name}"
TASKS = lastmile_config.task_list(SETTINGS)
SPLITS = lastmile_config.SPLITS
SEEDS = SETTINGS.training.seeds
NEEDS = all_needs(SETTINGS)
RUNS = all_runs(SETTINGS)
STUDIES = tuple(NEEDS)
WORK = {name: plan.train_seconds(run) for name, run in RUNS.items()}
"""Seconds of each training on one core."""
FIGURES = tuple(name for name in STUDIES if name in figure_names())

# Jobs run the Python that runs Snakemake, whether its environment is activated or not.
os.environ["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), os.environ["PATH"]]
)

if workflow.is_main_process:
    workplace.prepare(RESULTS)
else:
    os.environ[workplace.PARENT] = str(os.getpid())


wildcard_constraints:
    run="|".join(map(re.escape, RUNS)),
    task="|".join((*TASKS, JOINT)),
    split="|".join(SPLITS),
    seed=r"\d+",


def as_json(value):
    """One canonical string: settings that are equal give params that are equal."""
    return lastmile_config.canonical(value)


def code(module, *tasks):
    """Fingerprint of the sources that a step depends on, with those of the tasks named."""
    return code_label(module, tasks)


def task_code(module):
    """Params function: the same for the task of a job."""

    def of_job(wildcards):
        return code(module, wildcards.task)

    return of_job


def labels(wildcards):
    """What tells one training from another in a table."""
    return {"run": wildcards.run, "seed": int(wildcards.seed)}


def labels_on_task(wildcards):
    """The same, with the task on which it is measured."""
    return {
        "run": wildcards.run,
        "task": wildcards.task,
        "seed": int(wildcards.seed),
    }


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


def tokens_of_run(split):
    """Input function: the token files of a split of all tasks of a run."""

    def of_job(wildcards):
        return [
            f"{RESULTS}/tokens/{task}/{split}.tokens"
            for task in RUNS[wildcards.run].tasks
        ]

    return of_job


def trajectories_of_run(wildcards):
    """The test episodes of all tasks of a run."""
    return [
        f"{RESULTS}/trajectories/{task}/test.parquet"
        for task in RUNS[wildcards.run].tasks
    ]


def start_folder(wildcards):
    start = RUNS[wildcards.run].start
    return f"{RESULTS}/models/{start.name}/seed{wildcards.seed}" if start else ""


def start_policy(wildcards):
    """The policy that a run starts from, if any."""
    folder = start_folder(wildcards)
    return [f"{folder}/policy.safetensors"] if folder else []


def start_option(wildcards):
    folder = start_folder(wildcards)
    return f"--start {folder}" if folder else ""


def train_threads(wildcards):
    """A share of the cores by the work of a training: side by side they are faster than one after the other on all cores."""
    share = WORK[wildcards.run] / (sum(WORK.values()) * len(SEEDS))
    return max(1, min(4, int((workflow.cores or 1) * share)))


def train_rank(rank):
    """Names of the runs of a rank, as a wildcard constraint: 0 for one task, 1 for several, 2 for those of these that take longest."""
    longest = max(WORK.values(), default=0)
    ranks = {
        name: (len(run.tasks) > 1) * (1 + (WORK[name] > longest / 2))
        for name, run in RUNS.items()
    }
    return "|".join(re.escape(name) for name in RUNS if ranks[name] == rank) or "(?!)"


def train_spec(wildcards):
    run = RUNS[wildcards.run]
    training = SETTINGS.training.model_copy(update={"frames": run.frames})
    fewer = run.episodes < SETTINGS.episodes.train
    return as_json(
        {
            "run": labels(wildcards),
            "seed": int(wildcards.seed),
            "policy": run.policy.model_dump(mode="json"),
            "training": training.model_dump(mode="json", exclude={"seeds"}),
            **({"episodes": run.episodes} if fewer else {}),
        }
    )


def skills_spec(wildcards):
    run = RUNS[wildcards.run]
    slow = run.policy.context == "patch"  # sees its whole window anew for every frame
    fewer = slow or len(run.tasks) > 1
    episodes = SETTINGS.episodes.shared_test if fewer else SETTINGS.episodes.test
    return as_json(
        {
            "run": labels_on_task(wildcards),
            "episodes": episodes,
            "every": plan.SPARSE if slow else 1,
        }
    )


def evaluation_spec(*keys, **more):
    """Params function: what a job measures and with which of the settings of evaluation."""

    def of_job(wildcards):
        chosen = SETTINGS.evaluation.model_dump(mode="json", include=set(keys))
        about = {"run": labels_on_task(wildcards), "seed": int(wildcards.seed)}
        return as_json({**about, **chosen, **more})

    return of_job


def speed_spec(wildcards):
    return as_json({"run": labels_on_task(wildcards)})


def probe_spec(wildcards):
    probes = SETTINGS.probes.model_dump(mode="json")
    return as_json(
        {"run": labels_on_task(wildcards), "seed": int(wildcards.seed), **probes}
    )


def run_code(module):
    """Params function: fingerprint of a step that sees all tasks of a run."""

    def of_job(wildcards):
        return code(module, *RUNS[wildcards.run].tasks)

    return of_job


def evaluation_file(need, seed):
    return f"{RESULTS}/evaluations/{need.run.name}/{need.task}/seed{seed}/{need.table}.parquet"


def study_inputs(wildcards):
    return [
        evaluation_file(need, seed) for need in NEEDS[wildcards.study] for seed in SEEDS
    ]


def study_code(wildcards):
    """A study that needs no evaluations draws the worlds itself, and then depends on the tasks."""
    return code(
        f"studies.{wildcards.study}",
        *(() if NEEDS[wildcards.study] else TASKS),
    )


def study_spec(wildcards):
    """The settings that a study's table depends on; those of the trainings only where it needs a training."""
    study = get_study(wildcards.study)
    sections = {"seed", "worlds", *getattr(study, "SECTIONS", ())}
    if study.needs(SETTINGS):
        sections |= {"policy", "training", "episodes"}
    parts = {
        **dict.fromkeys(sections, True),
        "evaluation": {"resamples", "recovery_steps"},
    }
    kept = SETTINGS.model_dump(mode="json", include=parts)
    return as_json({**kept, "tasks": TASKS})


def nested(options):
    """Snakemake on this same workflow and these same settings, from within a job."""
    files = " ".join(str(path) for path in workflow.overwrite_configfiles)
    return f"{sys.executable} -m snakemake --snakefile {workflow.main_snakefile} {'--configfile ' + files if files else ''} {options}"
