"""`python -m lastmile VERB ...`: one verb for each kind of rule of the workflow, and those that people use by hand."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lastmile.errors import LastmileError
from lastmile.pipeline.steps import (
    Made,
    closed_loop,
    closed_loop_along,
    figure,
    findings,
    limit_threads,
    manifest,
    probe_transfer,
    probes,
    recovery,
    runs,
    skills,
    speed,
    study,
    tokens,
    train,
    trajectories,
    write_manifest,
)
from lastmile.storage import files


def _spec(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value


def watch(args: argparse.Namespace) -> None:
    """An episode of the annotator or of a policy as GIF or MP4."""
    from lastmile.evaluation.watch import watch as make
    from lastmile.screen import Look

    steps = make(
        args.task,
        args.out,
        args.policy,
        args.style,
        args.difficulty,
        args.episode,
        args.seed,
        args.temperature,
        Look(args.layout, args.theme),
        args.fps,
    )
    print(f"{args.out}: {steps} steps")


def check(args: argparse.Namespace) -> None:
    """Success, score, steps, shares of actions, mistakes and repairs of an annotator."""
    from lastmile.evaluation.annotators import check as run

    for task in _tasks(args.task):
        result = run(
            task, args.worlds, args.style, getattr(args, "from"), args.difficulty, args.seed
        )
        print(
            f"{task}: success {result['success']:.2f}, score {result['score']:.3f}, {result['steps']['mean']:.1f} steps, "
            f"mistakes per placement {result['mistakes_per_placement']:.3f}, repaired {result['repaired']:.3f}, "
            + ", ".join(f"{kind} {share:.1%}" for kind, share in result["actions"].items())
        )
        if args.json:
            path = Path(args.json)
            files.write_text(
                path if args.task != "all" else path.with_stem(f"{path.stem}_{task}"),
                json.dumps(result, indent=2) + "\n",
            )


def bench(args: argparse.Namespace) -> None:
    """Speed of everything, measured."""
    from lastmile.performance.bench import bench as run

    result = run(args.task, args.size, chromium=not args.no_chromium, training=not args.no_training)
    print(json.dumps(result, indent=2))
    if args.json:
        files.write_text(args.json, json.dumps(result, indent=2) + "\n")


def sizes(args: argparse.Namespace) -> None:
    """Parameters, FLOPs a frame and training speed of the sizes and kinds of policies."""
    from lastmile.performance.speed import size_table, sizes_page

    limit_threads(args)
    table = size_table(args.seconds)
    print(sizes_page(table), end="")
    if args.out:
        files.write_text(args.out, sizes_page(table))
    if args.json:
        files.write_text(args.json, json.dumps(table, indent=2) + "\n")


def figures(args: argparse.Namespace) -> None:
    """Draw all figures again from the tables in a folder, beside them."""
    from lastmile.studies.render import figure_names, render

    folder = Path(args.folder)
    there = [name for name in figure_names() if (folder / f"{name}.csv").is_file()]
    if not there:
        raise LastmileError(
            f"{folder}: holds no table of a figure (expected one of {', '.join(f'{name}.csv' for name in figure_names())})"
        )
    for name in there:
        made = render(name, folder / f"{name}.csv", folder / name)
        print(f"{made[0].with_suffix('')}: {', '.join(path.suffix[1:] for path in made)}")


def plan(args: argparse.Namespace) -> None:
    """What a study will take: jobs, time on the cores, disk."""
    from lastmile.config import load
    from lastmile.pipeline.plan import RATES, rates, to_text

    settings = load("config.yaml", *args.configfile)
    print(
        to_text(settings, args.cores or os.cpu_count() or 1, rates(Path(args.rates or RATES))),
        end="",
    )


def rates(args: argparse.Namespace) -> None:
    """Measure the rates of this machine that `plan` reckons with (some minutes)."""
    from lastmile.performance.rates import measure

    files.write_text(
        args.out,
        json.dumps(measure(lambda line: print(line, file=sys.stderr, flush=True)), indent=1) + "\n",
    )


def verify(args: argparse.Namespace) -> None:
    """Check a folder of results against its manifests: changed bytes, missing files, files that no manifest knows."""
    from lastmile.provenance.verify import verify as check_all

    report = check_all(args.folder)
    for problem in report.problems:
        print(problem)
    aside = (
        f"; {report.elsewhere} inputs lie elsewhere and were not opened" if report.elsewhere else ""
    )
    if report.problems:
        raise LastmileError(
            f"{args.folder}: {len(report.problems)} problems in {report.manifests} manifests and {report.files} files{aside}"
        )
    print(
        f"{args.folder}: {report.files} files are as their {report.manifests} manifests say{aside}"
    )


def status(args: argparse.Namespace) -> None:
    """Trainings with step, speed, loss, skill and time left; what remains of the study."""
    from lastmile.config import load
    from lastmile.pipeline.status import show

    show(load("config.yaml", *args.configfile), args.configfile, args.follow)


def make(args: argparse.Namespace) -> int:
    """Run Snakemake, and show the status while it works."""
    from lastmile.config import load
    from lastmile.pipeline.live import make as run

    return run(load("config.yaml", *args.configfile), args.target, args.configfile, args.cores)


def why(args: argparse.Namespace) -> None:
    """Whether a result is fresh and, if not, which setting or source file makes it stale."""
    from lastmile.pipeline.why import why as explain

    print(explain(args.target, args.configfile), end="")


def schema(args: argparse.Namespace) -> None:
    """The JSON schema of the settings."""
    from lastmile.config import schema as make

    if args.out:
        files.write_text(args.out, make())
    else:
        print(make(), end="")


def docs(args: argparse.Namespace) -> None:
    """The pages about the tasks: docs/tasks.md, a picture of an episode of each, and one of all."""
    from lastmile.docs import write

    for path in write(Path(args.out)):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _tasks(name: str) -> tuple[str, ...]:
    from lastmile.tasks import get_task, task_names

    return task_names() if name == "all" else (get_task(name).name,)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m lastmile",
        description="Teach models to annotate scientific data click by click.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(call: Callable[[argparse.Namespace], Any], name: str = "") -> argparse.ArgumentParser:
        text = (call.__doc__ or "").strip()
        one = verbs.add_parser(name or call.__name__.replace("_", "-"), help=text, description=text)
        one.set_defaults(call=call)
        return one

    def files_of(one: argparse.ArgumentParser, *names: str, many: tuple[str, ...] = ()) -> None:
        for name in names:
            one.add_argument(f"--{name}", required=True, nargs="+" if name in many else None)

    def planned(one: argparse.ArgumentParser) -> None:
        one.add_argument(
            "--code", help="the code that the job was planned with; other code is refused"
        )

    for call, names in (
        (trajectories, ("out",)),
        (tokens, ("trajectories", "out")),
        (train, ("tokens", "validation", "runs", "out")),
        (skills, ("policy", "trajectories", "tokens", "out", "losses")),
        (closed_loop, ("policy", "trajectories", "out")),
        (closed_loop_along, ("policy", "trajectories", "out")),
        (recovery, ("policy", "trajectories", "out")),
        (probes, ("policy", "trajectories", "tokens", "out")),
        (probe_transfer, ("policy", "trajectories", "tokens", "out")),
        (speed, ("policy", "tokens", "out")),
    ):
        one = verb(call)
        if call is not tokens:
            one.add_argument("--spec", required=True, type=_spec, help="what to make, as JSON")
        many = {train: ("tokens", "validation"), probe_transfer: ("tokens", "trajectories")}
        files_of(one, *names, many=many.get(call, ()))
        one.add_argument("--threads", type=int, default=None)
        planned(one)
        if call in (train, skills, closed_loop_along):
            one.add_argument(
                "--start",
                metavar="FOLDER",
                help="policy from which the training starts: fine-tuning",
            )
    one = verb(study)
    one.add_argument("name")
    one.add_argument("--spec", required=True, type=_spec)
    one.add_argument("--inputs", nargs="*", default=[])
    files_of(one, "out", "claims")
    planned(one)
    one = verb(figure)
    one.add_argument("name")
    files_of(one, "table", "out")
    planned(one)
    one = verb(findings)
    one.add_argument("--name", required=True)
    files_of(one, "claims", "out", many=("claims",))
    one.add_argument(
        "--tables",
        nargs="*",
        default=[],
        help="CSV tables of studies, to set published figures beside them",
    )
    one.add_argument("--expected", nargs="*", default=[], help="YAML files of what is published")
    planned(one)
    one = verb(runs)
    one.add_argument("--spec", required=True, type=_spec, help="the settings of the study")
    files_of(one, "manifests", "out", many=("manifests",))
    planned(one)
    one = verb(manifest)
    files_of(one, "outputs", many=("outputs",))
    one.add_argument("--inputs", nargs="*", default=[])
    planned(one)

    one = verb(watch)
    one.add_argument("task")
    one.add_argument("--out", required=True, help="a .gif or .mp4 file")
    one.add_argument("--policy", help="folder of a policy; without it the annotator works")
    one.add_argument("--style", default="typical")
    one.add_argument("--difficulty", default="short")
    one.add_argument("--episode", type=int, default=0)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--temperature", type=float, default=0.4)
    one.add_argument("--layout", default="right")
    one.add_argument("--theme", default="dark")
    one.add_argument("--fps", type=float, default=3.0)
    one = verb(check)
    one.add_argument("task", help="a task, or all")
    one.add_argument("--worlds", type=int, default=100)
    one.add_argument(
        "--style",
        default="typical",
        help="careful, typical, hasty, oracle; random (clicks) or blind (shown another world)",
    )
    one.add_argument("--from", choices=("start", "random"), default="start")
    one.add_argument("--difficulty", default="full")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--json", metavar="FILE")
    one = verb(bench)
    one.add_argument("--task", default="colored_dots")
    one.add_argument("--size", default="s", choices=("xs", "s", "m", "l"))
    one.add_argument("--no-chromium", action="store_true")
    one.add_argument("--no-training", action="store_true")
    one.add_argument("--json", metavar="FILE")
    one = verb(sizes)
    one.add_argument("--out", metavar="FILE", help="the page for the documentation, as Markdown")
    one.add_argument("--json", metavar="FILE")
    one.add_argument("--threads", type=int, default=None)
    one.add_argument("--seconds", type=float, default=4.0, help="to measure each for, at least")
    one = verb(figures)
    one.add_argument("folder", help="such as results/reference/desk/figures")
    one = verb(plan)
    one.add_argument(
        "--configfile",
        nargs="+",
        default=[],
        metavar="FILE",
        help="a preset, as for snakemake; without it the default, config.yaml",
    )
    one.add_argument("--cores", type=int, help="cores to work on; all of this machine without it")
    one.add_argument(
        "--rates",
        metavar="FILE",
        help="rates of another machine, made by `python -m lastmile rates`",
    )
    one = verb(rates)
    one.add_argument("--out", required=True, help="a .json file")
    one = verb(verify)
    one.add_argument("folder", help="results/NAME, or a folder in it")
    one = verb(status)
    one.add_argument(
        "--follow", action="store_true", help="look again and again, until all is made"
    )
    one.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="a preset, as for snakemake"
    )
    one = verb(make)
    one.add_argument(
        "target", nargs="*", default=["all"], help="as for snakemake; without any, all"
    )
    one.add_argument("--cores", default="all")
    one.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="a preset, as for snakemake"
    )
    one = verb(why)
    one.add_argument(
        "target",
        nargs="+",
        help="a file in results/, or a target of the workflow such as emergence or all",
    )
    one.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="a preset, as for snakemake"
    )
    one = verb(schema)
    one.add_argument("--out")
    one = verb(docs)
    one.add_argument("--out", default="docs", help="folder of the pages")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a verb. Errors that a person can mend are one message and exit code 1; everything else is a traceback."""
    args, started = parser().parse_args(argv), time.monotonic()
    try:
        if getattr(args, "code", None):
            from lastmile import provenance
            from lastmile.pipeline import lock as workplace

            provenance.check_code(args.code)
            workplace.end_with_snakemake()
        made = args.call(args)
        if isinstance(made, Made):
            write_manifest(args, made, time.monotonic() - started)
        elif made:
            return made
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if type(error).__name__ == "TrainingError":
            print(f"error: {error}", file=sys.stderr)
            return 1
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
