"""The parts of scripts/gpu_measure.sh: measure a GPU, and use it for one long training.

    python scripts/gpu_measure.py PART --work FOLDER [--seconds S] [--workers N] ...

Each part reads what the parts before it left in the folder, does nothing that is done already, and
ends in time, so that a failure of one still leaves the others. Run on a CPU it does the same, with
less: that is how it is tested.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lastmile.config import Evaluation
from lastmile.performance.rates import task_rates
from lastmile.pipeline.plan import rates
from lastmile.simulation import tokens, trajectory
from lastmile.simulation.source import Source
from lastmile.simulation.workers import Workers
from lastmile.storage import files
from lastmile.tasks import get_task, task_names

TASKS = tuple(name for name in task_names() if not get_task(name).held_out)
"""Tasks of the joint training; a task that is held out is only played."""
SHARD = 24_000
"""About how many frames of a task are recorded at a time."""
SIDE_BY_SIDE = 3
"""Shards that are recorded at the same time, so that no worker waits for the end of one."""
VALIDATION = 24
"""Episodes per task of the validation loss."""
PART_BYTES = 15 * 2**20
"""Largest size of a file that is brought back."""
PARTS = 3
"""Most files into which the run is cut."""
EVALUATION = Evaluation()
"""How policies are played: by the defaults of the settings."""


def device() -> Any:
    """Return the GPU, or the CPU where there is none."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check(work: Path, arguments: argparse.Namespace) -> None:
    """Write what this machine is, and how fast it multiplies matrices."""
    import torch

    from lastmile.performance.device_rates import matmul_rate

    here = device()
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(here) if here.type == "cuda" else "cpu",
        "matmul_fp32_tflops": matmul_rate(here, torch.float32) / 1e12,
    }
    if here.type == "cuda":
        facts["matmul_bf16_tflops"] = matmul_rate(here, torch.bfloat16) / 1e12
        facts["memory_gb"] = torch.cuda.get_device_properties(here).total_memory / 1e9
        facts["cuda"] = torch.version.cuda
    files.write_text(work / "check.json", json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts), flush=True)


def record(work: Path, arguments: argparse.Namespace) -> None:
    """Record and draw episodes on all cores, shard by shard, until the time is over."""
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    counted: list[tuple[float, int]] = []
    table = rates()
    steps = {task: task_rates(table, task)["steps"][arguments.difficulty] for task in TASKS}

    with Workers(arguments.workers) as pool:

        def shard(job: tuple[str, str, int]) -> None:
            task, split, number = job
            if number and time.monotonic() - begin > arguments.seconds:
                return
            path = data / f"{task}-{split}-{number:03d}.tokens"
            if path.exists():
                return
            episodes = VALIDATION if split == "validation" else -(-arguments.shard // steps[task])
            source = Source(task, split, number, arguments.difficulty)
            recording = path.with_suffix(".parquet")
            trajectory.write(recording, source, int(episodes), pool=pool)
            tokens.write(path, trajectory.read(recording), pool=pool)
            frames = tokens.TokenStore(path).frames
            counted.append((time.monotonic() - begin, frames))
            total = sum(count for _, count in counted)
            print(
                f"{total:,} frames after {counted[-1][0]:.0f} s, "
                f"{total / counted[-1][0]:,.0f} frames/s",
                flush=True,
            )
            (work / "recorded.csv").write_text(
                "seconds,frames\n" + "".join(f"{s:.1f},{n}\n" for s, n in counted)
            )

        jobs = [(task, "train", 0) for task in TASKS]
        jobs += [(task, "validation", 0) for task in TASKS]
        jobs += [(task, "train", number) for number in range(1, arguments.shards) for task in TASKS]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as drivers:
            list(drivers.map(shard, jobs))


def shards(work: Path, least: int = 1, wait: float = 0.0) -> list[list[Path]]:
    """Return the token files to train on, those of each complete shard."""
    deadline = time.monotonic() + wait
    while True:
        complete = []
        for number in range(1000):
            paths = [work / "data" / f"{task}-train-{number:03d}.tokens" for task in TASKS]
            if not all(path.exists() for path in paths):
                break
            complete.append(paths)
        if len(complete) >= least or time.monotonic() > deadline:
            return complete
        time.sleep(1.0)


def table(work: Path, arguments: argparse.Namespace) -> None:
    """Measure the speed of training for sizes, batches and number formats."""
    from lastmile.performance.device_rates import DeviceRate, Shape, device_rates

    begin = time.monotonic()
    complete = shards(work, 1, arguments.seconds)
    stores = [tokens.TokenStore(path) for path in complete[0]]
    here = device()
    if here.type == "cuda":
        shapes = [
            Shape("s", 64),
            Shape("m", 64),
            Shape("l", 64),
            Shape("xs", 64),
            Shape("s", 256),
            Shape("s", 16),
            Shape("s", 64, muon=False),
            Shape("s", 64, recorded=False),
            Shape("s", 64, "32"),
            Shape("m", 256),
            Shape("s", 2),
            # Compiling takes a minute and more.
            Shape("s", 64, compiled=True),
            Shape("m", 64, compiled=True),
        ]
        updates = 32
    else:
        shapes = [Shape("xs", 2, "32"), Shape("xs", 4, "32")]
        updates = 2
    done = read_rows(work / "table.csv")
    left = [shape for shape in shapes if not any(_same(row, shape) for row in done)]
    for rate in device_rates(stores, left, here, 1.5, updates):
        print(rate, flush=True)
        append_row(work / "table.csv", DeviceRate._fields, rate._asdict())
        if time.monotonic() - begin > arguments.seconds:
            break


def profile(work: Path, arguments: argparse.Namespace) -> None:
    """Write which kernels take how much of an update."""
    import torch
    from torch.profiler import ProfilerActivity

    from lastmile.performance.device_rates import Shape, device_rates

    here = device()
    stores = [tokens.TokenStore(path) for path in shards(work, 1, arguments.seconds)[0][:2]]
    on_gpu = here.type == "cuda"
    kinds = [ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]
    shape = Shape("s", 64, recorded=False) if on_gpu else Shape("xs", 2, "32")
    with torch.profiler.profile(activities=kinds) as profiler:
        measured = list(device_rates(stores, [shape], here, 0.1, 4))
    key = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    text = profiler.key_averages().table(sort_by=key, row_limit=60, max_name_column_width=90)
    files.write_text(work / "profile.log", f"{measured}\n{text}\n")


def _same(row: dict[str, str], shape: Any) -> bool:
    return all(row[name] == str(value) for name, value in shape._asdict().items())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def append_row(path: Path, names: tuple[str, ...], row: dict[str, Any]) -> None:
    """Add a row to a CSV file."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        if new:
            writer.writeheader()
        writer.writerow(row)


def train(work: Path, arguments: argparse.Namespace) -> None:
    """Train one joint policy for as long as there is time, on all that was recorded."""
    import torch

    from lastmile.config import PolicySettings, Training
    from lastmile.training.device_data import fits
    from lastmile.training.loop import train as train_policy

    begin = time.monotonic()
    here = device()
    on_gpu = here.type == "cuda"
    complete = shards(work, 1, arguments.seconds)
    name = f"joint-{arguments.size}-{arguments.batch}"
    if arguments.label:
        name += f"-{arguments.label}"
    plan_path = work / f"{name}.json"
    if plan_path.exists():  # of an earlier call, which did not come to its end
        plan = json.loads(plan_path.read_text())
    else:
        rows = [
            row
            for row in read_rows(work / "table.csv")
            if row["size"] == arguments.size
            and row["batch"] == str(arguments.batch)
            and (row["precision"], row["recorded"], row["muon"]) == ("bf16", "True", "True")
        ]
        by_compiled = {row["compiled"]: float(row["frames_per_s"]) for row in rows}
        compiled = arguments.compile and by_compiled.get("True", 0) > by_compiled.get("False", 0)
        rate = arguments.rate or max(by_compiled.values(), default=0) or (15_000 if on_gpu else 40)
        count = len(complete)
        while on_gpu and count > 1 and not fits(_open(complete[:count]), here):
            count -= 1
        seconds = arguments.seconds - (time.monotonic() - begin) - arguments.setup
        plan = {
            "shards": count,
            "frames": arguments.frames or int(max(seconds, 5) * rate),
            "compile": compiled,
        }
        files.write_text(plan_path, json.dumps(plan))
    stores = _open(complete[: plan["shards"]])
    validation = [
        tokens.TokenStore(work / "data" / f"{task}-validation-000.tokens") for task in TASKS
    ]
    print(f"{plan}; {sum(s.frames for s in stores):,} different frames", flush=True)
    training = Training(
        frames=plan["frames"],
        batch=arguments.batch,
        compile=plan["compile"],
        snapshots=arguments.snapshots,
        precision="auto" if on_gpu else "32",
        learning_rate=arguments.learning_rate,
        muon_rate=arguments.muon_rate,
    )
    policy = PolicySettings(size=arguments.size)
    spec = {
        "run": {"run": name, "seed": 0},
        "data": plan,
        "difficulty": arguments.difficulty,
    }
    trained = train_policy(
        work / "runs" / name,
        policy,
        training,
        0,
        stores,
        validation,
        spec,
        work / "models" / name,
        gpus=[0] if on_gpu else [],
        on_device=True,
    )
    row = {
        "name": name,
        "size": arguments.size,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "muon_rate": arguments.muon_rate,
        "frames": plan["frames"],
        "different_frames": sum(s.frames for s in stores),
        "seconds": round(trained.seconds, 1),
        "arithmetic": trained.arithmetic,
        "compile": plan["compile"],
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else 0,
        "validation_loss": read_rows(work / "models" / name / "progress.csv")[-1][
            "validation_loss"
        ],
    }
    print(row, flush=True)
    append_row(work / "trainings.csv", tuple(row), row)


def _open(complete: list[list[Path]]) -> list[tokens.TokenStore]:
    return [tokens.TokenStore(path) for paths in complete for path in paths]


def evaluate(work: Path, arguments: argparse.Namespace) -> None:
    """Let the policies that were trained play new worlds of all tasks."""
    from lastmile.evaluation.lockstep import lockstep
    from lastmile.evaluation.statistics import wilson
    from lastmile.policy.policy import Policy
    from lastmile.simulation.shared_rows import worlds_of

    begin = time.monotonic()
    here = device()
    worlds = []
    with Workers(arguments.workers) as pool:
        for task in task_names():
            source = Source(task, "test", 0, arguments.difficulty)
            worlds += worlds_of(source, arguments.worlds, EVALUATION.max_steps, pool)
    print(f"{len(worlds)} worlds after {time.monotonic() - begin:.0f} s", flush=True)

    trained = sorted((work / "models").glob("*/policy.safetensors"), key=os.path.getmtime)
    for path in reversed(trained):
        folder = path.parent
        out = folder / "closed_loop.csv"
        if out.exists() or time.monotonic() - begin > arguments.seconds:
            continue
        policy = Policy.load(folder, here)
        start = time.monotonic()
        rows = min(512, 2 * (len(worlds) // 2))
        frame = lockstep(
            policy, worlds, EVALUATION.temperature, 0, arguments.workers, rows, here.type == "cuda"
        )
        seconds = time.monotonic() - start
        steps = int(frame["steps"].sum())
        print(f"{folder.name}: {steps:,} steps in {seconds:.1f} s, {steps / seconds:,.0f}/s")
        append_row(
            work / "rollouts.csv",
            ("name", "worlds", "steps", "seconds", "steps_per_s"),
            {
                "name": folder.name,
                "worlds": len(worlds),
                "steps": steps,
                "seconds": round(seconds, 1),
                "steps_per_s": round(steps / seconds, 1),
            },
        )
        frame.to_csv(out, index=False)
        for task, group in frame.groupby("task"):
            successes = int(group["success"].sum())
            share = wilson(successes, len(group))
            mistakes = group["mistakes"].sum() / max(group["placements"].sum(), 1)
            print(
                f"  {task}: success {share.value:.2f} ({share.low:.2f} to {share.high:.2f}), "
                f"score {group['score'].mean():.2f}, finished {group['finished'].mean():.2f}, "
                f"mistakes per placement {mistakes:.2f}",
                flush=True,
            )


def figure(work: Path, arguments: argparse.Namespace) -> None:
    """Draw how the losses fell, and how often the policies finish a task without mistakes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import pandas as pd

    from lastmile.evaluation.statistics import wilson

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.6), width_ratios=(1, 1.3), layout="constrained"
    )
    played: dict[str, pd.DataFrame] = {}
    for path in sorted((work / "models").glob("*/progress.csv"), key=os.path.getmtime):
        name = path.parent.name
        rows = pd.read_csv(path)
        (line,) = left.plot(rows["frames"], rows["loss"], lw=1, label=name)
        held_out = rows.dropna(subset=["validation_loss"])
        left.plot(
            held_out["frames"], held_out["validation_loss"], "o", ms=3, color=line.get_color()
        )
        if (path.parent / "closed_loop.csv").exists():
            played[name] = pd.read_csv(path.parent / "closed_loop.csv")
    left.set(xscale="log", xlabel="frames seen", ylabel="nats per click", ylim=(1, None))
    left.set_title("Loss (dots: held-out worlds)", loc="left", fontsize=10)
    left.legend(frameon=False, fontsize=8)

    for number, (name, table) in enumerate(played.items()):
        shares = [
            wilson(int(group["success"].sum()), len(group)) for _, group in table.groupby("task")
        ]
        tasks = [str(task) for task, _ in table.groupby("task")]
        values = np.array([share.value for share in shares])
        errors = np.maximum(  # rounding
            [values - [s.low for s in shares], [s.high for s in shares] - values], 0
        )
        places = np.arange(len(tasks)) + 0.8 * (number + 0.5) / len(played) - 0.4
        right.barh(places, values, 0.8 / len(played), xerr=errors, label=name, alpha=0.8)
        right.set_yticks(range(len(tasks)), [task.replace("_", " ") for task in tasks], fontsize=8)
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="success in closed loop, 95 % interval")
    right.set_title("New worlds", loc="left", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(work / "figure.png", dpi=150)


def collect(work: Path, arguments: argparse.Namespace) -> None:
    """Copy what is small to the output folder: tables and log, and the run, cut into parts."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    texts = [path for path in sorted(work.glob("*")) if path.suffix in (".csv", ".json", ".log")]
    with tarfile.open(out / "tables.tar.gz", "w:gz") as archive:
        for path in (*texts, *work.glob("figure.png"), *sorted(work.glob("models/*/*.csv"))):
            archive.add(path, path.relative_to(work))

    trained = sorted((work / "models").glob("*/policy.safetensors"), key=os.path.getmtime)
    limit = PART_BYTES * PARTS
    archive_path = work / "policies.tar"
    with tarfile.open(archive_path, "w") as archive:
        size = 0
        for path in reversed(trained):  # the last first, as many as there is room for
            for name in ("policy.safetensors", "config.json", "progress.csv", "closed_loop.csv"):
                part = path.parent / name
                if part.exists() and size + part.stat().st_size < limit - 2**20:
                    archive.add(part, part.relative_to(work))
                    size += part.stat().st_size
        # What a later call needs to go on with a run that is not finished.
        unfinished = [
            p for p in work.glob("runs/*/last.ckpt") if not _finished(work, p.parent.name)
        ]
        for path in unfinished:
            for part in sorted(path.parent.rglob("*")):
                if part.is_file() and size + part.stat().st_size < limit - 2**20:
                    archive.add(part, part.relative_to(work))
                    size += part.stat().st_size
    whole = archive_path.read_bytes()
    for number, start in enumerate(range(0, len(whole), PART_BYTES)):
        (out / f"policies.tar.{number:02d}").write_bytes(whole[start : start + PART_BYTES])
    print(f"{len(whole) / 1e6:.1f} MB of policies, {len(texts)} tables", flush=True)


def _finished(work: Path, name: str) -> bool:
    return (work / "models" / name / "policy.safetensors").exists()


def restore(work: Path, arguments: argparse.Namespace) -> None:
    """Unpack what an earlier call brought back."""
    parts = sorted(Path(arguments.out).glob("policies.tar.*"))
    if not parts:
        return
    joined = work / "policies.tar"
    with open(joined, "wb") as handle:
        for part in parts:
            with open(part, "rb") as source:
                shutil.copyfileobj(source, handle)
    with tarfile.open(joined) as archive:
        archive.extractall(work, filter="data")
    tables = Path(arguments.out) / "tables.tar.gz"
    if tables.exists():
        with tarfile.open(tables) as archive:
            archive.extractall(work, filter="data")


def main() -> None:
    """Run a part."""
    parts = {
        part.__name__: part
        for part in (check, record, table, profile, train, evaluate, figure, collect, restore)
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=parts)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", default="")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--difficulty", default="full")
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--shard", type=int, default=SHARD, help="frames of a shard")
    parser.add_argument("--size", default="s")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--label", default="")
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="frames per second to plan with")
    parser.add_argument("--setup", type=float, default=40.0, help="seconds to set up, planned")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--snapshots", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--worlds", type=int, default=100)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    parts[arguments.part](arguments.work, arguments)


if __name__ == "__main__":
    main()
