"""Trajectories: clicks with their latent labels. Recording, replaying, and keeping them as Parquet.

A file of steps holds one row a click; beside it stands a table of episodes. There are no pixels: screens are drawn again from the seed.
Both tables carry the task's version, and each episode the digest of its world, so that a trajectory that no longer fits is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from lastmile.config import SPLITS
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH, Look
from lastmile.simulation.session import Session, Step
from lastmile.storage import files, parquet
from lastmile.tasks import get_task
from lastmile.tasks.annotator import PHASES, click, make_annotator
from lastmile.tasks.task import Score, State, Task, digest, generator

FORMAT = "lastmile.trajectory/2"
LONGEST = 4000
"""An annotator that needs more steps is taken to be stuck."""

STEPS = pa.schema(
    [
        ("episode", pa.int32()),
        ("step", pa.int32()),
        ("x", pa.int16()),
        ("y", pa.int16()),
        ("widget", pa.dictionary(pa.int32(), pa.string())),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("phase", pa.dictionary(pa.int32(), pa.string())),
        ("mistake", pa.dictionary(pa.int32(), pa.string())),
        ("open_mistakes", pa.int16()),
        ("position", pa.float32()),
        ("target_x", pa.float32()),
        ("target_y", pa.float32()),
        ("critical", pa.bool_()),
        ("verdict", pa.dictionary(pa.int32(), pa.string())),
        ("again_x", pa.int16()),
        ("again_y", pa.int16()),
    ]
)
"""One row a click. x, y: the click, logical px. widget, kind: what it hit. phase, mistake, critical: the annotator's intent. open_mistakes:
standing before the step. position: where in the data the view was. target: the true point of a placement, logical px, -1 without one.
verdict: what `judge` says of the annotation that the step made, empty without one. again: the click of the same annotator asked again in the
same state with fresh randomness, -1 where it was not asked."""

EPISODES = pa.schema(
    [
        ("episode", pa.int32()),
        ("steps", pa.int32()),
        ("score", pa.float32()),
        ("success", pa.bool_()),
        ("layout", pa.dictionary(pa.int32(), pa.string())),
        ("theme", pa.dictionary(pa.int32(), pa.string())),
        ("world", pa.string()),
    ]
)
"""One row an episode; world: digest of its ground truth."""


class TrajectoryError(LastmileError):
    """A trajectory file that cannot be used; the message names the file and what was expected."""


@dataclass(frozen=True)
class Source:
    """Where episodes come from: everything that, with an episode's number, determines it."""

    task: str
    split: str
    seed: int
    difficulty: str = "short"
    style: str = "typical"
    layouts: tuple[str, ...] = ("right",)
    themes: tuple[str, ...] = ("dark",)

    def key(self, episode: int) -> tuple[int, int, int]:
        """Seed of one episode; no two splits share one."""
        if self.split not in SPLITS:
            raise LastmileError(
                f"unknown split '{self.split}': expected one of {', '.join(SPLITS)}"
            )
        return self.seed, SPLITS.index(self.split), episode

    def generator(self, episode: int, purpose: str) -> np.random.Generator:
        return generator(self.key(episode), self.task, purpose)

    def world(self, episode: int) -> Any:
        return get_task(self.task).world(self.key(episode), self.difficulty)

    def look(self, episode: int) -> Look:
        rng = self.generator(episode, "look")
        return Look(str(rng.choice(self.layouts)), str(rng.choice(self.themes))).check()


class Episode(NamedTuple):
    """A recorded episode: rows as in STEPS (columns by name), and how it ended."""

    columns: dict[str, list]
    state: State
    score: Score
    look: Look
    world: str


def record(source: Source, episode: int, again: bool = False) -> Episode:
    """One episode of the virtual annotator.

    again: also ask the annotator a second time at every step, with fresh randomness.
    Raises RuntimeError if the annotator does not come to an end.
    """
    session = Session(get_task(source.task), source.world(episode), source.look(episode))
    task, world, interface = session.task, session.world, session.interface
    rng = source.generator(episode, "annotator")
    second = source.generator(episode, "again")
    annotator = make_annotator(task, world, interface, source.style, rng)
    rows: dict[str, list] = {name: [] for name in STEPS.names}
    for number in range(LONGEST):
        state, screen = session.state, session.screen()
        asked = annotator.fork(second).next(state) if again else None
        open_mistakes = session.mistakes
        intent = annotator.next(state)
        step = session.click(*click(intent, screen, rng))
        target = intent.target
        again_x, again_y = click(asked, screen, second) if asked else (-1, -1)
        row = {
            "episode": episode,
            "step": number,
            "x": step.click[0],
            "y": step.click[1],
            "widget": step.hit.widget,
            "kind": step.hit.kind,
            "phase": intent.phase,
            "mistake": intent.mistake,
            "open_mistakes": len(open_mistakes),
            "position": interface.position(state),
            "target_x": -1.0 if target is None else target[0] + screen.canvas.x,
            "target_y": -1.0 if target is None else target[1] + screen.canvas.y,
            "critical": intent.critical,
            "verdict": session.verdict(step),
            "again_x": again_x,
            "again_y": again_y,
        }
        for name, value in row.items():
            rows[name].append(value)
        if session.done:
            return Episode(rows, session.state, session.score, session.look, digest(world))
    raise RuntimeError(
        f"the annotator of '{source.task}' did not finish episode {episode} of {source} "
        f"within {LONGEST} steps"
    )


def write(path: str | Path, source: Source, episodes: int, progress: Any = None) -> None:
    """Record episodes 0 to `episodes` - 1 and write both tables, `path` and `episodes_path(path)`, whole or not at all.

    All splits but `train` carry the annotator's second answers. progress: called with the number of steps after each episode.
    Raises ValueError for fewer than one episode.
    """
    if episodes < 1:
        raise LastmileError(f"episodes: expected at least 1, got {episodes}")
    steps: dict[str, list] = {name: [] for name in STEPS.names}
    table: dict[str, list] = {name: [] for name in EPISODES.names}
    for number in range(episodes):
        one = record(source, number, again=source.split != "train")
        for name, values in one.columns.items():
            steps[name].extend(values)
        row = (
            number,
            len(one.columns["x"]),
            one.score.score,
            one.score.success,
            one.look.layout,
            one.look.theme,
            one.world,
        )
        for name, cell in zip(EPISODES.names, row):
            table[name].append(cell)
        if progress:
            progress(len(one.columns["x"]))
    meta = {
        "format": FORMAT,
        "task_version": get_task(source.task).version,
        "source": source.__dict__,
    }
    with files.writing(episodes_path(path)) as first, files.writing(path) as second:
        for temporary, rows, schema in ((first, table, EPISODES), (second, steps, STEPS)):
            parquet.write(pa.Table.from_pydict(rows, schema=schema), temporary, meta)


def episodes_path(path: str | Path) -> Path:
    """Where the table of episodes lies, beside the steps."""
    path = Path(path)
    return path.with_name(path.stem + ".episodes.parquet")


@dataclass(frozen=True)
class Trajectories:
    """Recorded episodes: the steps (columns of STEPS) and the episodes (columns of EPISODES), with their source."""

    path: Path
    source: Source
    steps: pd.DataFrame
    episodes: pd.DataFrame

    @property
    def starts(self) -> np.ndarray:
        """(episodes + 1,) first row of each episode in `steps`."""
        return np.concatenate([[0], np.cumsum(self.episodes["steps"].to_numpy())]).astype(np.int64)

    def first(self, count: int) -> Trajectories:
        """The first `count` episodes alone, or all if there are fewer."""
        kept = self.episodes.iloc[:count]
        return replace(self, steps=self.steps.iloc[: int(kept["steps"].sum())], episodes=kept)

    def clicks(self, number: int) -> np.ndarray:
        """(steps, 2) clicks of an episode, logical px."""
        a, b = self.starts[number : number + 2]
        return np.stack([self.steps[axis].to_numpy()[a:b] for axis in ("x", "y")], axis=1)

    def open(self, number: int) -> Replay:
        """An episode ready to be replayed.

        Raises TrajectoryError if the world of that seed is no longer the one that was annotated.
        """
        row = self.episodes.iloc[number]
        world = self.source.world(int(row["episode"]))
        if digest(world) != row["world"]:
            raise TrajectoryError(
                f"{self.path}: episode {number} of task '{self.source.task}' was recorded in another world "
                f"(digest {row['world']}, now {digest(world)}); record the trajectories again"
            )
        look = Look(row["layout"], row["theme"])
        return Replay(get_task(self.source.task), world, look, self.clicks(number))


class Replay(Session[Any, Any]):
    """A recorded episode, to be gone through again.

    Attributes:
        clicks: (steps, 2) the recorded clicks, logical px.
    """

    def __init__(self, task: Task, world: Any, look: Look, clicks: np.ndarray) -> None:
        super().__init__(task, world, look)
        self.clicks = clicks

    def replay(self) -> Iterator[Step]:
        """Go through the episode from its start."""
        self.state = self.interface.start()
        self.steps = []
        yield from self.play(self.clicks.tolist())


def read(path: str | Path) -> Trajectories:
    """Trajectories from a file of steps and the table of episodes beside it.

    Raises TrajectoryError naming the file when it is missing, truncated, damaged, foreign, or of another version of format or task.
    """
    path = Path(path)
    tables, sources = [], []
    for part, schema in ((path, STEPS), (episodes_path(path), EPISODES)):
        try:
            table = parquet.read(part, schema)
        except FileNotFoundError:
            raise TrajectoryError(
                f"{part}: no such file; expected a trajectory in Parquet"
            ) from None
        except parquet.TableError as error:
            raise TrajectoryError(str(error)) from None
        sources.append(_source(part, (table.schema.metadata or {}).get(b"lastmile")))
        tables.append(table.to_pandas())
    steps, episodes = tables
    if sources[0] != sources[1]:
        raise TrajectoryError(
            f"{path}: comes from {sources[0]}, but {episodes_path(path).name} from {sources[1]}"
        )
    if int(episodes["steps"].sum()) != len(steps) or (episodes["steps"] < 1).any():
        raise TrajectoryError(
            f"{path}: has {len(steps)} steps, but {episodes_path(path).name} counts {int(episodes['steps'].sum())}"
        )
    if problem := _inconsistent(steps, episodes):
        raise TrajectoryError(f"{path}: {problem}")
    return Trajectories(path, sources[0], steps, episodes)


def _inconsistent(steps: pd.DataFrame, episodes: pd.DataFrame) -> str:
    """What cannot be in a recording; empty if there is nothing."""
    if steps.isna().any(axis=None) or episodes.isna().any(axis=None):
        return "a value is missing"
    if not np.array_equal(
        steps["episode"], np.repeat(episodes["episode"].to_numpy(), episodes["steps"])
    ):
        return "its steps are not those of its episodes, in their order"
    if not (steps["x"].between(0, WIDTH - 1) & steps["y"].between(0, HEIGHT - 1)).all():
        return "a click lies outside the screen"
    if unknown := {*steps["phase"].unique()} - {*PHASES}:
        return f"unknown phase '{min(unknown)}'"
    return ""


def _source(part: Path, text: bytes | None) -> Source:
    """The source that a table's metadata tell of. Raises TrajectoryError for metadata of another kind, format or version."""
    try:
        meta = json.loads(text or b"")
        named: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in meta["source"].items()
        }
        source, format_, recorded = Source(**named), meta.get("format"), meta["task_version"]
        if (
            not isinstance(source.task, str)
            or not isinstance(source.seed, int)
            or source.split not in SPLITS
        ):
            raise LastmileError("no source")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise TrajectoryError(f"{part}: not a lastmile trajectory (no such metadata)") from None
    if format_ != FORMAT:
        raise TrajectoryError(
            f"{part}: format '{format_}', expected '{FORMAT}'; record the trajectories again"
        )
    try:
        version = get_task(source.task).version
    except ValueError as error:
        raise TrajectoryError(f"{part}: {error}") from None
    if recorded != version:
        raise TrajectoryError(
            f"{part}: recorded with version {recorded} of task '{source.task}', which is now at version {version}; record the trajectories again"
        )
    return source
