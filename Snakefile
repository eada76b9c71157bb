# The front door: settings, rules, targets. What follows from what stands in rules/; what each step does stands in src/lastmile/.
#
#   snakemake --cores 8 all                        everything of the default study, `desk`
#   snakemake --cores 2 emergence                  one figure, with what it needs
#   snakemake --cores 8 all --configfile workflow/presets/smoke.yaml

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: f"results/{config.get('name', 'desk')}/findings.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/probe.smk"
include: "rules/figures.smk"


onstart:
    workplace.claim()


localrules:
    all,
    trajectories,
    models,
    evaluations,
    figures,
    report,


rule all:
    default_target: True
    input:
        figure_files(),
        f"{RESULTS}/findings.md",
        f"{RESULTS}/runs.csv",
        f"{RESULTS}/report.html",


rule trajectories:
    input:
        expand(
            f"{RESULTS}/trajectories/{{task}}/{{split}}.parquet",
            task=TASKS,
            split=SPLITS,
        ),


rule models:
    input:
        expand(
            f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
            run=RUNS,
            seed=SEEDS,
        ),


rule evaluations:
    input:
        [
            evaluation_file(need, seed)
            for study in STUDIES
            for need in NEEDS[study]
            for seed in SEEDS
        ],
