"""The spec of a training run. Imports no torch, so that a plan can check specs without it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lastmile.closed import Closed, canonical, explain_errors
from lastmile.config import PolicySettings, Training
from lastmile.errors import LastmileError
from lastmile.storage.records import read_json

LARGEST = 1_000_000
"""Bytes of the largest file with a spec."""


class RunSpec(Closed):
    """What a training run is, apart from its tokens and the policy that it starts from.

    `training.seeds` says which runs a study needs; in the spec of one run it has no meaning.
    """

    run: dict[str, str | int] = Field(
        {}, description="Labels by which a run is told from others, as in the tables."
    )
    seed: int = Field(
        ge=0, strict=True, description="Seed of the initial weights and of the order of windows."
    )
    policy: PolicySettings
    training: Training
    episodes: int | None = Field(
        None, ge=1, strict=True, description="Train on the first episodes of each task only."
    )
    stretch: int | None = Field(
        None,
        ge=1,
        strict=True,
        description=(
            "Draw stretches of at most so many frames, `training.batch` per update, and cut each "
            "into windows: policies with different windows then see the same frames in each update."
        ),
    )

    @classmethod
    def parse(cls, values: object, source: str = "spec") -> RunSpec:
        """Return the spec that `values` hold.

        Args:
            values: A mapping, as read from JSON.
            source: Where they come from, for messages.

        Raises:
            LastmileError: With one line for each key that is missing, unknown or wrong.
        """
        if not isinstance(values, dict):
            raise LastmileError(f"{source}: expected a mapping, got {type(values).__name__}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise LastmileError(explain_errors(cls, error, source, "key")) from None

    def values(self) -> dict[str, Any]:
        """Return the spec as JSON values, with all settings: equal specs give equal values."""
        own = set(RunSpec.model_fields)
        return self.model_dump(
            mode="json", exclude_none=True, include=own, exclude={"training": {"seeds"}}
        )


class KeptSpec(RunSpec):
    """What `runs/KEY/spec.json` holds: the spec of a run, its data and its code."""

    data: dict[str, str] = Field({}, description="Digests of the files that were read, by name.")
    code: str = Field("", description="Fingerprint of the code.")


class ProgressLine(Closed):
    """A line of `runs/KEY/progress.jsonl`."""

    step: int = Field(ge=1)
    frames: int = Field(ge=1)
    loss: float
    learning_rate: float
    validation_loss: float | None
    frames_per_s: float = Field(ge=0)
    wait_share: float
    seconds_left: float = Field(ge=0)


def run_key(spec: Mapping[str, Any]) -> str:
    """Return the name of a run's folder in `runs/`: a hash of its whole spec."""
    return hashlib.blake2b(canonical(spec).encode(), digest_size=8).hexdigest()


def read_spec(path: Path) -> KeptSpec:
    """Return what a folder of work in progress is for.

    Raises:
        RecordError: The file cannot be read, or is no such spec.
    """
    return read_json(path, KeptSpec, "the spec of a training run", LARGEST)
