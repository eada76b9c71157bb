"""Rollouts stepped by several processes, with their screens in shared memory.

Whoever acts (a policy, on a GPU) sees one array of screens and writes one array of clicks. Only
small messages pass between the processes. The rows are in two sides that take turns: while one side
is acted on, the other one is drawn.

Which world comes into which row depends on how the episodes go, never on the speed of a process.
"""

from __future__ import annotations

import math
import traceback
from collections import deque
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from lastmile.errors import LastmileError
from lastmile.screen import SMALL_HEIGHT, SMALL_WIDTH
from lastmile.simulation.pool import Rollout, describe
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record
from lastmile.simulation.workers import Workers, died, prepare

SIDES = 2
EMPTY, GOING, FRESH = 0, 1, 2
"""What is in a row: no rollout, one that goes on, or one at its first screen."""
RESERVE = 2
"""Worlds that a process makes ahead, while the others are acted on."""
MEASURED = 20
"""Episodes of the annotator whose median length sets the limit of the rollouts."""
NO_MORE = -1
"""Number of rollouts begun in the last reply of a process."""
PATIENCE = 5.0
"""Seconds after which a process that does not end by itself is ended."""


class World(NamedTuple):
    """A world to be played once.

    Attributes:
        number: Number of the rollout; its random numbers are seeded by it.
        source: Where the world comes from.
        episode: Its number there.
        limit: Clicks after which the rollout is truncated.
    """

    number: int
    source: Source
    episode: int
    limit: int


def worlds_of(
    source: Source, episodes: int, max_factor: int, pool: Workers | None = None
) -> list[World]:
    """Return the worlds of episodes 0 to `episodes` - 1, without a recording.

    Args:
        source: Where they come from.
        episodes: Number of worlds.
        max_factor: Rollouts are truncated after this many times the annotator's median length in
            the first `MEASURED` episodes.
        pool: Processes in which the annotator works.
    """
    numbers = range(min(episodes, MEASURED))
    length = partial(_length, source)
    lengths = list(map(length, numbers) if pool is None else pool.ordered(length, numbers))
    limit = int(max_factor * np.median(lengths))
    return [World(number, source, number, limit) for number in range(episodes)]


def _length(source: Source, episode: int) -> int:
    """Return how many steps the annotator takes."""
    return len(record(source, episode).columns["x"])


class Reply(NamedTuple):
    """What a process has done.

    Attributes:
        begun: Number of rollouts that were put into rows.
        ended: Number of rollouts that were taken out.
        described: Descriptions of rollouts that have ended, with the numbers of their worlds in
            the list of worlds. They may come later than the end is counted.
    """

    begun: int
    ended: int
    described: list[tuple[int, dict[str, float]]]


class Arrays:
    """The shared arrays, N rows on each side.

    They are anonymous memory, which ends with the last process that uses it: nothing is left
    behind, however a process ends.

    Attributes:
        screens: (2, N, 126, 168, 3) uint8.
        clicks: (2, N, 2) int32, the next click of each row, logical px.
        uniforms: (2, N, 2) float32 in [0, 1), the random numbers for the next click.
        states: (2, N) uint8, EMPTY, GOING or FRESH.
    """

    def __init__(self, rows: int, blocks: list[Any] | None = None) -> None:
        """Allocate the arrays, or use the blocks that another process has allocated."""
        sides = (SIDES, rows)
        parts: list[tuple[tuple[int, ...], type[np.generic]]] = [
            ((*sides, SMALL_HEIGHT, SMALL_WIDTH, 3), np.uint8),
            ((*sides, 2), np.int32),
            ((*sides, 2), np.float32),
            (sides, np.uint8),
        ]
        self.rows = rows
        self.blocks = blocks or [
            get_context("spawn").RawArray("B", math.prod(shape) * np.dtype(kind).itemsize)
            for shape, kind in parts
        ]
        self.screens, self.clicks, self.uniforms, self.states = (
            np.frombuffer(block, kind).reshape(shape)
            for block, (shape, kind) in zip(self.blocks, parts)
        )


class SharedRows:
    """Play worlds in rows that several processes share. Use it as a context manager.

    Call `wait`, write the clicks of the side that it returns, call `step`, and so on.

    Args:
        worlds: The worlds.
        seed: Seeds the random numbers of a rollout, together with its number.
        rows: Rollouts that are played at a time, an even number.
        workers: Number of processes.

    Attributes:
        arrays: What is shared.
        described: What `describe` says of the rollouts, by their place in `worlds`; complete after
            `finish`.
        ended: Number of rollouts that are over.
    """

    def __init__(self, worlds: Sequence[World], seed: int, rows: int, workers: int) -> None:
        if rows < SIDES or rows % SIDES:
            raise LastmileError(f"rows: expected an even number of at least 2, got {rows}")
        if workers < 1:
            raise LastmileError(f"workers: expected at least 1, got {workers}")
        self.arrays = Arrays(rows // SIDES)
        self.described: dict[int, dict[str, float]] = {}
        self.ended = 0
        self._queue = deque(enumerate(worlds))
        self._side = 0

        shares = np.array_split(np.arange(rows // SIDES), min(workers, rows // SIDES))
        self._wants = [SIDES * len(share) + RESERVE for share in shares]  # worlds, per process
        self._connections: list[Connection] = []
        context = get_context("spawn")
        self._processes = []
        for share in shares:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work,
                args=(share.tolist(), seed, self.arrays.rows, self.arrays.blocks, theirs),
                daemon=True,
            )
            self._connections.append(ours)
            self._processes.append(process)
            process.start()
            theirs.close()  # so that its end is noticed

    def __enter__(self) -> SharedRows:
        for self._side in range(SIDES):
            self.step()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()  # at which its process ends
        for process in self._processes:
            process.join(PATIENCE if kind is None else 0)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()

    def step(self) -> None:
        """Let the processes make the clicks of the side last waited for and draw what comes next.

        Raises:
            LastmileError: A process died.
        """
        for number, hand in enumerate(self._deal()):
            self._send(number, (self._side, hand))
            self._wants[number] -= len(hand)

    def _deal(self) -> list[list[tuple[int, World]]]:
        """Take worlds from the queue for the processes that want some, one each in turn."""
        hands: list[list[tuple[int, World]]] = [[] for _ in self._connections]
        for turn in range(max(self._wants)):
            for hand, wanted in zip(hands, self._wants):
                if turn < wanted and self._queue:
                    hand.append(self._queue.popleft())
        return hands

    def wait(self) -> int:
        """Wait until the next side is drawn, and return its number.

        Raises:
            LastmileError: A process died.
            RuntimeError: An error in a process; the message is its traceback.
        """
        self._side = (self._side + 1) % SIDES
        for number in range(len(self._connections)):
            reply = self._receive(number)
            self._wants[number] += reply.begun
            self.ended += reply.ended
        return self._side

    def finish(self) -> None:
        """Wait for the descriptions of all rollouts, once all have ended; errors as in `wait`."""
        for number in range(len(self._connections)):
            self._send(number, None)
        for number in range(len(self._connections)):
            while self._receive(number).begun != NO_MORE:  # turns that nobody has waited for
                pass

    def _send(self, number: int, message: tuple[int, list[tuple[int, World]]] | None) -> None:
        try:
            self._connections[number].send(message)
        except OSError:
            # A process that failed has said why before it ended.
            self._receive(number)
            raise died() from None

    def _receive(self, number: int) -> Reply:
        try:
            reply = self._connections[number].recv()
        except (EOFError, OSError):
            raise died() from None
        if isinstance(reply, str):
            raise RuntimeError(f"an error in a worker process:\n{reply}")
        assert isinstance(reply, Reply)
        self.described.update(reply.described)
        return reply


class _Place:
    """A rollout in a row, with its random numbers and the number of its world."""

    def __init__(self, number: int, world: World, seed: int) -> None:
        source = world.source
        self.world = number
        self.rollout = Rollout(
            world.number,
            source.task,
            source.world(world.episode),
            source.look(world.episode),
            world.limit,
        )
        self.generator = np.random.default_rng(np.random.SeedSequence([seed, world.number]))
        # The first screen of a world takes far longer than the others, so it is drawn ahead too.
        self.first_screen = self.rollout.observe()


class _Worker:
    """What a process does: it steps its share of the rows of each side."""

    def __init__(self, share: list[int], seed: int, arrays: Arrays) -> None:
        self.share = share
        self.seed = seed
        self.arrays = arrays
        self.places: list[dict[int, _Place]] = [{} for _ in range(SIDES)]
        self.worlds: deque[tuple[int, World]] = deque()
        self.reserve: deque[_Place] = deque()  # made of the first worlds
        self.over: deque[_Place] = deque()  # to be described
        self.described: list[tuple[int, dict[str, float]]] = []

    def idle(self) -> bool:
        """Do one thing ahead of time; return whether there was anything to do."""
        if self.worlds and len(self.reserve) < RESERVE:
            self._make()
        elif self.over:
            self._describe()
        else:
            return False
        return True

    def _make(self) -> None:
        self.reserve.append(_Place(*self.worlds.popleft(), self.seed))

    def _describe(self) -> None:
        place = self.over.popleft()
        self.described.append((place.world, describe(place.rollout)))

    def step(self, side: int, hand: list[tuple[int, World]]) -> Reply:
        """Make the clicks of a side and draw what comes next."""
        self.worlds.extend(hand)
        places, arrays = self.places[side], self.arrays
        begun = ended = 0
        for row in self.share:
            place = places.get(row)
            if place is not None:
                place.rollout.click(*arrays.clicks[side, row].tolist())
                if place.rollout.over:
                    self.over.append(places.pop(row))
                    ended += 1
            if row in places:
                arrays.states[side, row] = GOING
                arrays.screens[side, row] = places[row].rollout.observe()
            elif self.reserve or self.worlds:
                if not self.reserve:
                    self._make()
                places[row] = self.reserve.popleft()
                begun += 1
                arrays.states[side, row] = FRESH
                arrays.screens[side, row] = places[row].first_screen
            else:
                arrays.states[side, row] = EMPTY
                continue
            arrays.uniforms[side, row] = places[row].generator.random(2)

        described, self.described = self.described, []
        return Reply(begun, ended, described)

    def last(self) -> Reply:
        """Describe all that is left, and say that nothing follows."""
        while self.over:
            self._describe()
        return Reply(NO_MORE, 0, self.described)


def _work(
    share: list[int], seed: int, rows: int, blocks: list[Any], connection: Connection
) -> None:
    """Answer messages until the other end is closed."""
    prepare()
    try:
        worker = _Worker(share, seed, Arrays(rows, blocks))
        while True:
            if not connection.poll() and worker.idle():
                continue
            message = connection.recv()
            connection.send(worker.last() if message is None else worker.step(*message))
    except (EOFError, OSError):
        return  # nobody waits any more
    except Exception:
        connection.send(traceback.format_exc())
