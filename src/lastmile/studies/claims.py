"""Claims and their verdicts.

A claim's rule is fixed in the code before any result is seen: it tests a hypothesis by where the
95 % interval of one quantity lies.

| verdict | when |
| --- | --- |
| null | the interval lies within the smallest effect of interest, on both sides of 0 |
| shown | the interval lies above 0 |
| contradicted | the interval lies below 0 |
| undecided | anything else: the data are too few to tell, see `Claim.detectable` |
| not testable | a precondition does not hold, see `Claim.reason` |

Preconditions are a quantity that could be measured, `LEAST_UNITS`, `LEAST_SEEDS` for hypotheses
about training, and what a study itself demands. How claims are put into words is in
`lastmile.studies.words`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from lastmile.closed import Closed
from lastmile.evaluation.statistics import Estimate
from lastmile.storage.records import read_json
from lastmile.studies.labels import ALL

Verdict: TypeAlias = Literal["shown", "contradicted", "null", "undecided", "not testable"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""Verdicts as they are stored."""
LEAST_UNITS = 8
"""Units (episodes, for instance) below which no interval is trusted."""
LEAST_SEEDS = 2
"""Training runs below which nothing is known about the noise between training runs."""
DETECTABLE = (1.960 + 0.842) / (2 * 1.960)
"""Smallest effect that a design detects in 80 % of the cases, per width of its 95 % interval."""
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
        detectable: The smallest effect that this design would have detected in 80 % of the cases;
            nan if it was not measured.
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
    verdict: Verdict
    unit: str
    detectable: float = np.nan
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
        smallest: The smallest effect of interest. Effects within it count as none; 0 if every
            effect is of interest.
    """

    claim: str
    statement: str
    statistic: str
    rule: str
    effect: Effect
    smallest: float = 0.0

    def test(
        self,
        estimate: Estimate,
        task: str,
        unit: str,
        units: int | None = None,
        seeds: int | None = None,
        reason: str = "",
        **details: str,
    ) -> Claim:
        """Return the claim that an estimate of the quantity leads to.

        Args:
            estimate: The quantity with its 95 % interval.
            task: The task it was measured on, or `ALL`.
            unit: Unit of inference, with the number of units.
            units: Number of units; None if it does not limit the claim.
            seeds: Number of training runs, for a hypothesis about training; None for one about the
                policies at hand.
            reason: Why the hypothesis is not testable although the quantity was measured, and what
                would make it so; empty if it is testable.
            **details: Texts for the names in braces in `statistic`.
        """
        if not reason and seeds is not None and seeds < LEAST_SEEDS:
            reason = (
                "one training run tells nothing about the noise between training runs; more "
                "`training.seeds` would"
            )
        if not reason and units is not None and units < LEAST_UNITS:
            reason = f"{units} units of inference, but no verdict is given below {LEAST_UNITS}"
        if not reason and not np.isfinite(estimate.value):
            reason = "the quantity could not be computed from these data"
        return Claim(
            claim=self.claim,
            statement=self.statement,
            task=task,
            statistic=self.statistic.format(**details),
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            rule=self.rule,
            verdict="not testable" if reason else verdict(estimate, self.smallest),
            unit=unit,
            detectable=DETECTABLE * (estimate.high - estimate.low),
            reason=reason,
        )

    def untestable(self, reason: str, task: str, **details: str) -> Claim:
        """Return the claim that the quantity could not be measured, and why."""
        told = replace(self, statistic=self.statistic.format(**details))
        return told.test(UNKNOWN, task, "none", reason=reason)


def verdict(estimate: Estimate, smallest: float = 0.0) -> Verdict:
    """Return the verdict on whether a quantity is above 0.

    An interval without width comes from too few units, or from units that are all alike, and
    decides nothing.

    Args:
        estimate: The quantity with its 95 % interval.
        smallest: The smallest effect of interest.
    """
    if not np.isfinite([estimate.low, estimate.high]).all() or estimate.low >= estimate.high:
        return "undecided"
    if max(-estimate.low, estimate.high) < smallest:
        return "null"
    if estimate.low > 0:
        return "shown"
    return "contradicted" if estimate.high < 0 else "undecided"


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
    verdict: Verdict
    unit: str
    detectable: float | None
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
            for name in ("value", "low", "high", "detectable")
        }
        claims.append(Claim(**{**values, **numbers}))
    return claims
