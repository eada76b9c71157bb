"""The settings of a study, typed and closed: an unknown or misspelt key is an error that names it.

`config.yaml` (the preset `desk`) and the presets in `workflow/presets/` are read into `Settings`;
the JSON schema in `workflow/schemas/` is made from these classes. No torch here: the Snakefile
reads this module for every job.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from lastmile.closed import Closed, canonical, explain_errors
from lastmile.config.studies import (
    Composition,
    Heads,
    Layouts,
    Memory,
    Repair,
    Scaling,
    Transfer,
)
from lastmile.errors import LastmileError
from lastmile.storage.records import RecordError, read_yaml

SIZES = ("xs", "s", "m", "l", "paper")
SPLITS = ("train", "validation", "test", "people")
"""Splits of the worlds. `people` are those that people work on: no policy is evaluated on them."""


LARGEST = 1_000_000
"""Bytes of a file of settings."""


class ConfigError(LastmileError):
    """Settings that cannot be used; the message names the key and what was expected."""


class Worlds(Closed):
    """What is annotated, by whom, and how the interface looks."""

    difficulty: str = Field(
        "short",
        description=(
            "Named set of numbers in each task: `short` for small machines, `full` for the length "
            "of the published study."
        ),
    )
    source: str = Field(
        "synthetic",
        min_length=1,
        description=(
            "Where worlds come from: `synthetic`; `real` data that `lastmile fetch real` fetched, "
            "for the tasks that have some; or the folder of worlds that `lastmile import` made of "
            "data of your own."
        ),
    )
    style: str = Field(
        "typical",
        description=(
            "Style of the virtual annotator who makes the data: careful, typical, hasty, oracle or "
            "mixed. Changes may follow, such as typical+mistakes=0.2+uncorrected: mistakes=RATE, "
            "uncorrected, noticed_at_once, noticed_late, unexplored, unverified."
        ),
    )
    layouts: tuple[str, ...] = Field(
        ("right",),
        min_length=1,
        description="Layouts of the interface, drawn at random by episode.",
    )
    themes: tuple[str, ...] = Field(
        ("dark",), min_length=1, description="Themes of the interface, drawn at random by episode."
    )


class Episodes(Closed):
    """How many episodes each task records, by split. The splits differ by seed."""

    train: int = Field(1200, ge=1, le=10**7, description="Episodes to train on.")
    validation: int = Field(
        30,
        ge=1,
        le=10**7,
        description=(
            "Episodes for the validation loss during training; nothing that is reported is chosen "
            "by it."
        ),
    )
    test: int = Field(
        100,
        ge=2,
        le=10**7,
        description="Held-out worlds for skills, closed loop, recovery and probes.",
    )
    shared_test: int = Field(
        12,
        ge=2,
        le=10**7,
        description="The first of them: for policies of several tasks, and closed-loop curves.",
    )


class PolicySettings(Closed):
    """The policy. `size` sets all widths and depths."""

    size: Literal["xs", "s", "m", "l", "paper"] = Field(
        "s", description="The one dial for widths and depths; `paper` is the published transformer."
    )
    encoder: Literal["conv", "vit", "dinov2"] = Field(
        "conv",
        description="Screens to features: `conv` or `vit` from scratch, or (published) `dinov2`.",
    )
    backbone: Literal["small", "base", "large"] = Field(
        "base", description="Size of DINOv2, where that is the encoder."
    )
    weights: str = Field(
        "pretrained",
        min_length=1,
        description=(
            "Initial weights of DINOv2: `pretrained`, `random`, a folder, or a name on the "
            "Hugging Face hub."
        ),
    )
    context: Literal["frame", "patch"] = Field(
        "frame",
        description="Tokens of the transformer: one per frame, or (as published) all patches.",
    )
    head: Literal["pointer", "bins"] = Field(
        "pointer",
        description=(
            "`pointer` chooses a grid cell, then the place in it; `bins` has softmaxes over x and "
            "y, as published."
        ),
    )
    window: int = Field(
        20, ge=1, le=512, description="Screens that the policy sees: the last `window` ones."
    )

    @field_validator("backbone", "weights")
    @classmethod
    def _only_of_dinov2(cls, value: str, info: ValidationInfo) -> str:
        """Forget what only DINOv2 has, so that it makes no other policy stale."""
        if info.data.get("encoder") == "dinov2":
            return value
        default: str = cls.model_fields[info.field_name or ""].default
        return default


class Training(Closed):
    """How a policy is trained."""

    frames: int = Field(
        150_000, ge=1, le=10**12, description="Frames seen in training, repetitions counted."
    )
    batch: int = Field(2, ge=1, le=2**16, description="Global batch size, in windows.")
    accumulate: int = Field(
        1,
        ge=1,
        le=2**16,
        description="Micro-batches per update on each device: less memory, same result.",
    )
    devices: int = Field(
        1,
        ge=1,
        le=1024,
        description="GPUs (or, without any, processes on the CPU) that share a batch.",
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="Threads of a training run on the CPU; trained weights differ by it in bits.",
    )
    precision: Literal["auto", "32", "bf16", "fp16"] = Field(
        "auto",
        description=(
            "Arithmetic: `32`, or mixed with `bf16` or `fp16`; `auto` is bf16 where the hardware "
            "supports it."
        ),
    )
    compile: bool = Field(False, description="Compile encoder and transformer with torch.compile.")
    learning_rate: float = Field(
        1e-3, gt=0, description="Peak of AdamW, after warm-up; falls to a tenth along a cosine."
    )
    muon_rate: float = Field(
        0.02, ge=0, description="Peak of Muon, for hidden matrices; with 0 AdamW takes them, too."
    )
    encoder_rate: float = Field(
        1.0,
        gt=0,
        description="Learning rate of the encoder as a share of the others'; 0.1 as published.",
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW, for matrices only.")
    warmup: float = Field(
        0.025, ge=0, lt=1, description="Share of the updates in which the learning rate rises."
    )
    snapshots: int = Field(
        8,
        ge=1,
        le=1000,
        description=(
            "Policies kept along training at log-spaced numbers of frames, including the last."
        ),
    )
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="One training run per seed.")

    @field_validator("precision", mode="before")
    @classmethod
    def _precision(cls, value: Any) -> Any:
        return (
            "32" if value == 32 and not isinstance(value, bool) else value
        )  # YAML reads 32 as a number

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= seed < 2**32 for seed in seeds) or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must be distinct, from 0 to 2**32 - 1, got {list(seeds)}")
        return seeds


class Evaluation(Closed):
    """How policies are tested."""

    temperature: float = Field(0.4, gt=0, description="Sampling temperature in closed loop.")
    max_steps: int = Field(
        3,
        ge=1,
        le=1000,
        description=(
            "A rollout is cut off at this multiple of the median length of the annotator's "
            "episodes."
        ),
    )
    recovery_states: int = Field(
        100,
        ge=2,
        le=10**6,
        description="Mistakes to inject, each with a right annotation as control.",
    )
    resamples: int = Field(2000, ge=100, le=10**6, description="Bootstrap resamples for intervals.")


class Probes(Closed):
    """How linear probes are fitted."""

    frames: int = Field(
        6000,
        ge=50,
        le=10**7,
        description="Frames of the test episodes whose activations are probed.",
    )


RESERVED = ("reference",)
"""Names of folders in `results/` that no study may have: published results are kept there."""


class Settings(Closed):
    """All settings of a study."""

    name: str = Field(
        "desk",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the study; results go to `results/NAME`.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of all data.")
    tasks: tuple[str, ...] = Field((), description="Tasks to study; empty for all not held out.")
    worlds: Worlds = Worlds()
    episodes: Episodes = Episodes()
    policy: PolicySettings = PolicySettings()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    probes: Probes = Probes()
    scaling: Scaling = Scaling()
    transfer: Transfer = Transfer()
    heads: Heads = Heads()
    composition: Composition = Composition()
    repair: Repair = Repair()
    memory: Memory = Memory()
    layouts: Layouts = Layouts()
    recordings: tuple[str, ...] | None = Field(
        None,
        description=(
            "Folder of recordings of people that `lastmile play` wrote, or a list of folders: sets "
            "annotators and policies beside these people. Without any this is left out."
        ),
        json_schema_extra={
            "anyOf": [{"type": ["string", "array", "null"], "items": {"type": "string"}}]
        },
    )

    @field_validator("recordings", mode="before")
    @classmethod
    def _recordings(cls, folders: Any) -> Any:
        return [folders] if isinstance(folders, str) else folders

    @field_validator("tasks")
    @classmethod
    def _tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(tasks))  # in whatever order they are given, it is the same study

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"the folder results/{name} keeps published results; choose another")
        return name

    def canonical(self) -> str:
        """Return one JSON string with sorted keys: equal settings give equal strings."""
        return canonical(self.model_dump(mode="json"))


def parse(values: dict[str, Any], source: str = "config") -> Settings:
    """Return settings from a mapping.

    Raises:
        ConfigError: With one line per bad key: its name, what was expected, and what came.
    """
    from lastmile.tasks.known_names import check_names

    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a mapping of settings, got {type(values).__name__}")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain_errors(Settings, error, source)) from None
    try:
        check_names(settings, source)
    except LastmileError as error:
        raise ConfigError(str(error)) from None
    return settings


def load(path: str | Path, *overlays: str | Path) -> Settings:
    """Return settings from a YAML file and overlays.

    Overlays are merged as Snakemake does it: mappings are merged, everything else is replaced.

    Raises:
        ConfigError: Naming the file or key at fault.
    """
    values: dict[str, Any] = {}
    for part in (path, *overlays):
        _merge(values, read(part))
    return parse(values, str(overlays[-1] if overlays else path))


def read(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty file holds an empty one.

    Raises:
        ConfigError: Naming the file: it cannot be read, is too large, is no YAML or no mapping,
            gives a key twice, or uses aliases.
    """
    try:
        values = read_yaml(path, dict[str, Any] | None, "a mapping of settings", LARGEST)  # type: ignore[arg-type]  # a union is no class
    except RecordError as error:
        raise ConfigError(str(error)) from None
    return values or {}


def _merge(into: dict, new: dict) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def task_list(settings: Settings) -> tuple[str, ...]:
    """Return the tasks of a study: those named, or all that are not held out."""
    from lastmile.tasks import get_task, task_names

    return settings.tasks or tuple(name for name in task_names() if not get_task(name).held_out)


def schema() -> str:
    """Return the JSON schema of the settings, as in `workflow/schemas/settings.schema.json`."""
    return json.dumps(Settings.model_json_schema(), indent=2, sort_keys=True) + "\n"
