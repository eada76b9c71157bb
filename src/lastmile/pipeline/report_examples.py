"""Links of the report to the example pages, beside the figures that they illustrate."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lastmile.pipeline.examples import FOLDER, Moments
from lastmile.storage.records import read_json

SHOWN = {
    "emergence": (("", "all", "From the first click, policy beside annotator"),),
    "mistakes": (
        ("made", "policy", "Where the policy makes its first mistake"),
        ("repaired", "policy", "Where a mistake of the policy is first repaired"),
        ("made", "annotator", "Where the annotator makes its first mistake"),
        ("noticed", "annotator", "Where the annotator first notices one"),
    ),
    "annotators": (("", "annotator", "The annotator, from the first click"),),
}
"""What the links below the figure of a study lead to: which moment, whose, and in words."""


class Example(NamedTuple):
    """A page.

    Attributes:
        task: Name of the task.
        size: Bytes of the page.
        moments: What happens when.
    """

    task: str
    size: int
    moments: Moments


def read(pages: Sequence[Path], moments: Sequence[Path]) -> list[Example]:
    """Return the example pages, by their files and those of their moments.

    Raises:
        RecordError: The moments of a page cannot be used.
    """
    return [
        Example(page.stem, page.stat().st_size, read_json(path, Moments, "moments of an episode"))
        for page, path in zip(pages, moments, strict=True)
    ]


def introduction(examples: Sequence[Example]) -> str:
    """Return what the pages are, how their worlds were chosen, and a link to each, as HTML."""
    if not examples:
        return ""
    size = sum(example.size for example in examples) / 1e6
    both = "annotator and policy" if len(examples[0].moments.players) > 1 else "the annotator"
    return (
        f"<div class='examples'><p>More, step by step: {both} on one test world of each task. "
        "It is the first test world, chosen by its number and not by how the episode went. "
        f"{len(examples)} {'pages' if len(examples) > 1 else 'page'} in the folder "
        f"<code>{FOLDER}</code> beside this report, {size:.1f} MB in all; no server is needed."
        f"</p>{_line('From the first click', examples, '', 'all')}</div>"
    )


def beside(study: str, examples: Sequence[Example]) -> str:
    """Return links for below the figure of a study, as HTML; empty for most studies."""
    lines = [_line(words, examples, moment, who) for moment, who, words in SHOWN.get(study, ())]
    if not any(lines):
        return ""
    return (
        "<div class='examples'><p>Example episodes, on the first test world of each task.</p>"
        f"{''.join(lines)}</div>"
    )


def _line(words: str, examples: Sequence[Example], moment: str, who: str) -> str:
    links = ", ".join(filter(None, (_link(example, moment, who) for example in examples)))
    return f"<p>{words}: {links}.</p>" if links else ""


def _link(example: Example, moment: str, who: str) -> str:
    """Return a link to a moment of an episode; empty if it has none such, or no such player."""
    players = example.moments.players
    number = {"annotator": 1, "policy": 2, "all": 1}[who]
    if number > len(players):
        return ""
    step = players[number - 1].first.get(moment) if moment else 1
    if step is None:
        return ""
    view = {"annotator": "", "policy": "&v=2", "all": "&v=all" if len(players) > 1 else ""}[who]
    to = f"{FOLDER}/{example.task}.html#e={example.moments.episode}&s={step}{view}"
    place = f", step {step}" if moment else ""
    title = example.task.replace("_", " ")
    return f"<a href='{html.escape(to)}'>{html.escape(title)}{place}</a>"
