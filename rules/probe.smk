# Linear probes on the activations of a policy.


rule probes:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
    output:
        probes=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/probes.parquet",
    log:
        f"{RESULTS}/logs/probes/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probes/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=spec("probes"),
        code=code("probes"),
    shell:
        command("probes")


rule probe_generalization:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=files("probe_generalization", "trajectories"),
        episodes=files("probe_generalization", "episodes"),
        tokens=files("probe_generalization", "tokens"),
    output:
        probe_generalization=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/probe_generalization.parquet",
    log:
        f"{RESULTS}/logs/probe_generalization/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probe_generalization/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        spec=spec("probe_generalization"),
        code=code("probe_generalization"),
    shell:
        command("probe_generalization")
