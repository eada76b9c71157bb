"""The interface of the stages of the workflow.

A stage is one module in `stages/`. Its rule, its command (`lastmile stage NAME`), its log and, if
it makes a single table, that table share its name. A module defines:

- `LABELS`: the fields of its spec that tell its jobs apart.
- `Spec`: what a job does. It is typed, has no other keys, and is checked at planning and at run
  time.
- `Inputs`, `Outputs`: the files of a job by name, with `inputs(spec, results)` and
  `outputs(spec, results)`.
- `run(spec, inputs, outputs)`: do the work; it depends only on the spec and the inputs. A job
  computes with one thread, or the spec says with how many: numbers depend on it.
- `parts(spec)`: the modules that it loads by name (tasks, studies), for the fingerprint.
- `wanted(request)`: the specs of all jobs of a study. All numbers are decided here, once.
- `cost(spec, estimates)`: the time, disk and memory that a job takes; `lastmile plan` adds them up,
  and a job reserves its memory.

The command line, the plan, manifests and fingerprints are derived from these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from lastmile.closed import Closed, canonical, explain_errors
from lastmile.errors import LastmileError
from lastmile.pipeline import paths

if TYPE_CHECKING:
    # These decide what is planned: their effect is in the specs, so they are not part of the code
    # that a stage is fingerprinted by.
    from lastmile.config import Settings
    from lastmile.studies.runs import Need, Points, Run

SYNTHETIC = "synthetic"


class Spec(Closed):
    """What a job does.

    The fields named in `LABELS` distinguish it from the other jobs of its stage.
    """

    def canonical(self) -> str:
        """Return one JSON string; equal specs give equal strings."""
        return canonical(self.model_dump(mode="json"))


class OnWorlds(Spec):
    """A job that opens worlds.

    Attributes:
        source: Where they come from: see `worlds` in the settings.
        data: Digest of the data where they were imported; the code names that of fetched data.
    """

    source: str = SYNTHETIC
    data: str | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out both where worlds are synthetic: such specs are older than real worlds."""
        values: dict[str, Any] = write(self)
        usual = {"source": SYNTHETIC, "data": None}
        return {k: v for k, v in values.items() if k not in usual or v != usual[k]}

    def task_parts(self, *tasks: str) -> tuple[str, ...]:
        """Return the modules of tasks that make their worlds, for the fingerprint."""
        parts = ("",) if self.source == SYNTHETIC else ("", ".real")
        return tuple(f"tasks.{task}{part}" for task in tasks for part in parts)


class OfRecording(OnWorlds):
    """A job of one recording.

    Attributes:
        recording: Its name: that of the task, unless another annotator than the study's is at work.
    """

    recording: str

    @model_validator(mode="before")
    @classmethod
    def _named_by_task(cls, values: Any) -> Any:
        if isinstance(values, dict) and "task" in values:
            return {"recording": values["task"], **values}
        return values


class OnTask(OnWorlds):
    """The labels of a measurement, which become columns of its table.

    Attributes:
        run: Name of the training run.
        seed: Seed of the training run.
        task: Task on which the policy is measured.
    """

    run: str
    seed: int
    task: str

    def labels(self) -> dict[str, str | int]:
        """Return the columns that say which policy, and on which task, a row is about."""
        return {"run": self.run, "seed": self.seed, "task": self.task}


class Cost(NamedTuple):
    """What a job takes.

    Attributes:
        seconds: Seconds on one core.
        disk: Bytes that stay on disk.
        memory: Bytes in memory at most, Python and packages included. The figures of the stages
            were fitted to what Snakemake measured in the studies `smoke` and `desk`, and to larger
            jobs one by one.
    """

    seconds: float
    disk: float = 0.0
    memory: float = 400e6


TORCH = 500e6
"""Bytes that a process takes which computes with torch."""
AT_ONCE = 64
"""Frames that a policy sees at once when it is measured."""
ROLLOUT = 1e5
"""Bytes in memory for each step that a policy plays, and that is kept."""


class Facts(NamedTuple):
    """What a stage reports for its manifest if it knows more than the runner.

    Attributes:
        spec: The spec of the job, with digests of the data.
        inputs: All files that were read.
        device: The device of the computation.
        threads: Number of threads that were used.
        seconds: How long the job took.
        arithmetic: Number formats, where they depend on the machine.
    """

    spec: dict[str, Any]
    inputs: list[Path]
    device: str
    threads: int
    seconds: float
    arithmetic: str | None = None


class Recording(NamedTuple):
    """Episodes that are recorded together.

    Attributes:
        task: The task.
        style: Style of the annotator.
        layouts: Layouts of the interface, drawn by episode.
        themes: Themes of the interface, drawn by episode.
        episodes: How many they are.
        learner: The run that they are made for, together with the policy that it starts from;
            None for those that the annotator makes alone.
    """

    task: str
    style: str
    layouts: tuple[str, ...]
    themes: tuple[str, ...]
    episodes: int
    learner: Run | None = None


@dataclass(frozen=True)
class Request:
    """Everything that a study needs.

    Attributes:
        settings: The settings of the study.
        tasks: The tasks of the study.
        needs: The measurements that each of its studies reads, by the name of the study.
        runs: All training runs by name, each after the run that it starts from.
    """

    settings: Settings
    tasks: tuple[str, ...]
    needs: Mapping[str, Sequence[Need]]
    runs: Mapping[str, Run]

    def origin(self, *tasks: str) -> dict[str, Any]:
        """Return where the worlds of tasks come from, as fields of `OnWorlds`."""
        from lastmile.tasks.real import data_digest

        source = self.settings.worlds.source
        return {"source": source, "data": data_digest(source, tasks)}

    @property
    def recorded(self) -> tuple[str, ...]:
        """The tasks that are recorded: those of the study, and others that its runs learn."""
        learned = {task for run in self.runs.values() for task in run.tasks}
        return (*self.tasks, *sorted(learned - set(self.tasks)))

    @property
    def recordings(self) -> dict[tuple[str, str], Recording]:
        """What is recorded, by the name of the recording and its split.

        Whatever a policy learns from, it is measured on episodes of the study's own style.
        """
        worlds, episodes = self.settings.worlds, self.settings.episodes.model_dump()
        own = (worlds.layouts, worlds.themes)
        found = {
            (paths.recording(task), split): Recording(task, worlds.style, *own, episodes[split])
            for task in self.recorded
            for split in ("train", "validation", "test")
        }
        for run in self.runs.values():
            for task in run.tasks if run.variant is not None else ():
                key = (paths.recording(task, run.variant), "train")
                most = max(run.episodes, found[key].episodes if key in found else 0)
                looks = own if run.looks is None else run.looks
                learner = run if run.way is not None else None
                found[key] = Recording(task, run.style or worlds.style, *looks, most, learner)
        return found

    def measured(self, table: str) -> list[tuple[Run, int, str]]:
        """Return run, seed and task of each measurement that goes into tables of this name."""
        needs = [need for of_study in self.needs.values() for need in of_study]
        pairs = dict.fromkeys((need.run, need.task) for need in needs if need.table == table)
        return [(run, seed, task) for run, task in pairs for seed in self.seeds(run)]

    def seeds(self, run: Run) -> tuple[int, ...]:
        """Return the seeds of a training run."""
        return self.runs[run.name].of_seeds(self.settings.training.seeds)

    def points(self) -> dict[tuple[str, str], Points]:
        """Return at which points of its training each policy is measured, by run and task."""
        points: dict[tuple[str, str], Points] = {}
        for need in (need for of_study in self.needs.values() for need in of_study):
            key = (need.run.name, need.task)
            most = (points.get(key, need.points), need.points)
            points[key] = min(most, key=("all", "later", "last").index)
        return points


def seeds_of(run: str, seeds: tuple[int, ...], once: tuple[str, ...]) -> tuple[int, ...]:
    """Return the seeds of a run: the first alone if it is one of those trained `once`."""
    return seeds[:1] if run in once else seeds


class Estimates(Protocol):
    """What the costs of jobs are estimated from: see `lastmile.pipeline.plan`."""

    @property
    def request(self) -> Request:
        """Everything that the study needs."""

    def steps(self, task: str) -> float:
        """Return the mean number of steps of an episode."""

    def task_rate(self, task: str, name: str) -> float:
        """Return seconds or bytes per step of a task, by name."""

    def policy_rate(self, run: str, name: str) -> float:
        """Return a rate of the policy of a run: train, predict, rollout, played, parameters."""

    def network_memory(self, run: str, frames: int, copies: int) -> float:
        """Return the bytes that a network takes: `copies` of its weights, and `frames` at once."""


class Stage(Protocol):
    """A module in `stages/`, as the module docstring above describes it."""

    __name__: str
    LABELS: tuple[str, ...]
    Spec: type[Spec]

    def inputs(self, spec: Any, results: Path) -> Any: ...

    def outputs(self, spec: Any, results: Path) -> Any: ...

    def run(self, spec: Any, inputs: Any, outputs: Any) -> Facts | None: ...

    def parts(self, spec: Any) -> tuple[str, ...]: ...

    def wanted(self, request: Request) -> Sequence[Any]: ...

    def cost(self, spec: Any, estimates: Estimates) -> Cost: ...


Model = TypeVar("Model", bound=BaseModel)


def parse_spec(model: type[Model], text: str, source: str = "--spec") -> Model:
    """Return a spec from JSON.

    Args:
        model: Class of the spec.
        text: The spec as a JSON object.
        source: Where the text comes from, for error messages.

    Raises:
        LastmileError: The text is not JSON, or a key is missing, unknown or wrong; the message
            names the key.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise LastmileError(f"{source}: expected JSON ({error})") from None
    if not isinstance(values, dict):
        raise LastmileError(f"{source}: expected a JSON object, got {type(values).__name__}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise LastmileError(explain_errors(model, error, source, "key")) from None


def files_of(named: Any) -> list[Path]:
    """Return the files of an `Inputs` or `Outputs` in order: tuples unpacked, None left out."""
    paths: list[Path] = []
    for value in named:
        if isinstance(value, tuple):
            paths.extend(value)
        elif value is not None:
            paths.append(value)
    return paths
