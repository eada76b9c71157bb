"""Emergence: in which order skills come. Every skill over the frames seen, with its floor and its ceiling."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings
from lastmile.evaluation.statistics import interval, ratio, resamples
from lastmile.studies.claims import Claim

READS = ("skills",)
STAGES = {"mechanics": ("valid", "button"), "placement": ("placement@5",), "decisions": ("decision",)}
"""The stages of the published order, and the skills that stand for them (their mean)."""
LEARNED = 0.1
"""A skill that gains less than this over training was not learned: its half-way point is then put at the end of training."""


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task, seed, predictor (policy, ceiling, floor), frames, skill, value, low, high, episodes, steps."""
    rows = []
    for keys, part in inputs["skills"].groupby(["task", "seed", "predictor", "frames", "skill"], sort=True):
        if part["total"].sum() == 0:
            continue
        estimate = ratio(part["hits"].to_numpy(), part["total"].to_numpy(), settings.evaluation.resamples)
        rows.append((*keys, *estimate, len(part), int(part["total"].sum())))
    return pd.DataFrame(rows, columns=["task", "seed", "predictor", "frames", "skill", "value", "low", "high", "episodes", "steps"])


def half_gain(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Frames at which a skill has made half of its gain, on a logarithmic scale, for each row of values (samples, points).

    frames: (points,) increasing, the first one 0 (before training). The half-way point is the first crossing, linear in log(1 + frames).
    """
    scale = np.log1p(frames)
    start, end = values[:, :1], values[:, -1:]
    above = values >= start + (end - start) / 2
    above[:, -1] = True
    first = np.maximum(above.argmax(axis=1), 1)
    rows = np.arange(len(values))
    low, high = values[rows, first - 1], values[rows, first]
    middle = ((start + end) / 2)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.where(high > low, (middle - low) / (high - low), 1.0), 0, 1)
    at = scale[first - 1] + share * (scale[first] - scale[first - 1])
    learned = (end - start)[:, 0] >= LEARNED
    return np.where(learned, np.expm1(at), frames[-1])


def stage_samples(skills: pd.DataFrame, stage: str, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Frames (points,) and bootstrap values (1 + count, points) of a stage; the first row is the estimate itself. None if it never occurs."""
    policy = skills[skills["predictor"] == "policy"]
    frames = np.sort(policy["frames"].unique())
    parts = []
    for skill in STAGES[stage]:
        one = policy[policy["skill"] == skill]
        hits = one.pivot_table(index="episode", columns="frames", values="hits", aggfunc="sum").to_numpy(float)
        total = one.pivot_table(index="episode", columns="frames", values="total", aggfunc="sum").to_numpy(float)
        if total.sum() == 0:
            return None
        weights = np.vstack([np.ones(len(hits)), resamples(len(hits), count)])
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((weights @ hits) / (weights @ total))
    return frames, np.mean(parts, axis=0)


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    found = []
    count = settings.evaluation.resamples
    for task, skills in inputs["skills"].groupby("task", sort=True):
        halves = {}
        for stage in STAGES:
            per_seed = [stage_samples(part, stage, count) for _, part in skills.groupby("seed", sort=True)]
            if all(one is not None for one in per_seed):
                halves[stage] = np.mean([np.log(1 + half_gain(*one)) for one in per_seed], axis=0)
        for earlier, later in (("mechanics", "placement"), ("placement", "decisions"), ("mechanics", "decisions")):
            if earlier not in halves or later not in halves or ((earlier, later) == ("mechanics", "decisions") and "placement" in halves):
                continue
            difference = (halves[later] - halves[earlier]) / np.log(2)
            estimate = interval(difference[0], difference[1:])
            episodes, seeds = skills["episode"].nunique(), skills["seed"].nunique()
            found.append(
                Claim.of(
                    estimate,
                    claim=f"order: {earlier} before {later}",
                    statement=f"{earlier.capitalize()} come before {later}" if earlier == "mechanics" else f"{earlier.capitalize()} comes before {later}",
                    task=str(task),
                    statistic="log2 of the ratio of frames to half of the final gain",
                    rule="Shown if the interval of log2(frames to half gain of the later / of the earlier) lies above 0, contradicted if below.",
                    unit=f"episode ({episodes} held-out, {seeds} training seed{'s' if seeds > 1 else ''})",
                    published="skills emerge in this order",
                )
            )  # fmt: skip
    return found
