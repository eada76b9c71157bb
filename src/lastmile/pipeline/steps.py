"""The steps of the workflow: one verb for each kind of rule. Each reads files, writes files, and depends on nothing else but its spec."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.errors import LastmileError
from lastmile.storage import files


class Made(NamedTuple):
    """What a step read and what it made: its manifest is written from it."""

    inputs: list[Path]
    outputs: list[Path]


def trajectories(args: argparse.Namespace) -> Made:
    """Record the episodes of one task and split."""
    from lastmile.progress import Progress
    from lastmile.simulation import trajectory

    spec = dict(args.spec)
    if "episodes" not in spec:
        raise LastmileError("spec: 'episodes' is missing")
    episodes = spec.pop("episodes")
    try:
        source = trajectory.Source(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in spec.items()
            }
        )
    except TypeError as error:
        raise LastmileError(f"spec: {error}") from None
    with Progress(f"trajectories {source.task} {source.split}", None, "steps") as progress:
        trajectory.write(args.out, source, episodes, progress)
    return Made([], [Path(args.out), trajectory.episodes_path(args.out)])


def tokens(args: argparse.Namespace) -> Made:
    """Draw the screens of recorded episodes into a token file."""
    from lastmile.progress import Progress
    from lastmile.simulation import tokens as store
    from lastmile.simulation import trajectory

    read = trajectory.read(args.trajectories)
    with Progress(
        f"tokens {read.source.task} {read.source.split}", len(read.steps), "frames"
    ) as progress:
        store.write(args.out, read, progress)
    return Made(_recording(args.trajectories), [Path(args.out)])


def train(args: argparse.Namespace) -> None:
    """Train one policy; goes on where it was if it was interrupted."""
    from lastmile.simulation.tokens import TokenStore
    from lastmile.training.runs import run

    stores, validation = (
        [TokenStore(path) for path in paths] for paths in (args.tokens, args.validation)
    )
    run(
        args.spec,
        stores,
        validation,
        Path(args.runs),
        Path(args.out),
        args.threads,
        Path(args.start) if args.start else None,
    )


def skills(args: argparse.Namespace) -> Made:
    """Teacher-forced skills of all snapshots of a training, with ceiling and floor."""
    from lastmile.evaluation import skills as measured
    from lastmile.progress import Progress
    from lastmile.simulation.tokens import TokenStore
    from lastmile.simulation.trajectory import read
    from lastmile.training.windows import FirstEpisodes

    limit_threads(args)
    recorded = read(args.trajectories).first(args.spec["episodes"])
    store = FirstEpisodes(TokenStore(args.tokens), len(recorded.episodes))
    clicks, nats = {"ceiling": measured.ceiling(recorded), "floor": measured.floor(recorded)}, {}
    with Progress(f"skills {recorded.source.task}", None, "frames") as progress:
        for frames, policy in _along(args, args.spec["every"]):
            clicks[f"policy@{frames}"], nats[frames] = measured.predictions(policy, store)
            progress(len(recorded.steps))
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
    return Made(
        [*_policies(args), *_recording(args.trajectories), Path(args.tokens)],
        [Path(args.out), Path(args.losses)],
    )


def closed_loop(args: argparse.Namespace) -> Made:
    """Policy and annotator on the same held-out worlds."""
    import pandas as pd

    from lastmile.evaluation import closed_loop as rollout
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    limit_threads(args)
    recorded, spec = read(args.trajectories), args.spec
    with Progress(f"closed loop {recorded.source.task}", None, "clicks") as progress:
        played = rollout.closed_loop(
            Policy.load(args.policy),
            recorded,
            spec["temperature"],
            spec["max_steps"],
            spec["seed"],
            progress,
        )
    table = pd.concat(
        [played.assign(who="policy"), rollout.annotator_table(recorded).assign(who="annotator")],
        ignore_index=True,
    )
    _write_table(_tagged(table, spec), args.out)
    return Made([*_policy(args.policy), *_recording(args.trajectories)], [Path(args.out)])


def closed_loop_along(args: argparse.Namespace) -> Made:
    """Policies along a training in closed loop: before it, and every other snapshot up to the last."""
    import pandas as pd

    from lastmile.evaluation import closed_loop as rollout
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    limit_threads(args)
    spec = args.spec
    recorded = read(args.trajectories).first(spec["episodes"])
    tables = []
    with Progress(f"closed loop along {recorded.source.task}", None, "clicks") as progress:
        for frames, policy in _along(args, 2):
            played = rollout.closed_loop(
                policy, recorded, spec["temperature"], spec["max_steps"], spec["seed"], progress
            )
            tables.append(played.assign(frames=frames))
    _write_table(_tagged(pd.concat(tables, ignore_index=True), spec), args.out)
    return Made([*_policies(args), *_recording(args.trajectories)], [Path(args.out)])


def recovery(args: argparse.Namespace) -> Made:
    """What a policy does after mistakes that were put into its way."""
    from lastmile.evaluation import recovery as measured
    from lastmile.policy.policy import Policy
    from lastmile.progress import Progress
    from lastmile.simulation.trajectory import read

    limit_threads(args)
    recorded, spec = read(args.trajectories), args.spec
    with Progress(f"recovery {recorded.source.task}", None, "clicks") as progress:
        table = measured.measure(
            Policy.load(args.policy),
            recorded,
            spec["recovery_states"],
            spec["recovery_steps"],
            spec["temperature"],
            spec["seed"],
            progress,
        )
    _write_table(_tagged(table, spec), args.out)
    return Made([*_policy(args.policy), *_recording(args.trajectories)], [Path(args.out)])


def probes(args: argparse.Namespace) -> Made:
    """Fit and test the linear probes of one policy."""
    from lastmile.policy.policy import Policy
    from lastmile.probing.activations import sample
    from lastmile.probing.probes import fit_probes
    from lastmile.simulation.tokens import TokenStore
    from lastmile.simulation.trajectory import read

    limit_threads(args)
    spec = args.spec
    inputs = sample(
        Policy.load(args.policy),
        TokenStore(args.tokens),
        read(args.trajectories),
        spec["frames"],
        spec["seed"],
    )
    _write_table(_tagged(fit_probes(inputs, spec["seed"]), spec), args.out)
    return Made(
        [*_policy(args.policy), *_recording(args.trajectories), Path(args.tokens)], [Path(args.out)]
    )


def probe_transfer(args: argparse.Namespace) -> Made:
    """Mistake probes of each task on every other one, their directions, and what moving along them does."""
    from lastmile.policy.policy import Policy
    from lastmile.probing.generalization import measure
    from lastmile.simulation.tokens import TokenStore
    from lastmile.simulation.trajectory import read

    limit_threads(args)
    spec = args.spec
    stores, recorded = (
        [TokenStore(path) for path in args.tokens],
        [read(path) for path in args.trajectories],
    )
    table = measure(Policy.load(args.policy), stores, recorded, spec["frames"], spec["seed"])
    _write_table(_tagged(table, spec), args.out)
    read_too = [path for one in args.trajectories for path in _recording(one)]
    return Made([*_policy(args.policy), *read_too, *map(Path, args.tokens)], [Path(args.out)])


def speed(args: argparse.Namespace) -> Made:
    """Training frames per second of a policy of this shape."""
    import pandas as pd

    from lastmile.performance.speed import training_rate
    from lastmile.policy import flops_per_frame, parameter_count
    from lastmile.policy.policy import read_settings
    from lastmile.simulation.tokens import TokenStore

    limit_threads(args)
    settings = read_settings(args.policy)
    row = {
        **training_rate(TokenStore(args.tokens), settings, steps=8)._asdict(),
        "parameters": parameter_count(settings),
        "flops_per_frame": flops_per_frame(settings),
    }
    _write_table(_tagged(pd.DataFrame([row]), args.spec), args.out)
    return Made([*_policy(args.policy), Path(args.tokens)], [Path(args.out)])


def study(args: argparse.Namespace) -> Made:
    """The table and the claims of one study."""
    import pandas as pd

    from lastmile.config import parse
    from lastmile.storage import parquet
    from lastmile.studies import get_study
    from lastmile.studies.claims import to_json

    module, settings = get_study(args.name), parse(args.spec, "spec")
    inputs: dict[str, Any] = {}
    for name in dict.fromkeys(need.table for need in module.needs(settings)):
        parts = [parquet.frame(path) for path in args.inputs if Path(path).stem == name]
        if not parts:
            raise LastmileError(
                f"study '{args.name}' reads '{name}', but no file of that name was given"
            )
        inputs[name] = pd.concat(parts, ignore_index=True)
    out = Path(args.out)
    with files.writing(out) as temporary:
        module.table(inputs, settings).to_csv(
            temporary, index=False, float_format="%.6g", lineterminator="\n"
        )
    made = [out, Path(args.claims)]
    if hasattr(module, "sheet"):
        import cv2

        made.append(out.with_name(f"{args.name}_screens.png"))
        with files.writing(made[-1]) as temporary:
            temporary.write_bytes(
                cv2.imencode(".png", module.sheet(settings)[..., ::-1])[1].tobytes()
            )
    files.write_text(args.claims, to_json(module.claims(inputs, settings)))
    return Made([Path(path) for path in args.inputs], made)


def figure(args: argparse.Namespace) -> Made:
    """Draw one figure from its table."""
    from lastmile.studies.render import render

    return Made([Path(args.table)], render(args.name, args.table, args.out))


def findings(args: argparse.Namespace) -> Made:
    """The ledger of all claims, beside what is published, as JSON and Markdown."""
    import pandas as pd

    from lastmile.studies.claims import from_json, to_json
    from lastmile.studies.findings import beside, read_published, to_markdown, with_published

    published = read_published(args.expected)
    claims = with_published([claim for path in args.claims for claim in from_json(path)], published)
    tables = {Path(path).stem: pd.read_csv(path) for path in args.tables}
    compared = beside(published, tables)
    files.write_text(args.out, to_json(claims))
    files.write_text(
        Path(args.out).with_suffix(".md"), to_markdown(claims, args.name, compared, tables)
    )
    return Made(
        [Path(path) for path in (*args.claims, *args.tables, *args.expected)],
        [Path(args.out).with_suffix(form) for form in (".json", ".md")],
    )


def runs(args: argparse.Namespace) -> Made:
    """The trainings of a study in a table: settings, frames, time, frames per second, and what they were made from."""
    from lastmile.pipeline.run_table import page, training_table

    table = training_table(args.manifests)
    with files.writing(args.out) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    files.write_text(Path(args.out).with_suffix(".html"), page(table, args.spec))
    return Made(
        [Path(path) for path in args.manifests],
        [Path(args.out), Path(args.out).with_suffix(".html")],
    )


def manifest(args: argparse.Namespace) -> Made:
    """Write the manifest of files that another program made."""
    return Made([Path(path) for path in args.inputs], [Path(path) for path in args.outputs])


def write_manifest(args: argparse.Namespace, made: Made, seconds: float) -> None:
    """The manifest of what a step made, with the code that it was planned with or, by hand, all there is."""
    from lastmile.provenance import code_label, write_manifests
    from lastmile.tasks import task_names

    spec = dict(getattr(args, "spec", None) or {})
    if hasattr(args, "name"):
        spec["name"] = args.name
    torch = sys.modules.get("torch")
    write_manifests(
        args.verb,
        spec,
        args.code or code_label("__main__", task_names()),
        made.inputs,
        made.outputs,
        device="cpu",
        threads=torch.get_num_threads() if torch else 1,
        seconds=round(seconds, 1),
    )


def _recording(path: str) -> list[Path]:
    """Both tables of recorded episodes."""
    from lastmile.simulation.trajectory import episodes_path

    return [Path(path), episodes_path(path)]


def _policy(folder: str) -> list[Path]:
    return [Path(folder) / "config.json", Path(folder) / "policy.safetensors"]


def _policies(args: argparse.Namespace) -> list[Path]:
    """A policy with its snapshots, and the one that it started from."""
    return [
        *_policy(args.policy),
        Path(args.policy) / "snapshots.safetensors",
        *(_policy(args.start) if args.start else []),
    ]


def _along(args: argparse.Namespace, every: int) -> Iterator[tuple[int, Any]]:
    """Frames seen and the policy then: before its training (the one that it started from, or a random one), then every so many of the snapshots, the last one
    included."""
    from lastmile.policy.policy import Policy, initial, read_settings
    from lastmile.training.checkpoints import load_snapshots

    yield (
        0,
        Policy.load(args.start)
        if args.start
        else initial(read_settings(args.policy), args.spec["run"]["seed"]),
    )
    yield from load_snapshots(Path(args.policy) / "snapshots.safetensors", every)


def limit_threads(args: argparse.Namespace) -> None:
    """Let torch use as many threads as were asked for."""
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)


def _tagged(table, spec: dict[str, Any]):
    """The table with the columns that tell which policy it is about."""
    for place, (name, value) in enumerate(spec["run"].items()):
        table.insert(place, name, value)
    return table


def _write_table(table, path: str) -> None:
    from lastmile.storage import parquet

    with files.writing(path) as temporary:
        parquet.write(table, temporary)
