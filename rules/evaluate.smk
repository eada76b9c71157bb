# Policies on held-out worlds: teacher-forced skills, closed loop, recovery.


rule skills:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        snapshots=rules.train.output.snapshots,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
        start=start_policy,
    output:
        skills=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/skills.parquet",
        losses=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/losses.parquet",
    log:
        f"{RESULTS}/logs/skills/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/skills/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=skills_spec,
        code=task_code("evaluation.skills"),
        folder=subpath(input.policy, parent=True),
        start=start_option,
    shell:
        "python -m lastmile skills --spec {params.spec:q} --policy {params.folder:q} {params.start} --trajectories {input.trajectories:q}"
        " --tokens {input.tokens:q} --out {output.skills:q} --losses {output.losses:q} --threads {threads} --code {params.code:q} > {log:q} 2>&1"


rule closed_loop:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
    output:
        f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/closed_loop.parquet",
    log:
        f"{RESULTS}/logs/closed_loop/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/closed_loop/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=evaluation_spec("temperature", "max_steps"),
        code=task_code("evaluation.rollout"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile closed-loop --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --out {output:q} --threads {threads} --code {params.code:q} > {log:q} 2>&1"


rule closed_loop_along:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        snapshots=rules.train.output.snapshots,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        start=start_policy,
    output:
        f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/closed_loop_along.parquet",
    log:
        f"{RESULTS}/logs/closed_loop_along/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/closed_loop_along/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=evaluation_spec(
            "temperature", "max_steps", episodes=SETTINGS.episodes.shared_test
        ),
        code=task_code("evaluation.rollout"),
        folder=subpath(input.policy, parent=True),
        start=start_option,
    shell:
        "python -m lastmile closed-loop-along --spec {params.spec:q} --policy {params.folder:q} {params.start} --trajectories {input.trajectories:q}"
        " --out {output:q} --threads {threads} --code {params.code:q} > {log:q} 2>&1"


rule recovery:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
    output:
        f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/recovery.parquet",
    log:
        f"{RESULTS}/logs/recovery/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/recovery/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=evaluation_spec("temperature", "recovery_states", "recovery_steps"),
        code=task_code("evaluation.recovery"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile recovery --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --out {output:q} --threads {threads} --code {params.code:q} > {log:q} 2>&1"


rule speed:
    input:
        config=rules.train.output.config,
        tokens=f"{RESULTS}/tokens/{{task}}/train.tokens",
    output:
        f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/speed.parquet",
    log:
        f"{RESULTS}/logs/speed/{{run}}.{{task}}.seed{{seed}}.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=speed_spec,
        code=task_code("evaluation.speed"),
        folder=subpath(input.config, parent=True),
    shell:
        "python -m lastmile speed --spec {params.spec:q} --policy {params.folder:q} --tokens {input.tokens:q} --out {output:q}"
        " --threads {threads} --code {params.code:q} > {log:q} 2>&1"
