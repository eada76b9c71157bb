"""Players that are not trained, on the worlds on which policies are measured.

They tell what success and scores mean: what luck, habit and hand-written scripts reach, and an
annotator who makes no mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from lastmile.evaluation.playing import Player, RandomPlayer, play
from lastmile.evaluation.trigram import Episode, TrigramPlayer
from lastmile.screen import Look
from lastmile.simulation.pool import Rollout, describe
from lastmile.simulation.trajectory import Trajectories, record
from lastmile.tasks.script import has_script, make_script

PLAYERS = ("random", "trigram", "script", "oracle")
"""Who plays, as the column `who` says."""


def training_episodes(trajectories: Trajectories) -> list[Episode]:
    """Return widgets and clicks of recorded episodes, as the trigram reads them."""
    widgets = trajectories.steps["widget"].astype(str).tolist()
    starts = trajectories.starts
    return [
        (widgets[start:stop], trajectories.clicks(number))
        for number, (start, stop) in enumerate(zip(starts[:-1], starts[1:]))
    ]


def reference_table(
    test: Trajectories,
    training: Trajectories,
    max_factor: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Let all players work on the worlds of recorded episodes.

    Scripts know the default look alone, so they get it on every world.

    Args:
        test: The recording whose worlds they work on.
        training: The recording that the trigram is fitted to.
        max_factor: Episodes are truncated after this many times the annotator's median length.
        seed: Seed of the players that draw their clicks.
        progress: Called with the number of clicks after each episode.

    Returns:
        One row per episode and player, with `who` and the columns of `describe`. A task without a
        script has no rows of it.
    """
    name = test.source.task
    limit = int(max_factor * np.median(test.episodes["steps"]))
    players: dict[str, Player] = {
        "random": RandomPlayer(name, seed),
        "trigram": TrigramPlayer(name, seed, training_episodes(training)),
    }
    if has_script(name):
        players["script"] = make_script(name)

    rows = []
    for number in range(len(test.episodes)):
        replay = test.open(number)
        for who, player in players.items():
            look = Look() if who == "script" else replay.look
            rollout = Rollout(number, name, replay.world, look, limit)
            play(player, rollout)
            rows.append({"who": who, **describe(rollout)})
            if progress:
                progress(len(rollout.steps))
        oracle = record(replace(test.source, style="oracle"), number)
        clicks = list(zip(oracle.columns["x"], oracle.columns["y"]))
        rollout = Rollout(number, name, replay.world, replay.look, len(clicks))
        for _ in rollout.play(clicks):
            pass
        rows.append({"who": "oracle", **describe(rollout)})
    return pd.DataFrame(rows)
