# Tokens to policies. Work in progress is kept in runs/, which is no output: it survives a job that is killed.


rule train:
    input:
        tokens=files("train", "tokens"),
        validation=files("train", "validation"),
        start=files("train", "start"),
        backbone=files("train", "backbone"),
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
    threads: SETTINGS.training.threads
    resources:
        mem_mb=memory("train"),
        runtime=720,
        gpu=1,
    params:
        spec=spec("train"),
        code=code("train"),
    shell:
        command("train")


# The long runs begin first, or the others would wait for them at the end.


use rule train as train_joint with:
    wildcard_constraints:
        run=train_rank(1),
    priority: 10


use rule train as train_longest with:
    wildcard_constraints:
        run=train_rank(2),
    priority: 20
