"""`python -m lastmile VERB ...`: one verb for each kind of rule of the workflow, and those that people use by hand."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lastmile import files


def _spec(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value


# Verbs of the workflow. Each reads files, writes files, and depends on nothing else but its spec.


def trajectories(args: argparse.Namespace) -> None:
    """Record the episodes of one task and split."""
    from lastmile import trajectory
    from lastmile.progress import Progress

    spec = dict(args.spec)
    if "episodes" not in spec:
        raise ValueError("spec: 'episodes' is missing")
    episodes = spec.pop("episodes")
    try:
        source = trajectory.Source(**{key: tuple(value) if isinstance(value, list) else value for key, value in spec.items()})
    except TypeError as error:
        raise ValueError(f"spec: {error}") from None
    with Progress(f"trajectories {source.task} {source.split}", None, "steps") as progress:
        trajectory.write(args.out, source, episodes, progress)


def tokens(args: argparse.Namespace) -> None:
    """Draw the screens of recorded episodes into a token file."""
    from lastmile import tokens as store
    from lastmile import trajectory
    from lastmile.progress import Progress

    read = trajectory.read(args.trajectories)
    with Progress(f"tokens {read.source.task} {read.source.split}", len(read.steps), "frames") as progress:
        store.write(args.out, read, progress)


def train(args: argparse.Namespace) -> None:
    """Train one policy; goes on where it was if it was interrupted."""
    from lastmile.policy.runs import run
    from lastmile.tokens import TokenStore

    stores, validation = ([TokenStore(path) for path in paths] for paths in (args.tokens, args.validation))
    run(args.spec, stores, validation, Path(args.runs), Path(args.out), args.threads, Path(args.start) if args.start else None)


def skills(args: argparse.Namespace) -> None:
    """Teacher-forced skills of all snapshots of a training, with ceiling and floor."""
    from lastmile.evaluation import skills as measured
    from lastmile.policy.checkpoints import load_snapshots
    from lastmile.policy.policy import Policy
    from lastmile.policy.runs import initial
    from lastmile.progress import Progress
    from lastmile.tokens import TokenStore
    from lastmile.trajectory import read

    _threads(args)
    recorded, store = read(args.trajectories), TokenStore(args.tokens)
    clicks, nats = {"ceiling": measured.ceiling(recorded), "floor": measured.floor(recorded)}, {}
    snapshots = load_snapshots(Path(args.policy) / "snapshots.safetensors")
    untrained = initial(Policy.load(args.policy).settings, args.spec["run"]["seed"])
    with Progress(f"skills {recorded.source.task}", None, "frames") as progress:
        for frames, policy in itertools.chain([(0, untrained)], snapshots):
            clicks[f"policy@{frames}"], nats[frames] = measured.predictions(policy, store)
            progress(store.frames)
    table = measured.measure(recorded, clicks)
    split = table["predictor"].str.partition("@")
    table["predictor"] = split[0]
    table["frames"] = [int(frames) if frames else 0 for frames in split[2]]
    _write_table(_tagged(table, args.spec), args.out)
    starts = recorded.starts
    losses = [
        {"frames": frames, "episode": e, "nats": float(values[a:b].sum()), "steps": int(b - a)}
        for frames, values in nats.items()
        for e, (a, b) in enumerate(zip(starts[:-1], starts[1:]))
    ]
    import pandas as pd

    _write_table(_tagged(pd.DataFrame(losses), args.spec), args.losses)


def closed_loop(args: argparse.Namespace) -> None:
    """Policy and annotator on the same held-out worlds."""
    import pandas as pd

    from lastmile.evaluation import rollout
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.trajectory import read

    _threads(args)
    recorded, spec = read(args.trajectories), args.spec
    with Progress(f"closed loop {recorded.source.task}", None, "clicks") as progress:
        played = rollout.closed_loop(Policy.load(args.policy), recorded, spec["temperature"], spec["max_steps"], spec["seed"], progress)
    table = pd.concat([played.assign(who="policy"), rollout.annotator_table(recorded).assign(who="annotator")], ignore_index=True)
    _write_table(_tagged(table, spec), args.out)


def recovery(args: argparse.Namespace) -> None:
    """What a policy does after mistakes that were put into its way."""
    from lastmile.evaluation import recovery as measured
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.trajectory import read

    _threads(args)
    recorded, spec = read(args.trajectories), args.spec
    with Progress(f"recovery {recorded.source.task}", None, "clicks") as progress:
        table = measured.measure(
            Policy.load(args.policy), recorded, spec["recovery_states"], spec["recovery_steps"], spec["temperature"], spec["seed"], progress
        )
    _write_table(_tagged(table, spec), args.out)


def probes(args: argparse.Namespace) -> None:
    """Fit and test the linear probes of one policy."""
    from lastmile.policy.policy import Policy
    from lastmile.probing.activations import sample
    from lastmile.probing.probes import fit_probes
    from lastmile.tokens import TokenStore
    from lastmile.trajectory import read

    _threads(args)
    spec = args.spec
    inputs = sample(Policy.load(args.policy), TokenStore(args.tokens), read(args.trajectories), spec["frames"], spec["seed"])
    _write_table(_tagged(fit_probes(inputs, spec["train_share"], spec["seed"]), spec), args.out)


def study(args: argparse.Namespace) -> None:
    """The table and the claims of one study."""
    import pandas as pd

    from lastmile.config import parse
    from lastmile.studies import get_study
    from lastmile.studies.claims import to_json

    module, settings = get_study(args.name), parse(args.spec, "spec")
    inputs: dict[str, Any] = {}
    for name in module.READS:
        parts = [pd.read_parquet(path) for path in args.inputs if Path(path).stem == name]
        if not parts:
            raise ValueError(f"study '{args.name}' reads '{name}', but no file of that name was given")
        inputs[name] = pd.concat(parts, ignore_index=True)
    out = Path(args.out)
    with files.writing(out) as temporary:
        module.table(inputs, settings).to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    if hasattr(module, "sheet"):
        import cv2

        with files.writing(out.with_name(f"{args.name}_screens.png")) as temporary:
            temporary.write_bytes(cv2.imencode(".png", module.sheet(settings)[..., ::-1])[1].tobytes())
    files.write_text(args.claims, to_json(module.claims(inputs, settings)))


def figure(args: argparse.Namespace) -> None:
    """Draw one figure from its table."""
    from lastmile.figures import render

    render(args.name, args.table, args.out)


def findings(args: argparse.Namespace) -> None:
    """The ledger of all claims, as JSON and Markdown."""
    from lastmile.studies.claims import from_json, to_json, to_markdown

    claims = [claim for path in args.claims for claim in from_json(path)]
    files.write_text(args.out, to_json(claims))
    files.write_text(Path(args.out).with_suffix(".md"), to_markdown(claims, args.name))


# Verbs for people


def watch(args: argparse.Namespace) -> None:
    """An episode of the annotator or of a policy as GIF or MP4."""
    from lastmile.screen import Look
    from lastmile.watch import watch as make

    steps = make(
        args.task, args.out, args.policy, args.style, args.difficulty, args.episode, args.seed, args.temperature, Look(args.layout, args.theme), args.fps
    )
    print(f"{args.out}: {steps} steps")


def check(args: argparse.Namespace) -> None:
    """Success, score, steps, shares of actions, mistakes and repairs of an annotator."""
    from lastmile.check import check as run

    for task in _tasks(args.task):
        result = run(task, args.worlds, args.style, getattr(args, "from"), args.difficulty, args.seed)
        print(
            f"{task}: success {result['success']:.2f}, score {result['score']:.3f}, {result['steps']['mean']:.1f} steps, "
            f"mistakes per placement {result['mistakes_per_placement']:.3f}, repaired {result['repaired']:.3f}, "
            + ", ".join(f"{kind} {share:.1%}" for kind, share in result["actions"].items())
        )
        if args.json:
            path = Path(args.json)
            files.write_text(path if args.task != "all" else path.with_stem(f"{path.stem}_{task}"), json.dumps(result, indent=2) + "\n")


def bench(args: argparse.Namespace) -> None:
    """Speed of everything, measured."""
    from lastmile.bench import bench as run

    result = run(args.task, args.size, chromium=not args.no_chromium, training=not args.no_training)
    print(json.dumps(result, indent=2))
    if args.json:
        files.write_text(args.json, json.dumps(result, indent=2) + "\n")


def sizes(args: argparse.Namespace) -> None:
    """Parameters, FLOPs a frame and training speed of the sizes and kinds of policies."""
    from lastmile.evaluation.speed import size_table, sizes_page

    _threads(args)
    table = size_table(args.seconds)
    print(sizes_page(table), end="")
    if args.out:
        files.write_text(args.out, sizes_page(table))
    if args.json:
        files.write_text(args.json, json.dumps(table, indent=2) + "\n")


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


def _threads(args: argparse.Namespace) -> None:
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)


def _tagged(table, spec: dict[str, Any]):
    """The table with the columns that tell which policy it is about."""
    for place, (name, value) in enumerate(spec["run"].items()):
        table.insert(place, name, value)
    return table


def _write_table(table, path: str) -> None:
    with files.writing(path) as temporary:
        table.to_parquet(temporary, index=False)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m lastmile", description="Teach models to annotate scientific data click by click.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(call: Callable[[argparse.Namespace], None], name: str = "") -> argparse.ArgumentParser:
        text = (call.__doc__ or "").strip()
        one = verbs.add_parser(name or call.__name__.replace("_", "-"), help=text, description=text)
        one.set_defaults(call=call)
        return one

    def files_of(one: argparse.ArgumentParser, *names: str, many: tuple[str, ...] = ()) -> None:
        for name in names:
            one.add_argument(f"--{name}", required=True, nargs="+" if name in many else None)

    for call, names in (
        (trajectories, ("out",)), (tokens, ("trajectories", "out")), (train, ("tokens", "validation", "runs", "out")),
        (skills, ("policy", "trajectories", "tokens", "out", "losses")), (closed_loop, ("policy", "trajectories", "out")),
        (recovery, ("policy", "trajectories", "out")), (probes, ("policy", "trajectories", "tokens", "out")),
    ):  # fmt: skip
        one = verb(call)
        if call is not tokens:
            one.add_argument("--spec", required=True, type=_spec, help="what to make, as JSON")
        files_of(one, *names, many=("tokens", "validation") if call is train else ())
        one.add_argument("--threads", type=int, default=None)
        if call is train:
            one.add_argument("--start", metavar="FOLDER", help="fine-tune the policy in this folder")
    one = verb(study)
    one.add_argument("name")
    one.add_argument("--spec", required=True, type=_spec)
    one.add_argument("--inputs", nargs="*", default=[])
    files_of(one, "out", "claims")
    one = verb(figure)
    one.add_argument("name")
    files_of(one, "table", "out")
    one = verb(findings)
    one.add_argument("--name", required=True)
    files_of(one, "claims", "out", many=("claims",))

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
    one.add_argument("--style", default="typical", help="careful, typical, hasty, oracle; random (clicks) or blind (shown another world)")
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
    one = verb(schema)
    one.add_argument("--out")
    one = verb(docs)
    one.add_argument("--out", default="docs", help="folder of the pages")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a verb. Errors that a person can mend are one message and exit code 1; everything else is a traceback."""
    args = parser().parse_args(argv)
    try:
        args.call(args)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("interrupted; give the same command again to go on", file=sys.stderr)
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
