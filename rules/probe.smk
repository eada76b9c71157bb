# Linear probes on the activations of a policy.


rule fit_probes:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
    output:
        f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/probes.parquet",
    log:
        f"{RESULTS}/logs/probes/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probes/{{run}}.{{task}}.seed{{seed}}.tsv"
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
        " --tokens {input.tokens:q} --out {output:q} --threads {threads} --code {params.code:q} > {log:q} 2>&1"


rule fit_transfer_probes:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
        trajectories=trajectories_of_run,
        tokens=tokens_of_run("test"),
    output:
        f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/probe_transfer.parquet",
    log:
        f"{RESULTS}/logs/probe_transfer/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probe_transfer/{{run}}.{{task}}.seed{{seed}}.tsv"
    wildcard_constraints:
        task=JOINT,
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        spec=probe_spec,
        code=run_code("probing.transfer"),
        folder=subpath(input.policy, parent=True),
    shell:
        "python -m lastmile probe-transfer --spec {params.spec:q} --policy {params.folder:q} --trajectories {input.trajectories:q}"
        " --tokens {input.tokens:q} --out {output:q} --threads {threads} --code {params.code:q} > {log:q} 2>&1"
