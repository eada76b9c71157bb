# Policies on held-out worlds: teacher-forced skills, closed loop, recovery, deferral, other looks.


rule skills:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        snapshots=f"{RESULTS}/models/{{run}}/seed{{seed}}/snapshots.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
        tokens=f"{RESULTS}/tokens/{{task}}/test.tokens",
        start=files("skills", "start"),
    output:
        skills=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/skills.parquet",
        losses=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/losses.parquet",
    log:
        f"{RESULTS}/logs/skills/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/skills/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("skills"),
        runtime=120,
    params:
        spec=spec("skills"),
        code=code("skills"),
    shell:
        command("skills")


rule closed_loop:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
    output:
        closed_loop=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/closed_loop.parquet",
    log:
        f"{RESULTS}/logs/closed_loop/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/closed_loop/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("closed_loop"),
        runtime=120,
    params:
        spec=spec("closed_loop"),
        code=code("closed_loop"),
    shell:
        command("closed_loop")


rule closed_loop_curve:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        snapshots=f"{RESULTS}/models/{{run}}/seed{{seed}}/snapshots.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
        start=files("closed_loop_curve", "start"),
    output:
        closed_loop_curve=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/closed_loop_curve.parquet",
    log:
        f"{RESULTS}/logs/closed_loop_curve/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/closed_loop_curve/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("closed_loop_curve"),
        runtime=120,
    params:
        spec=spec("closed_loop_curve"),
        code=code("closed_loop_curve"),
    shell:
        command("closed_loop_curve")


rule recovery:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
    output:
        recovery=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/recovery.parquet",
    log:
        f"{RESULTS}/logs/recovery/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/recovery/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("recovery"),
        runtime=120,
    params:
        spec=spec("recovery"),
        code=code("recovery"),
    shell:
        command("recovery")


rule side_by_side:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        logs=files("side_by_side", "logs"),
    output:
        side_by_side=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/side_by_side.parquet",
        attempts=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/attempts.parquet",
    log:
        f"{RESULTS}/logs/side_by_side/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/side_by_side/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("side_by_side"),
        runtime=120,
    params:
        spec=spec("side_by_side"),
        code=code("side_by_side"),
    shell:
        command("side_by_side")


rule reference_players:
    input:
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
        training=f"{RESULTS}/trajectories/{{task}}/train.parquet",
        training_episodes=f"{RESULTS}/trajectories/{{task}}/train.episodes.parquet",
    output:
        reference_players=f"{RESULTS}/evaluations/references/{{task}}/reference_players.parquet",
    log:
        f"{RESULTS}/logs/reference_players/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/reference_players/{{task}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("reference_players"),
        runtime=120,
    params:
        spec=spec("reference_players"),
        code=code("reference_players"),
    shell:
        command("reference_players")


rule deferral:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        validation=f"{RESULTS}/trajectories/{{task}}/validation.parquet",
        validation_episodes=f"{RESULTS}/trajectories/{{task}}/validation.episodes.parquet",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
    output:
        deferral=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/deferral.parquet",
        confidences=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/confidences.parquet",
    log:
        f"{RESULTS}/logs/deferral/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/deferral/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("deferral"),
        runtime=120,
    params:
        spec=spec("deferral"),
        code=code("deferral"),
    shell:
        command("deferral")


rule other_looks:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        policy=f"{RESULTS}/models/{{run}}/seed{{seed}}/policy.safetensors",
        trajectories=f"{RESULTS}/trajectories/{{task}}/test.parquet",
        episodes=f"{RESULTS}/trajectories/{{task}}/test.episodes.parquet",
    output:
        other_looks=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/other_looks.parquet",
        other_looks_played=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/other_looks_played.parquet",
    log:
        f"{RESULTS}/logs/other_looks/{{run}}.{{task}}.seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/other_looks/{{run}}.{{task}}.seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=memory("other_looks"),
        runtime=120,
    params:
        spec=spec("other_looks"),
        code=code("other_looks"),
    shell:
        command("other_looks")


rule speed:
    input:
        config=f"{RESULTS}/models/{{run}}/seed{{seed}}/config.json",
        tokens=f"{RESULTS}/tokens/{{task}}/train.tokens",
    output:
        speed=f"{RESULTS}/evaluations/{{run}}/{{task}}/seed{{seed}}/speed.parquet",
    log:
        f"{RESULTS}/logs/speed/{{run}}.{{task}}.seed{{seed}}.log",
    threads: 1
    resources:
        mem_mb=memory("speed"),
        runtime=30,
    params:
        spec=spec("speed"),
        code=code("speed"),
    shell:
        command("speed")
