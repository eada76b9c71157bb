"""Scaling: one policy for all tasks, of several sizes, lengths and amounts of distinct data.

Do larger policies need fewer frames, and do they decide worse?
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lastmile.config import SIZES, Settings, task_list
from lastmile.evaluation.statistics import (
    count_episodes,
    curve,
    curve_over_tasks,
    estimate,
    few,
    rate_over_tasks,
    share,
)
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, TEXT_OR_NONE, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, Run, for_all

if TYPE_CHECKING:
    import pandas as pd

READS = ("policy", "training.frames", "episodes.train", "scaling", "evaluation.resamples")
COLUMNS = {
    "measure": TEXT,
    "size": TEXT_OR_NONE,
    "distinct": WHOLE,
    "frames": NUMBER,
    "task": TEXT,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
}
SHOWN = ("button", "placement@5", "decision")
KEEPS = {"skills": {"predictor": ("policy",), "skill": SHOWN}}
LEVELS = 3
"""Number of losses whose frames are compared.

They are the lowest loss that every size reaches, and others evenly spaced above it, up to the
highest that every size still has at the first snapshot.
"""
GRID = 21
"""Points of equal placement accuracy at which decisions are compared."""
LEAST_PLACEMENT = 0.3
"""Placement accuracy from which on decisions are compared: below it nothing is decided yet."""
LEAST_RANGE = 0.2
"""Range of placement accuracies that the sizes must share."""

EFFICIENT = Hypothesis(
    claim="larger is more data-efficient",
    statement="A larger policy needs fewer frames for the same loss",
    statistic="log2 of frames of {small} / of {large} to the lowest loss that both reach",
    rule="Shown if the interval lies above 0, contradicted if below; smallest against largest "
    "size, on all data.",
    effect=Effect(
        "factor",
        above="times fewer frames for the larger policy",
        below="times more frames for the larger policy",
    ),
    smallest=0.2,
)
DECIDES_WORSE = Hypothesis(
    claim="larger decides worse",
    statement="A larger policy decides worse at equal placement accuracy",
    statistic="decision accuracy of {small} minus {large}, mean over the placement accuracies that "
    "the ends of their training runs share",
    rule="Shown if the interval lies above 0, contradicted if below; smallest against largest "
    "size, at the ends of training runs of several lengths, or on several amounts of data, where "
    "the learning rate has fallen. Not testable unless both sizes share a range of "
    f"{LEAST_RANGE:g} of placement accuracy, above {LEAST_PLACEMENT:g}.",
    effect=Effect(
        "percent",
        above="percentage points lower for the larger policy",
        below="percentage points higher for the larger policy",
        lead="decision accuracy",
    ),
    smallest=0.03,
)
HYPOTHESES = (EFFICIENT, DECIDES_WORSE)

Curve = tuple[np.ndarray, np.ndarray]
"""Frames (P,) and samples (1 + resamples, P), the estimate first."""


def sizes(settings: Settings) -> list[str]:
    """Return the sizes to compare, small to large; `policy.size` is always among them."""
    return [size for size in SIZES if size in (*settings.scaling.sizes, settings.policy.size)]


class Length(NamedTuple):
    """What tells the runs of the study apart.

    Attributes:
        size: Size of the policy.
        distinct: Distinct training episodes of each task.
        frames: Frames seen in training.
    """

    size: str
    distinct: int
    frames: int


def runs(settings: Settings) -> dict[Length, Run]:
    """Return the runs: of every size and length, and with fewer episodes at `policy.size`."""
    everything, longest = settings.episodes.train, max(settings.scaling.frames)
    size = settings.policy.size
    fewer = sorted(count for count in set(settings.scaling.episodes) if count < everything)
    lengths = sorted(set(settings.scaling.frames))
    return {
        Length(of, everything, frames): for_all(settings, frames, of)
        for of in sizes(settings)
        for frames in lengths
    } | {Length(size, n, longest): for_all(settings, longest, episodes=n) for n in fewer}


def of_sizes(settings: Settings) -> dict[str, Run]:
    """Return the longest run on all data of each size."""
    longest = max(settings.scaling.frames)
    return {size: for_all(settings, longest, size) for size in sizes(settings)}


def needs(settings: Settings) -> list[Need]:
    """Return skills and losses of all runs on all tasks, and the training speed of each size."""
    tasks = task_list(settings)
    measured = [
        Need(table, run, task, "later" if key.frames == max(settings.scaling.frames) else "last")
        for key, run in runs(settings).items()
        for task in tasks
        for table in ("skills", "losses")
    ]
    return measured + [Need("speed", run, tasks[0]) for run in of_sizes(settings).values()]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by `measure`, `size`, `distinct` (training episodes of each task), `frames` and task (or
    `ALL`):

    - `loss` (nats per click) and skills after `frames`, along the longest trainings.
    - `end of loss` and `end of SKILL` at the ends of trainings on all data, the shorter ones, too.
    - `frames to LOSS`, and `exponent of frames` of the loss, by size.
    - `exponent of parameters`, `exponent of episodes` of the last loss.
    - `parameters`, `flops per frame`, `frames per second` of each size.

    `episodes` counts held-out episodes, of all tasks together. What was not measured is left out.
    """
    import pandas as pd

    rows: list[tuple] = []
    curves: dict[tuple[str, str, int], Curve] = {}
    count = settings.evaluation.resamples
    held_out = 0
    for (size, distinct, length), run in runs(settings).items():
        losses = inputs["losses"][inputs["losses"]["run"] == run.name]
        skills = inputs["skills"][inputs["skills"]["run"] == run.name]
        policy = skills[skills["predictor"] == "policy"]
        held_out = count_episodes(losses)

        parts = [("loss", losses, "nats", "steps")]
        parts += [(skill, policy[policy["skill"] == skill], "hits", "total") for skill in SHOWN]
        for measure, part, hits, totals in parts:
            if part.empty:
                continue
            key = (measure, size, distinct)
            frames, samples = curve_over_tasks(part, hits, totals, count)
            estimated = estimate if measure == "loss" else share
            end = estimated(samples[:, -1], few(part))
            if distinct == settings.episodes.train:
                rows.append((f"end of {measure}", size, distinct, frames[-1], ALL, *end))
            if length < max(settings.scaling.frames):
                continue
            curves[key] = frames, samples
            for i, at in enumerate(frames):
                rows.append((*key, at, ALL, *estimated(samples[:, i], few(part))))
            for task, of_task in part.groupby("task", sort=True):
                samples = curve(of_task, hits, totals, count)[1]
                for i, at in enumerate(frames):
                    rows.append((*key, at, task, *estimated(samples[:, i], few(of_task))))

    rows += _loss_rows(curves, settings)
    rows += _size_rows(inputs["speed"], curves, settings)
    columns = [column for column in COLUMNS if column != "episodes"]
    return pd.DataFrame(rows, columns=columns).assign(episodes=held_out)


def _loss_rows(curves: dict[tuple[str, str, int], Curve], settings: Settings) -> list[tuple]:
    """Return the frames needed for some losses, and the exponents of frames, by size."""
    everything = settings.episodes.train
    last = max(settings.scaling.frames)
    by_size = {
        size: curves["loss", size, everything]
        for size in sizes(settings)
        if ("loss", size, everything) in curves and len(curves["loss", size, everything][0]) > 1
    }

    rows: list[tuple] = []
    for level in levels(by_size):
        for size, (frames, samples) in by_size.items():
            needed = estimate(frames_to(level, frames, samples))
            rows.append((f"frames to {level:.3g}", size, everything, last, ALL, *needed))
    for size, (frames, samples) in by_size.items():
        slope = estimate(exponent(frames[1:], samples[:, 1:]))
        rows.append(("exponent of frames", size, everything, last, ALL, *slope))
    return rows


def _size_rows(
    speed: pd.DataFrame, curves: dict[tuple[str, str, int], Curve], settings: Settings
) -> list[tuple]:
    """Return what each size costs, and the exponents of parameters and of distinct episodes."""
    everything = settings.episodes.train
    last = max(settings.scaling.frames)
    costs = speed.groupby("run")[["parameters", "flops_per_frame", "frames_per_s"]].mean()
    of_size = of_sizes(settings)
    known = [size for size in of_size if of_size[size].name in costs.index]

    rows: list[tuple] = []
    for size in known:
        values = costs.loc[of_size[size].name]
        for measure, value in zip(("parameters", "flops per frame", "frames per second"), values):
            rows.append((measure, size, everything, last, ALL, value, value, value))

    # Losses at the end of training, (1 + resamples,), by size and distinct episodes.
    ends = {key[1:]: samples[:, -1] for key, (_, samples) in curves.items() if key[0] == "loss"}
    compared = [size for size in known if (size, everything) in ends]
    if len(compared) > 1:
        parameters = [costs.loc[of_size[size].name, "parameters"] for size in compared]
        losses = np.stack([ends[size, everything] for size in compared], axis=1)
        slope = estimate(exponent(parameters, losses))
        rows.append(("exponent of parameters", "", everything, last, ALL, *slope))

    size = settings.policy.size
    amounts = sorted(distinct for other, distinct in ends if other == size)
    if len(amounts) > 1:
        losses = np.stack([ends[size, amount] for amount in amounts], axis=1)
        slope = estimate(exponent(amounts, losses))
        rows.append(("exponent of episodes", size, everything, last, ALL, *slope))
    return rows


def levels(by_size: dict[str, Curve]) -> list[float]:
    """Return losses that every size passes in training; none without sizes."""
    if not by_size:
        return []
    low = max(float(samples[0].min()) for _, samples in by_size.values())
    high = min(float(samples[0, 1]) for _, samples in by_size.values())
    return [low + (high - low) * i / LEVELS for i in range(LEVELS)] if high > low else [low]


def frames_to(level: float | np.ndarray, frames: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return the frames after which the loss first is at most `level`.

    Between snapshots it is linear in log(1 + frames).

    Args:
        level: The loss to reach, one for all or (S,).
        frames: (P,) increasing.
        losses: (S, P), one curve per row.

    Returns:
        (S,) frames; the last ones where the level is never reached.
    """
    scale = np.log1p(frames)
    goal = np.broadcast_to(level, len(losses))
    below = losses <= goal[:, None]
    below[:, -1] = True
    first = np.maximum(below.argmax(axis=1), 1)  # (S,) first point at or below the level

    rows = np.arange(len(losses))
    before = losses[rows, first - 1]
    after = losses[rows, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.where(before > after, (before - goal) / (before - after), 1.0), 0, 1)
    return np.expm1(scale[first - 1] + share * (scale[first] - scale[first - 1]))


def exponent(x: np.ndarray | Sequence[float], losses: np.ndarray) -> np.ndarray:
    """Return b of the least-squares fit loss = a x^-b on logarithmic scales.

    Args:
        x: (P,) positive.
        losses: (S, P), one curve per row.

    Returns:
        (S,); nan for a single point.
    """
    log_x = np.log(np.asarray(x, float))
    log_x = log_x - log_x.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        return -(np.log(losses) @ log_x) / (log_x @ log_x)


def efficiency(small: Curve, large: Curve) -> np.ndarray:
    """Return log2 of the frames of the small policy over those of the large one, (1 + resamples,).

    They are compared at the lowest loss that both reach.
    """
    level = np.maximum(small[1].min(axis=1), large[1].min(axis=1))
    return np.log2(frames_to(level, *small) / frames_to(level, *large))


def worse(small: Curve, large: Curve) -> np.ndarray:
    """Return decision accuracy of the small policy minus that of the large one, (1 + resamples,).

    They are compared at equal placement accuracy, on average over the range that both have.

    Args:
        small: Placement and decision accuracy at the ends of runs, (1 + resamples, P) each.
        large: The same of the large policy.

    Returns:
        Differences; nan where the common range of placement accuracies above LEAST_PLACEMENT is
        shorter than LEAST_RANGE.
    """
    differences = np.full(len(small[0]), np.nan)
    low, high = common_range(small[0], large[0])
    if high - low < LEAST_RANGE:
        return differences
    for i in range(len(differences)):
        lines = []
        for placement, decision in (small, large):
            order = np.argsort(placement[i])
            lines.append((placement[i][order], decision[i][order]))
        at = np.linspace(low, high, GRID)
        differences[i] = np.mean(np.interp(at, *lines[0]) - np.interp(at, *lines[1]))
    return differences


def common_range(small: np.ndarray, large: np.ndarray) -> tuple[float, float]:
    """Return the range of placement accuracies, (1 + resamples, P), that two sizes share."""
    low = max(LEAST_PLACEMENT, float(small[0].min()), float(large[0].min()))
    return low, max(low, min(float(small[0].max()), float(large[0].max())))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Compare the smallest and the largest size: frames needed, decisions at equal placement."""
    compared = sizes(settings)
    if len(compared) < 2:
        return []

    count = settings.evaluation.resamples
    ends = {"small": compared[0], "large": compared[-1]}
    names = [of_sizes(settings)[size].name for size in ends.values()]
    losses = inputs["losses"]
    skills = inputs["skills"][inputs["skills"]["predictor"] == "policy"]
    held_out = losses[["task", "episode"]].drop_duplicates()
    seeds = losses["seed"].nunique()
    tested = []
    for task in (ALL, *task_list(settings)):
        along = partial(curve_over_tasks if task == ALL else curve, count=count)
        number = len(held_out) if task == ALL else (held_out["task"] == task).sum()
        strata = ", tasks as strata" if task == ALL else ""
        unit = f"episode ({number} held-out{strata}, {seeds} training seed(s) a size)"

        of_task = losses if task == ALL else losses[losses["task"] == task]
        parts = [of_task[of_task["run"] == name] for name in names]
        if all(part["frames"].nunique() > 1 for part in parts):
            small, large = (along(part, "nats", "steps") for part in parts)
            ratio = estimate(efficiency(small, large), number if seeds == 1 else None)
            tested.append(EFFICIENT.test(ratio, task, unit, number, seeds, **ends))
        else:
            reason = f"no losses of both {compared[0]} and {compared[-1]} along training"
            tested.append(EFFICIENT.untestable(reason, task, **ends))
        of_task = skills if task == ALL else skills[skills["task"] == task]
        tested.append(_decides_worse(of_task, task, settings, ends, (unit, number, seeds)))
    return tested


def _decides_worse(
    skills: pd.DataFrame,
    task: str,
    settings: Settings,
    ends: dict[str, str],
    units: tuple[str, int, int],
) -> Claim:
    """Compare the decisions of two sizes at the ends of all their training runs."""
    at_ends: dict[str, list[list[np.ndarray]]] = {}
    for which, size in ends.items():
        names = [run.name for key, run in runs(settings).items() if key.size == size]
        at_ends[which] = []
        for name in names:
            of_run = skills[skills["run"] == name]
            of_run = of_run[
                of_run["frames"] == of_run["frames"].groupby(of_run["seed"]).transform("max")
            ]
            parts = [of_run[of_run["skill"] == skill] for skill in ("placement@5", "decision")]
            if all(part["total"].sum() for part in parts):
                count = settings.evaluation.resamples
                at_ends[which].append(
                    [rate_over_tasks(part, "hits", "total", count) for part in parts]
                )
    if not all(at_ends.values()):
        reason = f"no placements and decisions of both {ends['small']} and {ends['large']}"
        return DECIDES_WORSE.untestable(reason, task, **ends)

    small, large = (
        tuple(np.stack(column, axis=1) for column in zip(*of_size)) for of_size in at_ends.values()
    )
    unit, number, seeds = units
    difference = worse((small[0], small[1]), (large[0], large[1]))
    reason = ""
    if np.isnan(difference[0]):
        low, high = common_range(small[0], large[0])
        reason = (
            f"the ends share a range of {high - low:.2f} of placement accuracy above "
            f"{LEAST_PLACEMENT:g}, but {LEAST_RANGE:g} are needed; runs of several lengths at each "
            "size, long enough to place, would give it"
        )
    estimated = estimate(difference, number if seeds == 1 else None)
    return DECIDES_WORSE.test(estimated, task, unit, number, seeds, reason, **ends)
