"""The file of an evaluation: everything that is needed to check its scores, and no pixels.

It holds the clicks of every episode. Since worlds and screens come from seeds, the clicks make the
scores again; `replay` compares them with those in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from lastmile.closed import Closed
from lastmile.errors import LastmileError
from lastmile.evaluation.players import AnyPlayer, is_policy, opened, play_worlds, step_limit
from lastmile.screen import HEIGHT, WIDTH, Look
from lastmile.simulation.pool import Rollout, describe
from lastmile.simulation.source import Source
from lastmile.storage import files
from lastmile.storage.records import read_json
from lastmile.tasks import get_task
from lastmile.tasks.real import SYNTHETIC, check_source
from lastmile.tasks.task import digest

FORMAT: Literal["lastmile.evaluation/1"] = "lastmile.evaluation/1"
NAME = r"^[^\x00-\x1f\x7f]{1,100}$"
"""What the name of a player looks like: one line of text, not too long for a table."""
SAME = 1e-6
"""Scores this close are the same: their last bits may differ between processors."""

X = Annotated[int, Field(ge=0, lt=WIDTH)]
Y = Annotated[int, Field(ge=0, lt=HEIGHT)]
Count = Annotated[int, Field(ge=0)]


class Conditions(Closed):
    """What an evaluation was made under; scores are compared under the same ones only.

    Attributes:
        split: Split of the worlds.
        difficulty: Their difficulty.
        seed: Their seed.
        worlds: Worlds of each task, from the first one on.
        layout, theme: Look of the interface.
        source: Where the worlds come from: `synthetic`, `real`, or the folder of imported ones.
    """

    split: Literal["train", "validation", "test"] = "test"
    difficulty: str = "short"
    seed: int = Field(0, ge=0, lt=2**63)
    worlds: int = Field(20, ge=1, le=100_000)
    layout: str = "right"
    theme: str = "dark"
    source: str = SYNTHETIC

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {k: v for k, v in values.items() if k != "source" or v != SYNTHETIC}

    @property
    def look(self) -> Look:
        """Layout and theme.

        Raises:
            LastmileError: They do not exist.
        """
        return Look(self.layout, self.theme).check()

    def worlds_of(self, task: str) -> Source:
        """Return where the worlds of a task come from.

        Raises:
            LastmileError: The task or its difficulty does not exist, or it has no such worlds.
        """
        get_task(task).difficulty(self.difficulty)
        check_source(self.source, task)
        return Source(task, self.split, self.seed, self.difficulty, worlds=self.source)


class Usage(Closed):
    """What a language model used in an episode.

    Attributes:
        input_tokens: Tokens that it read, those from a cache included.
        output_tokens: Tokens that it wrote.
        cost: Cost in US dollars; None if the price of its tokens is not known.
    """

    input_tokens: Count
    output_tokens: Count
    cost: float | None = Field(None, ge=0)


class EpisodeResult(Closed):
    """An episode.

    Attributes:
        world: Digest of the world.
        clicks: All clicks (x, y), logical px.
        score, success, finished, placements, mistakes, left: See
            `lastmile.simulation.pool.describe`.
        stopped: Why the player made no more clicks although the episode was not over, such as
            "message limit"; empty if it was over.
        usage: What a language model used; None for other players.
    """

    world: str
    clicks: tuple[tuple[X, Y], ...]
    score: float
    success: bool
    finished: bool
    placements: Count
    mistakes: Count
    left: Count
    stopped: str = Field("", pattern=r"^[a-z ]{0,40}$")
    usage: Usage | None = None

    @model_serializer(mode="wrap")
    def _without_what_most_players_lack(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {
            key: value for key, value in values.items() if value or key not in ("stopped", "usage")
        }


class TaskResult(Closed):
    """The episodes of a task, one for each world.

    Attributes:
        task: Name of the task.
        version: Its version.
        max_steps: Clicks after which its episodes were truncated.
        episodes: The episodes, in the order of the worlds.
    """

    task: str
    version: int
    max_steps: int = Field(ge=1)
    episodes: tuple[EpisodeResult, ...]


class Results(Closed):
    """An evaluation.

    Attributes:
        format: Version of this format.
        package: Version of lastmile that it was made with.
        name: Name of the player in tables.
        source: The player, as it was given to `lastmile evaluate`.
        weights: Digest of the weights of a policy of ours; empty for other players.
        temperature: Temperature of the clicks of such a policy; None for other players.
        conditions: What all episodes have in common.
        tasks: The results of each task.
    """

    format: Literal["lastmile.evaluation/1"]
    package: str
    name: str = Field(pattern=NAME)
    source: str
    weights: str = ""
    temperature: float | None = None
    conditions: Conditions
    tasks: tuple[TaskResult, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_world_once(self) -> Results:
        names = [result.task for result in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError("a task is given twice")
        for result in self.tasks:
            if len(result.episodes) != self.conditions.worlds:
                raise ValueError(
                    f"task '{result.task}' has {len(result.episodes)} episodes, "
                    f"expected one for each of {self.conditions.worlds} worlds"
                )
        return self


def evaluate(
    source: str,
    tasks: Sequence[str],
    conditions: Conditions,
    *,
    package: str,
    name: str = "",
    temperature: float = 0.4,
    timeout: float = 60.0,
    progress: Callable[[TaskResult], None] | None = None,
) -> Results:
    """Let a player work on several tasks.

    Args:
        source: Who plays, in words; see `lastmile.evaluation.players.opened`.
        tasks: Names of the tasks.
        conditions: The worlds and their look.
        package: Version of lastmile, to be written down.
        name: Name of the player in tables; by default the source, in one line.
        temperature: Temperature at which a policy of ours samples its clicks.
        timeout: Seconds that a process may take for a click.
        progress: Called with the result of each task.

    Raises:
        LastmileError: There is no such player, it does not play as it should, or the conditions are
            impossible.
    """
    # What is impossible is refused before any task is played.
    name = name or " ".join(source.split())[:100]
    if not re.fullmatch(NAME, name):
        raise LastmileError(f"name: expected one line of at most 100 characters, got {name!r}")
    for task in tasks:
        conditions.worlds_of(task)
    conditions.look.check()
    results = []
    ours = False
    with opened(source, conditions.seed, timeout) as players:
        for task in tasks:
            player = players.player_for(task)
            ours = ours or is_policy(player)
            results.append(evaluate_task(player, task, conditions, temperature))
            if progress:
                progress(results[-1])
    return Results(
        format=FORMAT,
        package=package,
        name=name,
        source=source,
        weights=players.weights,
        temperature=temperature if ours else None,
        conditions=conditions,
        tasks=tuple(results),
    )


def evaluate_task(
    player: AnyPlayer, task: str, conditions: Conditions, temperature: float
) -> TaskResult:
    """Let a player work on the worlds of a task, with as many clicks as in the studies.

    Args:
        player: Who plays.
        task: Name of the task.
        conditions: The worlds and their look.
        temperature: Temperature at which a policy of ours samples its clicks.

    Raises:
        LastmileError: The conditions are impossible, or a click is no pair of integers or outside
            the screen.
    """
    source, look = conditions.worlds_of(task), conditions.look
    limit = step_limit(source, conditions.worlds)
    rollouts = play_worlds(player, source, conditions.worlds, look, limit, temperature)
    return TaskResult(
        task=task,
        version=get_task(task).version,
        max_steps=limit,
        episodes=tuple(map(episode_result, rollouts)),
    )


def episode_result(rollout: Rollout) -> EpisodeResult:
    """Return the result of an episode as far as it was played."""
    numbers = describe(rollout)
    return EpisodeResult(
        world=digest(rollout.world),
        clicks=tuple(step.click for step in rollout.steps),
        score=float(numbers["score"]),
        success=bool(numbers["success"]),
        finished=bool(numbers["finished"]),
        placements=int(numbers["placements"]),
        mistakes=int(numbers["mistakes"]),
        left=int(numbers["left"]),
    )


def write(path: str | Path, results: Results) -> None:
    """Write the file of an evaluation, whole or not at all."""
    values = results.model_dump(mode="json")
    files.write_text(path, json.dumps(values, separators=(",", ":")) + "\n")


def read(path: str | Path) -> Results:
    """Read the file of an evaluation, without checking its scores.

    Raises:
        RecordError: It is no such file; the message names it and the place in it.
    """
    return read_json(path, Results, "the results of `lastmile evaluate`")


def replay(results: Results) -> list[str]:
    """Make all scores again, from the clicks.

    Returns:
        What does not come out the same, one line for each episode; empty if all is well.
    """
    problems: list[str] = []
    for result in results.tasks:
        try:
            problems += _replay_task(result, results.conditions)
        except LastmileError as error:
            problems.append(f"task '{result.task}': {error}")
    return problems


def _replay_task(result: TaskResult, conditions: Conditions) -> list[str]:
    source, look = conditions.worlds_of(result.task), conditions.look
    version = get_task(result.task).version
    if result.version != version:
        return [f"task '{result.task}': is version {version} here, {result.version} in the file"]
    limit = step_limit(source, conditions.worlds)
    if result.max_steps != limit:
        return [
            f"task '{result.task}': expected at most {limit} clicks an episode, "
            f"got max_steps {result.max_steps}"
        ]

    problems = []
    for number, episode in enumerate(result.episodes):
        rollout = Rollout(number, result.task, source.world(number), look, limit)
        problem = _difference(rollout, episode)
        if problem:
            problems.append(f"task '{result.task}', episode {number}: {problem}")
    return problems


def _difference(rollout: Rollout, episode: EpisodeResult) -> str:
    """Return what differs between an episode in a file and its replay; empty if nothing does."""
    world = digest(rollout.world)
    if episode.world != world:
        return f"was played in another world (digest {episode.world}, here {world})"
    for click in episode.clicks:
        if rollout.over:
            return f"goes on after its end, at click {len(rollout.steps)}"
        rollout.click(*click)
    if not rollout.over and not episode.stopped:
        return f"stops after {len(rollout.steps)} clicks, before it is over"
    if rollout.over and episode.stopped:
        return f"was not stopped ({episode.stopped}): its clicks end it"

    again = episode_result(rollout)
    if abs(again.score - episode.score) > SAME:
        return f"its clicks give score {again.score:.6f}, the file says {episode.score:.6f}"
    for key in ("success", "finished", "placements", "mistakes", "left"):
        made, given = getattr(again, key), getattr(episode, key)
        if made != given:
            return f"its clicks give {key} {made}, the file says {given}"
    return ""
