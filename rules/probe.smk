# Linear probes on the activations of a policy.


def probe_spec(wildcards):
    return as_json(
        {
            "run": run_of(wildcards),
            "seed": int(wildcards.seed),
            "frames": SETTINGS.probes.frames,
            "train_share": SETTINGS.probes.train_share,
        }
    )


rule fit_probes:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
    output:
        f"{RESULTS}/evaluations/{{task}}/seed{{seed}}/probes.parquet",
    params:
        spec=probe_spec,
        code=task_code("probing.probes"),
        folder=subpath(input.policy, parent=True),
    log:
        f"{RESULTS}/logs/probes/{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probes/{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    shell:
        "{LASTMILE} probes --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --tokens {input.tokens:q} --out {output:q} --threads {threads} > {log:q} 2>&1"
