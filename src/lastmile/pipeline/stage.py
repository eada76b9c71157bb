"""What a stage of the workflow is.

A stage is one module in `stages/`. Its name is the name of the rule, the verb (`lastmile stage
NAME`), the log and, where it makes one table, of that table. A module says:

- `Spec`: what a job is asked to do, typed and closed; checked where it is planned and where it
  runs.
- `Inputs`, `Outputs`: the files of a job by name, with `inputs(spec, results)` and `outputs(spec,
  results)`.
- `run(spec, inputs, outputs, threads)`: does the work; depends on nothing but its spec and its
  inputs.
- `parts(spec)`: the modules that it loads by name (tasks, studies), for the fingerprint.
- `wanted(request)`: the specs of all jobs of a study; every number is decided here, once.
- `cost(spec, estimates)`: what a job will take; `lastmile plan` adds these up.

Parser, plan, manifests and fingerprints are derived from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from lastmile.closed import Closed, canonical, explain_errors
from lastmile.errors import LastmileError

if (
    TYPE_CHECKING
):  # they decide what is planned, and so stand in the specs and not in the code of a stage
    from lastmile.config import Settings
    from lastmile.studies.runs import Need, Run


class Spec(Closed):
    """What a job is asked to do.

    The fields named in `LABELS` tell it from the other jobs of its stage.
    """

    def canonical(self) -> str:
        """Return one JSON string; equal specs give equal strings."""
        return canonical(self.model_dump(mode="json"))


class OnTask(Spec):
    """The labels of a measurement: which run, which of its seeds, on which task.

    They become columns of its table.
    """

    run: str
    seed: int
    task: str

    def labels(self) -> dict[str, str | int]:
        """Return the columns that tell which policy a row is about."""
        return {"run": self.run, "seed": self.seed, "task": self.task}


class Cost(NamedTuple):
    """What a job takes: seconds on one core, and bytes that stay on disk."""

    seconds: float
    disk: float = 0.0


class Facts(NamedTuple):
    """What a manifest says, where a stage knows better than its runner.

    Attributes:
        spec: What was asked for, with digests of the data.
        inputs: All files that were read.
        device: What it was computed on.
        threads: Threads that were used.
        seconds: How long it took.
    """

    spec: dict[str, Any]
    inputs: list[Path]
    device: str
    threads: int
    seconds: float


@dataclass(frozen=True)
class Request:
    """All that a study asks for.

    Attributes:
        settings: The settings of the study.
        tasks: The tasks that are studied.
        needs: What each study reads, by its name.
        runs: Every training run, by its name, each after the one that it starts from.
    """

    settings: Settings
    tasks: tuple[str, ...]
    needs: Mapping[str, Sequence[Need]]
    runs: Mapping[str, Run]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the training runs."""
        return self.settings.training.seeds

    def measured(self, table: str) -> list[tuple[Run, int, str]]:
        """Return run, seed and task of every measurement of a kind, each once."""
        needs = [need for of_study in self.needs.values() for need in of_study]
        pairs = dict.fromkeys((need.run, need.task) for need in needs if need.table == table)
        return [(run, seed, task) for run, task in pairs for seed in self.seeds]


class Estimates(Protocol):
    """What costs are reckoned with: see `lastmile.pipeline.plan`."""

    @property
    def request(self) -> Request:
        """What the study asks for."""

    def steps(self, task: str) -> float:
        """Mean steps of an episode."""

    def task_rate(self, task: str, name: str) -> float:
        """Seconds or bytes per step of a task, by name."""

    def policy_rate(self, run: str, name: str) -> float:
        """Rate of the policy of a run, by name: train, predict, rollout, parameters."""


class Stage(Protocol):
    """A module in `stages/`."""

    __name__: str
    LABELS: tuple[str, ...]
    Spec: type[Spec]

    def inputs(self, spec: Any, results: Path) -> Any: ...

    def outputs(self, spec: Any, results: Path) -> Any: ...

    def run(self, spec: Any, inputs: Any, outputs: Any, threads: int) -> Facts | None: ...

    def parts(self, spec: Any) -> tuple[str, ...]: ...

    def wanted(self, request: Request) -> Sequence[Any]: ...

    def cost(self, spec: Any, estimates: Estimates) -> Cost: ...


Model = TypeVar("Model", bound=BaseModel)


def parse_spec(model: type[Model], text: str, source: str = "--spec") -> Model:
    """Return a spec from JSON.

    Raises:
        LastmileError: It is not JSON, or a key is missing, unknown or wrong; the message names the
            key.
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
    """Return the files of an `Inputs` or `Outputs`, in order.

    Tuples are spread, None is left out.
    """
    paths: list[Path] = []
    for value in named:
        if isinstance(value, tuple):
            paths.extend(value)
        elif value is not None:
            paths.append(value)
    return paths
