# A page per task with an episode to look at: the annotator, and beside it the policy, on one test world.


rule example:
    input:
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
        config=files("example", "config"),
        policy=files("example", "policy"),
    output:
        page=f"{RESULTS}/examples/{{task}}.html",
        moments=f"{RESULTS}/examples/{{task}}.json",
    log:
        f"{RESULTS}/logs/example/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/example/{{task}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("example"),
        runtime=60,
    params:
        spec=spec("example"),
        code=code("example"),
    shell:
        command("example")
