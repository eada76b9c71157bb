"""Transfer: tasks that a pretraining never saw, learned after it and from scratch, with the same frames and the same episodes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lastmile.config import Settings
from lastmile.evaluation.statistics import Estimate, curve, curve_over_tasks, estimate, success
from lastmile.studies.claims import ALL, Claim
from lastmile.studies.runs import Need, Run, finetuned, held_out, scratch, single
from lastmile.studies.scaling.study import frames_to

SECTIONS = ("scaling", "transfer")
SKILLS = ("button", "placement@5", "decision")
FAILS = 0.25
"""A policy that succeeds in fewer of the worlds fails."""


def runs(settings: Settings, kind: str) -> dict[str, Run]:
    """The runs of a kind (pretrained, scratch, alone) by held-out task. alone: from scratch on all there is, to see when it catches up."""
    made = {
        "pretrained": finetuned,
        "scratch": lambda s, task, group: scratch(s, task),
        "alone": lambda s, task, group: single(s, task),
    }[kind]
    return {task: made(settings, task, group) for group in held_out(settings) for task in group}


def needs(settings: Settings) -> list[Need]:
    found = [
        Need(table, run, task)
        for kind in ("pretrained", "scratch", "alone")
        for task, run in runs(settings, kind).items()
        for table in ("skills", "losses")
    ]
    return found + [
        Need("closed_loop_along", run, task)
        for kind in ("pretrained", "scratch")
        for task, run in runs(settings, kind).items()
    ]


def _of(rows: pd.DataFrame, settings: Settings, kind: str, task: str = ALL) -> pd.DataFrame:
    """Rows of the runs of a kind, on their own tasks."""
    chosen = {one: run.name for one, run in runs(settings, kind).items() if task in (one, ALL)}
    return rows[rows["task"].map(chosen) == rows["run"]]


def _curves(
    inputs: dict[str, pd.DataFrame], settings: Settings, kind: str, task: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Frames and samples by measure, for a task or the mean over tasks."""
    count = settings.evaluation.resamples
    skills = _of(inputs["skills"], settings, kind, task)
    skills = skills[skills["predictor"] == "policy"]
    parts = {"loss": (_of(inputs["losses"], settings, kind, task), "nats", "steps")}
    parts |= {skill: (skills[skills["skill"] == skill], "hits", "total") for skill in SKILLS}
    if kind != "alone":
        played = _of(inputs["closed_loop_along"], settings, kind, task).assign(one=1)
        played = played.astype({"success": float, "finished": float})
        parts |= {name: (played, name, "one") for name in ("score", "success", "finished")}
    measured = curve_over_tasks if task == ALL else curve
    return {
        name: measured(rows, hits, totals, count)
        for name, (rows, hits, totals) in parts.items()
        if rows[totals].sum()
    }


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Rows: task (or ALL), kind (pretrained, scratch, alone), measure, frames, value, low, high, episodes (held-out), budget (distinct episodes).

    Measures along the training: loss (nats a click), skills, and in closed loop score, success, finished. At its end also `frames to catch up` (kind
    alone: frames from scratch on all episodes after which the loss is as low as at the end of the fine-tuning), `episodes to catch up` (distinct
    ones), and `catches up` (1, or 0 if it never did: then the two are lower bounds).
    """
    rows: list[tuple] = []
    tasks = sorted(runs(settings, "scratch"))
    pooled = [ALL] if len(tasks) > 1 else []
    for task in [*pooled, *tasks]:
        for kind in ("pretrained", "scratch", "alone"):
            if kind == "alone" and task == ALL:
                continue
            budget = (
                settings.episodes.train
                if kind == "alone"
                else min(settings.transfer.episodes, settings.episodes.train)
            )
            held = len(
                _of(inputs["losses"], settings, kind, task)[["task", "episode"]].drop_duplicates()
            )
            for measure, (frames, samples) in _curves(inputs, settings, kind, task).items():
                rows += [
                    (task, kind, measure, at, *estimate(samples[:, i]), held, budget)
                    for i, at in enumerate(frames)
                ]
        if task != ALL:
            rows += [
                (task, "alone", *row, held, budget) for row in catching_up(inputs, settings, task)
            ]
    return pd.DataFrame(
        rows,
        columns=["task", "kind", "measure", "frames", "value", "low", "high", "episodes", "budget"],
    )


def catching_up(inputs: dict[str, pd.DataFrame], settings: Settings, task: str) -> list[tuple]:
    """When training from scratch on everything reaches the last loss of the fine-tuning."""
    goal = _curves(inputs, settings, "pretrained", task)["loss"][1][:, -1]
    frames, losses = _curves(inputs, settings, "alone", task)["loss"]
    needed = frames_to(goal, frames, losses)
    rows = _of(inputs["losses"], settings, "alone", task)
    length = rows["steps"].sum() / len(rows)
    distinct = np.minimum(needed / length, settings.episodes.train)
    reached = float(losses[0].min() <= goal[0])
    last = float(frames[-1])
    return [
        ("frames to catch up", last, *estimate(needed)),
        ("episodes to catch up", last, *estimate(distinct)),
        ("catches up", last, reached, reached, reached),
    ]


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    tasks = sorted(runs(settings, "scratch"))
    found = []
    held = inputs["losses"].groupby("task")["episode"].nunique()
    played = inputs["closed_loop_along"].groupby("task")["episode"].nunique()
    seeds = inputs["losses"]["seed"].nunique()
    for task in [*([ALL] if len(tasks) > 1 else []), *tasks]:
        tuned, fresh = (_curves(inputs, settings, kind, task) for kind in ("pretrained", "scratch"))

        def unit(episodes: pd.Series, task=task) -> str:
            number = episodes[tasks].sum() if task == ALL else episodes[task]
            return f"episode ({number} held-out{', tasks as strata' * (task == ALL)}, {seeds} training seed(s))"

        def last(curves: dict, measure: str) -> np.ndarray:
            return curves[measure][1][:, -1]

        paired = "Shown if the interval of the paired difference lies above 0, contradicted if below; same frames, same number of episodes."
        found.append(
            Claim.of(
                estimate(last(fresh, "loss") - last(tuned, "loss")),
                claim="pretraining transfers",
                statement="Pretraining on other tasks helps to learn a new one",
                task=task,
                statistic="nats a click at the end, scratch minus fine-tuned",
                rule=paired,
                unit=unit(held),
            )
        )
        found.append(
            Claim.of(
                estimate(last(tuned, "score") - last(fresh, "score")),
                claim="pretraining transfers, closed loop",
                statement="Pretraining on other tasks helps to do a new one",
                task=task,
                statistic="score in closed loop at the end, fine-tuned minus scratch",
                rule=paired,
                unit=unit(played),
            )
        )
        final = _of(inputs["closed_loop_along"], settings, "scratch", task)
        final = final[final["frames"] == final.groupby(["run", "seed"])["frames"].transform("max")]
        succeeded = success(final, "success", settings.evaluation.resamples)
        found.append(
            Claim.of(
                Estimate(FAILS - succeeded.value, FAILS - succeeded.high, FAILS - succeeded.low),
                claim="scratch fails",
                statement="Training from scratch on the budget of a fine-tuning fails",
                task=task,
                statistic=f"{FAILS:g} minus success in closed loop of scratch",
                rule=f"Shown if the interval (Wilson's for one training) lies above 0, which is success in fewer than {FAILS:.0%} of the worlds; contradicted if below.",
                unit=unit(played),
            )
        )
    return found
