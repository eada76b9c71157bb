"""Claims and verdicts. A claim's rule stands in the code before any result is seen: an interval, and which side of which value it must lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from lastmile.errors import LastmileError
from lastmile.evaluation.statistics import Estimate

ALL = "all tasks"
"""Stands in the place of a task for what is said of all together."""
VERDICTS = ("shown", "not shown", "contradicted")


@dataclass(frozen=True)
class Claim:
    """One claim, tested.

    claim: identifier. statement: in words. task: on which task, or ALL. statistic: what was computed. value, low, high: estimate with its 95 % interval.
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
        return cls(
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            verdict=verdict(estimate),
            **fields,
        )


def verdict(estimate: Estimate, null: float = 0.0) -> str:
    """`shown` if the whole interval lies above `null`, `contradicted` if it lies below, else `not shown`.

    An interval without any width comes of too few units, or of units that are all the same, and shows nothing.
    """
    if not np.isfinite([estimate.low, estimate.high]).all() or estimate.low >= estimate.high:
        return "not shown"
    return (
        "shown" if estimate.low > null else "contradicted" if estimate.high < null else "not shown"
    )


def to_json(claims: list[Claim]) -> str:
    rows = [
        {
            k: (None if isinstance(v, float) and not np.isfinite(v) else v)
            for k, v in asdict(claim).items()
        }
        for claim in claims
    ]
    return json.dumps(rows, indent=2, sort_keys=True) + "\n"


def from_json(path: str | Path) -> list[Claim]:
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    return [
        Claim(
            **{
                k: (np.nan if v is None and k in ("value", "low", "high") else v)
                for k, v in row.items()
            }
        )
        for row in rows
    ]


class Published(NamedTuple):
    """What the original study reports. claims: text by claim. figures: what can be looked up in our tables, see `beside`."""

    claims: dict[str, str]
    figures: list[dict[str, Any]]


def read_published(paths: Iterable[str | Path]) -> Published:
    """The files of `workflow/expected/`. Raises ValueError naming the file at fault."""
    claims: dict[str, str] = {}
    figures: list[dict[str, Any]] = []
    for path in paths:
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise LastmileError(
                f"{path}: is not valid YAML ({str(error).splitlines()[0]})"
            ) from None
        if not isinstance(values, dict) or set(values) - {"claims", "figures"}:
            raise LastmileError(f"{path}: expected a mapping with the keys claims and figures")
        claims |= values.get("claims") or {}
        figures += values.get("figures") or []
    return Published(claims, figures)


def with_published(claims: list[Claim], published: Published) -> list[Claim]:
    return [replace(claim, published=published.claims.get(claim.claim, "")) for claim in claims]


def beside(published: Published, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Our figures beside the published ones. Columns what, task, value, low, high, published.

    Each published figure names the study in whose table to look, the values of the columns of its row (of several rows the one with the most frames), and
    the published value. Figures whose row is not there are left out.
    """
    rows = []
    for figure in published.figures:
        table = tables.get(figure["study"])
        if table is None:
            continue
        found = table
        for column, value in figure["where"].items():
            found = found[found[column] == value]
        if len(found):
            row = found.sort_values("frames").iloc[-1] if "frames" in found else found.iloc[0]
            rows.append(
                (
                    figure["what"],
                    figure["where"].get("task", ""),
                    row["value"],
                    row["low"],
                    row["high"],
                    str(figure["published"]),
                )
            )
    return pd.DataFrame(rows, columns=["what", "task", "value", "low", "high", "published"])


class Line(NamedTuple):
    """A claim in the ledger: the verdict on all tasks together (or on the only one), and those task by task."""

    whole: Claim
    by_task: list[Claim]


def ledger(claims: list[Claim]) -> list[Line]:
    """The claims in their order, each with its verdicts by task."""
    grouped: dict[str, list[Claim]] = {}
    for claim in claims:
        grouped.setdefault(claim.claim, []).append(claim)
    found = []
    for group in grouped.values():
        whole = next((claim for claim in group if claim.task == ALL), group[0])
        found.append(Line(whole, [claim for claim in group if claim is not whole]))
    return found


def summary(claims: list[Claim]) -> str:
    """How many claims there are, with how many of each verdict."""
    counts = Counter(line.whole.verdict for line in ledger(claims))
    return f"{len(ledger(claims))} claims tested: {', '.join(f'{counts[verdict]} {verdict}' for verdict in VERDICTS)}."


def _number(value: float) -> str:
    return f"{0.0 if abs(value) < 1e-9 else value:.3g}" if np.isfinite(value) else "n/a"


def _span(claim: Claim) -> str:
    return f"{_number(claim.value)} [{_number(claim.low)}, {_number(claim.high)}]"


def _title(task: str) -> str:
    return task.replace("_", " ").capitalize()


def _counted(claims: list[Claim]) -> str:
    """Verdicts by task in a few words: those that differ from the commonest are named."""
    counts = Counter(claim.verdict for claim in claims).most_common()
    parts = []
    for place, (name, count) in enumerate(counts):
        tasks = [_title(claim.task) for claim in claims if claim.verdict == name]
        parts.append(
            f"{count} {name}" + (f" ({', '.join(tasks)})" if place or len(tasks) == 1 else "")
        )
    return "; ".join(parts)


NOTE = "A verdict is about these policies on held-out worlds, by the rule fixed beforehand; intervals are 95 %. With one training seed a claim is about this training."


def to_markdown(claims: list[Claim], name: str, compared: pd.DataFrame | None = None) -> str:
    """The ledger as Markdown: a summary, a table of claims, then verdicts task by task, published figures and rules."""
    lines = [f"# Findings of `{name}`", "", summary(claims), "", NOTE, ""]
    lines += [
        "| claim | on | evidence | value | verdict | by task | published |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for whole, by_task in ledger(claims):
        cells = (
            whole.statement,
            _title(whole.task),
            whole.statistic,
            _span(whole),
            f"**{whole.verdict}**",
            _counted(by_task),
            whole.published,
        )
        lines.append(f"| {' | '.join(cells)} |")
    if compared is not None and len(compared):
        lines += [
            "",
            "## Beside the published figures",
            "",
            "| figure | task | here | published |",
            "| --- | --- | --- | --- |",
        ]
        for row in compared.itertuples():
            lines.append(
                f"| {row.what} | {_title(row.task)} | {_number(row.value)} [{_number(row.low)}, {_number(row.high)}] | {row.published} |"
            )
    several = [line for line in ledger(claims) if line.by_task]
    if several:
        lines += [
            "",
            "## Task by task",
            "",
            "| claim | task | value | verdict |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {claim.statement} | {_title(claim.task)} | {_span(claim)} | {claim.verdict} |"
            for line in several
            for claim in line.by_task
        ]
    lines += ["", "## Rules", ""]
    lines += [
        f"- *{whole.statement}*: {whole.rule} Unit of inference: {whole.unit}."
        for whole, _ in ledger(claims)
    ]
    return "\n".join(lines) + "\n"


def to_rst(claims: list[Claim], name: str, compared: pd.DataFrame | None = None) -> str:
    """The same as the report's first page, in reStructuredText: claims, published figures and rules."""
    lines = [f"**Findings of {name}.** {summary(claims)} {NOTE}", ""]
    rows = [("claim", "evidence", "value", "verdict", "by task", "published")]
    for whole, by_task in ledger(claims):
        rows.append(
            (
                whole.statement,
                f"{_title(whole.task)}: {whole.statistic}",
                _span(whole),
                f"**{whole.verdict}**",
                _counted(by_task),
                whole.published,
            )
        )
    lines += _list_table(rows, (22, 24, 14, 10, 15, 15))
    if compared is not None and len(compared):
        rows = [("figure", "task", "here", "published")]
        rows += [
            (
                row.what,
                _title(row.task),
                f"{_number(row.value)} [{_number(row.low)}, {_number(row.high)}]",
                row.published,
            )
            for row in compared.itertuples()
        ]
        lines += ["", "**Beside the published figures**", "", *_list_table(rows, (40, 20, 20, 20))]
    lines += ["", "**Rules**", ""] + [
        f"- *{whole.statement}*: {whole.rule} Unit of inference: {whole.unit}."
        for whole, _ in ledger(claims)
    ]
    return "\n".join(lines) + "\n"


def _list_table(rows: list[tuple[str, ...]], widths: tuple[int, ...]) -> list[str]:
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        f"   :widths: {' '.join(map(str, widths))}",
        "",
    ]
    for row in rows:
        lines += [
            f"   {'* -' if not place else '  -'} {cell}".rstrip() for place, cell in enumerate(row)
        ]
    return lines
