"""The training runs that the studies need, described so that no run is trained twice.

A study asks for runs by what they are (`single`, `joint`, `finetuned`, ...). A run's name is made
of everything that tells it from the default run, so equal runs have equal names and studies share
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from lastmile.config import PolicySettings, Settings, task_list
from lastmile.errors import LastmileError
from lastmile.screen import Look
from lastmile.studies.labels import JOINT_POLICY, POLICY

if TYPE_CHECKING:
    import pandas as pd

    from lastmile.simulation.ways import Way

JOINT = "together"
"""Takes the place of a task name where a policy is measured on all its tasks at once.

It is part of file paths.
"""


class Looks(NamedTuple):
    """What the look of the interface is drawn from, by episode.

    Attributes:
        layouts: Names of layouts.
        themes: Names of themes.
    """

    layouts: tuple[str, ...]
    themes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Their name, also in the names of recordings: `right+left_dark`."""
        return f"{'+'.join(self.layouts)}_{'+'.join(self.themes)}"


@dataclass(frozen=True)
class Run:
    """A training run, repeated for each training seed.

    Attributes:
        name: Unique name, also the name of its folder.
        tasks: Tasks of the training mixture, sorted.
        policy: Settings of the policy.
        frames: Frames seen in training.
        episodes: Distinct training episodes of each task (the first ones recorded).
        start: The run whose policy this one starts from, if any: that of the same seed, or with a
            `way` that of the first.
        style: Style of the annotator whose episodes it learns from; None for that of the study.
        looks: Looks of the interface in these episodes; None for those of the study.
        way: How its demonstrations are made, if not by the annotator alone: see
            `lastmile.simulation.ways.Way`. The policy is that of `start`.
        round: How many times demonstrations were made in this way, this time included.
        stretch: Frames of the stretches that are drawn and then cut into windows, so that runs with
            different windows see the same frames in each update; None to draw windows.
        once: Train it with the first seed alone. Of two equal runs, the one with all seeds counts.
    """

    name: str
    tasks: tuple[str, ...]
    policy: PolicySettings
    frames: int
    episodes: int
    start: Run | None = None
    style: str | None = None
    looks: Looks | None = None
    way: Way | None = None
    round: int = 1
    stretch: int | None = None
    once: bool = field(default=False, compare=False)

    @property
    def variant(self) -> str | None:
        """What its recordings are called beside their tasks; None for those of the study."""
        way = self.way if self.round == 1 else f"{self.way}-{self.round}"
        looks = None if self.looks is None else self.looks.name
        parts = [part for part in (way or self.style, looks) if part is not None]
        return ".".join(parts) if parts else None

    def of_seeds(self, seeds: tuple[int, ...]) -> tuple[int, ...]:
        """Return the seeds that it is trained with, of those of a study."""
        return seeds[:1] if self.once else seeds


Points: TypeAlias = Literal["all", "later", "last"]
"""At which points of its training a policy is measured: at all that are kept, at those after the
first thousand frames, or at the end; before training in any case."""


class Need(NamedTuple):
    """A table of measurements that a study reads.

    Attributes:
        table: What is measured: skills, losses, closed_loop, closed_loop_curve, recovery, deferral,
            confidences, other_looks, other_looks_played, probes, probe_generalization or speed.
        run: The training run whose policies are measured.
        task: The task they are measured on, or `JOINT` for all tasks of the run at once.
        points: At which points of its training, where it is measured along it.
        looks: In which looks of the interface, where it is measured in others than the study's.
    """

    table: str
    run: Run
    task: str
    points: Points = "later"
    looks: tuple[Look, ...] = ()


def training_run(
    settings: Settings,
    tasks: tuple[str, ...],
    frames: int,
    episodes: int | None = None,
    start: Run | None = None,
    policy: Mapping[str, str | int] | None = None,
    style: str | None = None,
    looks: Looks | None = None,
    way: Way | None = None,
    stretch: int | None = None,
) -> Run:
    """Describe a training run and name it by how it differs from the default run.

    Args:
        settings: Settings of the study.
        tasks: Tasks of the training mixture.
        frames: Frames seen in training.
        episodes: Distinct training episodes of each task; all recorded ones by default.
        start: The run to start from, if any.
        policy: Settings of the policy that differ from `settings.policy`.
        style: Style of the annotator to learn from; that of the study by default.
        looks: Looks of the interface to learn from; those of the study by default.
        way: How demonstrations are made with the policy of `start`; by the annotator alone by
            default.
        stretch: Frames of the stretches that are drawn and then cut into windows, if any.
    """
    worlds = settings.worlds
    style = None if style == worlds.style else style
    looks = None if looks == (worlds.layouts, worlds.themes) else looks
    studied = task_list(settings)
    tasks = tuple(sorted(tasks))
    policy_settings = settings.policy.model_copy(update=dict(policy or {}))
    episodes = min(episodes or settings.episodes.train, settings.episodes.train)

    if len(tasks) == 1:
        parts = [tasks[0]]
    elif len(tasks) == len(studied):
        parts = ["all"]
    else:
        parts = ["without-" + "-".join(sorted(set(studied) - set(tasks)))]

    for key in PolicySettings.model_fields:
        value = getattr(policy_settings, key)
        if value != getattr(settings.policy, key):
            parts.append(f"window{value}" if key == "window" else str(value))
    if frames != settings.training.frames:
        parts.append(f"{frames // 1000}k" if frames % 1000 == 0 else str(frames))
    if episodes != settings.episodes.train:
        parts.append(f"{episodes}episodes")
    if style is not None:
        parts.append(style)
    if looks is not None:
        parts.append(looks.name)
    if way is not None:
        parts.append(way)
    if stretch is not None:
        parts.append(f"stretches{stretch}")
    if start is not None:
        parts.append(f"from-{start.name}")
    return Run(
        ".".join(parts),
        tasks,
        policy_settings,
        frames,
        episodes,
        start,
        style,
        looks,
        way,
        stretch=stretch,
    )


def single(settings: Settings, task: str) -> Run:
    """Return the run that trains a policy for one task, with the first seed alone.

    No claim compares two policies of the same task: tasks are the units.
    """
    return replace(training_run(settings, (task,), settings.training.frames), once=True)


def for_all(
    settings: Settings, frames: int, size: str | None = None, episodes: int | None = None
) -> Run:
    """Return a run that trains one policy for all tasks."""
    policy = {"size": size or settings.policy.size}
    return training_run(settings, task_list(settings), frames, episodes, policy=policy)


def joint(settings: Settings) -> Run:
    """Return the run of the policy for all tasks that is measured in all ways."""
    if settings.scaling.joint is None:
        return for_all(settings, max(settings.scaling.frames))
    return replace(for_all(settings, settings.scaling.joint), once=True)


def both_kinds(settings: Settings, task: str) -> list[Run]:
    """Return the runs of the two kinds of policies that do a task: for it alone, and for all.

    With one task to study there is the first kind alone.
    """
    return [single(settings, task), *([joint(settings)] if len(task_list(settings)) > 1 else [])]


def kind_of_policy(rows: pd.DataFrame) -> pd.Series:
    """Tell by their runs which measurements are of a policy for one task, and which of a joint one.

    Args:
        rows: Measurements of runs of `both_kinds`, with the columns `run` and `task`. The name of
            a run for one task begins with the task.

    Returns:
        `POLICY` or `JOINT_POLICY`, by row.
    """
    of_one = rows["run"].astype(str).str.split(".").str[0] == rows["task"].astype(str)
    return of_one.map({True: POLICY, False: JOINT_POLICY})


def by_kind(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Tell the policies for one task from those for all, in a column that says `POLICY` for both.

    Whatever else was measured (annotator, ceiling, floor) stands beside each policy, always the
    same: what stands beside the policies for one task is kept.

    Args:
        rows: Measurements as for `kind_of_policy`.
        column: The column, in which `JOINT_POLICY` is put.
    """
    kind = kind_of_policy(rows)
    of_policy = rows[column] == POLICY
    rows = rows.assign(**{column: kind.where(of_policy, rows[column])})
    return rows[of_policy | (kind == POLICY)]


def held_out_groups(settings: Settings) -> list[tuple[str, ...]]:
    """Return the groups of tasks that are held out of a pretraining.

    Tasks that are neither studied nor kept for transfer (`Task.held_out`) are dropped, and so are
    groups that leave nothing to pretrain on.
    """
    from lastmile.tasks import get_task

    studied = set(task_list(settings))
    groups = [
        tuple(task for task in group if task in studied or get_task(task).held_out)
        for group in settings.transfer.held_out
    ]
    return [group for group in groups if group and not studied <= set(group)]


def pretrained(settings: Settings, group: tuple[str, ...]) -> Run:
    """Return the run that trains one policy for all tasks except a held-out group.

    For tasks that are not studied it is the longest run on all tasks.
    """
    return training_run(
        settings,
        tuple(task for task in task_list(settings) if task not in group),
        max(settings.scaling.frames),
    )


def finetuned(settings: Settings, task: str, group: tuple[str, ...], episodes: int) -> Run:
    """Return the run that fine-tunes to a task of `group`, starting from `pretrained(group)`."""
    return training_run(
        settings,
        (task,),
        settings.transfer.frames,
        episodes,
        pretrained(settings, group),
    )


def scratch(settings: Settings, task: str, episodes: int) -> Run:
    """Return the run that trains from scratch with the frames and episodes of a fine-tuning."""
    return training_run(settings, (task,), settings.transfer.frames, episodes)


def repaired(settings: Settings, task: str, way: Way) -> Run:
    """Return the run that fine-tunes the policy of a task to demonstrations made in some way.

    Every round makes new ones with the policy of the round before. All seeds of the last round
    start from the same policy: that of the first seed.
    """
    repair = settings.repair
    run = single(settings, task)
    for number in range(1, repair.rounds + 1):
        tuned = training_run(settings, (task,), repair.frames, repair.episodes, run, way=way)
        run = replace(tuned, round=number, once=number < repair.rounds)
    return run


def with_starts(runs: list[Run]) -> dict[str, Run]:
    """Return the runs by name, each once and after the run it starts from.

    Raises:
        LastmileError: Two different runs have the same name.
    """
    by_name: dict[str, Run] = {}
    for run in runs:
        chain = [run]
        while chain[-1].start is not None:
            chain.append(chain[-1].start)

        for ancestor in reversed(chain):
            known = by_name.setdefault(ancestor.name, ancestor)
            if known != ancestor:
                raise LastmileError(
                    f"two different training runs are called '{ancestor.name}'; "
                    "settings that are not part of the name must differ in one of those that are"
                )
            by_name[ancestor.name] = replace(known, once=known.once and ancestor.once)
    return by_name
