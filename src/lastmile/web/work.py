"""Who works on what: people by their secret, and their episodes, each backed by its log.

Nothing is kept but what the logs hold. A server that was restarted, or killed at any moment, finds
everybody where they were.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from lastmile.closed import Closed
from lastmile.errors import LastmileError
from lastmile.screen import Look, draw
from lastmile.simulation import people
from lastmile.simulation.people import POLICY, Click, Ending, Helper, Log, LogFile, Opening
from lastmile.simulation.source import Source
from lastmile.storage import files
from lastmile.storage.records import RecordError, read_json
from lastmile.tasks import get_task
from lastmile.tasks.annotator import Annotator, make_annotator
from lastmile.tasks.annotator import click as click_of
from lastmile.tasks.real import SYNTHETIC, check_source, file_prefix, tasks_with
from lastmile.tasks.task import digest, generator
from lastmile.web.keys import shortcuts
from lastmile.web.live import Helpers, Live
from lastmile.web.review import View, review

HINTS = "oracle"
"""Style of the annotator whose next click is the hint."""
MISSED = {
    "slip": ("placement next to its target", "placements next to their target"),
    "confusion": ("annotation on the wrong object", "annotations on the wrong object"),
    "lapse": (
        "annotation in the wrong place or mode, or a step left out",
        "annotations in the wrong place or mode, or steps left out",
    ),
}
"""What the kinds of mistakes are called on the page, for one and for several."""


@dataclass(frozen=True)
class Settings:
    """What a server offers.

    Attributes:
        folder: Where the recordings go.
        tasks: Names of the tasks; empty for all.
        difficulty: Name of the difficulty of all worlds.
        look: Layout and theme of all screens.
        worlds: Worlds that count, for each task and person.
        seed: Seed of the worlds.
        source: Where they come from: `synthetic`, `real`, or the folder of imported ones.
    """

    folder: Path
    tasks: tuple[str, ...] = ()
    difficulty: str = "short"
    look: Look = field(default_factory=Look)
    worlds: int = 5
    seed: int = 0
    source: str = SYNTHETIC

    def check(self) -> None:
        """Refuse what no server can offer.

        Raises:
            LastmileError: A name is unknown, or there are no worlds.
        """
        self.look.check()
        check_source(self.source, *self.offered)
        for task in self.offered:
            get_task(task).difficulty(self.difficulty)
        if not 1 <= self.worlds < people.PRACTICE:
            raise LastmileError(f"worlds: expected 1 to {people.PRACTICE - 1}, got {self.worlds}")

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the tasks that are offered."""
        return self.tasks or tasks_with(self.source)


class Identity(Closed):
    """The file `person.json` in the folder of a person.

    Attributes:
        format: `people.FORMAT`.
        key: SHA-256 of the person's secret, which is in their browser alone.
    """

    format: Literal["lastmile.people/1"]
    key: str


@dataclass
class Person:
    """Somebody who works here.

    Attributes:
        name: Pseudonym, and name of their folder.
        key: SHA-256 of their secret.
        folder: Their folder; made with their first episode.
    """

    name: str
    key: str
    folder: Path

    def save(self) -> None:
        """Make the folder, if there is none yet."""
        path = self.folder / "person.json"
        if not path.exists():
            identity = Identity(format="lastmile.people/1", key=self.key)
            files.write_text(path, identity.model_dump_json() + "\n")


class Refused(LastmileError):
    """A click that does not count; the message says why, for the person."""


class Hint(NamedTuple):
    """What the virtual annotator would do next: click at (x, y), in words `text`."""

    x: int
    y: int
    text: str


class Work:
    """An episode that somebody works on.

    Attributes:
        opening: The first line of its log.
        person: Who works on it.
        session: The episode, as far as the log goes.
        keys: The keyboard shortcut of each button, by its id.
        ending: How it ended; empty while it goes on.
        helper: The policy that has worked on it; None if none has.
        via: What the last click came by; empty before the first one.
        lock: Held while the episode changes.
    """

    def __init__(self, opening: Opening, person: Person, file: LogFile) -> None:
        """Take over a log that has been begun."""
        self.opening = opening
        self.person = person
        self.session = opening.session()
        groups = self.session.interface.controls(self.session.state)
        self.keys = shortcuts(button for group in groups for button in group.buttons)
        self.ending = ""
        self.helper: Helper | None = None
        self.via = ""
        self.lock = asyncio.Lock()
        self._file = file
        self._screen: tuple[int, str, np.ndarray] | None = None
        self._annotator: Annotator[Any, Any] | None = None
        self._asked = 0  # states that the annotator has seen
        self._hint: Hint | None = None
        self._live: Live | None = None
        self._views: list[View] | None = None

    @classmethod
    def begin(cls, path: Path, opening: Opening, person: Person) -> Work:
        """Begin an episode."""
        return cls(opening, person, LogFile.begin(path, opening))

    @classmethod
    def resume(cls, log: Log, person: Person) -> Work:
        """Go on with an episode."""
        work = cls(log.opening, person, LogFile(log.path, log.size))
        for click in log.clicks:
            work.session.click(click.x, click.y)
            work.via = click.via
        work.helper = log.helper
        work.ending = log.ending
        if not work.ending:
            work._end_if_over()
        return work

    @property
    def step(self) -> int:
        """Number of the clicks so far."""
        return len(self.session.steps)

    def screen(self) -> tuple[str, np.ndarray]:
        """Return the digest and the pixels of the current screen, (336, 448, 3) uint8."""
        if self._screen is None or self._screen[0] != self.step:
            pixels = draw(self.session.screen())
            self._screen = (self.step, people.screen_digest(pixels), pixels)
        return self._screen[1:]

    def fits(self, step: int, screen: str) -> bool:
        """Return whether a message was sent from the current screen."""
        return not self.ending and step == self.step and screen == self.screen()[0]

    def click(self, click: Click) -> None:
        """Make a click, once it is on the disk.

        Raises:
            Refused: It was made on an old screen, or the episode is over.
            OSError: It could not be stored, and was not made.
        """
        if self.ending:
            raise Refused("This world is finished; the click was not counted.")
        if not self.fits(click.step, click.screen):
            raise Refused("That click was made on the previous screen and was not counted.")
        self._file.append(click)
        self.session.click(click.x, click.y)
        self.via = click.via
        self._hint = None
        self._end_if_over()

    def click_and_draw(self, click: Click) -> None:
        """Make a click and draw the next screen; errors as for `click`."""
        self.click(click)
        self.screen()

    def click_of(self, helper: Helper, x: int, y: int) -> None:
        """Make the click of a policy on the current screen, and draw the next one.

        Raises:
            Refused: Another policy has worked here, or the episode is over.
            OSError: It could not be stored, and was not made.
        """
        self.expect(helper)
        if self.helper is None:
            self._file.append(helper)
            self.helper = helper
        step, screen = self.step, self.screen()[0]
        made = {"step": step, "screen": screen, "x": x, "y": y, "via": POLICY}
        self.click_and_draw(Click.model_validate({**made, "received_ms": now_ms()}))

    def expect(self, helper: Helper) -> None:
        """Refuse a policy that is not the one that has worked here.

        Raises:
            Refused: It is another one.
        """
        if self.helper not in (None, helper):
            raise Refused("Another policy has worked on this world: go on without one.")

    def live(self, helpers: Helpers) -> Live:
        """Return the player that works on this world, in the thread of the players."""
        if self._live is None:
            self._live = helpers.live(self.opening)
        return self._live

    @property
    def clicks(self) -> list[tuple[int, int]]:
        """All clicks so far, (x, y) in logical px."""
        return [step.click for step in self.session.steps]

    def views(self) -> list[View]:
        """Return the views in which something is missed or wrong, the last screen first."""
        if self._views is None:
            key = self.opening.source.key(self.opening.episode)
            self._views = review(self.session, generator(key, self.session.task.name, "review"))
        return self._views

    def abandon(self) -> None:
        """Give up."""
        if not self.ending:
            self._end("abandoned")

    def hint(self) -> Hint:
        """Return the next click of the virtual annotator.

        It looks over the person's shoulder from the start on, so that it knows what was explored.

        Raises:
            Refused: The world counts, or the episode is over.
        """
        if self.ending or not self.opening.practice:
            raise Refused("Hints are for practice.")
        session, task = self.session, self.session.task
        key = self.opening.source.key(self.opening.episode)
        rng = generator(key, task.name, "hints")
        if self._annotator is None:
            self._annotator = make_annotator(task, session.world, session.interface, HINTS, rng)
        if self._hint is None:
            for state in session.states[self._asked :]:
                intent = self._annotator.next(state)
            self._asked = self.step + 1
            screen = session.screen()
            x, y = click_of(intent, screen, rng)
            if intent.widget == "canvas":
                text = "click here on the image"
            else:
                x, y = screen.widget(intent.widget).rect.middle
                text = f"press {screen.widget(intent.widget).button.label}"
            self._hint = Hint(x, y, text)
        return self._hint

    def missed(self) -> list[str]:
        """Say what is wrong or left out in the current state, in words."""
        kinds = Counter(mistake.kind for mistake in self.session.mistakes)
        return [f"{n} {MISSED[kind][n > 1]}" for kind, n in sorted(kinds.items())]

    def _end_if_over(self) -> None:
        if self.session.done:
            self._end("done")
        elif self.step >= people.LONGEST:
            self._end("cut off")

    def _end(self, ended: Literal["done", "abandoned", "cut off"]) -> None:
        # First, so that no click follows even if the line cannot be written. It is written when the
        # log is opened the next time.
        self.ending = ended
        if self._live is not None:
            self._live.close()
        self._file.append(Ending(ended=ended))


class People:
    """Everybody who works in a folder of recordings, and their episodes.

    Attributes:
        settings: What is offered.
    """

    def __init__(self, settings: Settings) -> None:
        """Find the people whose recordings are in the folder."""
        self.settings = settings
        self._people: dict[str, Person] = {}
        self._opening = threading.Lock()
        self._works: WeakValueDictionary[Path, Work] = WeakValueDictionary()
        for path in sorted(settings.folder.glob("*/person.json")):
            try:
                key = read_json(path, Identity, "the key of a person", 10_000).key
            except RecordError:
                continue  # nobody can go on here, but the logs are read all the same
            self._people[key] = Person(path.parent.name, key, path.parent)

    def find(self, secret: str) -> Person | None:
        """Return the person with this secret, if there is one."""
        return self._people.get(_hashed(secret))

    def join(self) -> tuple[Person, str]:
        """Return a new person and their secret."""
        secret = secrets.token_urlsafe(32)
        name = f"person-{secrets.token_hex(4)}"
        person = Person(name, _hashed(secret), self.settings.folder / name)
        self._people[person.key] = person
        return person, secret

    def progress(self, person: Person) -> dict[str, int]:
        """Return how many worlds that count a person has finished, for each task."""
        return {
            task: sum(
                _is_closed(self._path(person, task, number))
                for number in range(self.settings.worlds)
            )
            for task in self.settings.offered
        }

    def open(self, person: Person, task: str, practice: bool, device: str) -> Work | None:
        """Return the episode that a person goes on with, or a new one.

        Args:
            person: Who.
            task: Name of a task that is offered.
            practice: Whether the world is for practice.
            device: What the browser says of the device.

        Returns:
            The episode; None if all worlds that count are finished.

        Raises:
            OSError: No log can be written.
        """
        number = people.PRACTICE if practice else 0
        with self._opening:  # of two windows of a person, one begins and the other goes on
            while practice or number < self.settings.worlds:
                path = self._path(person, task, number)
                work = self._works.get(path)
                if work is None and not _is_closed(path):
                    work = self._load(path, person, task, number, practice, device)
                if work is not None and not work.ending:
                    self._works[path] = work
                    return work
                number += 1
        return None

    def _load(
        self, path: Path, person: Person, task: str, number: int, practice: bool, device: str
    ) -> Work | None:
        """Go on with a log or begin one; None if it cannot be gone on with."""
        if path.exists():
            try:
                return Work.resume(people.read(path), person)
            except LastmileError:
                return None  # of another version: it stays as it is
        settings = self.settings
        split, worlds = people.SPLIT, settings.source
        source = Source(task, split, settings.seed, settings.difficulty, worlds=worlds)
        opening = Opening(
            format="lastmile.people/1",
            task=task,
            task_version=get_task(task).version,
            difficulty=settings.difficulty,
            seed=settings.seed,
            episode=number,
            world=digest(source.world(number)),
            layout=settings.look.layout,
            theme=settings.look.theme,
            person=person.name,
            practice=practice,
            device=device,
            opened_ms=now_ms(),
            worlds=worlds,
        )
        person.save()
        return Work.begin(path, opening, person)

    def _path(self, person: Person, task: str, number: int) -> Path:
        """Return the log of a world. Every part of the name is the server's own."""
        settings = self.settings
        name = f"{task}-{settings.difficulty}-{settings.seed}-{number}.jsonl"
        return person.folder / (file_prefix(settings.source, task) + name)


def now_ms() -> float:
    """Return the time in ms since 1970."""
    return time.time_ns() // 100_000 / 10


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_closed(path: Path) -> bool:
    """Return whether the last line of a log says how it ended."""
    try:
        with open(path, "rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - 100))
            last = handle.read().split(b"\n")[-2:]
    except OSError:
        return False
    return len(last) == 2 and last[1] == b"" and last[0].startswith(b'{"ended"')
