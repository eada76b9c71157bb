"""Run table: list all training runs of a study with their settings, frames, time and code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lastmile.pipeline import paths
from lastmile.pipeline.run_columns import COLUMNS
from lastmile.pipeline.stage import Cost, Estimates, Request, seeds_of
from lastmile.pipeline.stage import Spec as BaseSpec
from lastmile.storage import csv_tables

LABELS = ()


class Spec(BaseSpec):
    """The runs, their seeds, the runs with the first seed alone, and the settings of the study."""

    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    once: tuple[str, ...]
    settings: dict[str, Any]


class Inputs(NamedTuple):
    """The manifests of the runs."""

    manifests: tuple[Path, ...]


class Outputs(NamedTuple):
    """The table."""

    table: Path


def inputs(spec: Spec, results: Path) -> Inputs:
    return Inputs(
        tuple(
            paths.model(results, run, seed) / "manifest.json"
            for run in spec.runs
            for seed in seeds_of(run, spec.seeds, spec.once)
        )
    )


def outputs(spec: Spec, results: Path) -> Outputs:
    return Outputs(results / "runs.csv")


def run(spec: Spec, inputs: Inputs, outputs: Outputs) -> None:
    import pandas as pd

    from lastmile.provenance.manifests import read_manifest

    rows = [_row(read_manifest(path)) for path in inputs.manifests]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"episodes": "Int64"})
    csv_tables.write(table, outputs.table, COLUMNS)


def _row(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a training run.

    `episodes` is empty if the run used all of them; `start` says whether the run started from
    another policy.
    """
    spec, system = manifest["spec"], manifest["system"]
    frames, seconds = spec["training"]["frames"], system["seconds"]
    return {
        "run": spec["run"]["run"],
        "seed": spec["seed"],
        "tasks": " ".join(sorted({name.split("/")[0] for name in spec["data"] if "/" in name})),
        "start": "start" in spec["data"],
        **{key: spec["policy"].get(key) for key in ("size", "encoder", "context", "head")},
        "episodes": spec.get("episodes"),
        "frames": frames,
        "seconds": seconds,
        "frames_per_s": round(frames / seconds, 1) if seconds else None,
        "threads": system["threads"],
        "arithmetic": system["arithmetic"],
        "device": system["device"],
        "torch": manifest["packages"].get("torch"),
        "code": spec["code"],
    }


def parts(spec: Spec) -> tuple[str, ...]:
    return ()


def wanted(request: Request) -> list[Spec]:
    settings = request.settings.model_dump(mode="json")
    once = tuple(name for name, run in request.runs.items() if run.once)
    seeds = request.settings.training.seeds
    return [Spec(runs=tuple(request.runs), seeds=seeds, once=once, settings=settings)]


def cost(spec: Spec, estimates: Estimates) -> Cost:
    return Cost(1.0)
