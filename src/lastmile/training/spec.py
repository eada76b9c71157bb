"""The spec of a training run. Imports no torch, so that a plan can check specs without it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from lastmile.closed import Closed, explain_errors
from lastmile.config import PolicySettings, Training
from lastmile.errors import LastmileError


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
        return self.model_dump(mode="json", exclude_none=True, exclude={"training": {"seeds"}})
