# Tokens to policies. Work in progress lies in runs/, which is no output: it survives a job that is killed.


rule train:
    input:
        tokens=f"{RESULTS}/tokens/{{task}}/train.tokens",
        validation=f"{RESULTS}/tokens/{{task}}/validation.tokens",
    output:
        config=f"{RESULTS}/models/{{task}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{task}}/seed{{seed}}/policy.safetensors",
        snapshots=f"{RESULTS}/models/{{task}}/seed{{seed}}/snapshots.safetensors",
        progress=f"{RESULTS}/models/{{task}}/seed{{seed}}/progress.csv",
        manifest=f"{RESULTS}/models/{{task}}/seed{{seed}}/manifest.json",
    log:
        f"{RESULTS}/logs/train/{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{task}}.seed{{seed}}.tsv"
    threads: train_threads()
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=1,
    params:
        spec=train_spec,
        code=code("policy.runs"),
        folder=subpath(output.policy, parent=True),
    shell:
        "python -m lastmile train --spec {params.spec:q} --tokens {input.tokens:q} --validation {input.validation:q}"
        " --runs runs --out {params.folder:q} --threads {threads} 2>&1 | tee {log:q}"
