# Evaluations to tables and claims, tables to figures, claims to findings, all to the report.


rule study:
    input:
        study_inputs,
    output:
        table=f"{RESULTS}/figures/{{study}}.csv",
        claims=f"{RESULTS}/claims/{{study}}.json",
    log:
        f"{RESULTS}/logs/study/{{study}}.log",
    wildcard_constraints:
        study="|".join(name for name in STUDIES if name != "tasks"),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=study_spec,
        code=study_code,
    shell:
        "python -m lastmile study {wildcards.study} --spec {params.spec:q} --inputs {input:q} --out {output.table:q}"
        " --claims {output.claims:q} --code {params.code:q} > {log:q} 2>&1"


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
            pictures=(
                [f"{RESULTS}/figures/{name}_screens.png"] if name == "tasks" else []
            ),
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
        log:
            f"{RESULTS}/logs/figure/{name}.log",
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            code=code(f"figures.{name}"),
            stem=f"{RESULTS}/figures/{name}",
            name=name,
        shell:
            "python -m lastmile figure {params.name} --table {input.table:q} --out {params.stem:q} --code {params.code:q} > {log:q} 2>&1"


rule findings:
    input:
        claims=expand(f"{RESULTS}/claims/{{study}}.json", study=STUDIES),
        tables=expand(
            f"{RESULTS}/figures/{{study}}.csv",
            study=[name for name in ("emergence", "mistakes") if name in STUDIES],
        ),
        expected=["workflow/expected/claims.yaml", "workflow/expected/figures.yaml"],
    output:
        page=f"{RESULTS}/findings.rst",
        ledger=f"{RESULTS}/findings.json",
        readable=report(
            f"{RESULTS}/findings.md",
            caption="../workflow/report/findings.rst",
            category="Findings",
        ),
    log:
        f"{RESULTS}/logs/findings.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("studies.claims"),
        name=SETTINGS.name,
    shell:
        "python -m lastmile findings --name {params.name:q} --claims {input.claims:q} --tables {input.tables:q} --expected {input.expected:q}"
        " --out {output.ledger:q} --code {params.code:q} > {log:q} 2>&1"


rule runs:
    input:
        expand(
            f"{RESULTS}/models/{{run}}/seed{{seed}}/manifest.json",
            run=RUNS,
            seed=SEEDS,
        ),
    output:
        table=f"{RESULTS}/runs.csv",
        page=report(
            f"{RESULTS}/runs.html",
            caption="../workflow/report/runs.rst",
            category="Runs and provenance",
        ),
    log:
        f"{RESULTS}/logs/runs.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        spec=as_json(SETTINGS.model_dump(mode="json")),
        code=code("overview"),
    shell:
        "python -m lastmile runs --spec {params.spec:q} --manifests {input:q} --out {output.table:q} --code {params.code:q} > {log:q} 2>&1"


rule report_html:
    input:
        figure_files(),
        rules.findings.output,
        rules.runs.output,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("provenance"),
        command=nested(
            f"--nolock --cores 1 --report {RESULTS}/report.html figures findings runs"
        ),
    shell:
        "{params.command} > {log:q} 2>&1 && python -m lastmile manifest --inputs {input:q} --outputs {output:q}"
        " --code {params.code:q} >> {log:q} 2>&1"


rule figures:
    input:
        figure_files(),


rule report:
    input:
        rules.report_html.output,
