# The front door: settings, rules, targets. The rules are in rules/; what each stage does is in src/lastmile/pipeline/stages/.
#
#   snakemake --cores 8 all                        everything of the default study, `desk`
#   snakemake --cores 2 emergence                  one figure, with what it needs
#   snakemake --cores 8 all --configfile workflow/presets/smoke.yaml

from snakemake.utils import min_version

min_version("9.1.4")  # older ones overlook changed settings


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/probe.smk"
include: "rules/example.smk"
include: "rules/report.smk"


localrules:
    all,
    trajectories,
    models,
    evaluations,
    figures,
    examples,


# All files of all jobs: an intermediate that is lost is made again, even if nothing waits for it.
rule all:
    default_target: True
    input:
        [str(path) for paths in OUTPUTS for path in paths],


rule trajectories:
    input:
        [
            expand(
                rules.record.output.steps, recording=spec.recording, split=spec.split
            )
            for spec in JOBS.specs("record").values()
        ],


rule models:
    input:
        [
            expand(rules.train.output.policy, run=run.name, seed=REQUEST.seeds(run))
            for run in REQUEST.runs.values()
        ],


rule evaluations:
    input:
        [
            files("study", "measurements")(SimpleNamespace(study=study))
            for study in STUDIES
        ],


rule figures:
    input:
        expand(rules.figure.output, study=FIGURES),


rule examples:
    input:
        expand(rules.example.output.page, task=REQUEST.tasks),


# One target for each figure by its name: `snakemake --cores 2 emergence`.
for name in FIGURES:

    rule:
        name:
            name
        input:
            expand(rules.figure.output, study=name),
        localrule: True
