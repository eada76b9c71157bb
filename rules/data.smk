# Seeds to trajectories to tokens.


def trajectory_spec(wildcards):
    worlds = SETTINGS.worlds
    return as_json(
        {
            "task": wildcards.task,
            "split": wildcards.split,
            "seed": SETTINGS.seed,
            "difficulty": worlds.difficulty,
            "style": worlds.style,
            "layouts": worlds.layouts,
            "themes": worlds.themes,
            "episodes": getattr(SETTINGS.episodes, wildcards.split),
        }
    )


rule record:
    output:
        steps=f"{RESULTS}/trajectories/{{task}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/{{split}}.episodes.parquet",
    params:
        spec=trajectory_spec,
        code=task_code("trajectory"),
    log:
        f"{RESULTS}/logs/record/{{task}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/record/{{task}}.{{split}}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "{LASTMILE} trajectories --spec {params.spec:q} --out {output.steps:q} > {log:q} 2>&1"


rule tokenize:
    input:
        steps=f"{RESULTS}/trajectories/{{task}}/{{split}}.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/{{split}}.episodes.parquet",
    output:
        f"{RESULTS}/tokens/{{task}}/{{split}}.tokens",
    params:
        code=task_code("tokens"),
    log:
        f"{RESULTS}/logs/tokenize/{{task}}.{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tokenize/{{task}}.{{split}}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    shell:
        "{LASTMILE} tokens --trajectories {input.steps:q} --out {output:q} > {log:q} 2>&1"
