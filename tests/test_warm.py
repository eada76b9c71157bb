"""Jobs that start warm: they do and end as jobs that start by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lastmile import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are warm on Linux alone")

SPEC = json.dumps(
    {
        "task": "colored_dots",
        "split": "test",
        "seed": 3,
        "episodes": 2,
        "difficulty": "short",
        "style": "typical",
        "layouts": ["right"],
        "themes": ["dark"],
    }
)


def until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until a function returns something true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """The environment of jobs that start warm."""
    # A shell's background job ignores Ctrl-C, and so would all that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = warm.start(["numpy", "pandas", "no_such_package"])
    assert started is not None and started.stdin is not None
    signal.signal(signal.SIGINT, before)
    path = Path(os.environ.pop(warm.SOCKET))
    until(path.exists)
    yield {**os.environ, warm.SOCKET: str(path)}
    started.stdin.close()
    assert started.wait(60) == 0
    assert not path.parent.exists()


def job(words: list[str], environment: dict[str, str], **how: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lastmile", "stage", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,  # type: ignore[call-overload]
    )


def test_a_warm_job_makes_the_same_files(server: dict[str, str], tmp_path: Path) -> None:
    cold = {name: value for name, value in server.items() if name != warm.SOCKET}
    said = {}
    for name, environment in (("warm", server), ("cold", cold)):
        folder = tmp_path / name
        folder.mkdir()
        words = ["record", "--spec", SPEC, "--results", "results/here"]
        done = job(words, environment, cwd=folder)
        _, said[name] = done.communicate()
        assert done.returncode == 0, said[name]
    files = [
        {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in sorted((tmp_path / name).rglob("*.parquet"))
        }
        for name in said
    ]
    assert files[0] == files[1] and len(files[0]) == 2


def test_a_warm_job_fails_with_the_same_message(server: dict[str, str]) -> None:
    cold = {name: value for name, value in server.items() if name != warm.SOCKET}
    outcomes = []
    for environment in (server, cold):
        done = job(["record", "--spec", "{}", "--results", "nowhere"], environment)
        outcomes.append((done.communicate(), done.returncode))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] == 1 and "error: --spec" in outcomes[0][0][1]


def long_job(server: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """A recording of thousands of episodes, which has begun."""
    spec = json.dumps({**json.loads(SPEC), "episodes": 100_000})
    started = job(["record", "--spec", spec, "--results", "results/here"], server, cwd=folder)
    until(lambda: list(folder.rglob("*.part")) or list(folder.rglob(".*parquet*")))
    return started


def workers(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_job(server: dict[str, str], tmp_path: Path, number: int) -> None:
    started = long_job(server, tmp_path)
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    if number == signal.SIGINT:
        assert started.returncode == 130 and "interrupted" in said
    else:
        assert started.returncode == -signal.SIGTERM
    until(lambda: workers(tmp_path) == [])


def test_a_job_ends_with_the_one_who_asked_for_it(server: dict[str, str], tmp_path: Path) -> None:
    started = long_job(server, tmp_path)
    assert len(workers(tmp_path)) >= 2  # who asked, and the fork
    started.kill()
    started.wait()
    until(lambda: workers(tmp_path) == [])


def test_without_a_server_a_job_runs_by_itself(tmp_path: Path) -> None:
    environment = {**os.environ, warm.SOCKET: str(tmp_path / "gone")}
    done = job(["record", "--help"], environment)
    assert "--spec" in done.communicate()[0] and done.returncode == 0


def test_our_own_modules_are_not_kept() -> None:
    """A job must run the code that is there when it starts, which its manifest names."""
    assert not [name for name in warm.PACKAGES if name.startswith("lastmile")]
