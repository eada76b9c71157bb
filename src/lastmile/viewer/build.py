"""From tasks, recordings and policies to the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lastmile.errors import LastmileError
from lastmile.simulation.source import Source
from lastmile.tasks import get_task
from lastmile.viewer import episodes as make
from lastmile.viewer import page

FIRST = "0-9"
"""Episodes of a task that are shown by default."""


class Written(NamedTuple):
    """What a page shows: numbers of episodes, and of steps of all players."""

    episodes: int
    steps: int


def view(
    sources: Sequence[Source | Path],
    out: str | Path,
    *,
    policy: str | Path | None = None,
    play: str | Path | None = None,
    alone: bool = False,
    temperature: float = 0.4,
    episodes: str | None = None,
    on_task: Callable[[str], None] | None = None,
) -> Written:
    """Write a page that shows episodes step by step.

    Args:
        sources: What is shown: sources of the virtual annotator, or Parquet files of recordings.
        out: The HTML file.
        policy: Name or folder of a policy that predicts every step; by default the one that plays.
        play: Name or folder of a policy that plays the same worlds, as a second player.
        alone: Whether to leave out everybody but the policy that plays.
        temperature: Temperature at which it plays, above 0.
        episodes: Their numbers in each source, such as "0,3,5" or "0-9"; by default the first ten.
        on_task: Called with the name of the task of each source before any work on it.

    Raises:
        LastmileError: A task, style, difficulty or episode is unknown, a recording or a policy
            cannot be used, or an argument is impossible.
    """
    chosen = None if episodes is None else make.numbers(episodes)
    if alone and play is None:
        raise LastmileError("alone: expected a policy that plays, got none")
    for source in sources:
        if isinstance(source, Source):
            get_task(source.task).difficulty(source.difficulty)
            if on_task is not None:
                on_task(source.task)

    # Policies are read before anything is recorded: a wrong folder is refused at once.
    predictor_folder = policy if policy is not None else play
    predictor = player = None
    if predictor_folder is not None:
        from lastmile.released.loading import Policy

        predictor = Policy.load(predictor_folder)
        player = predictor if play == predictor_folder else play and Policy.load(play)

    shown: list[make.Episode] = []
    for source in sources:
        if isinstance(source, Source):
            of_source = make.of_task(source, chosen or make.numbers(FIRST))
        else:
            of_source = make.of_recording(source, chosen)
            if on_task is not None:
                on_task(of_source[0].source.task)
        if player:
            of_source = make.with_rollouts(of_source, player, _name(play), temperature)
        if alone:
            of_source = [replace(episode, tracks=episode.tracks[-1:]) for episode in of_source]
        shown += of_source
    if not 0 < len(shown) <= make.MOST:
        raise LastmileError(f"episodes: expected 1 to {make.MOST} on a page, got {len(shown)}")
    if predictor is not None:
        shown = make.with_predictions(shown, predictor)

    titles = dict.fromkeys(get_task(e.source.task).interface.title for e in shown)
    title = next(iter(titles)) if len(titles) == 1 else f"{len(titles)} tasks"
    page.write(out, shown, f"lastmile: {title}", _name(predictor_folder))
    steps = sum(len(track.session.steps) for e in shown for track in e.tracks)
    return Written(len(shown), steps)


def _name(folder: str | Path | None) -> str:
    """Return what to call a policy: its name, or the last two parts of the path of its folder."""
    return "" if folder is None else "/".join(Path(folder).parts[-2:])
