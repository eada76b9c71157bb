"""What linters say of the workflow, and that all lists of packages agree."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from lowest_versions import lowest_versions, requirements

ALLOWED = {
    "Specify a conda environment or container for each rule": "one environment for all rules",
    "Environment variable PATH used but not asserted with envvars directive": "only extended",
}
"""Lints of Snakemake that are accepted, with the reason."""
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Names of packages in conda, where they differ."""
UNLOCKED = ("agents",)
"""Extras that need other versions than the lock; `make test-agents` installs them apart."""
USER_EXTRAS = ("", "data", "train", "watch", "web", "workflow", "dinov2")
"""The base and the extras that `all` consists of."""


def test_snakemake_accepts_the_workflow(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=root, capture_output=True, text=True
    )
    lints = {
        re.sub(r" in line \d+", "", line.strip()[2:].rstrip(":.").rstrip(":."))
        for line in (done.stdout + done.stderr).splitlines()
        if line.startswith("    * ")
    }
    assert lints and lints <= ALLOWED.keys(), lints - ALLOWED.keys()


def bounds(text: str) -> tuple[str, str]:
    """Return name and version bounds of a requirement."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(.*)", text)
    assert match, text
    return match[1].lower(), match[2].replace(" ", "")


def test_conda_and_pip_ask_for_the_same(root: Path) -> None:
    dependencies = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    conda = dict(bounds(item) for item in dependencies if isinstance(item, str))
    python = conda.pop("python")
    conda.pop("pip")
    (nested,) = [item["pip"] for item in dependencies if isinstance(item, dict)]
    pip = dict(bounds(item) for item in nested if not item.startswith("-"))

    lowest = lowest_versions(root / "pyproject.toml", USER_EXTRAS)
    expected = {
        name if name in pip else CONDA_NAMES.get(name, name): f">={version}"
        for name, version in lowest.items()
    }
    assert conda | pip == expected

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert python.startswith(project["requires-python"])


def test_the_lock_has_a_version_of_every_package(root: Path) -> None:
    """Versions that were tested are within the bounds, and none is missing."""
    lines = (root / "requirements.lock").read_text().splitlines()
    pins = [line.lower().replace("_", "-") for line in lines if not line.startswith("#")]
    locked = dict(pin.split("==") for pin in pins)
    extras = requirements(root / "pyproject.toml")
    for item in itertools.chain(*(extras[name] for name in extras if name not in UNLOCKED)):
        wanted = Requirement(item)
        if not wanted.name.startswith("lastmile"):
            assert wanted.specifier.contains(locked[wanted.name.lower()]), item
    assert {"torch"} <= locked.keys() and "+" not in locked["torch"]


def test_files_that_are_not_code_are_installed_too(root: Path) -> None:
    """Files beside the code are in the wheel only if pyproject.toml says so."""
    package = root / "src" / "lastmile"
    paths = [
        path.relative_to(package)
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    setuptools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = setuptools["package-data"]["lastmile"]
    listed = {path.relative_to(package) for pattern in patterns for path in package.glob(pattern)}
    assert set(paths) <= listed
