"""Claims and their verdicts.

A claim's rule is fixed in the code before any result is seen: it tests a hypothesis by where the
95 % interval of one quantity lies. What the claims of a study look like to a reader is in
`lastmile.studies.findings`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lastmile.closed import Closed
from lastmile.evaluation.statistics import Estimate
from lastmile.storage.records import read_json
from lastmile.studies.labels import ALL

VERDICTS = ("shown", "not shown", "contradicted", "not testable")
"""Verdicts as they are stored. `not testable`: too few data to compute the quantity at all."""
UNKNOWN = Estimate(np.nan, np.nan, np.nan)
"""The estimate of a quantity that could not be measured."""


class Effect(NamedTuple):
    """How to put the size of an effect into words, such as "placement comes 2.8 times later".

    Attributes:
        kind: `factor`: the value is the log2 of a ratio and is told as a ratio. `percent`: it is a
            difference of shares, told in percentage points. `difference`: it is told as it is.
        above: Words after the size if the value is above 0.
        below: Words after the size if the value is below 0.
        lead: Words before the size.
    """

    kind: Literal["factor", "percent", "difference"]
    above: str
    below: str
    lead: str = ""


@dataclass(frozen=True)
class Claim:
    """The result of testing one hypothesis on one task, or on all tasks together.

    Attributes:
        claim: Identifier of the hypothesis.
        statement: The hypothesis in words.
        task: The task it was tested on, or `ALL`.
        statistic: The quantity that was computed.
        value: Estimate of the quantity; nan if it was not measured.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        rule: When the hypothesis counts as shown.
        verdict: One of `VERDICTS`.
        unit: Unit of inference, with the number of units.
        published: What the original study reports.
        reason: Why the hypothesis was not testable; empty otherwise.
    """

    claim: str
    statement: str
    task: str
    statistic: str
    value: float
    low: float
    high: float
    rule: str
    verdict: str
    unit: str
    published: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Hypothesis:
    """What a study tests: that some quantity is above 0.

    Attributes:
        claim: Identifier.
        statement: The hypothesis in words.
        statistic: The quantity. Names in braces are filled in when it is tested.
        rule: When the hypothesis counts as shown.
        effect: How to put the quantity into words.
    """

    claim: str
    statement: str
    statistic: str
    rule: str
    effect: Effect

    def test(self, estimate: Estimate, task: str, unit: str, **details: str) -> Claim:
        """Return the claim that an estimate of the quantity leads to.

        Args:
            estimate: The quantity with its 95 % interval.
            task: The task it was measured on, or `ALL`.
            unit: Unit of inference, with the number of units.
            **details: Texts for the names in braces in `statistic`.
        """
        return Claim(
            claim=self.claim,
            statement=self.statement,
            task=task,
            statistic=self.statistic.format(**details),
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            rule=self.rule,
            verdict=verdict(estimate),
            unit=unit,
        )

    def untestable(self, reason: str, task: str, **details: str) -> Claim:
        """Return the claim that there are too few data to test the hypothesis, and why."""
        return Claim(
            claim=self.claim,
            statement=self.statement,
            task=task,
            statistic=self.statistic.format(**details),
            value=np.nan,
            low=np.nan,
            high=np.nan,
            rule=self.rule,
            verdict="not testable",
            unit="none",
            reason=reason,
        )


def verdict(estimate: Estimate, null: float = 0.0) -> str:
    """Return the verdict on whether a quantity is above `null`.

    `shown` if the whole interval is above it, `contradicted` if below, else `not shown`.
    An interval without width comes from too few units, or from units that are all alike, and shows
    nothing.
    """
    if not np.isfinite([estimate.low, estimate.high]).all() or estimate.low >= estimate.high:
        return "not shown"
    if estimate.low > null:
        return "shown"
    return "contradicted" if estimate.high < null else "not shown"


def whole_and_parts(tasks: list[str]) -> list[str]:
    """Return the tasks to report on: `ALL` first if there are several, then each."""
    return [ALL, *tasks] if len(tasks) > 1 else list(tasks)


class _Row(Closed):
    """A claim as it is written."""

    claim: str
    statement: str
    task: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    rule: str
    verdict: Literal["shown", "not shown", "contradicted", "not testable"]
    unit: str
    published: str = ""
    reason: str = ""


def to_json(claims: list[Claim]) -> str:
    """Return claims as JSON. Values that are not finite become null."""
    rows = []
    for claim in claims:
        row = {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in asdict(claim).items()
        }
        if not row["reason"]:
            del row["reason"]
        rows.append(row)
    return json.dumps(rows, indent=2, sort_keys=True) + "\n"


def from_json(path: str | Path) -> list[Claim]:
    """Read claims that `to_json` wrote.

    Raises:
        RecordError: The file holds something else; the message names the place.
    """
    claims = []
    for row in read_json(path, list[_Row], "the claims of a study"):
        values: dict[str, Any] = row.model_dump()
        numbers = {
            name: np.nan if values[name] is None else values[name]
            for name in ("value", "low", "high")
        }
        claims.append(Claim(**{**values, **numbers}))
    return claims
