"""Commands that measure speed: `bench`, `sizes`, `rates`, `speedrun`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lastmile.cli.options import (
    AT_LEAST_1,
    FILE_OUT,
    POSITIVE,
    SIZE,
    TASK,
    json_option,
    study_options,
)
from lastmile.cli.study import study_settings


@click.command()
@click.option("--task", type=TASK, default="colored_dots", help="Task of the policy.")
@click.option("--size", type=SIZE, default="s", help="Size of the policy.")
@click.option(
    "--chromium/--no-chromium", default=True, help="Compare with screens drawn by Chromium."
)
@click.option(
    "--training/--no-training", default=True, help="Measure training and rollouts of a policy."
)
@json_option
def bench(task: str, size: str, chromium: bool, training: bool, json_file: Path | None) -> None:
    """Measure the speed of everything.

    That is screens, annotators, environments, tokens, and training and rollouts of a policy.
    """
    from lastmile.performance import bench as benchmark
    from lastmile.storage import files

    result = benchmark.bench(task, size, chromium=chromium, training=training)
    text = json.dumps(result, indent=2) + "\n"
    table = getattr(benchmark, "table", None)
    click.echo(text if table is None else table(result), nl=table is not None)
    if json_file is not None:
        files.write_text(json_file, text)


@click.command()
@click.option(
    "--out", metavar="FILE", type=FILE_OUT, help="Also write the page of the documentation here."
)
@click.option("--threads", type=AT_LEAST_1, help="Threads of torch.  [default: torch's own]")
@click.option("--seconds", type=POSITIVE, default=4.0, help="Least time to measure each policy.")
@json_option
def sizes(out: Path | None, threads: int | None, seconds: float, json_file: Path | None) -> None:
    """Compare the sizes and kinds of policies.

    Printed are parameters, FLOPs per frame and training speed on this machine.
    """
    import torch

    from lastmile.performance.speed import size_table, sizes_page
    from lastmile.storage import files

    if threads is not None:
        torch.set_num_threads(threads)
    table = size_table(seconds)
    click.echo(sizes_page(table), nl=False)
    if out is not None:
        files.write_text(out, sizes_page(table))
    if json_file is not None:
        files.write_text(json_file, json.dumps(table, indent=2) + "\n")


@click.command()
@click.option("--out", metavar="FILE", type=FILE_OUT, required=True, help="JSON file to write.")
def rates(out: Path) -> None:
    """Measure this machine for `plan --rates`; takes minutes."""
    from lastmile.performance.rates import measure
    from lastmile.storage import files

    result = measure(lambda line: click.echo(line, err=True))
    files.write_text(out, json.dumps(result, indent=1) + "\n")


@click.command()
@click.argument("task", type=TASK)
@click.option("--frames", type=AT_LEAST_1, required=True, help="Frames that each run sees.")
@click.option("--seeds", type=AT_LEAST_1, default=3, help="Runs, of seeds 0, 1, 2 and so on.")
@study_options
@json_option
def speedrun(
    task: str,
    frames: int,
    seeds: int,
    configfiles: tuple[Path, ...],
    overrides: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Train to a fixed bar, and report what it took.

    The bar, on 100 validation worlds: placement within 5 px of 0.9 of its ceiling, and first undos
    of half of theirs. Shape and training of the policies are those of the settings. Frames,
    core-seconds and operations are those of training alone. The exit status is 1 if a run misses
    the bar.
    """
    settings = study_settings(configfiles, overrides)

    from lastmile.performance import speedrun as speedruns
    from lastmile.storage import files

    results = speedruns.speedrun(
        task,
        frames,
        range(seeds),
        settings.policy,
        settings.training,
        lambda line: click.echo(line, err=True),
    )
    click.echo(speedruns.row(task, results))
    if json_file is not None:
        rows = [result._asdict() | {"passed": result.passed} for result in results]
        files.write_text(json_file, json.dumps({"task": task, "runs": rows}, indent=1) + "\n")
    if not all(result.passed for result in results):
        raise SystemExit(1)
