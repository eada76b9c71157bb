# Linear probes on the activations of a policy.


rule fit_probes:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
    output:
        f"{RESULTS}/evaluations/{{task}}/seed{{seed}}/probes.parquet",
    log:
        f"{RESULTS}/logs/probes/{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probes/{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=probe_spec,
        code=task_code("probing.probes"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile probes --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --tokens {input.tokens:q} --out {output:q} --threads {threads} > {log:q} 2>&1"
