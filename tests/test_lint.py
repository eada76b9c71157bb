"""What linters say of the workflow, and that the two lists of packages are in step."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import yaml

ALLOWED = {
    "Specify a conda environment or container for each rule": "one environment for all rules, in environment.yml",
    "Param stem is a prefix of input or output file but hardcoded": "a figure has four outputs beside its table, of one name",
    "Environment variable PATH used but not asserted with envvars directive": "it is extended, not required",
}
"""Lints of Snakemake that are meant to be, with the reason."""
NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Names of packages in conda, where they differ."""


def test_snakemake_has_nothing_else_to_say(root):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=root, capture_output=True, text=True
    )
    found = {
        re.sub(r" in line \d+", "", line.strip()[2:].rstrip(":.").rstrip(":."))
        for line in (done.stdout + done.stderr).splitlines()
        if line.startswith("    * ")
    }
    assert found and found <= ALLOWED.keys(), found - ALLOWED.keys()


def bounds(text: str) -> tuple[str, str]:
    """Name and version bounds of a requirement."""
    name, rest = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(.*)", text).groups()
    return name.lower(), rest.replace(" ", "")


def test_conda_and_pip_ask_for_the_same(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    conda = dict(bounds(item) for item in environment if isinstance(item, str))
    pip = dict(
        bounds(item)
        for item in next(item["pip"] for item in environment if isinstance(item, dict))
        if not item.startswith("-")
    )
    wanted = dict(bounds(item) for item in project["dependencies"])
    given = {
        name: version for name, version in {**conda, **pip}.items() if name not in ("python", "pip")
    }
    assert {
        NAMES.get(name, name) if name not in pip else name: version
        for name, version in wanted.items()
    } == given
    assert conda["python"].startswith(project["requires-python"])


def test_what_is_no_source_is_installed_too(root):
    """Files beside the sources are in the wheel only if pyproject.toml says so."""
    found = [
        path.relative_to(root / "src" / "lastmile")
        for path in (root / "src" / "lastmile").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]["lastmile"]
    assert [
        path
        for path in found
        if not any(path.match(pattern) and len(path.parts) == 1 for pattern in data)
    ] == []
