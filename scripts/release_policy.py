"""Make a released policy from one of a study: its files, its card, its record with digests.

    python scripts/release_policy.py results/desk colored_dots --name colored_dots

The policy is that of the run (`results/desk/models/RUN/seedN`), and its scores are those of the
study's closed loop. It is written to `src/lastmile/released/NAME` and is found there by existing:
`lastmile.Policy.load("NAME")`. With the name of a task it is the released policy for that task.
Nothing is replaced; remove an earlier folder first. Read the card before you commit it: what the
study does not know, such as limits that somebody found, is to be added by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lastmile import released
from lastmile.errors import LastmileError
from lastmile.evaluation import statistics
from lastmile.pipeline import paths
from lastmile.policy.folder import CONFIG, WEIGHTS
from lastmile.policy.policy import Policy
from lastmile.provenance.manifests import check_inputs, file_digest, read_manifest
from lastmile.simulation import trajectory
from lastmile.simulation.source import Source
from lastmile.storage import parquet
from lastmile.tasks import get_task, task_names

NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"


def release(results: Path, run: str, seed: int, name: str, out: Path) -> Path:
    """Write the folder of a released policy, whole or not at all.

    Args:
        results: Folder of the results of a study.
        run: Name of the training run.
        seed: Seed of the training run.
        name: Name of the released policy.
        out: Folder of all released policies.

    Returns:
        The folder.

    Raises:
        LastmileError: The name is impossible or taken, a result is missing or was changed, or the
            study has not played the policy in closed loop on a task that it was trained on.
    """
    if not re.fullmatch(NAME, name):
        raise LastmileError(
            f"--name {name}: expected up to 64 small letters, digits, '_', '.' and '-'"
        )
    folder = out / name
    if folder.exists():
        raise LastmileError(f"{folder}: exists; remove it first, or give another --name")

    source = paths.model(results, run, seed)
    policy = Policy.load(source)
    check_inputs([source / CONFIG, source / WEIGHTS])
    manifest = read_manifest(source / "manifest.json")
    tasks = sorted({key.partition("/")[0] for key in manifest["spec"]["data"] if "/" in key})
    if name in task_names() and name not in tasks:
        raise LastmileError(
            f"--name {name}: the policy was trained on {', '.join(tasks)}, not on {name}"
        )
    tables = {}
    for task in task_names():
        table = paths.evaluation(results, run, task, seed, "closed_loop")
        if table.is_file():
            check_inputs([table])
            tables[task] = parquet.frame(table).query("who == 'policy'")
        elif task in tasks:
            raise LastmileError(f"{table}: no such file; expected its closed loop on '{task}'")

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".") as temporary:
        made = Path(temporary) / name
        made.mkdir()
        for file in (CONFIG, WEIGHTS):
            (made / file).write_bytes((source / file).read_bytes())
        digests = {file: file_digest(made / file) for file in (CONFIG, WEIGHTS)}
        record = released.Record(format=released.FORMAT, tasks=tuple(tasks), digests=digests)
        (made / released.RECORD).write_text(
            record.model_dump_json(indent=2) + "\n", encoding="utf-8"
        )
        size = (made / WEIGHTS).stat().st_size
        lines = [
            *_about(name, tasks, policy, manifest),
            *_data(results, tasks, manifest),
            *_files(policy, digests, size),
            *_scores(results, tables, read_temperature(results, run, seed, tasks)),
            *_limits(tasks, tables),
        ]
        (made / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        made.rename(folder)
    return folder


def read_temperature(results: Path, run: str, seed: int, tasks: Sequence[str]) -> float:
    """Return the temperature of the closed loop, as its manifest says."""
    table = paths.evaluation(results, run, tasks[0], seed, "closed_loop")
    spec = read_manifest(table.with_name(f"{table.name}.manifest.json"))["spec"]
    return float(spec["temperature"])


def _about(
    name: str, tasks: Sequence[str], policy: Policy, manifest: Mapping[str, Any]
) -> list[str]:
    parameters = sum(weight.numel() for weight in policy.state_dict().values())
    what = f"for {tasks[0]}" if len(tasks) == 1 else f"for {len(tasks)} tasks"
    run, seed = manifest["spec"]["run"]["run"], manifest["spec"]["seed"]
    lines = [
        f"# {name}",
        "",
        f"A policy of size `{policy.settings.size}` {what}: {parameters:,} parameters, trained by "
        f"behavioral cloning of the virtual annotators (run `{run}`, seed {seed}).",
        "",
        "```python",
        "import lastmile",
        "",
        f'policy = lastmile.Policy.load("{name}")',
        "```",
        "",
    ]
    if name in tasks:
        lines += [f"It is the released policy for the task `{name}`.", ""]
    return lines


def _data(results: Path, tasks: Sequence[str], manifest: Mapping[str, Any]) -> list[str]:
    spec, system = manifest["spec"], manifest["system"]
    training = spec["training"]
    frames = episodes = 0
    sources = []
    for task in tasks:
        recording = trajectory.read(paths.trajectories(results, task, "train"))
        steps = recording.episodes["steps"][: spec.get("episodes")]
        frames, episodes = frames + int(steps.sum()), episodes + len(steps)
        sources.append(recording.source)
    rates = f"AdamW at {training['learning_rate']:g}"
    if training["muon_rate"]:
        rates += f" and Muon at {training['muon_rate']:g}"
    start = ", starting from another policy" if "start" in spec["data"] else ""
    return [
        "| | |",
        "| --- | --- |",
        f"| data | {frames:,} frames in {episodes:,} episodes of {len(tasks)} "
        f"{'tasks' if len(tasks) > 1 else 'task'}: {_conditions(sources)} |",
        f"| training | {training['frames']:,} frames, {training['batch']} windows an update, "
        f"{rates}{start}; {system['seconds']:.0f} s on {system['device']}, "
        f"torch {manifest['packages']['torch']}, {system['arithmetic']} |",
    ]


def _conditions(sources: Sequence[Source]) -> str:
    """Return in words what recordings of one study have in common."""
    one = sources[0]
    return (
        f"split `{one.split}`, seed {one.seed}, difficulty `{one.difficulty}`, layouts "
        f"{', '.join(one.layouts)}, themes {', '.join(one.themes)}, annotator `{one.style}`"
    )


def _files(policy: Policy, digests: Mapping[str, str], size: int) -> list[str]:
    height, width = policy.encoder.screen
    kinds = sorted({str(w.dtype).removeprefix("torch.") for w in policy.state_dict().values()})
    return [
        f"| input | the last {policy.settings.window} screens, {width} x {height} px, and "
        "the clicks on them |",
        "| output | a probability for every click |",
        f"| weights | stored as {' and '.join(kinds)} |",
        f"| files | `{WEIGHTS}` ({size / 1e6:.1f} MB, digest `{digests[WEIGHTS]}`), `{CONFIG}` "
        f"(digest `{digests[CONFIG]}`); the digests are checked when it is loaded by name |",
        "| licence | MIT, as the package; all data come from its own simulators |",
        "",
    ]


def _scores(results: Path, tables: Mapping[str, pd.DataFrame], temperature: float) -> list[str]:
    sources = [trajectory.read(paths.trajectories(results, task, "test")).source for task in tables]
    counts = sorted({len(table) for table in tables.values()})
    worlds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    lines = [
        "## Scores",
        "",
        f"In closed loop at temperature {temperature:g}, on {worlds} worlds of each task that it "
        f"never saw ({_conditions(sources)}). Intervals of 95 % hold the worlds, and not the noise "
        "between trainings: there is one.",
        "",
        "| task | version | success | score | mistakes per placement |",
        "| --- | --- | --- | --- | --- |",
    ]
    for task, table in tables.items():
        success = statistics.wilson(int(table["success"].sum()), len(table))
        score = statistics.mean(table["score"])
        mistakes = statistics.ratio(table["mistakes"], table["placements"])
        lines.append(f"| {task} | {get_task(task).version} | {success} | {score} | {mistakes} |")
    return [*lines, ""]


def _limits(tasks: Sequence[str], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    others = [task for task in tables if task not in tasks]
    unseen = f" Not in its training: {', '.join(others)}." if others else ""
    return [
        "## Limits",
        "",
        "- It depends on the pixels of its training screens: other layouts, themes and "
        f"difficulties than those above were not in its training.{unseen}",
        "- It was trained on virtual annotators and says nothing about how people work.",
    ]


def main() -> int:
    """Release a policy from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of the results of a study")
    parser.add_argument("run", help="name of the training run, such as colored_dots")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training run")
    parser.add_argument("--name", required=True, help="name of the released policy")
    parser.add_argument("--out", type=Path, default=released.HERE, help="folder of all of them")
    words = parser.parse_args()
    try:
        folder = release(words.results, words.run, words.seed, words.name, words.out)
    except LastmileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: read its card, {folder / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
