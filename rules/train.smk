# Tokens to policies. Work in progress lies in runs/, which is no output: it survives a job that is killed.


rule train:
    input:
        tokens=tokens_of_run("train"),
        validation=tokens_of_run("validation"),
        start=start_policy,
    output:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        snapshots=f"{RESULTS}/models/{{run}}/seed{{seed}}/snapshots.safetensors",
        progress=f"{RESULTS}/models/{{run}}/seed{{seed}}/progress.csv",
        manifest=f"{RESULTS}/models/{{run}}/seed{{seed}}/manifest.json",
    log:
        f"{RESULTS}/logs/train/{{run}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{run}}.seed{{seed}}.tsv"
    wildcard_constraints:
        run=train_rank(0),
    threads: train_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=1,
    params:
        spec=train_spec,
        code=code("policy.runs"),
        folder=subpath(output.policy, parent=True),
        start=start_option,
    shell:
        "python -m lastmile train --spec {params.spec:q} --tokens {input.tokens:q} --validation {input.validation:q} {params.start}"
        " --runs runs --out {params.folder:q} --threads {threads} --code {params.code:q} 2>&1 | tee {log:q}"


# The long trainings begin first, or the others would wait for them at the end.


use rule train as train_shared with:
    wildcard_constraints:
        run=train_rank(1),
    priority: 10


use rule train as train_longest with:
    wildcard_constraints:
        run=train_rank(2),
    priority: 20
