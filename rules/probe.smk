# Linear probes on the activations of a policy.


rule linear_probes:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
    output:
        linear_probes=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/linear_probes.parquet",
    log:
        f"{RESULTS}/logs/linear_probes/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/linear_probes/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("linear_probes"),
        runtime=120,
    params:
        spec=spec("linear_probes"),
        code=code("linear_probes"),
    shell:
        command("linear_probes")


rule cross_task_probes:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=files("cross_task_probes", "trajectories"),
        episodes=files("cross_task_probes", "episodes"),
    output:
        cross_task_probes=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/cross_task_probes.parquet",
    log:
        f"{RESULTS}/logs/cross_task_probes/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/cross_task_probes/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("cross_task_probes"),
        runtime=120,
    params:
        spec=spec("cross_task_probes"),
        code=code("cross_task_probes"),
    shell:
        command("cross_task_probes")
