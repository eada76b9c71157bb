# Seeds to trajectories to tokens.


rule record:
    output:
        steps=f"{RESULTS}/trajectories/{{recording}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{recording}}/{{split}}.episodes.parquet",
    log:
        f"{RESULTS}/logs/record/{{recording}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/record/{{recording}}.{{split}}.tsv"
    wildcard_constraints:
        recording=recordings("record"),
    priority: 30
    threads: 1
    resources:
        mem_mb=memory("record"),
        runtime=60,
    params:
        spec=spec("record"),
        code=code("record"),
    shell:
        command("record")


rule repair_record:
    input:
        config=files("repair_record", "config"),
        policy=files("repair_record", "policy"),
    output:
        steps=f"{RESULTS}/trajectories/{{recording}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{recording}}/{{split}}.episodes.parquet",
    log:
        f"{RESULTS}/logs/repair_record/{{recording}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/repair_record/{{recording}}.{{split}}.tsv"
    wildcard_constraints:
        recording=recordings("repair_record"),
    threads: 1
    resources:
        mem_mb=memory("repair_record"),
        runtime=120,
    params:
        spec=spec("repair_record"),
        code=code("repair_record"),
    shell:
        command("repair_record")


rule tokenize:
    input:
        steps=f"{RESULTS}/trajectories/{{recording}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{recording}}/{{split}}.episodes.parquet",
    output:
        tokens=f"{RESULTS}/tokens/{{recording}}/{{split}}.tokens",
    log:
        f"{RESULTS}/logs/tokenize/{{recording}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tokenize/{{recording}}.{{split}}.tsv"
    priority: 30
    threads: 1
    resources:
        mem_mb=memory("tokenize"),
        runtime=120,
    params:
        spec=spec("tokenize"),
        code=code("tokenize"),
    shell:
        command("tokenize")
