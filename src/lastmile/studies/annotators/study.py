"""The virtual annotators: how each style spends its clicks, errs and repairs, beside the three people of the published study."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.annotators import check
from lastmile.evaluation.statistics import Estimate, mean, ratio, wilson
from lastmile.screen.widgets import KINDS
from lastmile.studies.claims import Claim
from lastmile.studies.runs import Need

DRAWS = True
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
"""Lowest and highest of the three people of Chandok and Park (2026), on worlds of the length of `full`."""
NUMBER = 3


def needs(settings: Settings) -> list[Need]:
    return []


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task, difficulty, style (careful, typical, hasty, people), measure, value, low, high, n (worlds or people).

    Measures: `share:KIND` of clicks, mistakes and undos per placement, share of the mistakes repaired, success, steps. Intervals are 95 %, by
    bootstrap over worlds, for repairs and successes Wilson's; for people low and high are their range and value is its middle.
    """
    rows = []
    for task in task_list(settings):
        for style in SHOWN:
            worlds = [
                check(
                    task,
                    1,
                    style,
                    "start",
                    settings.worlds.difficulty,
                    settings.seed * EPISODES + k,
                )
                for k in range(EPISODES)
            ]
            rows += [
                (task, style, measure, *estimate, EPISODES)
                for measure, estimate in measures(worlds, settings.evaluation.resamples).items()
            ]
        for measure, (low, high) in PEOPLE.get(task, {}).items():
            rows.append((task, "people", measure, (low + high) / 2, low, high, NUMBER))
    made = pd.DataFrame(rows, columns=["task", "style", "measure", "value", "low", "high", "n"])
    made.insert(1, "difficulty", settings.worlds.difficulty)
    return made


def measures(worlds: list[dict], count: int) -> dict[str, Estimate]:
    """Estimates by measure from what `check` says of each world."""
    steps = np.array([world["steps"]["mean"] for world in worlds])
    clicks = {
        kind: np.array([world["actions"].get(kind, 0.0) for world in worlds]) * steps
        for kind in KINDS
    }
    placements = np.array([sum(world["verdicts"].values()) for world in worlds])
    wrong = placements - [world["verdicts"].get("right", 0) for world in worlds]
    made, left = np.array(
        [(world["mistakes"]["made"], world["mistakes"]["left"]) for world in worlds]
    ).T
    found = {
        f"share:{kind}": ratio(number, steps, count)
        for kind, number in clicks.items()
        if number.any()
    }
    found["mistakes per placement"] = ratio(wrong, placements, count)
    found["undos per placement"] = ratio(clicks["undo"], placements, count)
    if made.any():
        found["repaired"] = wilson(int(made.sum() - left.sum()), int(made.sum()))
    found["success"] = wilson(int(sum(world["success"] for world in worlds)), len(worlds))
    found["steps"] = mean(steps, count)
    return found


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    return []
