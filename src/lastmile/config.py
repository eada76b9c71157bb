"""The settings of a study, typed and closed: an unknown or misspelt key is an error that names it.

`config.yaml` (the preset `desk`) and the presets in `workflow/presets/` are read into `Settings`; the JSON schema in `workflow/schemas/` is
made from these classes. No torch here: the Snakefile reads this module for every job.
"""

from __future__ import annotations

import difflib
import json
import reprlib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

SIZES = ("xs", "s", "m", "l", "paper")
SPLITS = ("train", "validation", "test")


LARGEST = 1_000_000
"""Bytes of a file of settings."""


class ConfigError(ValueError):
    """Settings that cannot be used; the message names the key and what was expected."""


class Closed(BaseModel):
    """Settings that refuse unknown keys and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Worlds(Closed):
    """What is annotated, by whom, and how the interface looks."""

    difficulty: str = Field(
        "short",
        description="Named set of numbers in each task: `short` for small machines, `full` for the study's length.",
    )
    style: str = Field(
        "typical",
        description="Style of the virtual annotator who makes the data: careful, typical, hasty or oracle.",
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

    train: int = Field(1200, ge=1, description="Episodes to train on.")
    validation: int = Field(
        30,
        ge=1,
        description="Episodes for the curves during training; never used to choose anything that is reported.",
    )
    test: int = Field(
        100,
        ge=2,
        description="Held-out episodes: skills, closed loop, recovery and probes are measured on these worlds.",
    )
    shared_test: int = Field(
        12,
        ge=2,
        description="Of them, those on which the skills of a policy for several tasks, and closed loop along a training, are measured, for each task.",
    )


class PolicySettings(Closed):
    """The policy. `size` sets all widths and depths."""

    size: Literal["xs", "s", "m", "l", "paper"] = Field(
        "s", description="The one dial for widths and depths; `paper` is the published transformer."
    )
    encoder: Literal["conv", "vit", "dinov2"] = Field(
        "conv",
        description="From screens to features: `conv` or `vit` from scratch, or `dinov2`, as published.",
    )
    backbone: Literal["small", "base", "large"] = Field(
        "base", description="Size of DINOv2, where that is the encoder."
    )
    weights: str = Field(
        "pretrained",
        min_length=1,
        description="What DINOv2 begins with: `pretrained`, `random`, a folder, or a name on the Hugging Face hub.",
    )
    context: Literal["frame", "patch"] = Field(
        "frame",
        description="Tokens of the transformer: one a frame, or all patches of all frames, as published.",
    )
    head: Literal["pointer", "bins"] = Field(
        "pointer",
        description="`pointer` chooses a grid cell, then the place inside it; `bins` has softmaxes over x and y, as published.",
    )
    window: int = Field(
        20, ge=1, le=512, description="Screens that the policy sees: the last `window` ones."
    )


class Training(Closed):
    """How a policy is trained."""

    frames: int = Field(150_000, ge=1, description="Frames seen in training, repetitions counted.")
    batch: int = Field(4, ge=1, description="Windows a step, on all devices together.")
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts in which a device takes its windows of a step, one after the other: less memory, same result.",
    )
    devices: int = Field(
        1,
        ge=1,
        description="GPUs (without any, processes on the CPU) that share the windows of a step.",
    )
    precision: Literal["auto", "32", "bf16", "fp16"] = Field(
        "auto",
        description="Numbers of the training: `32`, or mixed with `bf16` or `fp16`; `auto` is bf16 where the hardware multiplies it.",
    )
    compile: bool = Field(False, description="Compile encoder and transformer with torch.compile.")
    learning_rate: float = Field(
        1e-3,
        gt=0,
        description="Peak learning rate of AdamW, after warm-up; falls to a tenth along a cosine.",
    )
    encoder_rate: float = Field(
        1.0,
        gt=0,
        description="Learning rate of the encoder as a share of the others'; 0.1 as published.",
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW, on matrices only.")
    warmup: float = Field(
        0.025, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    snapshots: int = Field(
        8,
        ge=1,
        description="Policies kept along the training at log-spaced numbers of frames, the last one included.",
    )
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="One training for each seed.")

    @field_validator("precision", mode="before")
    @classmethod
    def _precision(cls, value: Any) -> Any:
        return (
            "32" if value == 32 and not isinstance(value, bool) else value
        )  # YAML reads 32 as a number

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if any(seed < 0 for seed in seeds) or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must be distinct and not negative, got {list(seeds)}")
        return seeds


class Evaluation(Closed):
    """How policies are tested."""

    temperature: float = Field(0.4, gt=0, description="Sampling temperature in closed loop.")
    max_steps: int = Field(
        3,
        ge=1,
        description="A rollout ends after this many times the median length of the annotator's episodes.",
    )
    recovery_states: int = Field(
        100,
        ge=2,
        description="States for the recovery test, each with and without an injected mistake.",
    )
    recovery_steps: int = Field(
        15, ge=1, description="Steps in which an injected mistake is to be repaired."
    )
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples for intervals.")


class Probes(Closed):
    """How linear probes are fitted."""

    frames: int = Field(
        6000, ge=50, description="Frames of the test episodes whose activations are probed."
    )


class Scaling(Closed):
    """The policies that learn all tasks together. `policy.size` on all data is always one of them."""

    sizes: tuple[Literal["xs", "s", "m", "l"], ...] = Field(
        ("xs", "s", "m"), description="Sizes to compare, on all data."
    )
    frames: int = Field(
        40_000, ge=1, description="Frames that each of them sees, of all tasks together."
    )
    episodes: tuple[int, ...] = Field(
        (50, 250),
        description="Smaller numbers of distinct episodes of each task, at `policy.size`.",
    )


class Transfer(Closed):
    """Fine-tuning to tasks that were not seen, against training from scratch."""

    held_out: tuple[tuple[str, ...], ...] = Field(
        (),
        description="Groups of tasks: each is left out of one pretraining. Tasks not studied are passed over.",
    )
    frames: int = Field(
        8_000,
        ge=1,
        description="Frames of a fine-tuning and of a training from scratch; pretraining sees `scaling.frames`.",
    )
    episodes: int = Field(100, ge=1, description="Distinct episodes of the new task, for both.")


class Heads(Closed):
    """The published head and context against ours, on the same data."""

    tasks: tuple[str, ...] = Field(
        (), description="Tasks of the contest. Tasks not studied are passed over."
    )
    size: Literal["xs", "s", "m", "l"] = Field("xs", description="Size of both.")
    frames: int = Field(6_000, ge=1, description="Frames that both see.")


class Settings(Closed):
    """All settings of a study."""

    name: str = Field(
        "desk",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the study; its results lie in `results/NAME`.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of all data.")
    tasks: tuple[str, ...] = Field((), description="Tasks to study; empty for all that exist.")
    worlds: Worlds = Worlds()
    episodes: Episodes = Episodes()
    policy: PolicySettings = PolicySettings()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    probes: Probes = Probes()
    scaling: Scaling = Scaling()
    transfer: Transfer = Transfer()
    heads: Heads = Heads()

    def canonical(self) -> str:
        """One JSON string, keys sorted: equal settings give equal strings."""
        return canonical(self.model_dump(mode="json"))


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse(values: dict[str, Any], source: str = "config") -> Settings:
    """Settings from a mapping.

    Raises ConfigError with one line for each bad key: its name, what was expected, and what came.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a mapping of settings, got {type(values).__name__}")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain_errors(Settings, error, source)) from None
    _check_names(settings, source)
    return settings


def load(path: str | Path, *overlays: str | Path) -> Settings:
    """Settings from a YAML file and overlays, merged as Snakemake does: mappings are merged, everything else is replaced.

    Raises ConfigError naming the file or key at fault.
    """
    values: dict[str, Any] = {}
    for part in (path, *overlays):
        try:
            if Path(part).stat().st_size > LARGEST:
                raise ConfigError(f"{part}: is larger than {LARGEST} bytes, which no settings are")
            read = yaml.load(Path(part).read_text(encoding="utf-8"), PlainYaml)
        except OSError as error:
            raise ConfigError(f"{part}: cannot be read ({error.strerror})") from None
        except ConfigError:
            raise
        except (
            yaml.YAMLError,
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
            OverflowError,
            RecursionError,
        ) as error:  # of its constructors, too
            raise ConfigError(
                f"{part}: is not valid YAML ({(str(error).splitlines() or [type(error).__name__])[0]})"
            ) from None
        if read is not None and not isinstance(read, dict):
            raise ConfigError(f"{part}: expected a mapping of settings, got {type(read).__name__}")
        _merge(values, read or {})
    return parse(values, str(overlays[-1] if overlays else path))


class PlainYaml(yaml.SafeLoader):
    """YAML without aliases, which a few lines of can stand for gigabytes, and without keys given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"an alias, *{self.peek_event().anchor}: write the value out")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise yaml.YAMLError(f"'{twice}' is given twice")
        return node


def _merge(into: dict, new: dict) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def explain_errors(
    model: type[BaseModel], error: ValidationError, source: str, noun: str = "setting"
) -> str:
    """Return what pydantic found wrong, in one line per bad key.

    Each line names the source and the key, and says what was expected and what came; for an
    unknown key it suggests the closest one and lists those that exist.

    Args:
        model: The class that was validated.
        error: What its validation raised.
        source: Where the values come from: a file or an option.
        noun: What a key of this source is called.
    """
    return "\n".join(f"{source}: {_explain(model, item, noun)}" for item in error.errors())


def _explain(model: Any, item: Any, noun: str) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        problem = f"{item['msg'][0].lower()}{item['msg'][1:]}"
        return f"{noun} '{where}': {problem}, got {reprlib.repr(item['input'])}"

    *parents, key = item["loc"]
    for parent in parents:
        model = model.model_fields[parent].annotation
    known = list(model.model_fields)
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"unknown {noun} '{where}'{hint} (known: {', '.join(known)})"


def _check_names(settings: Settings, source: str) -> None:
    """Names that live in folders and tables rather than in types: tasks, difficulties, styles, layouts, themes."""
    from lastmile.screen import LAYOUTS, THEMES
    from lastmile.tasks import get_task, task_names
    from lastmile.tasks.annotator import STYLES

    def known(key: str, name: str, names: Any) -> None:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ConfigError(
                f"{source}: setting '{key}': unknown '{name}'{hint} (known: {', '.join(names)})"
            )

    held_out = [task for group in settings.transfer.held_out for task in group]
    for key, tasks in (
        ("tasks", settings.tasks),
        ("transfer.held_out", held_out),
        ("heads.tasks", settings.heads.tasks),
    ):
        for task in tasks:
            known(key, task, task_names())
    if len(set(settings.tasks)) != len(settings.tasks):
        raise ConfigError(
            f"{source}: setting 'tasks': a task is named twice in {list(settings.tasks)}"
        )
    if len(set(held_out)) != len(held_out):
        raise ConfigError(
            f"{source}: setting 'transfer.held_out': a task is named twice in {held_out}"
        )
    known("worlds.style", settings.worlds.style, STYLES)
    for layout in settings.worlds.layouts:
        known("worlds.layouts", layout, LAYOUTS)
    for theme in settings.worlds.themes:
        known("worlds.themes", theme, THEMES)
    for task in settings.tasks or task_names():
        known("worlds.difficulty", settings.worlds.difficulty, get_task(task).difficulties)


def task_list(settings: Settings) -> tuple[str, ...]:
    """The tasks of a study: those named, or all that exist."""
    from lastmile.tasks import task_names

    return settings.tasks or task_names()


def schema() -> str:
    """The JSON schema of the settings, as it lies in `workflow/schemas/settings.schema.json`."""
    return json.dumps(Settings.model_json_schema(), indent=2, sort_keys=True) + "\n"
