"""Trajectories: clicks with their latent labels, recorded, replayed, and kept as Parquet.

A recording is two tables: the steps, one row per click, and beside it the episodes, one row each.
There are no pixels: screens are drawn again from the seed. Both tables carry the version of the
task, and each episode the digest of its world, so that a recording that no longer fits is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from lastmile.config import SPLITS
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, LAYOUTS, THEMES, WIDTH, Look
from lastmile.simulation.rows import ANSWER, EPISODES, NO_ANSWER, STEPS, step_row
from lastmile.simulation.session import Session, Step
from lastmile.simulation.source import Source
from lastmile.simulation.workers import Workers
from lastmile.storage import files, parquet
from lastmile.tasks import get_task
from lastmile.tasks.annotator import PHASES, click, make_annotator
from lastmile.tasks.task import Score, State, Task, digest

FORMAT = "lastmile.trajectory/2"
LONGEST = 4000
"""Steps after which an annotator is taken to be stuck."""
GROUP = 1 << 19
"""Steps, at least, after which a row group is written: no more than these are in memory."""
EPISODES_PER_JOB = 8
"""Episodes that a worker process is given at a time."""


class TrajectoryError(LastmileError):
    """A recording that cannot be used; the message names the file and what was expected."""


class Episode(NamedTuple):
    """A recorded episode.

    Attributes:
        columns: The columns of STEPS by name, one value per step.
        state: The last state.
        score: Its score.
        look: Layout and theme of the interface.
        world: Digest of the world.
    """

    columns: dict[str, list[Any]]
    state: State
    score: Score
    look: Look
    world: str


def record(source: Source, episode: int, again: bool = False) -> Episode:
    """Record an episode of the virtual annotator.

    Args:
        source: Where the episode comes from.
        episode: Its number.
        again: Whether to ask the annotator a second time at every step, with fresh randomness.

    Raises:
        TrajectoryError: The annotator did not finish within `LONGEST` steps.
    """
    session = Session(get_task(source.task), source.world(episode), source.look(episode))
    task, world, interface = session.task, session.world, session.interface
    rng = source.generator(episode, "annotator")
    # The second answers have a generator of their own: asking does not change the episode.
    again_rng = source.generator(episode, "again")
    annotator = make_annotator(task, world, interface, source.style_of(episode), rng)
    columns: dict[str, list[Any]] = {name: [] for name in STEPS.names}
    for _ in range(LONGEST):
        state, screen = session.state, session.screen()
        second_intent = annotator.fork(again_rng).next(state) if again else None
        open_mistakes = session.mistakes
        intent = annotator.next(state)
        step = session.click(*click(intent, screen, rng))

        second = click(second_intent, screen, again_rng) if second_intent else NO_ANSWER
        row = step_row(session, episode, step, intent, screen, len(open_mistakes), second)
        for name, value in row.items():
            columns[name].append(value)
        if session.done:
            return Episode(columns, session.state, session.score, session.look, digest(world))
    raise TrajectoryError(
        f"the annotator of '{source.task}' did not finish episode {episode} of {source} "
        f"within {LONGEST} steps; its style may not be able to do this task"
    )


class Recorded(NamedTuple):
    """What is kept of an episode.

    Attributes:
        columns: The columns of STEPS by name, one value per step.
        row: The row of EPISODES.
    """

    columns: dict[str, list[Any]]
    row: dict[str, Any]


def _record(source: Source, number: int, again: bool) -> Recorded:
    """Record an episode, and keep what is written of it."""
    return kept(number, record(source, number, again))


def kept(number: int, episode: Episode) -> Recorded:
    """Return what is written of an episode with this number."""
    row = {
        "episode": number,
        "steps": len(episode.columns["x"]),
        "score": episode.score.score,
        "success": episode.score.success,
        "layout": episode.look.layout,
        "theme": episode.look.theme,
        "world": episode.world,
    }
    return Recorded(episode.columns, row)


def _record_range(source: Source, again: bool, numbers: range) -> list[Recorded]:
    """Record a few episodes, in a worker process."""
    return [_record(source, number, again) for number in numbers]


def _record_all(
    source: Source, episodes: int, again: bool, pool: Workers | None
) -> Iterator[Recorded]:
    """Record episodes 0 to `episodes` - 1 one after the other, or side by side in a pool."""
    # The first one here, always: an impossible source is refused before anybody is put to work.
    yield _record(source, 0, again)
    if pool is None:
        for number in range(1, episodes):
            yield _record(source, number, again)
    else:
        jobs = (
            range(start, min(start + EPISODES_PER_JOB, episodes))
            for start in range(1, episodes, EPISODES_PER_JOB)
        )
        yield from chain.from_iterable(pool.ordered(partial(_record_range, source, again), jobs))


def write(
    path: str | Path,
    source: Source,
    episodes: int,
    progress: Callable[[int], None] | None = None,
    pool: Workers | None = None,
) -> None:
    """Record episodes 0 to `episodes` - 1 and write both tables atomically.

    All splits but `train` carry the annotator's second answers.

    Args:
        path: File of the steps; the episodes go to `episodes_path(path)`.
        source: Where the episodes come from.
        episodes: Number of episodes.
        progress: Called with the number of steps after each episode.
        pool: Processes that record side by side. The files are the same with and without.

    Raises:
        LastmileError: There are fewer than one episode, or the source is impossible.
    """
    if episodes < 1:
        raise LastmileError(f"episodes: expected at least 1, got {episodes}")
    recordings = _record_all(source, episodes, source.split != "train", pool)
    first = next(recordings)  # before a file is begun: an impossible source leaves none
    write_recorded(path, source, chain([first], recordings), progress)


def write_recorded(
    path: str | Path,
    source: Source,
    recordings: Iterable[Recorded],
    progress: Callable[[int], None] | None = None,
    schemas: tuple[pa.Schema, pa.Schema] = (STEPS, EPISODES),
) -> None:
    """Write recorded episodes; arguments as in `write`, and schemas may have further columns."""
    step_schema, episode_schema = schemas
    version = get_task(source.task).version
    meta = {"format": FORMAT, "task_version": version, "source": source.values()}
    rows: list[dict[str, Any]] = []
    with files.writing(episodes_path(path)) as episodes_part, files.writing(path) as steps_part:
        with parquet.writing(steps_part, step_schema, meta) as add:
            columns: dict[str, list[Any]] = {name: [] for name in step_schema.names}
            for recorded in recordings:
                for name, values in recorded.columns.items():
                    columns[name].extend(values)
                rows.append(recorded.row)
                if len(columns["x"]) >= GROUP:
                    add(pa.Table.from_pydict(columns, schema=step_schema))
                    columns = {name: [] for name in step_schema.names}
                if progress:
                    progress(recorded.row["steps"])
            if columns["x"]:
                add(pa.Table.from_pydict(columns, schema=step_schema))
        parquet.write(pa.Table.from_pylist(rows, schema=episode_schema), episodes_part, meta)


def episodes_path(path: str | Path) -> Path:
    """Return the path of the table of episodes that belongs to a file of steps."""
    path = Path(path)
    return path.with_name(path.stem + ".episodes.parquet")


@dataclass(frozen=True)
class Trajectories:
    """Recorded episodes.

    Attributes:
        path: File of the steps.
        source: Where the episodes come from.
        steps: Columns of STEPS, one row per step.
        episodes: Columns of EPISODES, one row per episode.
    """

    path: Path
    source: Source
    steps: pd.DataFrame
    episodes: pd.DataFrame

    @property
    def starts(self) -> np.ndarray:
        """First row of each episode in `steps`, and their end: (episodes + 1,) int64."""
        return np.concatenate([[0], np.cumsum(self.episodes["steps"].to_numpy())]).astype(np.int64)

    def first(self, count: int) -> Trajectories:
        """Return the first `count` episodes alone, or all if there are fewer."""
        episodes = self.episodes.iloc[:count]
        steps = self.steps.iloc[: int(episodes["steps"].sum())]
        return replace(self, steps=steps, episodes=episodes)

    def parts(self, size: int) -> Iterator[Trajectories]:
        """Yield `size` consecutive episodes at a time, with what is needed to replay them."""
        starts = self.starts
        clicks = self.steps[["x", "y", *self._answer]]
        for begin in range(0, len(self.episodes), size):
            episodes = self.episodes.iloc[begin : begin + size]
            steps = clicks.iloc[starts[begin] : starts[begin + len(episodes)]]
            yield replace(self, steps=steps, episodes=episodes)

    def clicks(self, number: int) -> np.ndarray:
        """Return the clicks of an episode, (steps, 2) in logical px."""
        return self._points(number, ("x", "y"))

    def answers(self, number: int) -> np.ndarray:
        """Return the clicks to learn in an episode, (steps, 2); `NO_ANSWER` for none.

        They are the clicks that were made, unless the recording says otherwise.
        """
        return self._points(number, self._answer or ("x", "y"))

    @property
    def _answer(self) -> tuple[str, ...]:
        """Columns of the clicks to learn, if there are any."""
        return ANSWER if set(ANSWER) <= set(self.steps) else ()

    def _points(self, number: int, axes: tuple[str, ...]) -> np.ndarray:
        start, stop = self.starts[number : number + 2]
        return np.stack([self.steps[axis].to_numpy()[start:stop] for axis in axes], axis=1)

    def open(self, number: int) -> Replay:
        """Return an episode, ready to be replayed.

        Raises:
            TrajectoryError: The world of that seed is no longer the one that was annotated.
        """
        row = self.episodes.iloc[number]
        world = self.source.world(int(row["episode"]))
        if digest(world) != row["world"]:
            raise TrajectoryError(
                f"{self.path}: episode {row['episode']} of task '{self.source.task}' was recorded "
                f"in another world (digest {row['world']}, now {digest(world)}); "
                "record the trajectories again"
            )
        look = Look(row["layout"], row["theme"])
        task = get_task(self.source.task)
        return Replay(task, world, look, self.clicks(number), self.answers(number))


class Replay(Session[Any, Any]):
    """A recorded episode, to be replayed.

    Attributes:
        clicks: The recorded clicks, (steps, 2) in logical px.
        answers: The clicks to learn, (steps, 2); `NO_ANSWER` for none.
    """

    def __init__(
        self,
        task: Task[Any, Any, Any],
        world: Any,
        look: Look,
        clicks: np.ndarray,
        answers: np.ndarray | None = None,
    ) -> None:
        """Start at the beginning; by default the clicks themselves are to be learned."""
        super().__init__(task, world, look)
        self.clicks = clicks
        self.answers = clicks if answers is None else answers

    def replay(self) -> Iterator[Step]:
        """Make the recorded clicks from the start on and yield each step."""
        self.state = self.interface.start()
        self.steps = []
        yield from self.play(self.clicks.tolist())


def read(path: str | Path) -> Trajectories:
    """Read a recording.

    Args:
        path: File of the steps, with the table of episodes beside it.

    Raises:
        TrajectoryError: A file is missing, truncated, damaged, foreign, or of another version of
            the format or the task.
    """
    path = Path(path)
    tables: list[pd.DataFrame] = []
    sources: list[Source] = []
    for part, schema in ((path, STEPS), (episodes_path(path), EPISODES)):
        try:
            table = parquet.read(part, schema)
        except FileNotFoundError:
            raise TrajectoryError(
                f"{part}: no such file; expected a trajectory in Parquet"
            ) from None
        except parquet.TableError as error:
            raise TrajectoryError(str(error)) from None
        sources.append(_read_source(part, (table.schema.metadata or {}).get(b"lastmile")))
        tables.append(table.to_pandas(self_destruct=True))  # frees each column it has converted
        del table

    steps, episodes = tables
    beside = episodes_path(path).name
    if sources[0] != sources[1]:
        raise TrajectoryError(f"{path}: comes from {sources[0]}, but {beside} from {sources[1]}")
    counted = int(episodes["steps"].sum())
    if counted != len(steps) or (episodes["steps"] < 1).any():
        raise TrajectoryError(f"{path}: has {len(steps)} steps, but {beside} counts {counted}")
    if problem := _inconsistency(steps, episodes):
        raise TrajectoryError(f"{path}: {problem}")
    return Trajectories(path, sources[0], steps, episodes)


def _inconsistency(steps: pd.DataFrame, episodes: pd.DataFrame) -> str:
    """Describe what no recording can hold; empty if all is well."""
    if any(part[name].isna().any() for part in (steps, episodes) for name in part):
        return "a value is missing"
    expected = np.repeat(episodes["episode"].to_numpy(), episodes["steps"])
    if not np.array_equal(steps["episode"], expected):
        return "its steps are not those of its episodes, in their order"
    if not (steps["x"].between(0, WIDTH - 1) & steps["y"].between(0, HEIGHT - 1)).all():
        return "a click lies outside the screen"
    if set(ANSWER) <= set(steps):
        answers = steps[list(ANSWER)].to_numpy()
        answers = answers[(answers != NO_ANSWER).any(1)]
        if (answers < 0).any() or (answers >= (WIDTH, HEIGHT)).any():
            return "a click to learn lies outside the screen"
    for kind, values, known in (
        ("phase", steps["phase"], (*PHASES, "")),  # empty: nobody knows it of a person
        ("layout", episodes["layout"], LAYOUTS),
        ("theme", episodes["theme"], THEMES),
    ):
        if unknown := {*values.unique()} - {*known}:
            return f"unknown {kind} '{min(unknown)}'"
    return ""


def _read_source(part: Path, text: bytes | None) -> Source:
    """Read the source from a table's metadata.

    Raises:
        TrajectoryError: The metadata are foreign, or of another version of the format or task.
    """
    try:
        meta = json.loads(text or b"")
        arguments: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in meta["source"].items()
        }
        source = Source(**arguments)
        written_format = meta.get("format")
        written_version = meta["task_version"]
        if (
            not isinstance(source.task, str)
            or not isinstance(source.seed, int)
            or source.split not in SPLITS
        ):
            raise LastmileError("not a source")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise TrajectoryError(f"{part}: not a lastmile trajectory (no such metadata)") from None

    if written_format != FORMAT:
        raise TrajectoryError(
            f"{part}: format '{written_format}', expected '{FORMAT}'; record the trajectories again"
        )
    try:
        version = get_task(source.task).version
    except ValueError as error:
        raise TrajectoryError(f"{part}: {error}") from None
    if written_version != version:
        raise TrajectoryError(
            f"{part}: recorded with version {written_version} of task '{source.task}', "
            f"which is now at version {version}; record the trajectories again"
        )
    return source
