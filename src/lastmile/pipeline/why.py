"""Explain why a result is stale: which setting or which source file has changed.

Snakemake says which jobs it would run; the manifests beside the results say which settings, code
and inputs the results were made with.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.errors import LastmileError, UnknownNameError
from lastmile.provenance.fingerprints import code_files, code_packages
from lastmile.provenance.manifests import ManifestError, is_manifest, read_manifest

TARGETS = ("all", "trajectories", "models", "evaluations", "findings", "figures", "report")
"""Targets of the workflow, in addition to files and the names of studies."""
_JOB = re.compile(
    r"^(?:local)?rule (\S+):\n((?: {4}.*\n)+)(?:Shell command: (.*)\n)?", re.MULTILINE
)
_FOLLOWS = "Input files updated by another job"
_ADDED = ("data", "code")  # keys that a manifest of a training run adds to the planned spec


class Overlay(NamedTuple):
    """Settings laid over config.yaml.

    Attributes:
        configfiles: Files for Snakemake's `--configfile` (presets).
        overrides: KEY=VALUE pairs for Snakemake's `--config`.
    """

    configfiles: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Return the options for Snakemake."""
        files = ["--configfile", *self.configfiles] if self.configfiles else []
        return files + (["--config", *self.overrides] if self.overrides else [])


NOTHING = Overlay()


class Job(NamedTuple):
    """A job that Snakemake would run.

    Attributes:
        rule: Name of its rule.
        outputs: The files that it makes.
        reason: Why it would run, in Snakemake's words.
        shell: Its shell command.
    """

    rule: str
    outputs: list[str]
    reason: str
    shell: str


def snakemake(*arguments: str, overlay: Overlay = NOTHING) -> list[str]:
    """Return the command that runs Snakemake with these arguments and settings."""
    return [sys.executable, "-m", "snakemake", *arguments, *overlay.options()]


def planned(targets: Sequence[str], overlay: Overlay = NOTHING) -> list[Job]:
    """Return the jobs that would run to make the targets.

    Raises:
        LastmileError: Snakemake fails, with the end of its message, or its output cannot be read.
    """
    command = snakemake("-n", "-p", "--cores", "1", *targets, overlay=overlay)
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    output = done.stdout + done.stderr
    if done.returncode:
        noise = ("Using", "Config file", "Assuming", "host:", "Building")
        lines = [
            line for line in output.splitlines() if line.strip() and not line.startswith(noise)
        ]
        raise LastmileError("snakemake cannot tell: " + " ".join(lines[-6:]))
    jobs = []
    for rule, fields, shell in _JOB.findall(output):
        about = dict(line.strip().split(": ", 1) for line in fields.splitlines() if ": " in line)
        if "output" in about:
            outputs = about["output"].split(", ")
            jobs.append(Job(rule, outputs, about.get("reason", ""), shell))
    nothing = "Nothing to be done" in output or "Job stats" not in output
    if not jobs and not nothing and not re.search(r"^(?:local)?rule ", output, re.MULTILINE):
        raise LastmileError(
            "snakemake plans jobs, but not in words that are understood here; ask it: snakemake -n"
        )
    return jobs


def explain(job: Job) -> list[str]:
    """Return why a job would run, one cause per line.

    The list is empty if the job runs only because another job that it depends on runs.
    """
    outputs = [Path(output) for output in job.outputs]
    missing = [path for path in outputs if not path.exists()]
    if missing:
        reason = job.reason.replace(f"; {_FOLLOWS}", "")
        if reason.startswith("Missing output"):
            return [f"{path} is missing" for path in missing]
        return [job.reason]
    causes = []
    manifest = _manifest(outputs)
    if manifest is not None and job.shell:
        words = shlex.split(job.shell)
        if "--spec" in words:
            spec = json.loads(words[words.index("--spec") + 1])
            causes += _changed_settings(manifest["spec"], spec)
        if "--code" in words:
            label = words[words.index("--code") + 1]
            causes += _changed_sources(manifest["code"]["files"], code_files(label))
            before = manifest["code"].get("packages", {})
            causes += [
                f"package {name}: was {before.get(name, 'not used')}, is {now}"
                for name, now in code_packages(label).items()
                if before.get(name) != now
            ]
    if not causes and not job.reason.startswith(_FOLLOWS):
        causes = [job.reason if len(job.reason) < 400 else job.reason[:400] + " ..."]
    return causes


def why(targets: Sequence[str], overlay: Overlay = NOTHING) -> str:
    """Return a text that says what makes targets stale.

    Raises:
        UnknownNameError: A target is neither a file nor a target of the workflow.
    """
    from lastmile.studies import study_names

    names = (*TARGETS, *study_names())
    for target in targets:
        if "/" not in target and target not in names:
            raise UnknownNameError("target", target, names)
    jobs = planned(targets, overlay)
    named = " ".join(targets)
    if not jobs:
        return f"{named}: fresh\n"
    lines = [f"{named}: stale; {len(jobs)} job{'s' if len(jobs) > 1 else ''} would run"]
    followers = 0
    for job in jobs:
        causes = explain(job)
        if causes:
            more = f" and {len(job.outputs) - 1} more" if len(job.outputs) > 1 else ""
            lines.append(f"  {job.rule}: {job.outputs[0]}{more}")
            lines += [f"    {cause}" for cause in causes]
        else:
            followers += 1
    if followers:
        lines.append(f"  {followers} more follow{'s' if followers == 1 else ''} from these")
    return "\n".join(lines) + "\n"


def _manifest(outputs: list[Path]) -> dict[str, Any] | None:
    """Return the manifest that covers one of these outputs, or None."""
    for folder in dict.fromkeys(path.parent for path in outputs):
        for path in sorted(folder.glob("*manifest.json")):
            if not is_manifest(path):
                continue
            try:
                manifest = read_manifest(path)
            except ManifestError:
                continue
            names = {output.name for output in outputs if output.parent == folder}
            if names & manifest["outputs"].keys():
                return manifest
    return None


def _changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = (
        _flat({name: value for name, value in spec.items() if name not in _ADDED})
        for spec in (before, now)
    )
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(f"setting {name}: no longer there")
        elif name not in old:
            changes.append(f"setting {name}: new, {json.dumps(new[name])}")
        elif old[name] != new[name]:
            change = f"was {json.dumps(old[name])}, is {json.dumps(new[name])}"
            changes.append(f"setting {name}: {change}")
    return changes


def _changed_sources(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    edited = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    return [
        *(f"source file {name}: edited" for name in edited),
        *(f"source file {name}: now belongs to it" for name in sorted(now.keys() - before.keys())),
        *(
            f"source file {name}: no longer belongs to it"
            for name in sorted(before.keys() - now.keys())
        ),
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as a flat mapping with dotted names."""
    settings: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            settings.update(_flat(item, f"{prefix}{name}."))
        else:
            settings[prefix + name] = item
    return settings
