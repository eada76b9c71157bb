"""The episodes of a page: recorded ones, and those that a policy plays on the same worlds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lastmile.config import Evaluation
from lastmile.errors import LastmileError
from lastmile.screen import HEIGHT, WIDTH
from lastmile.simulation import trajectory
from lastmile.simulation.people_trajectories import steps_of
from lastmile.simulation.pool import Rollout
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.tasks import get_task
from lastmile.tasks.task import RIGHT

if TYPE_CHECKING:
    from lastmile.policy.policy import Policy
    from lastmile.viewer.predictions import Prediction

MOST = 200
"""Episodes on a page; more make it slow to open."""


@dataclass(frozen=True)
class Track:
    """What one player did in an episode.

    Attributes:
        player: Who clicked, in words.
        session: The session, played to its end.
        columns: Columns of `lastmile.simulation.trajectory.STEPS` by name, one value per step.
        predictions: What a policy says of each step; empty without a policy.
    """

    player: str
    session: Session[Any, Any]
    columns: dict[str, list[Any]]
    predictions: tuple[Prediction, ...] = ()

    @property
    def open_mistakes(self) -> list[int]:
        """Number of mistakes before each step, and at the end: steps + 1 values."""
        return [*self.columns["open_mistakes"], len(self.session.mistakes)]

    @property
    def made(self) -> list[str]:
        """The kind of mistake that each step was, by intent or by verdict; empty if it was none."""
        verdicts = ("" if verdict == RIGHT else verdict for verdict in self.columns["verdict"])
        return [intent or verdict for intent, verdict in zip(self.columns["mistake"], verdicts)]

    def events(self) -> dict[str, list[int]]:
        """Return the steps at which something is marked, by what happens there.

        `made`: a mistake. `noticed`: the annotator begins to correct. `repaired`: there are fewer
        mistakes afterwards. `undo`: an undo.
        """
        count = self.open_mistakes
        phases = ["", *self.columns["phase"]]
        steps = range(len(self.columns["x"]))
        return {
            "made": [i for i, kind in enumerate(self.made) if kind],
            "noticed": [i for i in steps if phases[i + 1] == "correct" != phases[i]],
            "repaired": [i for i in steps if count[i + 1] < count[i]],
            "undo": [i for i in steps if self.columns["kind"][i] == "undo"],
        }


@dataclass(frozen=True)
class Episode:
    """One world, and what players did on it.

    Attributes:
        source: Where it comes from.
        number: Its number in the source.
        tracks: One for each player, at least one.
    """

    source: Source
    number: int
    tracks: tuple[Track, ...]


def numbers(text: str) -> list[int]:
    """Read numbers of episodes, such as "0,3,5" or "0-9,12", sorted and each once.

    Raises:
        LastmileError: The text is something else, or names none or more than `MOST`.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise LastmileError(f"episodes: expected numbers such as 0,3,5 or 0-9, got '{text}'")
        begin, end = int(first), int(last or first)
        if end < begin or end - begin >= MOST:
            raise LastmileError(
                f"episodes: expected a range of 1 to {MOST} numbers, got '{part.strip()}'"
            )
        chosen.update(range(begin, end + 1))
    if len(chosen) > MOST:
        raise LastmileError(f"episodes: expected at most {MOST}, got {len(chosen)}")
    return sorted(chosen)


def of_task(source: Source, chosen: Sequence[int]) -> list[Episode]:
    """Record episodes of the virtual annotator, who is asked again at every step.

    Args:
        source: Where the episodes come from.
        chosen: Their numbers.

    Raises:
        LastmileError: The source is impossible.
    """
    get_task(source.task).difficulty(source.difficulty)
    episodes = []
    for number in chosen:
        recording = trajectory.record(source, number, again=source.split != "train")
        session = Session(get_task(source.task), source.world(number), recording.look)
        track = _played(session, f"annotator, {source.style}", recording.columns)
        episodes.append(Episode(source, number, (track,)))
    return episodes


def of_recording(path: Path, chosen: Sequence[int] | None = None) -> list[Episode]:
    """Read recorded episodes.

    A recording may say in a column `source` of its episodes who worked on each.

    Args:
        path: The Parquet file of the steps.
        chosen: Their numbers; by default the first ten.

    Raises:
        LastmileError: The file cannot be used, or has no episode of one of the numbers.
    """
    recording = trajectory.read(path)
    steps = recording.steps
    numeric = steps[["position", "target_x", "target_y"]].to_numpy(float)
    again = steps[["again_x", "again_y"]].to_numpy()
    if not np.isfinite(numeric).all() or (again < -1).any() or (again >= (WIDTH, HEIGHT)).any():
        raise LastmileError(f"{path}: a position, target or second answer is out of range")

    known = recording.episodes["episode"].tolist()  # several people may work on one world
    if missing := [number for number in chosen or () if number not in known]:
        raise LastmileError(
            f"{path}: no episode {missing[0]}; expected numbers from {min(known)} to {max(known)} "
            f"({len(known)} episodes)"
        )
    rows = [row for row, number in enumerate(known) if chosen is None or number in chosen]
    players = recording.episodes.get("source")
    episodes = []
    for row in rows[:10] if chosen is None else rows:
        player = str(players.iloc[row]) if players is not None else ""
        of_episode = steps.iloc[recording.starts[row] : recording.starts[row + 1]]
        track = _played(
            recording.open(row),
            player or f"annotator, {recording.source.style}",
            {name: of_episode[name].tolist() for name in trajectory.STEPS.names},
        )
        episodes.append(Episode(recording.source, known[row], (track,)))
    return episodes


def _played(session: Session[Any, Any], player: str, columns: dict[str, list[Any]]) -> Track:
    """Make the clicks of some columns in a session that has not begun."""
    for _ in session.play(zip(columns["x"], columns["y"])):
        pass
    return Track(player, session, columns)


def with_rollouts(
    episodes: Sequence[Episode],
    policy: Policy,
    name: str,
    temperature: float,
    limit: int | None = None,
    seed: int | None = None,
) -> list[Episode]:
    """Let a policy play the same worlds, each as one more track.

    Args:
        episodes: The episodes of one source.
        policy: The policy that plays.
        name: What to call it.
        temperature: Temperature of its clicks, above 0.
        limit: Clicks after which a rollout is truncated; by default, as in the studies, three times
            the median length of the episodes.
        seed: Seed of its clicks; by default that of the source.
    """
    from lastmile.evaluation.closed_loop import play_rollouts  # with torch

    if limit is None:
        median = np.median([len(episode.tracks[0].session.steps) for episode in episodes])
        limit = int(Evaluation().max_steps * median)
    if seed is None:
        seed = episodes[0].source.seed
    rollouts: dict[int, Rollout] = {}
    for episode in episodes:  # one rollout for all who worked on a world
        session, task = episode.tracks[0].session, episode.source.task
        rollouts[episode.number] = Rollout(episode.number, task, session.world, session.look, limit)
    play_rollouts(policy, rollouts.values(), temperature, seed)
    tracks = {
        number: Track(f"policy {name}, T = {temperature:g}", rollout, steps_of(rollout, number))
        for number, rollout in rollouts.items()
    }
    return [
        replace(episode, tracks=(*episode.tracks, tracks[episode.number])) for episode in episodes
    ]


def with_predictions(episodes: Iterable[Episode], policy: Policy) -> list[Episode]:
    """Add what a policy says of every step of every track."""
    from lastmile.viewer.predictions import predict, seen_by  # with torch

    return [
        replace(
            episode,
            tracks=tuple(
                replace(track, predictions=tuple(predict(policy, seen_by(track.session))))
                for track in episode.tracks
            ),
        )
        for episode in episodes
    ]
