"""Worker processes: one function on many jobs, with the results in the order of the jobs.

The processes are started afresh ("spawn"), not forked: that is safe after CUDA was initialized.
Each takes about a second to start, so one pool serves many recordings.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from types import TracebackType
from typing import TypeVar

from lastmile.errors import LastmileError

J = TypeVar("J")
R = TypeVar("R")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with the number of threads that libraries compute with."""
WAITING = 3
"""Jobs per process that are handed out before their results are taken."""


class Workers:
    """Processes that work side by side. Use it as a context manager: they end with the block.

    Args:
        count: Number of processes.

    Attributes:
        count: Number of processes.

    Raises:
        LastmileError: `count` is below 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise LastmileError(f"workers: expected at least 1, got {count}")
        self.count = count
        self._executor = ProcessPoolExecutor(count, get_context("spawn"), prepare)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def ordered(
        self, function: Callable[[J], R], jobs: Iterable[J], ahead: int | None = None
    ) -> Iterator[R]:
        """Yield `function(job)` for each job, in the order of the jobs.

        Jobs are taken one by one, so that memory does not grow with their number.

        Args:
            function: A function of a module. It, the jobs and the results are pickled.
            jobs: The jobs.
            ahead: Most jobs that are handed out beyond those whose results were taken; by default
                `WAITING` for each process.

        Raises:
            LastmileError: A process died. What a job raises is raised in place of its result.
        """
        limit = WAITING * self.count if ahead is None else ahead
        try:
            yield from ordered(self._executor, function, jobs, limit)
        except BrokenProcessPool:
            raise died() from None


def ordered(
    executor: Executor, function: Callable[[J], R], jobs: Iterable[J], ahead: int
) -> Iterator[R]:
    """Yield `function(job)` for each job, in the order of the jobs, which are taken one by one.

    Args:
        executor: Processes or threads.
        function: What they do.
        jobs: The jobs.
        ahead: Most jobs that are handed out beyond those whose results were taken.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for job in jobs:
            waiting.append(executor.submit(function, job))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def died() -> LastmileError:
    """Return the error to raise when a worker process is gone."""
    return LastmileError(
        "a worker process died, perhaps because memory ran out; use fewer workers, or look for "
        "its last words above"
    )


def one_thread() -> None:
    """Let libraries compute with one thread: sums are rounded differently with others.

    They read these variables when they are imported.
    """
    for name in THREADS:
        os.environ[name] = "1"
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def prepare() -> None:
    """Make this process a good worker: one thread, quiet, and gone when its parent is."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, however that was."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
