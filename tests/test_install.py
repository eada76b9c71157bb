"""The wheel in an empty environment of each Python that is found, its verbs run from another folder (`make test-install`; downloads torch for each)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

CPU = "https://download.pytorch.org/whl/cpu"
VERSIONS = ("3.11", "3.12", "3.13")


def interpreter(version: str) -> str | None:
    """A Python of this version.

    Of pyenv (whose names on the path need not work), or of the path.
    """
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")


def run(*command: str | Path, folder: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def cpu_index() -> list[str]:
    """Where CPU builds of torch are, if it can be reached.

    Pip waits for minutes for an index that does not answer.
    """
    try:
        urllib.request.urlopen(f"{CPU}/torch/", timeout=5).close()
    except OSError:
        return []
    return ["--extra-index-url", CPU]


@pytest.mark.slow
@pytest.mark.parametrize("torch", [None, "2.6.0"], ids=["newest", "oldest torch"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_in_an_empty_environment(
    root: Path, tmp_path: Path, version: str, torch: str | None
) -> None:
    if torch and version != VERSIONS[0]:
        pytest.skip("the oldest torch is tried with the oldest Python")
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    source = tmp_path / "source"
    shutil.copytree(
        root / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(root / name, source)
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        tmp_path / "wheel",
        ".",
        folder=source,
    )
    wheel = next((tmp_path / "wheel").glob("lastmile-*.whl"))
    run(python, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    bin_, elsewhere = tmp_path / "venv" / "bin", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pins = [f"torch=={torch}"] if torch else ["-c", root / "constraints.txt"]
    run(
        bin_ / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        *cpu_index(),
        wheel,
        *pins,
        folder=elsewhere,
    )
    lastmile = bin_ / "lastmile"
    assert json.loads(run(lastmile, "schema", folder=elsewhere)) == json.loads(
        (root / "workflow" / "schemas" / "settings.schema.json").read_text()
    )
    assert "success" in run(
        lastmile,
        "check",
        "colored_dots",
        "--worlds",
        "2",
        "--difficulty",
        "short",
        folder=elsewhere,
    )
    for split in ("train", "validation"):
        spec = json.dumps({"task": "colored_dots", "split": split, "seed": 0, "episodes": 2})
        run(lastmile, "trajectories", "--spec", spec, "--out", f"{split}.parquet", folder=elsewhere)
        run(
            lastmile,
            "tokens",
            "--trajectories",
            f"{split}.parquet",
            "--out",
            f"{split}.tokens",
            folder=elsewhere,
        )
    spec = json.dumps(
        {
            "run": {"run": "tiny", "seed": 0},
            "seed": 0,
            "policy": {"size": "xs"},
            "training": {"frames": 60, "snapshots": 1},
        }
    )
    run(
        lastmile,
        "train",
        "--spec",
        spec,
        "--tokens",
        "train.tokens",
        "--validation",
        "validation.tokens",
        "--runs",
        "runs",
        "--out",
        "policy",
        folder=elsewhere,
    )
    run(lastmile, "verify", ".", folder=elsewhere / "policy")
    for name in (
        "Snakefile",
        "config.yaml",
        "rules",
        "workflow",
        "profiles",
    ):  # the workflow needs nothing of the sources but the package
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, elsewhere / name)
    assert "train" in run(
        bin_ / "snakemake",
        "-n",
        "--cores",
        "1",
        "--configfile",
        "workflow/presets/smoke.yaml",
        folder=elsewhere,
    )
