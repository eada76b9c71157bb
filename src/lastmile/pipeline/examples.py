"""The example pages of a study: where they are, and what is known of the episode on each."""

from __future__ import annotations

from pathlib import Path

from lastmile.closed import Closed

FOLDER = "examples"
"""Folder of the pages, beside the report."""


class Player(Closed):
    """What one player did.

    Attributes:
        player: Who it was, in words.
        success: Whether the result is a success.
        steps: Number of clicks.
        first: First step, from 1, at which a mistake is `made`, `noticed` or `repaired`, if any.
    """

    player: str
    success: bool
    steps: int
    first: dict[str, int]


class Moments(Closed):
    """What happens when on a page.

    Attributes:
        episode: Name of the episode in links.
        players: The annotator and, if a policy plays, the policy.
    """

    episode: str
    players: tuple[Player, ...]


def page_of(results: Path, task: str) -> Path:
    """Return the page of a task."""
    return results / FOLDER / f"{task}.html"


def moments_of(page: Path) -> Path:
    """Return the file with the moments of a page."""
    return page.with_suffix(".json")
