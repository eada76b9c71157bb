"""The wheel in an empty environment of each Python that is found (`make test-install`).

Its verbs run in another folder than the sources. Torch is downloaded for each environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
VERSIONS = ("3.11", "3.12", "3.13")
WORKFLOW_FILES = ("Snakefile", "config.yaml", "rules", "workflow", "profiles")
"""What the workflow needs of the folder, beside the package."""

PLAY = """
import sys, lastmile
env = lastmile.make_env("colored_dots", render_mode="rgb_array")
env.reset(seed=0)
env.step((200, 100))
assert env.render().shape == (336, 448, 3)
assert not {"torch", "pandas", "matplotlib", "snakemake"} & set(sys.modules)
try:
    lastmile.record("colored_dots")
except Exception as error:
    print(error)
"""
"""An episode with the base packages; a recording needs an extra."""


def interpreter(version: str) -> str | None:
    """Return a Python of this version: of pyenv, whose names on the path may not work, or any."""
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")


def run(*command: str | Path, folder: Path) -> str:
    """Run a command without this session's package, and return what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def cpu_index() -> list[str]:
    """Return pip's option for CPU builds of torch; pip waits minutes if their index is away."""
    try:
        urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=5).close()
    except OSError:
        return []
    return ["--extra-index-url", CPU_INDEX]


def build_wheel(root: Path, folder: Path) -> Path:
    """Build the wheel from a copy of the sources."""
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(root / "src", source / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    run(*pip, "-w", folder / "wheel", ".", folder=source)
    return next((folder / "wheel").glob("lastmile_annotation-*.whl"))


def stage(name: str, spec: Mapping[str, object]) -> tuple[str, ...]:
    """Return the words of a stage's job."""
    return ("stage", name, "--spec", json.dumps(spec), "--results", "results/tiny")


@pytest.mark.slow
@pytest.mark.parametrize("torch", [None, "2.6.0"], ids=["tested torch", "oldest torch"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_in_an_empty_environment(
    root: Path, tmp_path: Path, version: str, torch: str | None
) -> None:
    if torch and version != VERSIONS[0]:
        pytest.skip("the oldest torch is tried with the oldest Python")
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    wheel = build_wheel(root, tmp_path)
    run(python, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    bin_ = tmp_path / "venv" / "bin"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    install: tuple[str | Path, ...] = (
        bin_ / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        *cpu_index(),
    )
    pins: list[str | Path] = [f"torch=={torch}"] if torch else ["-c", root / "requirements.lock"]

    # The base: environments, and a message that names the extra for the rest.
    run(*install, wheel, *([] if torch else pins), folder=elsewhere)
    assert "pip install -e '.[data]'" in run(bin_ / "python", "-c", PLAY, folder=elsewhere)

    # Everything that one machine runs.
    run(*install, f"{wheel}[workflow]", *pins, folder=elsewhere)
    lastmile = bin_ / "lastmile"
    assert json.loads(run(lastmile, "schema", folder=elsewhere)) == json.loads(
        (root / "workflow" / "schemas" / "settings.schema.json").read_text()
    )
    check = ("check", "colored_dots", "--worlds", "2", "--difficulty", "short")
    assert "success" in run(lastmile, *check, folder=elsewhere)

    for split in ("train", "validation"):
        episodes = {
            "task": "colored_dots",
            "split": split,
            "seed": 0,
            "difficulty": "short",
            "style": "typical",
            "layouts": ["right"],
            "themes": ["dark"],
            "episodes": 2,
        }
        run(lastmile, *stage("record", episodes), folder=elsewhere)
        tokens = {"task": "colored_dots", "split": split}
        run(lastmile, *stage("tokenize", tokens), folder=elsewhere)
    training = {
        "run": "tiny",
        "seed": 0,
        "tasks": ["colored_dots"],
        "policy": {"size": "xs"},
        "training": {"frames": 60, "snapshots": 1},
    }
    run(lastmile, *stage("train", training), folder=elsewhere)
    run(lastmile, "verify", "results/tiny", folder=elsewhere)

    # The workflow needs nothing of the sources but the package.
    for name in WORKFLOW_FILES:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, elsewhere / name)
    dry_run = ("-n", "--cores", "1", "--configfile", "workflow/presets/smoke.yaml")
    assert "train" in run(bin_ / "snakemake", *dry_run, folder=elsewhere)
