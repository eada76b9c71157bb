"""Scaling: one policy for all tasks, of several sizes and with several amounts of distinct data. Do larger ones need fewer frames, and decide worse?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import SIZES, Settings, task_list
from lastmile.evaluation.statistics import curve, curve_over_tasks, estimate
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import Need, Run, joint

SECTIONS = ("scaling",)
SHOWN = ("button", "placement@5", "decision")
LEVELS = 3
"""Losses whose frames are compared: the lowest that every size reaches, and others evenly above it, up to the highest after the first snapshot."""
GRID = 21
"""Points of equal placement accuracy at which decisions are compared."""


def sizes(settings: Settings) -> list[str]:
    """The sizes to compare, small to large; that of `policy.size` is always among them."""
    return [size for size in SIZES if size in (*settings.scaling.sizes, settings.policy.size)]


def runs(settings: Settings) -> dict[tuple[str, int], Run]:
    """By size and number of distinct episodes of each task."""
    found = {(size, settings.episodes.train): joint(settings, size) for size in sizes(settings)}
    fewer = sorted(
        count for count in set(settings.scaling.episodes) if count < settings.episodes.train
    )
    return {
        **found,
        **{(settings.policy.size, count): joint(settings, episodes=count) for count in fewer},
    }


def needs(settings: Settings) -> list[Need]:
    tasks = task_list(settings)
    found = [
        Need(table, run, task)
        for run in runs(settings).values()
        for task in tasks
        for table in ("skills", "losses")
    ]
    return found + [
        Need("speed", run, tasks[0])
        for (_, count), run in runs(settings).items()
        if count == settings.episodes.train
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: measure, size, distinct (episodes of each task), frames, task (or ALL), value, low, high, episodes (held-out, all tasks).

    Measures: `loss` (nats a click) and skills after `frames`; `frames to LOSS`; `exponent of frames` (of the loss, by size), `exponent of episodes`,
    `exponent of parameters` (of the last loss); `parameters`, `flops per frame`, `frames per second` of each size.
    """
    rows: list[tuple] = []
    count = settings.evaluation.resamples
    losses, skills, held = inputs["losses"], inputs["skills"], 0
    curves = {}
    for (size, distinct), run in runs(settings).items():
        loss = losses[losses["run"] == run.name]
        held = len(loss[["task", "episode"]].drop_duplicates())
        parts = [("loss", loss, "nats", "steps")]
        policy = skills[(skills["run"] == run.name) & (skills["predictor"] == "policy")]
        parts += [(skill, policy[policy["skill"] == skill], "hits", "total") for skill in SHOWN]
        for measure, part, hits, totals in parts:
            frames, samples = curve_over_tasks(part, hits, totals, count)
            curves[measure, size, distinct] = frames, samples
            rows += [
                (measure, size, distinct, at, ALL, *estimate(samples[:, i]))
                for i, at in enumerate(frames)
            ]
            for task, of_task in part.groupby("task", sort=True):
                values = curve(of_task, hits, totals, count)[1]
                rows += [
                    (measure, size, distinct, at, task, *estimate(values[:, i]))
                    for i, at in enumerate(frames)
                ]
    everything, last = settings.episodes.train, settings.scaling.frames
    by_size = {size: curves["loss", size, everything] for size in sizes(settings)}
    for level in levels(by_size):
        for size, (frames, samples) in by_size.items():
            rows.append(
                (
                    f"frames to {level:.3g}",
                    size,
                    everything,
                    last,
                    ALL,
                    *estimate(frames_to(level, frames, samples)),
                )
            )
    for size, (frames, samples) in by_size.items():
        rows.append(
            (
                "exponent of frames",
                size,
                everything,
                last,
                ALL,
                *estimate(exponent(frames[1:], samples[:, 1:])),
            )
        )
    about = inputs["speed"].groupby("run")[["parameters", "flops_per_frame", "frames_per_s"]].mean()
    for size in sizes(settings):
        values = about.loc[joint(settings, size).name]
        for measure, value in zip(("parameters", "flops per frame", "frames per second"), values):
            rows.append((measure, size, everything, last, ALL, value, value, value))
    ends = {key[1:]: samples[:, -1] for key, (_, samples) in curves.items() if key[0] == "loss"}
    if len(by_size) > 1:
        parameters = [about.loc[joint(settings, size).name, "parameters"] for size in by_size]
        rows.append(
            (
                "exponent of parameters",
                "",
                everything,
                last,
                ALL,
                *estimate(
                    exponent(
                        parameters, np.stack([ends[size, everything] for size in by_size], axis=1)
                    )
                ),
            )
        )
    amounts = sorted(distinct for size, distinct in ends if size == settings.policy.size)
    if len(amounts) > 1:
        values = np.stack([ends[settings.policy.size, amount] for amount in amounts], axis=1)
        rows.append(
            (
                "exponent of episodes",
                settings.policy.size,
                everything,
                last,
                ALL,
                *estimate(exponent(amounts, values)),
            )
        )
    made = pd.DataFrame(
        rows, columns=["measure", "size", "distinct", "frames", "task", "value", "low", "high"]
    )
    return made.assign(episodes=held)


def levels(by_size: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Losses that every size passes on its way."""
    low = max(float(samples[0].min()) for _, samples in by_size.values())
    high = min(float(samples[0, 1]) for _, samples in by_size.values())
    return [low + (high - low) * i / LEVELS for i in range(LEVELS)] if high > low else [low]


def frames_to(level: float | np.ndarray, frames: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Frames after which the loss first is at most `level`, linear in log(1 + frames), for each row of losses (samples, points); the last point where it
    never is."""
    scale, goal = np.log1p(frames), np.broadcast_to(level, len(losses))
    below = losses <= goal[:, None]
    below[:, -1] = True
    first = np.maximum(below.argmax(axis=1), 1)
    rows = np.arange(len(losses))
    before, after = losses[rows, first - 1], losses[rows, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.where(before > after, (before - goal) / (before - after), 1.0), 0, 1)
    return np.expm1(scale[first - 1] + share * (scale[first] - scale[first - 1]))


def exponent(x: np.ndarray | list, losses: np.ndarray) -> np.ndarray:
    """b of the least-squares fit loss = a x^-b, for each row of losses (samples, points)."""
    at = np.log(np.asarray(x, float))
    at = at - at.mean()
    return -(np.log(losses) @ at) / (at @ at)


def efficiency(
    small: tuple[np.ndarray, np.ndarray], large: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """log2 of the ratio of frames (small to large) to the lowest loss that both reach, for each sample."""
    level = np.maximum(small[1].min(axis=1), large[1].min(axis=1))
    return np.log2(frames_to(level, *small) / frames_to(level, *large))


def worse(small: tuple[np.ndarray, np.ndarray], large: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Decision accuracy of the small minus that of the large at equal placement accuracy, the mean over the range that both pass, for each sample.

    small, large: placement and decision accuracy along the training, (samples, points) each. nan where there is no such range.
    """
    found = np.full(len(small[0]), np.nan)
    for i in range(len(found)):
        lines = []
        for placement, decision in (small, large):
            rising = np.maximum.accumulate(placement[i])
            kept = np.concatenate([[True], np.diff(rising) > 0])
            lines.append((rising[kept], decision[i][kept]))
        low, high = max(line[0][0] for line in lines), min(line[0][-1] for line in lines)
        if high > low:
            at = np.linspace(low, high, GRID)
            found[i] = np.mean(np.interp(at, *lines[0]) - np.interp(at, *lines[1]))
    return found


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    compared, count = sizes(settings), settings.evaluation.resamples
    if len(compared) < 2:
        return []
    small, large = (joint(settings, size).name for size in (compared[0], compared[-1]))
    losses, skills = inputs["losses"], inputs["skills"]
    skills = skills[skills["predictor"] == "policy"]
    held, seeds = losses[["task", "episode"]].drop_duplicates(), losses["seed"].nunique()
    found = []
    for task in (ALL, *task_list(settings)):
        measured = curve_over_tasks if task == ALL else curve

        def of(
            table: pd.DataFrame, run: str, hits: str, totals: str, task=task, measured=measured
        ) -> tuple[np.ndarray, np.ndarray]:
            part = table[(table["run"] == run) & ((table["task"] == task) | (task == ALL))]
            return measured(part, hits, totals, count)

        unit = f"episode ({len(held) if task == ALL else (held['task'] == task).sum()} held-out{', tasks as strata' * (task == ALL)}, {seeds} training seed(s) a size)"
        about = {"task": task, "unit": unit}
        found.append(
            Claim.of(
                estimate(
                    efficiency(
                        of(losses, small, "nats", "steps"), of(losses, large, "nats", "steps")
                    )
                ),
                claim="larger is more data-efficient",
                statement="A larger policy needs fewer frames for the same loss",
                statistic=f"log2 of frames of {compared[0]} / of {compared[-1]} to the lowest loss that both reach",
                rule="Shown if the interval lies above 0, contradicted if below; smallest against largest size, on all data.",
                **about,
            )
        )
        accuracy = {}
        for run in (small, large):
            placement, decision = (
                of(skills[skills["skill"] == skill], run, "hits", "total")[1]
                for skill in ("placement@5", "decision")
            )
            accuracy[run] = placement, decision
        if all(np.isfinite(values[0]).all() for pair in accuracy.values() for values in pair):
            found.append(
                Claim.of(
                    estimate(worse(accuracy[small], accuracy[large])),
                    claim="larger decides worse",
                    statement="A larger policy decides worse at equal placement accuracy",
                    statistic=f"decision accuracy of {compared[0]} minus {compared[-1]}, mean over the placement accuracies that both pass",
                    rule="Shown if the interval lies above 0, contradicted if below; smallest against largest size, along their trainings.",
                    **about,
                )
            )
    return found
