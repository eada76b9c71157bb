"""Claims and verdicts. A claim's rule stands in the code before any result is seen: an interval, and which side of which value it must lie."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lastmile.evaluation.statistics import Estimate

VERDICTS = ("shown", "not shown", "contradicted")


@dataclass(frozen=True)
class Claim:
    """One claim, tested.

    claim: identifier. statement: in words. task: on which task. statistic: what was computed. value, low, high: estimate with its 95 % interval.
    rule: when it counts as shown. verdict: one of VERDICTS. unit: unit of inference and how many. published: what the original study reports.
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

    @classmethod
    def of(cls, estimate: Estimate, **fields: str) -> Claim:
        """The claim that the estimate's quantity is above 0, with its verdict."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high, verdict=verdict(estimate), **fields)


def verdict(estimate: Estimate, null: float = 0.0) -> str:
    """`shown` if the whole interval lies above `null`, `contradicted` if it lies below, else `not shown`."""
    if not np.isfinite([estimate.low, estimate.high]).all():
        return "not shown"
    return "shown" if estimate.low > null else "contradicted" if estimate.high < null else "not shown"


def to_json(claims: list[Claim]) -> str:
    rows = [{k: (None if isinstance(v, float) and not np.isfinite(v) else v) for k, v in asdict(claim).items()} for claim in claims]
    return json.dumps(rows, indent=2, sort_keys=True) + "\n"


def from_json(path: str | Path) -> list[Claim]:
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    return [Claim(**{k: (np.nan if v is None and k in ("value", "low", "high") else v) for k, v in row.items()}) for row in rows]


def to_markdown(claims: list[Claim], name: str) -> str:
    """The ledger as Markdown: a summary line, then a table by claim."""
    counts = ", ".join(f"{sum(c.verdict == v for c in claims)} {v}" for v in VERDICTS)
    lines = [f"# Findings of `{name}`", "", f"{len(claims)} claims tested: {counts}.", ""]
    lines += ["A verdict is about these policies on held-out worlds; intervals are 95 %, by bootstrap over episodes. With one training seed", ""]
    lines[-2] += " a claim is about this training, not about trainings in general."
    lines += ["| claim | task | evidence | interval | verdict | published |", "| --- | --- | --- | --- | --- | --- |"]
    for c in claims:
        shown = f"{c.value:.3g}" if np.isfinite(c.value) else "n/a"
        span = f"[{c.low:.3g}, {c.high:.3g}]" if np.isfinite([c.low, c.high]).all() else "n/a"
        lines.append(f"| {c.statement} | {c.task} | {c.statistic}: {shown} | {span} | **{c.verdict}** | {c.published} |")
    rules = {c.statement: (c.rule, c.unit) for c in claims}
    lines += ["", "## Rules", ""] + [f"- *{statement}*: {rule} Unit of inference: {unit}." for statement, (rule, unit) in rules.items()]
    return "\n".join(lines) + "\n"
