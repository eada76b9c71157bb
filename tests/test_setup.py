"""`make setup`, killed or stopped at any moment, works when it is given again.

The Python is a stand-in that makes and fills environments in no time, or never ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fault_log import fault

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
PYTHON = f"""#!/bin/bash
wait_if() {{ if test -e "$1"; then touch reached; exec sleep 600; fi; }}
case "$*" in
  "-m venv .venv")
    mkdir -p .venv/bin
    wait_if hang-before-python
    cp "$0" .venv/bin/python
    wait_if hang-before-pip
    touch .venv/pip ;;
  "-m pip install"*) wait_if hang-in-install; touch .venv/packages ;;
  *"import pip"*) test -e "$(dirname "$0")/../pip" ;;
  *urllib*) exit 1 ;;
  *"print("*) echo VERSION ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
MOMENTS = ("before-python", "before-pip", "in-install")


def python(folder: Path, version: str) -> Path:
    """Return a stand-in for a Python of this version."""
    path = folder / f"python{version}"
    path.write_text(PYTHON.replace("VERSION", version))
    path.chmod(0o755)
    return path


def make_setup(folder: Path, interpreter: Path) -> subprocess.Popen[str]:
    """Start `make setup` in a session of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.Popen(
        ["make", "setup", f"PYTHON={interpreter}"],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A job in the background of a shell ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(folder: Path, interpreter: Path) -> str:
    """Run `make setup` to its end; the environment must be whole then. Return what it says."""
    process = make_setup(folder, interpreter)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    for name in ("bin/python", "pip", "packages", "installed"):
        assert (folder / ".venv" / name).exists(), name
    return said


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(root / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_setup_can_be_repeated(
    checkout: Path, number: signal.Signals, moment: str
) -> None:
    interpreter = python(checkout, "3.12")
    (checkout / f"hang-{moment}").touch()
    with fault(f"make setup stopped by {number.name}", f"environment, {moment}".replace("-", " ")):
        process = make_setup(checkout, interpreter)
        deadline = time.monotonic() + 60
        while not (checkout / "reached").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
        assert process.returncode != 0

        (checkout / f"hang-{moment}").unlink()
        finish(checkout, interpreter)
        assert "again" not in finish(checkout, interpreter), "made again though it is whole"


def test_another_python_replaces_the_environment(checkout: Path) -> None:
    finish(checkout, python(checkout, "3.12"))
    said = finish(checkout, python(checkout, "3.13"))
    assert "making .venv again: it has Python 3.12, not 3.13" in said


def test_an_environment_that_was_moved_is_made_again(checkout: Path) -> None:
    interpreter = python(checkout, "3.12")
    finish(checkout, interpreter)
    (checkout / ".venv" / "installed").write_text("/elsewhere\n")
    assert "it was made in another folder" in finish(checkout, interpreter)
