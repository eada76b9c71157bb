# Evaluations to tables and claims, tables to figures, claims to findings, all to the report.

from lastmile.studies import get_study, study_names

STUDIES = study_names()


def study_inputs(wildcards):
    return [
        f"{RESULTS}/evaluations/{task}/seed{seed}/{table}.parquet"
        for table in get_study(wildcards.study).READS
        for task in TASKS
        for seed in SEEDS
    ]


def study_code(wildcards):
    """A study that reads no evaluations draws the worlds itself, and then depends on the tasks."""
    return code(f"studies.{wildcards.study}", *(() if get_study(wildcards.study).READS else TASKS))


def study_spec(wildcards):
    """The settings that a study's table depends on; which trainings there are is in its inputs."""
    kept = SETTINGS.model_dump(mode="json", include={"seed", "worlds", "evaluation", "probes"})
    return as_json({**kept, "tasks": TASKS})


rule study:
    input:
        study_inputs,
    output:
        table=f"{RESULTS}/figures/{{study}}.csv",
        claims=f"{RESULTS}/claims/{{study}}.json",
    params:
        spec=study_spec,
        code=study_code,
    wildcard_constraints:
        study="|".join(name for name in STUDIES if name != "tasks"),
    log:
        f"{RESULTS}/logs/study/{{study}}.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        "{LASTMILE} study {wildcards.study} --spec {params.spec:q} --inputs {input:q} --out {output.table:q}"
        " --claims {output.claims:q} > {log:q} 2>&1"


use rule study as study_with_screens with:
    output:
        table=f"{RESULTS}/figures/{{study}}.csv",
        claims=f"{RESULTS}/claims/{{study}}.json",
        screens=f"{RESULTS}/figures/{{study}}_screens.png",
    wildcard_constraints:
        study="tasks",


# One rule, and so one target, for each figure by its name: `snakemake --cores 2 emergence`.
for name in FIGURES:

    rule:
        name:
            name
        input:
            table=f"{RESULTS}/figures/{name}.csv",
            pictures=[f"{RESULTS}/figures/{name}_screens.png"] if name == "tasks" else [],
        output:
            png=report(
                f"{RESULTS}/figures/{name}.png",
                caption=f"../{RESULTS}/figures/{name}.rst",
                category="Figures",
                labels={"figure": name},
            ),
            svg=f"{RESULTS}/figures/{name}.svg",
            pdf=f"{RESULTS}/figures/{name}.pdf",
            caption=f"{RESULTS}/figures/{name}.rst",
        params:
            code=code(f"figures.{name}"),
            stem=f"{RESULTS}/figures/{name}",
            name=name,
        log:
            f"{RESULTS}/logs/figure/{name}.log",
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        shell:
            "{LASTMILE} figure {params.name} --table {input.table:q} --out {params.stem:q} > {log:q} 2>&1"


rule findings:
    input:
        expand(f"{RESULTS}/claims/{{study}}.json", study=STUDIES),
    output:
        ledger=f"{RESULTS}/findings.json",
        readable=report(f"{RESULTS}/findings.md", caption="../workflow/report/findings.rst", category="Findings"),
    params:
        code=code("studies.claims"),
        name=SETTINGS.name,
    log:
        f"{RESULTS}/logs/findings.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "{LASTMILE} findings --name {params.name:q} --claims {input:q} --out {output.ledger:q} > {log:q} 2>&1"


def nested(options):
    """Snakemake on this same workflow and these same settings, from within a job."""
    files = " ".join(str(path) for path in workflow.overwrite_configfiles)
    return f"{sys.executable} -m snakemake --snakefile {workflow.main_snakefile} {'--configfile ' + files if files else ''} {options}"


rule report_html:
    input:
        figure_files(),
        rules.findings.output,
    output:
        f"{RESULTS}/report.html",
    params:
        command=nested(f"--nolock --cores 1 --report {RESULTS}/report.html figures findings"),
    log:
        f"{RESULTS}/logs/report.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "{params.command} > {log:q} 2>&1"


rule figures:
    input:
        figure_files(),


rule report:
    input:
        rules.report_html.output,

