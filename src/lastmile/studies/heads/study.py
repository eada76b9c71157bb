"""Heads: the published click head and context (softmaxes over x and y, all patches as tokens) against ours, on the same data."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import curve, curve_over_tasks, estimate
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import Need, Run, make

SECTIONS = ("heads",)
SKILLS = ("button", "placement@5", "decision")
PUBLISHED = {"head": "bins", "context": "patch"}
LONGER = 8
"""Times the frames that ours sees to be compared after equal time: about as many as it takes in that time."""
OURS = {"head": "pointer", "context": "frame"}


def tasks(settings: Settings) -> tuple[str, ...]:
    """Those of the contest that are studied."""
    return tuple(task for task in settings.heads.tasks if task in task_list(settings))


def runs(settings: Settings, task: str) -> dict[str, Run]:
    """The policies of the contest on one task: `longer` is ours with more frames."""
    size, frames = settings.heads.size, settings.heads.frames
    return {
        "published": make(settings, (task,), frames, size=size, **PUBLISHED),
        "ours": make(settings, (task,), frames, size=size, **OURS),
        "longer": make(settings, (task,), frames * LONGER, size=size, **OURS),
    }


def needs(settings: Settings) -> list[Need]:
    found = []
    for task in tasks(settings):
        for run in runs(settings, task).values():
            found += [Need(table, run, task) for table in ("skills", "losses")]
    return found + [
        Need("speed", runs(settings, task)[who], task)
        for task in tasks(settings)[:1]
        for who in ("published", "ours")
    ]


def rates(inputs: dict[str, pd.DataFrame], settings: Settings) -> dict[str, float]:
    """Frames of training per second on one core, measured on the first task; the median over seeds."""
    speed, first = inputs["speed"], runs(settings, tasks(settings)[0])
    found = {
        who: speed.loc[speed["run"] == first[who].name, "frames_per_s"]
        for who in ("published", "ours")
    }
    medians = {who: float(values.median()) for who, values in found.items()}
    return {**medians, "longer": medians["ours"]}


def shared(inputs: dict[str, pd.DataFrame]) -> int:
    """Episodes on which all policies were measured: the first so many."""
    return int(inputs["losses"].groupby("run")["episode"].nunique().min())


def _curves(
    inputs: dict[str, pd.DataFrame], settings: Settings, who: str, task: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    names = {one: runs(settings, one)[who].name for one in tasks(settings) if task in (one, ALL)}
    losses, skills = (
        rows[rows["task"].map(names) == rows["run"]]
        for rows in (inputs["losses"], inputs["skills"])
    )
    skills = skills[skills["predictor"] == "policy"]
    losses, skills = (rows[rows["episode"] < shared(inputs)] for rows in (losses, skills))
    parts = {
        "loss": (losses, "nats", "steps"),
        **{skill: (skills[skills["skill"] == skill], "hits", "total") for skill in SKILLS},
    }
    measured = curve_over_tasks if task == ALL else curve
    return {
        name: measured(rows, hits, totals, settings.evaluation.resamples)
        for name, (rows, hits, totals) in parts.items()
        if rows[totals].sum()
    }


def _places(settings: Settings) -> list[str]:
    return [*([ALL] if len(tasks(settings)) > 1 else []), *tasks(settings)]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task (or ALL), who (published, ours, longer), measure (loss in nats of the click, skills), frames, seconds (on one core), value, low, high,
    episodes. The losses of the two heads are not compared: their bins differ in size."""
    rows: list[tuple] = []
    rate = rates(inputs, settings)
    for task in _places(settings):
        for who in rate:
            for measure, (frames, samples) in _curves(inputs, settings, who, task).items():
                rows += [
                    (task, who, measure, at, at / rate[who], *estimate(samples[:, i]))
                    for i, at in enumerate(frames)
                ]
    made = pd.DataFrame(
        rows, columns=["task", "who", "measure", "frames", "seconds", "value", "low", "high"]
    )
    return made.assign(
        episodes=shared(inputs) * np.where(made["task"] == ALL, len(tasks(settings)), 1)
    )


def at_time(curves: tuple[np.ndarray, np.ndarray], rate: float, seconds: float) -> np.ndarray:
    """What was reached after so many seconds, linear in log(1 + frames) between the snapshots, for each sample; the last value after the end."""
    frames, samples = curves
    at = np.log1p(min(seconds * rate, frames[-1]))
    scale = np.log1p(frames)
    right = int(np.clip(np.searchsorted(scale, at), 1, len(scale) - 1))
    share = (at - scale[right - 1]) / (scale[right] - scale[right - 1])
    return samples[:, right - 1] + share * (samples[:, right] - samples[:, right - 1])


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    found = []
    rate = rates(inputs, settings)
    for task in _places(settings):
        curves = {who: _curves(inputs, settings, who, task) for who in rate}
        if any("placement@5" not in one for one in curves.values()):
            continue
        published, ours, longer = (
            curves[who]["placement@5"] for who in ("published", "ours", "longer")
        )
        seconds = settings.heads.frames / rate["published"]
        number = shared(inputs) * (len(tasks(settings)) if task == ALL else 1)
        about = {
            "task": task,
            "unit": f"episode ({number} held-out{', tasks as strata' * (task == ALL)}, one training each)",
        }
        rule = "Shown if the interval of the paired difference lies above 0, contradicted if below."
        found.append(
            Claim.of(
                estimate(ours[1][:, -1] - published[1][:, -1]),
                claim="ours places better, equal frames",
                statement="Our head and context place better than the published ones after equal frames",
                statistic=f"placement within 5 px after {settings.heads.frames} frames, ours minus published",
                rule=rule,
                **about,
            )
        )
        found.append(
            Claim.of(
                estimate(at_time(longer, rate["longer"], seconds) - published[1][:, -1]),
                claim="ours places better, equal time",
                statement="Our head and context place better than the published ones after equal time",
                statistic=f"placement within 5 px after {seconds:.0f} core seconds, ours minus published",
                rule=rule,
                **about,
            )
        )
    return found
