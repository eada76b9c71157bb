"""Show that two folders of results hold the same bytes, but for what is named here with its reason.

    python scripts/compare_results.py BEFORE AFTER

BEFORE and AFTER are folders such as `results/smoke`, made by two versions of the code on one
machine with the same number of cores. Compared are trajectories, tokens, policies, snapshots,
progress, evaluations, tables and claims. Times (logs, benchmarks, seconds in `runs.csv`, speed),
manifests, captions, pictures and pages are not. Exit status 1 and one line for each difference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

COMPARED = (
    "trajectories/**/*.parquet",
    "tokens/**/*.tokens",
    "models/**/*.safetensors",
    "models/**/config.json",
    "models/**/progress.csv",
    "evaluations/**/*.parquet",
    "figures/*.csv",
    "claims/*.json",
)
TIMES = ("speed.parquet", "heads.csv", "scaling.csv")
"""Files that hold measured seconds.

Their other columns are compared by the tests of the studies.
"""
RENAMED = {
    "probes.parquet": "linear_probes.parquet",
    "probe_transfer.parquet": "cross_task_probes.parquet",
    "closed_loop_along.parquet": "closed_loop_curve.parquet",
    "figures/probe_transfer.csv": "figures/probe_generalization.csv",
    "claims/probe_transfer.json": "claims/probe_generalization.json",
}
"""Files by the end of their old names: names of stages and of their tables are one since 0.2.0."""
WORDS = ("statement", "statistic", "rule", "unit", "published")
"""Fields of a claim that are prose."""


def new_name(name: str) -> str:
    """Return what a file is called after the renaming."""
    for old, new in RENAMED.items():
        if name == old or name.endswith(f"/{old}"):
            return name[: -len(old)] + new
    return name


def results(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern that are not manifests."""
    return [path for path in folder.glob(pattern) if not path.name.endswith("manifest.json")]


def content(path: Path) -> object:
    """Return what is compared of a file: its bytes, or of claims all but the prose."""
    if path.parent.name != "claims":
        return path.read_bytes()
    claims = json.loads(path.read_text(encoding="utf-8"))
    return [{key: claim[key] for key in claim if key not in WORDS} for claim in claims]


def differences(before: Path, after: Path) -> tuple[int, list[str]]:
    """Return how many files were compared, and one line for each that differs or is missing."""
    compared = 0
    lines = []
    for pattern in COMPARED:
        old = {new_name(str(path.relative_to(before))): path for path in results(before, pattern)}
        new = {str(path.relative_to(after)): path for path in results(after, pattern)}
        lines += [f"{name}: only in {before}" for name in sorted(old.keys() - new.keys())]
        lines += [f"{name}: only in {after}" for name in sorted(new.keys() - old.keys())]
        for name in sorted(old.keys() & new.keys()):
            if name.endswith(TIMES):
                continue
            compared += 1
            if content(old[name]) != content(new[name]):
                lines.append(f"{name}: differs")
    return compared, lines


def main() -> int:
    """Compare the folders named on the command line."""
    before, after = map(Path, sys.argv[1:3])
    compared, lines = differences(before, after)
    print("\n".join([*lines, f"{compared} files compared, {len(lines)} differences"]))
    return 1 if lines or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
