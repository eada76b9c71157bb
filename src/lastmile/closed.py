"""Closed models.

Typed settings and specs that refuse unknown keys, and explain what is wrong in one line each.
"""

from __future__ import annotations

import difflib
import json
import reprlib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator


class Closed(BaseModel):
    """Values that refuse unknown keys and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_true_or_false(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse yes and no where a number is expected: Python takes them for 1 and 0."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and annotation is not bool and annotation is not Any:
            raise ValueError("expected a number or text, not true/false")
        return value

    def only(self, names: tuple[str, ...]) -> Any:
        """Return a copy that holds nothing but the named values; reading any other one is an error.

        Args:
            names: Dotted names, as `training.seeds`, or whole sections, as `training`.
        """
        sections: dict[str, list[str]] = {}
        for name in names:
            head, _, rest = name.partition(".")
            sections.setdefault(head, []).append(rest)
        copy = self.model_copy()
        for name in type(self).model_fields:
            if name not in sections:
                copy.__dict__.pop(name)
            elif "" not in sections[name]:
                copy.__dict__[name] = getattr(self, name).only(tuple(sections[name]))
        return copy

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise AttributeError(
                    f"'{name}' of {type(self).__name__} is read here but was not given; "
                    "a study names what it reads in READS"
                )
            return super().__getattr__(name)


def canonical(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def explain_errors(
    model: type[BaseModel], error: ValidationError, source: str, noun: str = "setting"
) -> str:
    """Return one line for each bad key of a model: its name, what was expected, and what came."""
    return "\n".join(f"{source}: {_explain(model, item, noun)}" for item in error.errors())


def _explain(root: type[BaseModel], item: Any, noun: str) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        *parents, key = item["loc"]
        model: Any = root
        for parent in parents:
            model = model.model_fields[parent].annotation
        known = list(model.model_fields)
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return f"unknown {noun} '{where}'{hint} (known: {', '.join(known)})"
    if item["type"] == "missing":
        return f"'{where}' is missing"
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{noun} '{where}': {message}, got {reprlib.repr(item['input'])}"
