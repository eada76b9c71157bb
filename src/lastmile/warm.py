"""Jobs that start warm: a process that has imported the large packages forks one for each job.

A job imports PyTorch, pandas or Matplotlib before it begins, which takes seconds, and most jobs of
a small study take no longer than that. So Snakemake starts a server beside its jobs (`start`),
which imports these packages once; `python -m lastmile stage ...` then asks it for a fork (`ask`),
waits for it and ends as it does. Our own modules are imported by each job, so that a job runs the
code that is there when it starts.

Where there is no server (other systems than Linux, jobs on the nodes of a cluster, a stage run by
hand), or it does not answer, a job runs in its own process as ever. What asks for a job imports
nothing but the standard library.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

SOCKET = "LASTMILE_WARM"
"""Environment variable with the path of the server's socket."""

PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "cv2",
    "scipy.stats",
    "sklearn.linear_model",
    "torch",
    "pytorch_lightning",
    "matplotlib.pyplot",
    "seaborn",
)
"""What the server imports, if it is installed."""

ANSWER = 10.0
"""Seconds in which the server has to take a job."""
LENGTH = 8
"""Bytes of the length of a request."""
TAKEN = b"t"
"""What the server answers when it has taken a job."""


# Beside Snakemake


def start(packages: Sequence[str] = PACKAGES) -> subprocess.Popen[bytes] | None:
    """Start a server, and put its address into this process's environment, for the jobs.

    It ends when its standard input is closed, at the latest with this process.

    Args:
        packages: What it imports.

    Returns:
        The server, or None where there can be none.
    """
    if sys.platform != "linux":
        return None
    from lastmile.simulation.workers import THREADS

    folder = tempfile.mkdtemp(prefix="lastmile-")
    os.environ[SOCKET] = f"{folder}/socket"
    # Libraries read these once, and a fork must not count on threads that are gone.
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    # Whether there is a GPU must be asked in a way that a fork survives.
    environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "lastmile.warm", folder, *packages],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches jobs through those who asked for them
    )


# A job


def ask(arguments: list[str]) -> int | None:
    """Let the server run `lastmile` with these arguments; return its exit code.

    Returns:
        None if there is no server: then this process has to do it.
    """
    path = os.environ.get(SOCKET)
    if not path:
        return None
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.settimeout(ANSWER)
        server.connect(path)
        request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(server, [len(request).to_bytes(LENGTH, "big")], [0, 1, 2])
        server.sendall(request)
        taken = server.recv(1) == TAKEN
    except OSError:
        taken = False
    if not taken:
        server.close()
        return None
    server.settimeout(None)

    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            server.send(bytes([number]))

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    answer = server.recv(4)
    if len(answer) < 4:  # the server itself was killed
        return 1
    code = int.from_bytes(answer, "big", signed=True)
    if code < 0:  # ended by a signal: so do we
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


# The server


def serve(folder: Path, packages: Sequence[str]) -> None:
    """Import packages, then fork for each job until standard input is closed."""
    for name in packages:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # forks share this memory: their garbage collection must not touch it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who look after jobs
    server = os.getpid()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
            while listener in [key.fileobj for key, _ in selector.select()]:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    look_after(connection)  # does not return
                connection.close()
    finally:
        if os.getpid() == server:
            shutil.rmtree(folder, ignore_errors=True)


def look_after(connection: socket.socket) -> NoReturn:
    """Run a job in a fork, pass on signals to it, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, descriptors, _, _ = socket.recv_fds(connection, LENGTH, 3)
    size = int.from_bytes(head, "big")
    request = b""
    while len(request) < size:
        if not (part := connection.recv(size - len(request))):
            os._exit(1)
        request += part
    arguments, place, environment = json.loads(request)
    connection.sendall(TAKEN)

    job = os.fork()
    if job == 0:
        connection.close()
        become(arguments, place, environment, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)

    def pass_on() -> None:
        while number := connection.recv(1):
            os.kill(job, number[0])
        os.kill(job, signal.SIGKILL)  # who asked for the job is gone

    threading.Thread(target=pass_on, daemon=True).start()
    _, status = os.waitpid(job, 0)
    with contextlib.suppress(OSError):
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    os._exit(0)


def become(
    arguments: list[str], place: str, environment: dict[str, str], descriptors: list[int]
) -> NoReturn:
    """Be the job: as if this process had been started as `python -m lastmile`."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    # What is ours is imported anew. Lightning starts further processes by what `__main__` says.
    for name in [name for name in sys.modules if name.partition(".")[0] == "lastmile"]:
        del sys.modules[name]
    module = ModuleType("__main__")
    module.__spec__ = importlib.util.find_spec("lastmile.__main__")
    assert module.__spec__ is not None and module.__spec__.origin is not None
    module.__file__ = module.__spec__.origin
    sys.modules["__main__"] = module
    sys.argv = [module.__spec__.origin, *arguments]

    from lastmile.cli import main

    code = main(arguments)
    # What Python does at its end, but for taking all modules apart, which takes a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2:])
