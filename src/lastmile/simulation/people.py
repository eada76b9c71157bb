"""Recordings of people: a log of clicks for each episode, durable click by click.

A log is JSON, line by line: an opening, which names the world and the look, a line for each click,
and at the end how the episode ended. A line counts as soon as its line break is on the disk; what
a crash left behind it was never acknowledged and is ignored. There are no pixels: the screens are
drawn again, and every click names the digest of the one that it was made on.

People work on the split `people`, on which no policy is trained or evaluated by default. Worlds
for practice have numbers from `PRACTICE` on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from lastmile.closed import Closed
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH, Look, draw
from lastmile.simulation import trajectory
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.storage import files
from lastmile.tasks import get_task
from lastmile.tasks.real import SYNTHETIC
from lastmile.tasks.task import digest

FORMAT = "lastmile.people/1"
SPLIT = "people"
STYLE = "person"
"""What stands for the style of the annotator in the source of such trajectories."""
PRACTICE = 1_000_000
"""Number of the first world for practice."""
LONGEST = trajectory.LONGEST
"""Clicks after which an episode is cut off."""
IDLE_MS = 30_000.0
"""A pause that is longer counts as one of this length when working time is added up."""
POLICY = "policy"
"""What a click that a policy made came by, in place of a pointer or a key."""
LARGEST = 8_000_000
"""Bytes of the largest log that is read: `LONGEST` clicks take an eighth of it."""


class PeopleError(LastmileError):
    """A log that cannot be used; the message names the file, the line and what was expected."""


Milliseconds = Annotated[float, Field(ge=0, le=1e14)]
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Device = Annotated[str, Field(max_length=100, pattern=r"^[ -~]*$")]


class Opening(Closed):
    """The first line of a log: everything that the episode depends on but the clicks.

    Attributes:
        format: `FORMAT`.
        task: Name of the task.
        task_version: Its version.
        difficulty: Name of the difficulty.
        seed: Seed of the worlds.
        episode: Number of the world.
        world: Digest of the world.
        layout: Layout of the interface.
        theme: Theme of the interface.
        person: Pseudonym of the person.
        practice: Whether the world is for practice.
        device: What the browser says of the device.
        opened_ms: When the episode began, by the clock of the server.
        worlds: Where the world comes from: see `Source`.
    """

    format: Literal["lastmile.people/1"]
    task: Name
    task_version: int
    difficulty: Name
    seed: Number
    episode: Number
    world: Digest
    layout: Name
    theme: Name
    person: Name
    practice: bool
    device: Device
    opened_ms: Milliseconds
    worlds: Annotated[str, Field(min_length=1, max_length=4096)] = SYNTHETIC

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        return {k: v for k, v in values.items() if k != "worlds" or v != SYNTHETIC}

    @property
    def source(self) -> Source:
        """Where the world comes from."""
        looks = (self.layout,), (self.theme,)
        return Source(self.task, SPLIT, self.seed, self.difficulty, STYLE, *looks, self.worlds)

    def session(self) -> Session[Any, Any]:
        """Return the episode at its beginning.

        Raises:
            LastmileError: Task or look are unknown, or the world is no longer the same.
        """
        task = get_task(self.task)
        if task.version != self.task_version:
            raise PeopleError(
                f"recorded with version {self.task_version} of task '{self.task}', "
                f"which is now at version {task.version}"
            )
        world = self.source.world(self.episode)
        if digest(world) != self.world:
            raise PeopleError(
                f"recorded in another world (digest {self.world}, now {digest(world)})"
            )
        return Session(task, world, Look(self.layout, self.theme).check())


class Placed(Closed):
    """Where a click was made.

    Attributes:
        step: Its number, from 0.
        screen: `screen_digest` of the screen that it was made on.
        x: Logical px to the right.
        y: Logical px down.
    """

    step: Number
    screen: Digest
    x: Annotated[int, Field(ge=0, lt=WIDTH)]
    y: Annotated[int, Field(ge=0, lt=HEIGHT)]


class BrowserClick(Placed):
    """A click, as a browser tells it; see `people_trajectories.STEPS` for times and `via`."""

    via: Literal["pointer", "key"]
    shown_ms: Milliseconds
    down_ms: Milliseconds
    up_ms: Milliseconds


class Click(Placed):
    """A click, as a line of a log. Those of a policy have no times of a browser."""

    via: Literal["pointer", "key", "policy"]
    shown_ms: Milliseconds | None = None
    down_ms: Milliseconds | None = None
    up_ms: Milliseconds | None = None
    received_ms: Milliseconds

    @model_validator(mode="after")
    def _times_of_people(self) -> Click:
        times = (self.shown_ms, self.down_ms, self.up_ms)
        if any((time is None) != (self.via == POLICY) for time in times):
            raise ValueError("clicks of people have times of a browser, those of a policy none")
        return self


class Helper(Closed):
    """The line before the first click of a policy: which one it is.

    Attributes:
        policy: The player, as it was given to `lastmile play`.
        weights: Digest of the weights of a policy of ours; empty for other players.
        temperature: Temperature of the clicks of such a policy; None for other players.
    """

    policy: Annotated[str, Field(max_length=100)]
    weights: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
    temperature: Annotated[float, Field(gt=0)] | None


class Ending(Closed):
    """The last line of a log that was closed."""

    ended: Literal["done", "abandoned", "cut off"]


_LINES: TypeAdapter[Helper | Ending | Click] = TypeAdapter(Helper | Ending | Click)


class Log(NamedTuple):
    """A log as it was read.

    Attributes:
        path: The file.
        opening: Its first line.
        clicks: Its clicks.
        ending: How the episode ended, if the log was closed; else empty.
        size: Bytes of its whole lines; what follows them was never acknowledged.
        helper: The policy that worked beside the person, if one did.
    """

    path: Path
    opening: Opening
    clicks: tuple[Click, ...]
    ending: str
    size: int
    helper: Helper | None = None

    def replay(self) -> Iterator[tuple[Click, Session[Any, Any]]]:
        """Yield each click with the session as it was before, and make it.

        Raises:
            PeopleError: The world is no longer the one that was worked on.
        """
        try:
            session = self.opening.session()
        except LastmileError as error:
            raise PeopleError(f"{self.path}: {error}") from None
        for click in self.clicks:
            if session.done:
                raise PeopleError(f"{self.path}: has clicks after the end, from {click.step} on")
            yield click, session
            session.click(click.x, click.y)


def read(path: str | Path) -> Log:
    """Read a log.

    Args:
        path: A file of JSON lines.

    Raises:
        PeopleError: The file cannot be read, or a line that was acknowledged is damaged.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            data = handle.read(LARGEST + 1)
    except OSError as error:
        raise PeopleError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > LARGEST:
        raise PeopleError(f"{path}: expected a log of clicks, got more than {LARGEST} bytes")

    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    if not lines:
        raise PeopleError(f"{path}: is empty; expected a log of clicks")
    number = 1
    try:
        opening = Opening.model_validate_json(lines[0], strict=True)
        clicks: list[Click] = []
        ending = ""
        helper: Helper | None = None
        for number, text in enumerate(lines[1:], 2):
            line = _LINES.validate_json(text, strict=True)
            if ending:
                raise PeopleError(f"{path}: line {number} follows the end of the episode")
            if isinstance(line, Ending):
                ending = line.ended
            elif isinstance(line, Helper):
                if helper is not None:
                    raise PeopleError(f"{path}: line {number} names a second policy")
                helper = line
            elif line.via == POLICY and helper is None:
                raise PeopleError(f"{path}: line {number}: expected the name of the policy first")
            elif line.step != len(clicks):
                raise PeopleError(f"{path}: line {number}: expected step {len(clicks)}")
            else:
                clicks.append(line)
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[-1]["msg"].lower()
        raise PeopleError(
            f"{path}: line {number} is no line of a log of clicks ({reason})"
        ) from None
    return Log(path, opening, tuple(clicks), ending, len(whole), helper)


def logs(folder: str | Path) -> list[Path]:
    """Return the logs in a folder of recordings, by person and name.

    Raises:
        PeopleError: There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PeopleError(f"{folder}: no such folder; expected one written by `lastmile play`")
    return sorted(folder.glob("*/*.jsonl"))


def line(value: Closed) -> bytes:
    """Return a line of a log."""
    return json.dumps(value.model_dump(), allow_nan=False).encode() + b"\n"


def screen_digest(pixels: np.ndarray) -> str:
    """Return a short digest of a screen, (336, 448, 3) uint8."""
    return hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest()


def working_ms(log: Log) -> float:
    """Return the working time of an episode's person in ms.

    It is the time from the first screen to the person's last click, without that in which a policy
    was at work: after a click of the policy, time counts from when its screen was shown. A pause of
    more than `IDLE_MS` counts as `IDLE_MS`.
    """
    total = 0.0
    before: float | None = None  # the person's last click, if no other came after it
    for click in log.clicks:
        if click.down_ms is None or click.shown_ms is None:
            before = None
            continue
        begin = click.shown_ms if before is None else before
        total += min(max(click.down_ms - begin, 0.0), IDLE_MS)
        before = click.down_ms
    return total


def interventions(clicks: Sequence[Click]) -> list[bool]:
    """Return for each click of an episode whether it is an intervention.

    The policy has the episode from its first click to the end, whoever clicks in between. A click
    of a person in this time is an intervention; what people do before is not.
    """
    had = False
    flags = []
    for click in clicks:
        had = had or click.via == POLICY
        flags.append(had and click.via != POLICY)
    return flags


def check(log: Log) -> None:
    """Replay a log and draw its screens.

    Raises:
        PeopleError: It cannot be replayed, or a screen is not the one that was clicked on.
    """
    for click, session in log.replay():
        shown = screen_digest(draw(session.screen()))
        if shown != click.screen:
            raise PeopleError(
                f"{log.path}: step {click.step} was made on screen {click.screen}, "
                f"which is now drawn as {shown}"
            )


class LogFile:
    """A log that is being written: a line is on the disk when `append` returns.

    Attributes:
        path: The file.
        size: Bytes of the lines that are on the disk.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Go on with a log whose first `size` bytes are whole lines; what follows is removed.

        Raises:
            OSError: The file cannot be written.
        """
        self.path = path
        self.size = size
        self._handle = os.open(path, os.O_WRONLY)
        self._cut()

    @classmethod
    def begin(cls, path: Path, opening: Opening) -> LogFile:
        """Begin a new log.

        Raises:
            OSError: The file cannot be written.
        """
        data = line(opening)
        with files.writing(path) as temporary:
            temporary.write_bytes(data)
        return cls(path, len(data))

    def append(self, value: Closed) -> None:
        """Append a line and wait until it is on the disk.

        Raises:
            OSError: It cannot be written; then nothing of it is left.
        """
        data = line(value)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
            os.fsync(self._handle)
        except BaseException:
            self._cut()
            raise
        self.size += len(data)

    def _cut(self) -> None:
        os.ftruncate(self._handle, self.size)
        os.lseek(self._handle, self.size, os.SEEK_SET)

    def __del__(self) -> None:
        """Close the file when nobody writes to it any more."""
        if hasattr(self, "_handle"):
            os.close(self._handle)
