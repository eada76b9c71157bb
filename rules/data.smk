# Seeds to trajectories to tokens.


rule record:
    output:
        steps=f"{RESULTS}/trajectories/{{task}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/{{split}}.episodes.parquet",
    log:
        f"{RESULTS}/logs/record/{{task}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/record/{{task}}.{{split}}.tsv"
    priority: 30
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=trajectory_spec,
        code=task_code("trajectory"),
    shell:
        "python -m lastmile trajectories --spec {params.spec:q} --out {output.steps:q} --code {params.code:q} > {log:q} 2>&1"


rule tokenize:
    input:
        steps=f"{RESULTS}/trajectories/{{task}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/{{split}}.episodes.parquet",
    output:
        f"{RESULTS}/tokens/{{task}}/{{split}}.tokens",
    log:
        f"{RESULTS}/logs/tokenize/{{task}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tokenize/{{task}}.{{split}}.tsv"
    priority: 30
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=task_code("tokens"),
    shell:
        "python -m lastmile tokens --trajectories {input.steps:q} --out {output:q} --code {params.code:q} > {log:q} 2>&1"
