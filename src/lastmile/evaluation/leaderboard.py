"""A table of the players whose evaluations are in a folder, each checked by replay."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lastmile.errors import LastmileError
from lastmile.evaluation.results_file import Conditions, EpisodeResult, Results, read, replay
from lastmile.evaluation.statistics import Estimate, mean, ratio, wilson
from lastmile.tasks.real import SYNTHETIC

ALL = "all"
"""What the rows over all tasks have in the column `task`."""
COLUMNS = (
    *("file", "name", "split", "difficulty", "seed", "worlds", "layout", "theme", "source", "task"),
    *("episodes", "success", "success_low", "success_high", "score", "score_low", "score_high"),
    *("mistakes_per_placement", "mistakes_low", "mistakes_high", "finished", "steps"),
)
"""Columns of the table as CSV."""


class Entry(NamedTuple):
    """A player in the table.

    Attributes:
        file: Name of its file.
        results: What is in it.
    """

    file: str
    results: Results


class Summary(NamedTuple):
    """Episodes in numbers, each with its interval over episodes.

    Attributes:
        episodes: Their number.
        success: Share of successes, with Wilson's interval.
        score: Mean score.
        mistakes: Mistakes per placement.
        finished: Share of the episodes that were ended with `Done`.
        steps: Mean number of clicks.
    """

    episodes: int
    success: Estimate
    score: Estimate
    mistakes: Estimate
    finished: float
    steps: float


def collect(folder: str | Path, problem: Callable[[str], None]) -> list[Entry]:
    """Read and replay the JSON files of a folder; those in folders within it are left alone.

    Args:
        folder: The folder.
        problem: Called with a line for each file that is left out, because it is no evaluation or
            its clicks do not give its scores.

    Returns:
        The others, in the order of their names.

    Raises:
        LastmileError: There is no JSON file.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise LastmileError(f"{folder}: holds no .json file; expected those of `lastmile evaluate`")
    entries = []
    for path in paths:
        try:
            results = read(path)
        except LastmileError as error:
            problem(str(error))
            continue
        found = replay(results)
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            problem(f"{path}: {found[0]}{more}")
        else:
            entries.append(Entry(path.name, results))
    return entries


def summarize(episodes: Sequence[EpisodeResult]) -> Summary:
    """Return episodes in numbers."""
    mistakes = [episode.mistakes for episode in episodes]
    return Summary(
        len(episodes),
        wilson(sum(episode.success for episode in episodes), len(episodes)),
        mean([episode.score for episode in episodes]),
        ratio(mistakes, [episode.placements for episode in episodes]),
        float(np.mean([episode.finished for episode in episodes])),
        float(np.mean([len(episode.clicks) for episode in episodes])),
    )


def summaries(results: Results) -> dict[str, Summary]:
    """Return the numbers of each task, and under `ALL` those of all episodes together.

    Every task has the same number of worlds, so success, score and steps of the latter are means
    over tasks.
    """
    every = [episode for result in results.tasks for episode in result.episodes]
    by_task = {result.task: summarize(result.episodes) for result in results.tasks}
    return {**by_task, ALL: summarize(every)}


def as_csv(entries: Iterable[Entry]) -> str:
    """Return the table as CSV, with a row for each player and task, and one for all its tasks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file, results in entries:
        under = results.conditions
        for task, numbers in summaries(results).items():
            writer.writerow(
                [
                    *(file, results.name, under.split, under.difficulty, under.seed),
                    *(under.worlds, under.layout, under.theme, under.source, task),
                    numbers.episodes,
                    *map(_cell, (*numbers.success, *numbers.score, *numbers.mistakes)),
                    *map(_cell, (numbers.finished, numbers.steps)),
                ]
            )
    return text.getvalue()


def as_markdown(entries: Iterable[Entry]) -> str:
    """Return the table as Markdown: a section for each of the conditions, the best player first.

    A player that was not evaluated on all tasks of a section has no means, and comes last.
    """
    sections: dict[Conditions, list[Entry]] = {}
    for entry in entries:
        sections.setdefault(entry.results.conditions, []).append(entry)
    lines = [
        "# Leaderboard",
        "",
        "Success is the share of worlds, with Wilson's interval of 95 %; other intervals of 95 %",
        "are bootstrapped over episodes. All scores were made again from the clicks in the files.",
    ]
    for conditions, players in sections.items():
        lines += ["", *_section(conditions, players)]
    return "\n".join(lines) + "\n"


def _section(conditions: Conditions, players: list[Entry]) -> list[str]:
    numbers = [summaries(player.results) for player in players]
    tasks = sorted({task for summary in numbers for task in summary} - {ALL})
    rows = []
    for player, summary in zip(players, numbers):
        whole = set(summary) >= set(tasks)
        total = summary[ALL]
        means = [_text(x) if whole else "" for x in (total.success, total.score, total.mistakes)]
        each = [_text(summary[task].success) if task in summary else "" for task in tasks]
        cells = [_plain(player.results.name), *means, str(total.episodes), *each]
        rows.append((not whole, -total.success.value, -total.score.value, cells))

    head = ["player", "success", "score", "mistakes per placement", "episodes", *tasks]
    real = "" if conditions.source == SYNTHETIC else f"{_plain(conditions.source)}, "
    title = (
        f"## Worlds: {real}{conditions.split}, {_plain(conditions.difficulty)}, "
        f"seed {conditions.seed}, {conditions.worlds} a task; look: {conditions.layout}, "
        f"{conditions.theme}"
    )
    table = [head, ["---"] * len(head), *(cells for *_, cells in sorted(rows))]
    return [title, "", *("| " + " | ".join(cells) + " |" for cells in table)]


def _cell(value: float) -> str:
    """Return a number of the CSV; what could not be estimated is left empty."""
    return f"{value:.4f}" if np.isfinite(value) else ""


def _text(estimate: Estimate) -> str:
    """Return an estimate as it stands in Markdown; empty if it could not be made."""
    return str(estimate) if np.isfinite(estimate.value) else ""


def _plain(name: str) -> str:
    """Return a name as it stands in a cell of Markdown."""
    return html.escape(name, quote=False).replace("|", "\\|")
