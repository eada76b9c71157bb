# Measurements to tables and claims, tables to figures, claims to findings, all to the report.


rule study:
    input:
        measurements=files("study", "measurements"),
    output:
        table=f"{RESULTS}/figures/{{study}}.csv",
        claims=f"{RESULTS}/claims/{{study}}.json",
    log:
        f"{RESULTS}/logs/study/{{study}}.log",
    wildcard_constraints:
        study="|".join(study for study in STUDIES if study not in SCREENS) or "(?!)",
    threads: 1
    resources:
        mem_mb=memory("study"),
        runtime=30,
    params:
        spec=spec("study"),
        code=code("study"),
    shell:
        command("study")


use rule study as study_with_screens with:
    output:
        table=f"{RESULTS}/figures/{{study}}.csv",
        claims=f"{RESULTS}/claims/{{study}}.json",
        screens=f"{RESULTS}/figures/{{study}}_screens.png",
    wildcard_constraints:
        study="|".join(SCREENS) or "(?!)",


rule figure:
    input:
        table=f"{RESULTS}/figures/{{study}}.csv",
        screens=files("figure", "screens"),
    output:
        png=f"{RESULTS}/figures/{{study}}.png",
        svg=f"{RESULTS}/figures/{{study}}.svg",
        pdf=f"{RESULTS}/figures/{{study}}.pdf",
        caption=f"{RESULTS}/figures/{{study}}.md",
    log:
        f"{RESULTS}/logs/figure/{{study}}.log",
    threads: 1
    resources:
        mem_mb=memory("figure"),
        runtime=10,
    params:
        spec=spec("figure"),
        code=code("figure"),
    shell:
        command("figure")


rule findings:
    input:
        claims=files("findings", "claims"),
        tables=files("findings", "tables"),
        expected=files("findings", "expected"),
    output:
        findings=f"{RESULTS}/findings.md",
        ledger=f"{RESULTS}/findings.json",
    log:
        f"{RESULTS}/logs/findings/findings.log",
    threads: 1
    resources:
        mem_mb=memory("findings"),
        runtime=10,
    params:
        spec=spec("findings"),
        code=code("findings"),
    shell:
        command("findings")


rule run_table:
    input:
        manifests=files("run_table", "manifests"),
    output:
        table=f"{RESULTS}/runs.csv",
    log:
        f"{RESULTS}/logs/run_table/run_table.log",
    threads: 1
    resources:
        mem_mb=memory("run_table"),
        runtime=10,
    params:
        spec=spec("run_table"),
        code=code("run_table"),
    shell:
        command("run_table")


rule report:
    input:
        ledger=f"{RESULTS}/findings.json",
        runs=f"{RESULTS}/runs.csv",
        claims=files("report", "claims"),
        tables=files("report", "tables"),
        pictures=files("report", "pictures"),
        captions=files("report", "captions"),
        examples=files("report", "examples"),
        moments=files("report", "moments"),
    output:
        report=f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report/report.log",
    threads: 1
    resources:
        mem_mb=memory("report"),
        runtime=10,
    params:
        spec=spec("report"),
        code=code("report"),
    shell:
        command("report")
