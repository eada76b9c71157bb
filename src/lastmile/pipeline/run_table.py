"""The trainings of a study in a table, with the settings and the versions that they were made with."""

from __future__ import annotations

import html
import json
import os
import platform
from pathlib import Path
from typing import Any

import pandas as pd

from lastmile.provenance import packages


def training_table(manifests: list[str | Path]) -> pd.DataFrame:
    """One row a training, from their manifests: run, seed, tasks, size, encoder, context, head, episodes (empty: all), frames, seconds, frames_per_s, threads,
    device, torch, code, start (whether it began from another policy)."""
    rows = []
    for path in manifests:
        made = json.loads(Path(path).read_text(encoding="utf-8"))
        spec, system = made["spec"], made["system"]
        tasks = sorted({name.split("/")[0] for name in spec["data"] if "/" in name})
        frames, seconds = spec["training"]["frames"], system["seconds"]
        rows.append(
            {
                "run": spec["run"]["run"],
                "seed": spec["seed"],
                "tasks": " ".join(tasks),
                "start": "start" in spec["data"],
                **{key: spec["policy"].get(key) for key in ("size", "encoder", "context", "head")},
                "episodes": spec.get("episodes"),
                "frames": frames,
                "seconds": seconds,
                "frames_per_s": round(frames / seconds, 1) if seconds else None,
                "threads": system["threads"],
                "device": system["device"],
                "torch": made["packages"].get("torch"),
                "code": spec["code"],
            }
        )
    return pd.DataFrame(rows).astype({"episodes": "Int64"})


def page(table: pd.DataFrame, settings: dict[str, Any]) -> str:
    """A page with the table of trainings, the settings and the versions of the packages."""
    head = "<!doctype html><meta charset='utf-8'><style>body{font:13px sans-serif;color:#22262e}td,th{padding:2px 8px;text-align:left}tr:nth-child(even){background:#f5f6f8}</style>"
    about = {**packages(), "platform": platform.platform(), "processors": str(os.cpu_count())}
    versions = "".join(
        f"<tr><td>{name}</td><td>{html.escape(value)}</td></tr>" for name, value in about.items()
    )
    shown = html.escape(json.dumps(settings, indent=2))
    return (
        f"{head}<h2>Trainings</h2>{table.to_html(index=False, border=0, na_rep='')}<p>{len(table)} trainings, {table['frames'].sum():,} frames, "
        f"{table['seconds'].sum():,.0f} s.</p><h2>Versions</h2><table>{versions}</table><h2>Settings</h2><pre>{shown}</pre>\n"
    )
