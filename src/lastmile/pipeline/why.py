"""Fresh or stale, and why: which setting or which source file makes a result stale.

Snakemake says which jobs it would run; the manifests beside the results say with which settings, code and inputs these were made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from lastmile import provenance
from lastmile.errors import LastmileError
from lastmile.provenance.verify import ManifestError, is_manifest, read_manifest

_JOB = re.compile(
    r"^(?:local)?rule (\S+):\n((?: {4}.*\n)+)(?:Shell command: (.*)\n)?", re.MULTILINE
)
_FOLLOWS = "Input files updated by another job"
_ADDED = ("data", "code", "name")
"""What manifests have in their specs beside what was planned."""


class Job(NamedTuple):
    """A job that Snakemake would run. reason: Snakemake's words. shell: its command."""

    rule: str
    outputs: list[str]
    reason: str
    shell: str


def snakemake(*arguments: str, configfiles: list[str]) -> list[str]:
    """The command that runs Snakemake with these arguments and settings laid over config.yaml."""
    return [
        sys.executable,
        "-m",
        "snakemake",
        *arguments,
        *(["--configfile", *configfiles] if configfiles else []),
    ]


def planned(targets: list[str], configfiles: list[str]) -> list[Job]:
    """The jobs that would run to make targets. Raises ValueError with Snakemake's message if it cannot tell."""
    done = subprocess.run(
        snakemake("-n", "-p", "--cores", "1", *targets, configfiles=configfiles),
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    said = done.stdout + done.stderr
    if done.returncode:
        told = [
            line
            for line in said.splitlines()
            if line.strip()
            and not line.startswith(("Using", "Config file", "Assuming", "host:", "Building"))
        ]
        raise LastmileError("snakemake cannot tell: " + " ".join(told[-6:]))
    jobs = []
    for rule, fields, shell in _JOB.findall(said):
        about = dict(line.strip().split(": ", 1) for line in fields.splitlines() if ": " in line)
        if "output" in about:
            jobs.append(Job(rule, about["output"].split(", "), about.get("reason", ""), shell))
    if (
        not jobs
        and "Nothing to be done" not in said
        and "Job stats" in said
        and not re.search(r"^(?:local)?rule ", said, re.MULTILINE)
    ):
        raise LastmileError(
            "snakemake plans jobs, but not in words that are understood here; ask it itself: snakemake -n"
        )
    return jobs


def explain(job: Job) -> list[str]:
    """Why a job would run, one cause a line; empty if only because another one runs before it."""
    missing = [output for output in job.outputs if not Path(output).exists()]
    manifest = _manifest([Path(output) for output in job.outputs])
    if missing:
        return (
            [f"{path} is missing" for path in missing]
            if job.reason.replace(f"; {_FOLLOWS}", "").startswith("Missing output")
            else [job.reason]
        )
    causes = []
    if manifest is not None and job.shell:
        words = shlex.split(job.shell)
        if "--spec" in words:
            causes += _settings(manifest["spec"], json.loads(words[words.index("--spec") + 1]))
        if "--code" in words:
            causes += _sources(
                manifest["code"]["files"], provenance.code_files(words[words.index("--code") + 1])
            )
    if not causes and not job.reason.startswith(_FOLLOWS):
        causes = [job.reason if len(job.reason) < 400 else job.reason[:400] + " ..."]
    return causes


def why(targets: list[str], configfiles: list[str]) -> str:
    """What makes targets stale, in words."""
    jobs = planned(targets, configfiles)
    named = " ".join(targets)
    if not jobs:
        return f"{named}: fresh\n"
    lines = [f"{named}: stale; {len(jobs)} job{'s' if len(jobs) > 1 else ''} would run"]
    followers = 0
    for job in jobs:
        causes = explain(job)
        if causes:
            more = f" and {len(job.outputs) - 1} more" if len(job.outputs) > 1 else ""
            lines += [
                f"  {job.rule}: {job.outputs[0]}{more}",
                *(f"    {cause}" for cause in causes),
            ]
        else:
            followers += 1
    if followers:
        lines.append(f"  {followers} more follow{'s' if followers == 1 else ''} from these")
    return "\n".join(lines) + "\n"


def _manifest(outputs: list[Path]) -> dict[str, Any] | None:
    """The manifest that knows one of these outputs."""
    for folder in dict.fromkeys(path.parent for path in outputs):
        for path in sorted(folder.glob("*manifest.json")):
            if is_manifest(path):
                try:
                    manifest = read_manifest(path)
                except ManifestError:
                    continue
                if any(
                    output.name in manifest["outputs"]
                    for output in outputs
                    if output.parent == folder
                ):
                    return manifest
    return None


def _settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    old, new = (
        _flat({name: value for name, value in before.items() if name not in _ADDED}),
        _flat({k: v for k, v in now.items() if k not in _ADDED}),
    )
    told = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            told.append(
                f"setting {name}: {'new, ' + json.dumps(new[name]) if name in new else 'no longer there'}"
            )
        elif old[name] != new[name]:
            told.append(f"setting {name}: was {json.dumps(old[name])}, is {json.dumps(new[name])}")
    return told


def _sources(before: dict[str, str], now: dict[str, str]) -> list[str]:
    told = [
        f"source file {name}: edited"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name]
    ]
    told += [
        f"source file {name}: now belongs to it" for name in sorted(now.keys() - before.keys())
    ]
    return told + [
        f"source file {name}: no longer belongs to it"
        for name in sorted(before.keys() - now.keys())
    ]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        found.update(
            _flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {prefix + name: item}
        )
    return found
