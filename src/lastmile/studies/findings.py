"""The findings page: the findings of the abstract, how well the policies do the tasks, every claim.

The page is Markdown. It is made of the claims of all studies, the tables of the studies `emergence`
and `mistakes`, and what the original study reports (`workflow/expected/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lastmile.closed import Closed
from lastmile.storage.records import read_yaml
from lastmile.studies.abstract import abstract_lines
from lastmile.studies.claims import VERDICTS, Claim
from lastmile.studies.labels import ALL
from lastmile.studies.words import NOT_MEASURED, effects, estimate, in_words, ledger

VERDICT_WORDS: dict[str, str] = {
    "shown": "shown here",
    "contradicted": "the opposite was measured here",
    "null": "no effect here",
    "undecided": "undecided here",
    "not testable": "not testable here",
}
"""Verdicts as a reader sees them: about this run, not about the original study."""
SHORT_WORDS = {**{name: name for name in VERDICTS}, "contradicted": "opposite measured"}
"""The same where verdicts are counted by task."""
SUMMARY_WORDS = {
    **VERDICT_WORDS,
    "contradicted": "where the opposite was measured here",
    "null": "where there is no effect here",
}
"""The same where claims are counted."""
NOTE = (
    "A verdict is about the policies of this run on held-out worlds, by a rule fixed beforehand. "
    "*Shown here*: the whole 95 % interval lies on the side that the claim says. "
    "*The opposite was measured here*: the whole interval lies on the other side, for these "
    "policies and this amount of training (`contradicted` in the JSON file). "
    "*No effect here*: the whole interval is too small to be of interest (`null`). "
    "*Undecided here*: the interval includes both 0 and effects of interest; in square brackets, "
    "the smallest effect that these data would have shown in 80 % of the cases. "
    "*Not testable here*: a precondition does not hold, which is said. "
    "In round brackets: 95 % intervals, not corrected for the number of claims: of 20 verdicts by "
    "task on effects that are not there, one is expected to be wrong. Claims about training "
    "contain the noise between training runs, claims about people that between people; all others "
    "are about the policies of this run."
)


class PublishedFigure(Closed):
    """A number that the original study reports, and where ours is.

    Attributes:
        what: What it is, in words.
        study: The study whose table holds ours.
        where: The values of the columns of our row; of several rows, the one after the most frames.
        published: The number.
    """

    what: str
    study: str
    where: dict[str, str]
    published: int | float


class _Expected(Closed):
    """A file of `workflow/expected/`."""

    claims: dict[str, str] = {}
    figures: tuple[PublishedFigure, ...] = ()


class Published(NamedTuple):
    """What the original study reports.

    Attributes:
        claims: Text by claim.
        figures: Numbers that can be looked up in our tables, see `beside`.
    """

    claims: dict[str, str]
    figures: list[PublishedFigure]


def read_published(paths: Iterable[str | Path]) -> Published:
    """Read the files of `workflow/expected/`.

    Raises:
        RecordError: A file is not YAML or holds something else; the message names the place.
    """
    claims: dict[str, str] = {}
    figures: list[PublishedFigure] = []
    for path in paths:
        read = read_yaml(path, _Expected, "what the original study reports")
        claims |= read.claims
        figures += read.figures
    return Published(claims, figures)


def with_published(claims: list[Claim], published: Published) -> list[Claim]:
    """Return the claims with what the original study reports on each."""
    return [replace(claim, published=published.claims.get(claim.claim, "")) for claim in claims]


def beside(published: Published, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Set our numbers beside the published ones.

    Args:
        published: Each of its figures names the study whose table to look in, the values of the
            columns of its row (of several rows, the one after the most frames), and the number.
        tables: Tables by study.

    Returns:
        A table with the columns what, task, value, low, high, published. Figures whose row is
        missing are left out.
    """
    rows = []
    for figure in published.figures:
        table = tables.get(figure.study)
        if table is None:
            continue

        matching = table
        for column, value in figure.where.items():
            matching = matching[matching[column] == value]
        if len(matching):
            if "frames" in matching:
                matching = matching.sort_values("frames").iloc[-1:]
            row = matching.iloc[0]
            estimate = (row["value"], row["low"], row["high"])
            task = figure.where.get("task", "")
            rows.append((figure.what, task, *estimate, str(figure.published)))
    return pd.DataFrame(rows, columns=["what", "task", "value", "low", "high", "published"])


def summary(claims: list[Claim]) -> str:
    """Say how many claims were tested, and how many came out in which way."""
    lines = ledger(claims)
    counts = Counter(line.whole.verdict for line in lines)
    parts = [
        f"{counts[name]} {SUMMARY_WORDS[name]}"
        for name in VERDICTS
        if counts[name] or name == "shown"
    ]
    return f"{len(lines)} claims tested: {', '.join(parts)}."


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """Say of each study that is not part of this run why it is not."""
    return [f"Not part of this run: {name} ({reason})." for name, reason in left_out.items()]


def performance(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how well the policies do the tasks.

    Args:
        tables: Tables of the studies `emergence` and `mistakes`, as far as there are any.

    Returns:
        One row per task, ending with the mean over tasks (`ALL`) if there are several. Columns:
        task, and value, low and high of success and score of the policy in closed loop, success of
        the annotator, and of the teacher-forced accuracy of placement (within 5 px) of the policy
        at the end of training, with its ceiling (annotator self-agreement). Names of columns are
        `QUANTITY`, `QUANTITY low` and `QUANTITY high`; nan where something was not measured.
    """
    by_quantity: dict[str, pd.DataFrame] = {}
    played, skills = tables.get("mistakes"), tables.get("emergence")
    if played is not None:
        for quantity, who, measure in (
            ("success", "policy", "success"),
            ("score", "policy", "score"),
            ("success of the annotator", "annotator", "success"),
        ):
            rows = played[(played["who"] == who) & (played["measure"] == measure)]
            by_quantity[quantity] = rows.set_index("task")
    if skills is not None:
        shares = skills[(skills["measure"] == "share") & (skills["skill"] == "placement@5")]
        for quantity, predictor in (("placement", "policy"), ("self-agreement", "ceiling")):
            rows = shares[shares["predictor"] == predictor].sort_values("frames", kind="stable")
            by_quantity[quantity] = rows.groupby("task").tail(1).set_index("task")

    tasks = sorted({task for rows in by_quantity.values() for task in rows.index} - {ALL})
    lines = []
    for task in tasks:
        line: dict[str, Any] = {"task": task}
        for quantity, rows in by_quantity.items():
            for column, suffix in (("value", ""), ("low", " low"), ("high", " high")):
                line[quantity + suffix] = rows[column].get(task, np.nan)
        lines.append(line)
    if len(tasks) > 1:
        means = pd.DataFrame(lines)[list(by_quantity)].astype(float).mean()  # nan is skipped
        lines.append({"task": ALL, **means.to_dict()})
    return pd.DataFrame(lines)


def _percent(value: float, low: float = np.nan, high: float = np.nan) -> str:
    """Return a share with its interval, in percent."""
    if not np.isfinite(value):
        return NOT_MEASURED
    interval = f" ({100 * low:.0f} to {100 * high:.0f})" if np.isfinite([low, high]).all() else ""
    return f"{100 * value:.0f} %{interval}"


def _score(value: float, low: float, high: float) -> str:
    """Return a score with its interval."""
    if not np.isfinite(value):
        return NOT_MEASURED
    interval = f" ({low:.2f} to {high:.2f})" if np.isfinite([low, high]).all() else ""
    return f"{value:.2f}{interval}"


def _title(task: str) -> str:
    return task.replace("_", " ").capitalize()


def _counted(claims: list[Claim]) -> str:
    """Count verdicts task by task; the tasks are named except for the commonest verdict."""
    counts = Counter(claim.verdict for claim in claims).most_common()
    parts = []
    for place, (name, count) in enumerate(counts):
        tasks = [_title(claim.task) for claim in claims if claim.verdict == name]
        named = f" ({', '.join(tasks)})" if place or len(tasks) == 1 else ""
        parts.append(f"{count} {SHORT_WORDS[name]}{named}")
    return "; ".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _performance_lines(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say how well the policies do the tasks, in a sentence and a table."""
    table = performance(tables)
    if table.empty:
        return []
    by_task = table[table["task"] != ALL]

    def average(quantity: str) -> str:
        return _percent(by_task[quantity].mean())

    def spread(quantity: str) -> str:
        values = by_task[quantity].dropna()
        if len(values) < 2:
            return ""
        return (
            f" on average over tasks ({100 * values.min():.0f} to {_percent(values.max())} by task)"
        )

    sentences = []
    if "success" in table and by_task["success"].notna().any():
        sentences.append(
            f"In closed loop, the policies succeed in {average('success')} of the held-out worlds"
            f"{spread('success')}; the annotators succeed in {average('success of the annotator')}."
        )
    if "placement" in table and by_task["placement"].notna().any():
        sentences.append(
            f"Teacher-forced, {average('placement')} of the placements are within 5 px"
            f"{spread('placement')}; annotator self-agreement is {average('self-agreement')}."
        )

    columns = {
        "success": "success in closed loop",
        "success of the annotator": "success of the annotator",
        "score": "score in closed loop",
        "placement": "placement within 5 px, teacher-forced",
        "self-agreement": "annotator self-agreement on it",
    }
    shown = [quantity for quantity in columns if quantity in table]
    rows = []
    for _, row in table.iterrows():
        cells = [_title(row["task"])]
        for quantity in shown:
            ends = (row.get(f"{quantity} low", np.nan), row.get(f"{quantity} high", np.nan))
            cells.append(
                _score(row[quantity], *ends)
                if quantity == "score"
                else _percent(row[quantity], *ends)
            )
        rows.append(tuple(cells))
    head = ("task", *(columns[quantity] for quantity in shown))
    title = "## How well the policies do the tasks"
    return [title, "", " ".join(sentences), "", *_table(head, rows), ""]


def to_markdown(
    claims: list[Claim],
    name: str,
    compared: pd.DataFrame | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> str:
    """Return the findings page.

    Args:
        claims: Claims of all studies, in the order of the story.
        name: Name of the run of the study.
        compared: Our numbers beside the published ones, from `beside`.
        tables: Tables by study, for how well the policies do the tasks (see `performance`).
        left_out: Studies that are not part of this run, each with the reason.
    """
    words = effects()
    lines = [f"# Findings of `{name}`", ""]
    lines += abstract_lines(claims)
    lines += _performance_lines(tables or {})
    lines += ["## Claims", "", summary(claims), "", NOTE, ""]
    lines += [line for study in left_out_lines(left_out or {}) for line in (study, "")]
    lines += _table(
        ("claim", "verdict", "measured here", "on", "by task", "original study"),
        (
            (
                whole.statement,
                f"**{VERDICT_WORDS[whole.verdict]}**",
                in_words(whole, words.get(whole.claim)),
                _title(whole.task),
                _counted(by_task),
                whole.published,
            )
            for whole, by_task in ledger(claims)
        ),
    )

    if compared is not None and len(compared):
        lines += ["", "## Beside the published figures", ""]
        lines += _table(
            ("figure", "task", "here", "published"),
            (
                (
                    row["what"],
                    _title(row["task"]),
                    estimate(row["value"], row["low"], row["high"]),
                    row["published"],
                )
                for _, row in compared.iterrows()
            ),
        )

    by_task_lines = [line for line in ledger(claims) if line.by_task]
    if by_task_lines:
        lines += ["", "## Task by task", ""]
        lines += _table(
            ("claim", "task", "measured here", "verdict"),
            (
                (
                    claim.statement,
                    _title(claim.task),
                    in_words(claim, words.get(claim.claim)),
                    VERDICT_WORDS[claim.verdict],
                )
                for line in by_task_lines
                for claim in line.by_task
            ),
        )

    lines += ["", "## Rules", ""]
    lines += [
        f"- *{whole.statement}*: {whole.rule} Statistic: {whole.statistic}, here "
        f"{estimate(whole.value, whole.low, whole.high)}. Unit of inference: {whole.unit}."
        for whole, _ in ledger(claims)
    ]
    return "\n".join(lines) + "\n"
