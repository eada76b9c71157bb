"""Which recordings of people count. The rules were written before any recording was looked at.

| rule | what is left out |
| --- | --- |
| unreadable | logs that are damaged, empty, or of another version of format, task or world |
| given twice | an episode that is in another file, too |
| practice | worlds for practice, where hints are given |
| other worlds | difficulty, look or source are none of the study: its policies never saw it |
| not finished | episodes that were given up or cut off, by a closed browser for instance |
| too few clicks | episodes with less than `LEAST_SHARE` of the clicks of the oracle |

The last two are attempts: they count as not completed, and their clicks count nowhere. Nothing else
is left out: nobody for being slow, unlike the others, or wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lastmile.errors import LastmileError
from lastmile.simulation import people
from lastmile.simulation.annotating import work_on
from lastmile.simulation.people import Log, Opening, PeopleError
from lastmile.simulation.session import Session
from lastmile.tasks.real import SYNTHETIC
from lastmile.tasks.task import generator

UNREADABLE = "unreadable"
GIVEN_TWICE = "given twice"
PRACTICE = "practice"
OTHER_WORLDS = "other worlds"
NOT_FINISHED = "not finished"
TOO_FEW = "too few clicks"
ATTEMPTS = ("", NOT_FINISHED, TOO_FEW)
"""Rules by which an episode is left out that still counts as an attempt; empty: it is not."""
LEAST_SHARE = 0.25
"""Share of the clicks of the oracle on the same world below which an episode is left out: it was
ended without being worked on."""


class Recording(NamedTuple):
    """A log, and whether it counts.

    Attributes:
        path: The file.
        opening: Its first line; None if it cannot be read.
        log: The log; None if it cannot be read.
        session: The episode, played to its end; None if it cannot be replayed.
        rule: The rule by which it is left out; empty if it counts.
        reason: What is the matter, in words; empty if it counts.
    """

    path: Path
    opening: Opening | None
    log: Log | None
    session: Session[Any, Any] | None
    rule: str
    reason: str


def logs_by_task(folders: Sequence[str], tasks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the logs in folders of recordings by task, as far as their names tell it.

    Args:
        folders: Folders that `lastmile play` wrote.
        tasks: The tasks of a study; recordings of others are left alone.

    Raises:
        PeopleError: A folder is missing or holds no recordings, or none is of these tasks.
    """
    found: dict[str, list[str]] = {}
    for folder in folders:
        try:
            paths = people.logs(folder)
        except PeopleError as error:
            raise PeopleError(f"setting 'recordings': {error}") from None
        if not paths:
            raise PeopleError(
                f"setting 'recordings': {folder}: holds no recordings; expected "
                "PERSON/TASK-DIFFICULTY-SEED-WORLD.jsonl, as `lastmile play` writes them"
            )
        for path in paths:
            found.setdefault(path.name.split("-")[0], []).append(str(path))

    tasks = tuple(tasks)
    if not found.keys() & set(tasks):
        raise PeopleError(
            f"setting 'recordings': no recording in {', '.join(folders)} is of a task of this "
            f"study ({', '.join(tasks)}); they are of {', '.join(sorted(found))}"
        )
    return {task: tuple(found.get(task, ())) for task in tasks}


def examine(
    paths: Iterable[str | Path],
    task: str,
    difficulty: str,
    layouts: Sequence[str],
    themes: Sequence[str],
    worlds: str = SYNTHETIC,
) -> list[Recording]:
    """Apply the rules to logs.

    Args:
        paths: The files.
        task: The task that they are of.
        difficulty: The difficulty of the study.
        layouts: Its layouts.
        themes: Its themes.
        worlds: Where its worlds come from.
    """
    recordings: list[Recording] = []
    known: dict[tuple[str, ...], Path] = {}
    for path in map(Path, paths):
        try:
            log = people.read(path)
            session = _played(log)
            if log.opening.task != task:
                raise PeopleError(f"{path}: is of task '{log.opening.task}'")
        except LastmileError as error:
            recordings.append(Recording(path, None, None, None, UNREADABLE, str(error)))
            continue

        opening = log.opening
        key = tuple(map(str, (opening.person, opening.seed, opening.episode, opening.opened_ms)))
        first = known.setdefault((*key, opening.difficulty, opening.worlds), path)
        rule, reason = "", ""
        if first is not path:
            rule, reason = GIVEN_TWICE, f"{path}: is the episode of {first}"
        elif opening.practice:
            rule, reason = PRACTICE, f"{path}: is practice"
        elif (
            opening.difficulty != difficulty
            or opening.layout not in layouts
            or opening.theme not in themes
            or opening.worlds != worlds
        ):
            rule = OTHER_WORLDS
            reason = (
                f"{path}: was made at difficulty '{opening.difficulty}', layout "
                f"'{opening.layout}', theme '{opening.theme}', worlds '{opening.worlds}', which "
                "are not those of the study"
            )
        elif not session.done:
            ended = log.ending or "still open"
            rule, reason = NOT_FINISHED, f"{path}: was not finished ({ended})"
        elif len(log.clicks) < LEAST_SHARE * (needed := _oracle_clicks(opening)):
            rule = TOO_FEW
            reason = f"{path}: has {len(log.clicks)} clicks, where the oracle makes {needed}"
        recordings.append(Recording(path, opening, log, session, rule, reason))
    return recordings


def _played(log: Log) -> Session[Any, Any]:
    """Return the episode of a log, played to its end.

    Raises:
        PeopleError: There are no clicks, or they cannot be replayed.
    """
    replayed = [session for _, session in log.replay()]  # the same one at each click
    if not replayed:
        raise PeopleError(f"{log.path}: has no clicks")
    return replayed[-1]


def _oracle_clicks(opening: Opening) -> int:
    """Return how many clicks an annotator without mistakes makes on a world."""
    session = opening.session()
    key = opening.source.key(opening.episode)
    rng = generator(key, opening.task, "oracle beside people")
    work_on(session, "oracle", rng)
    return len(session.steps)
