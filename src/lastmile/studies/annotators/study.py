"""The virtual annotators: how each style spends its clicks, errs and repairs.

The three people of the published study stand beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import Estimate, mean, ratio, wilson
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Hypothesis
from lastmile.studies.runs import Need

if TYPE_CHECKING:
    import pandas as pd

DRAWS = True
READS = ("evaluation.resamples",)
COLUMNS = {
    "task": TEXT,
    "difficulty": TEXT,
    "style": TEXT,
    "measure": TEXT,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
HYPOTHESES: tuple[Hypothesis, ...] = ()
SHOWN = ("careful", "typical", "hasty")
EPISODES = 24
"""Worlds for each task and style; the same ones for all styles."""
PEOPLE = {
    "colored_dots": {
        "share:navigate": (0.666, 0.781),
        "share:place": (0.154, 0.229),
        "share:look": (0.049, 0.085),
        "share:undo": (0.006, 0.013),
        "undos per placement": (0.024, 0.076),
        "steps": (71, 111),
    }
}
"""Lowest and highest of the three people of Chandok and Park (2026), on worlds of `full` length."""
PEOPLE_COUNT = 3


def needs(settings: Settings) -> list[Need]:
    """Return nothing: the study runs the annotators itself."""
    return []


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task, `style` (careful, typical, hasty, or people) and `measure`: `share:KIND` of
    clicks, mistakes and undos per placement, share of the mistakes repaired, success, steps.

    The worlds have the study's own difficulty. Where people stand beside the annotators they are
    `full`, as theirs were.

    Intervals are 95 %, by bootstrap over worlds; for repairs and success Wilson's. For people, low
    and high are their range and value is its middle. `n` counts worlds or people.
    """
    import pandas as pd

    from lastmile.evaluation.annotators import check

    rows: list[tuple] = []
    for task in task_list(settings):
        difficulty = "full" if task in PEOPLE else settings.worlds.difficulty
        for style in SHOWN:
            worlds = [
                check(task, 1, style, "start", difficulty, settings.seed * EPISODES + k)
                for k in range(EPISODES)
            ]
            for measure, value in measures(worlds, settings.evaluation.resamples).items():
                rows.append((task, difficulty, style, measure, *value, EPISODES))
        for measure, (low, high) in PEOPLE.get(task, {}).items():
            middle = (low + high) / 2
            rows.append((task, difficulty, "people", measure, middle, low, high, PEOPLE_COUNT))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def measures(worlds: list[dict[str, Any]], count: int) -> dict[str, Estimate]:
    """Return estimates by measure.

    Args:
        worlds: What `lastmile.evaluation.annotators.check` reports on each world.
        count: Bootstrap resamples.
    """
    from lastmile.screen.widgets import KINDS

    steps = np.array([world["steps"]["mean"] for world in worlds])
    clicks = {
        kind: np.array([world["actions"].get(kind, 0.0) for world in worlds]) * steps
        for kind in KINDS
    }
    placements = np.array([sum(world["verdicts"].values()) for world in worlds])
    wrong = placements - [world["verdicts"].get("right", 0) for world in worlds]
    made = sum(world["mistakes"]["made"] for world in worlds)
    left = sum(world["mistakes"]["left"] for world in worlds)

    estimates = {
        f"share:{kind}": ratio(number, steps, count)
        for kind, number in clicks.items()
        if number.any()
    }
    estimates["mistakes per placement"] = ratio(wrong, placements, count)
    estimates["undos per placement"] = ratio(clicks["undo"], placements, count)
    if made:
        estimates["repaired"] = wilson(int(made - left), int(made))
    estimates["success"] = wilson(int(sum(world["success"] for world in worlds)), len(worlds))
    estimates["steps"] = mean(steps, count)
    return estimates


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Return nothing: the study makes no claims."""
    return []
