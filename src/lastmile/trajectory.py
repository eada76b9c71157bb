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

from lastmile import files, parquet
from lastmile.annotator import PHASES, click, make_annotator
from lastmile.config import SPLITS
from lastmile.screen import HEIGHT, WIDTH, Hit, Look
from lastmile.tasks import get_task
from lastmile.tasks.task import Interface, Score, State, Task, digest, generator

FORMAT = "lastmile.trajectory/2"
LONGEST = 4000
"""An annotator that needs more steps is taken to be stuck."""

STEPS = pa.schema(
    [
        ("episode", pa.int32()), ("step", pa.int32()), ("x", pa.int16()), ("y", pa.int16()),
        ("widget", pa.dictionary(pa.int32(), pa.string())), ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("phase", pa.dictionary(pa.int32(), pa.string())), ("mistake", pa.dictionary(pa.int32(), pa.string())),
        ("open_mistakes", pa.int16()), ("position", pa.float32()), ("target_x", pa.float32()), ("target_y", pa.float32()),
        ("critical", pa.bool_()), ("verdict", pa.dictionary(pa.int32(), pa.string())), ("again_x", pa.int16()), ("again_y", pa.int16()),
    ]
)  # fmt: skip
"""One row a click. x, y: the click, logical px. widget, kind: what it hit. phase, mistake, critical: the annotator's intent. open_mistakes:
standing before the step. position: where in the data the view was. target: the true point of a placement, logical px, -1 without one.
verdict: what `judge` says of the annotation that the step made, empty without one. again: the click of the same annotator asked again in the
same state with fresh randomness, -1 where it was not asked."""

EPISODES = pa.schema(
    [
        ("episode", pa.int32()), ("steps", pa.int32()), ("score", pa.float32()), ("success", pa.bool_()),
        ("layout", pa.dictionary(pa.int32(), pa.string())), ("theme", pa.dictionary(pa.int32(), pa.string())), ("world", pa.string()),
    ]
)  # fmt: skip
"""One row an episode; world: digest of its ground truth."""


class TrajectoryError(ValueError):
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
            raise ValueError(f"unknown split '{self.split}': expected one of {', '.join(SPLITS)}")
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
    task, world, look = get_task(source.task), source.world(episode), source.look(episode)
    rng = source.generator(episode, "annotator")
    second = source.generator(episode, "again")
    interface = task.interface(world)
    annotator = make_annotator(task, world, interface, source.style, rng)
    state = interface.start()
    rows: dict[str, list] = {name: [] for name in STEPS.names}
    for step in range(LONGEST):
        screen = interface.screen(state, look)
        asked = annotator.fork(second).next(state) if again else None
        standing = task.mistakes(world, state)
        intent = annotator.next(state)
        x, y = click(intent, screen, rng)
        hit = interface.hit(state, x, y, look)
        after = interface.apply(state, hit)
        target = intent.target if intent.target[0] >= 0 else (-1.0, -1.0)
        rows["episode"].append(episode)
        rows["step"].append(step)
        rows["x"].append(x)
        rows["y"].append(y)
        rows["widget"].append(hit.widget)
        rows["kind"].append(hit.kind)
        rows["phase"].append(intent.phase)
        rows["mistake"].append(intent.mistake)
        rows["open_mistakes"].append(len(standing))
        rows["position"].append(interface.position(state))
        rows["target_x"].append(target[0] + screen.canvas.x if target[0] >= 0 else -1.0)
        rows["target_y"].append(target[1] + screen.canvas.y if target[0] >= 0 else -1.0)
        rows["critical"].append(intent.critical)
        rows["verdict"].append(verdict(task, world, state, after))
        ax, ay = click(asked, screen, second) if asked else (-1, -1)
        rows["again_x"].append(ax)
        rows["again_y"].append(ay)
        state = after
        if state.done:
            return Episode(rows, state, task.score(world, state), look, digest(world))
    raise RuntimeError(f"the annotator of '{source.task}' did not finish episode {episode} of {source} within {LONGEST} steps")


def verdict(task: Task, world: Any, before: State, after: State) -> str:
    """What `judge` says of the annotation that led from one state to the next; empty if there was none."""
    if len(after.edits) <= len(before.edits):
        return ""
    return task.judge(world, before.edits, after.edits[-1])


def write(path: str | Path, source: Source, episodes: int, progress: Any = None) -> None:
    """Record episodes 0 to `episodes` - 1 and write both tables, `path` and `episodes_path(path)`, whole or not at all.

    All splits but `train` carry the annotator's second answers. progress: called with the number of steps after each episode.
    Raises ValueError for fewer than one episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes: expected at least 1, got {episodes}")
    steps: dict[str, list] = {name: [] for name in STEPS.names}
    table: dict[str, list] = {name: [] for name in EPISODES.names}
    for number in range(episodes):
        one = record(source, number, again=source.split != "train")
        for name, values in one.columns.items():
            steps[name].extend(values)
        row = (number, len(one.columns["x"]), one.score.score, one.score.success, one.look.layout, one.look.theme, one.world)
        for name, cell in zip(EPISODES.names, row):
            table[name].append(cell)
        if progress:
            progress(len(one.columns["x"]))
    meta = {"format": FORMAT, "task_version": get_task(source.task).version, "source": source.__dict__}
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
        task = get_task(self.source.task)
        return Replay(task, world, task.interface(world), Look(row["layout"], row["theme"]), self.clicks(number))


class Replay(NamedTuple):
    """An episode to be gone through again."""

    task: Task
    world: Any
    interface: Interface
    look: Look
    clicks: np.ndarray

    def states(self) -> Iterator[tuple[State, Hit, State]]:
        """State, hit and next state of every step."""
        state = self.interface.start()
        for x, y in self.clicks.tolist():
            hit = self.interface.hit(state, x, y, self.look)
            after = self.interface.apply(state, hit)
            yield state, hit, after
            state = after


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
            raise TrajectoryError(f"{part}: no such file; expected a trajectory in Parquet") from None
        except parquet.TableError as error:
            raise TrajectoryError(str(error)) from None
        sources.append(_source(part, (table.schema.metadata or {}).get(b"lastmile")))
        tables.append(table.to_pandas())
    steps, episodes = tables
    if sources[0] != sources[1]:
        raise TrajectoryError(f"{path}: comes from {sources[0]}, but {episodes_path(path).name} from {sources[1]}")
    if int(episodes["steps"].sum()) != len(steps) or (episodes["steps"] < 1).any():
        raise TrajectoryError(f"{path}: has {len(steps)} steps, but {episodes_path(path).name} counts {int(episodes['steps'].sum())}")
    if problem := _inconsistent(steps, episodes):
        raise TrajectoryError(f"{path}: {problem}")
    return Trajectories(path, sources[0], steps, episodes)


def _inconsistent(steps: pd.DataFrame, episodes: pd.DataFrame) -> str:
    """What cannot be in a recording; empty if there is nothing."""
    if steps.isna().any(axis=None) or episodes.isna().any(axis=None):
        return "a value is missing"
    if not np.array_equal(steps["episode"], np.repeat(episodes["episode"].to_numpy(), episodes["steps"])):
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
        named: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["source"].items()}
        source, format_, recorded = Source(**named), meta.get("format"), meta["task_version"]
        if not isinstance(source.task, str) or not isinstance(source.seed, int) or source.split not in SPLITS:
            raise ValueError("no source")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise TrajectoryError(f"{part}: not a lastmile trajectory (no such metadata)") from None
    if format_ != FORMAT:
        raise TrajectoryError(f"{part}: format '{format_}', expected '{FORMAT}'; record the trajectories again")
    try:
        version = get_task(source.task).version
    except ValueError as error:
        raise TrajectoryError(f"{part}: {error}") from None
    if recorded != version:
        raise TrajectoryError(
            f"{part}: recorded with version {recorded} of task '{source.task}', which is now at version {version}; record the trajectories again"
        )
    return source

