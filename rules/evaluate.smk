# Policies on held-out worlds: teacher-forced skills, closed loop, recovery.


rule skills:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        snapshots=rules.train.output.snapshots,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
    output:
        skills=f"{RESULTS}/evaluations/{{task}}/seed{{seed}}/skills.parquet",
        losses=f"{RESULTS}/evaluations/{{task}}/seed{{seed}}/losses.parquet",
    log:
        f"{RESULTS}/logs/skills/{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/skills/{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=skills_spec,
        code=task_code("evaluation.skills"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile skills --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --tokens {input.tokens:q} --out {output.skills:q} --losses {output.losses:q} --threads {threads} > {log:q} 2>&1"


rule closed_loop:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
    output:
        f"{RESULTS}/evaluations/{{task}}/seed{{seed}}/closed_loop.parquet",
    log:
        f"{RESULTS}/logs/closed_loop/{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/closed_loop/{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=closed_loop_spec,
        code=task_code("evaluation.rollout"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile closed-loop --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"


rule recovery:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
    output:
        f"{RESULTS}/evaluations/{{task}}/seed{{seed}}/recovery.parquet",
    log:
        f"{RESULTS}/logs/recovery/{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/recovery/{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=recovery_spec,
        code=task_code("evaluation.recovery"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile recovery --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --out {output:q} --threads {threads} > {log:q} 2>&1"
