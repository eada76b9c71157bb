"""Transfer: tasks that a pretraining never saw, fine-tuned or learned from scratch.

Both see the same number of frames of the same episodes; the number of episodes varies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings
from lastmile.evaluation.statistics import (
    count_episodes,
    curve,
    curve_over_tasks,
    estimate,
    few,
    share,
    success,
)
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, Run, finetuned, held_out_groups, scratch, single
from lastmile.studies.scaling.study import frames_to

if TYPE_CHECKING:
    import pandas as pd

READS = (
    "policy",
    "training.frames",
    "episodes.train",
    "scaling.frames",
    "transfer",
    "evaluation.resamples",
)
COLUMNS = {
    "task": TEXT,
    "kind": TEXT,
    "measure": TEXT,
    "frames": NUMBER,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
    "budget": WHOLE,
}
SKILLS = ("button", "placement@5", "decision")
KEEPS = {"skills": {"predictor": ("policy",), "skill": SKILLS}}
KINDS: dict[str, Callable[[Settings, str, tuple[str, ...], int], Run]] = {
    "pretrained": finetuned,
    "scratch": lambda settings, task, group, episodes: scratch(settings, task, episodes),
    "alone": lambda settings, task, group, episodes: single(settings, task),
}
"""Runs on a held-out task. `alone`: from scratch on all data, to see when it catches up."""
COMPARED = ("pretrained", "scratch")
"""Kinds that see the same episodes."""
AT_ENDS = ("loss", "score", "success")
"""Measures that are told for every number of episodes, at the end of training."""
FAILS = 0.1
"""Success of a fine-tuned policy that must be excluded from below before a failure counts."""

_PAIRED = (
    "Shown if the interval of the paired difference lies above 0, contradicted if below; same "
    "frames, same number of episodes."
)
HELPS_LEARNING = Hypothesis(
    claim="pretraining transfers",
    statement="Pretraining on other tasks helps to learn a new one",
    statistic="nats per click at the end, scratch minus fine-tuned",
    rule=_PAIRED,
    effect=Effect(
        "difference",
        above="nats per click lower after pretraining",
        below="nats per click higher after pretraining",
    ),
    smallest=0.05,
)
HELPS_DOING = Hypothesis(
    claim="pretraining transfers, closed loop",
    statement="Pretraining on other tasks helps to do a new one",
    statistic="score in closed loop at the end, fine-tuned minus scratch",
    rule=_PAIRED,
    effect=Effect(
        "difference",
        above="higher after pretraining",
        below="lower after pretraining",
        lead="score",
    ),
    smallest=0.03,
)
SCRATCH_FAILS = Hypothesis(
    claim="scratch fails",
    statement="Training from scratch fails where fine-tuning on the same budget succeeds",
    statistic="success in closed loop at the end, fine-tuned minus scratch",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below. Not "
    f"testable unless the success of the fine-tuned policies is surely above {FAILS:g}: what both "
    "fail at tells nothing.",
    effect=Effect(
        "percent",
        above="percentage points more success after pretraining",
        below="percentage points less success after pretraining",
    ),
    smallest=0.05,
)
HYPOTHESES = (HELPS_LEARNING, HELPS_DOING, SCRATCH_FAILS)

Curves = dict[str, tuple[np.ndarray, np.ndarray]]
"""By measure: frames (P,) and samples (1 + resamples, P), the estimate first."""


def budgets(settings: Settings) -> list[int]:
    """Return the numbers of distinct episodes of the new task, the most last."""
    return sorted({min(n, settings.episodes.train) for n in settings.transfer.episodes})


def runs(settings: Settings, kind: str, budget: int | None = None) -> dict[str, Run]:
    """Return the runs of one of `KINDS`, by held-out task; on most episodes by default."""
    describe = KINDS[kind]
    return {
        task: describe(settings, task, group, budget or budgets(settings)[-1])
        for group in held_out_groups(settings)
        for task in group
    }


def needs(settings: Settings) -> list[Need]:
    """Return skills and losses of all runs, and closed loop along training of the two compared.

    With fewer episodes, nothing but losses and closed loop at the end.
    """
    *fewer, most = budgets(settings)
    measured = [
        Need(table, run, task)
        for kind in KINDS
        for task, run in runs(settings, kind).items()
        for table in ("skills", "losses")
    ]
    compared = [
        Need("closed_loop_curve", run, task)
        for kind in COMPARED
        for task, run in runs(settings, kind, most).items()
    ]
    at_ends = [
        Need(table, run, task, "last")
        for kind in COMPARED
        for budget in fewer
        for task, run in runs(settings, kind, budget).items()
        for table in ("losses", "closed_loop_curve")
    ]
    return measured + compared + at_ends


def _of(
    rows: pd.DataFrame, settings: Settings, kind: str, task: str = ALL, budget: int | None = None
) -> pd.DataFrame:
    """Return the rows of the runs of a kind, each on its own task."""
    names = {
        held_out: run.name
        for held_out, run in runs(settings, kind, budget).items()
        if task in (held_out, ALL)
    }
    return rows[rows["task"].map(names) == rows["run"]]


def _curves(
    inputs: dict[str, pd.DataFrame],
    settings: Settings,
    kind: str,
    task: str,
    budget: int | None = None,
) -> Curves:
    """Return curves along training for a task or the mean over tasks, as far as measured."""
    count = settings.evaluation.resamples
    skills = _of(inputs["skills"], settings, kind, task, budget)
    skills = skills[skills["predictor"] == "policy"]
    parts = {"loss": (_of(inputs["losses"], settings, kind, task, budget), "nats", "steps")}
    parts |= {skill: (skills[skills["skill"] == skill], "hits", "total") for skill in SKILLS}
    if kind != "alone":
        played = _of(inputs["closed_loop_curve"], settings, kind, task, budget).assign(one=1)
        played = played.astype({"success": float, "finished": float})
        parts |= {name: (played, name, "one") for name in ("score", "success", "finished")}

    along = curve_over_tasks if task == ALL else curve
    return {
        name: along(rows, hits, totals, count)
        for name, (rows, hits, totals) in parts.items()
        if rows[totals].sum()
    }


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (or `ALL`), `kind` (see `KINDS`) and `measure`. Along training on most episodes:
    loss (nats per click), skills, and in closed loop score, success and finished. `end of loss`,
    `end of score` and `end of success` for all numbers of episodes. At the end, kind `alone`:

    - `frames to catch up`: frames from scratch on all episodes after which the loss is as low as at
      the end of the fine-tuning.
    - `episodes to catch up`: the distinct episodes in them.
    - `catches up`: 1, or 0 if it never did; then the two are lower bounds.

    `episodes` counts held-out episodes, `budget` distinct training episodes.
    """
    import pandas as pd

    rows: list[tuple] = []
    for task in whole_and_parts(sorted(runs(settings, "scratch"))):
        for kind in KINDS:
            if kind == "alone" and task == ALL:
                continue

            budget = settings.episodes.train if kind == "alone" else budgets(settings)[-1]
            losses = _of(inputs["losses"], settings, kind, task)
            held_out = count_episodes(losses)
            for measure, (frames, samples) in _curves(inputs, settings, kind, task).items():
                for i, at in enumerate(frames):
                    value = (estimate if measure == "loss" else share)(samples[:, i], few(losses))
                    rows.append((task, kind, measure, at, *value, held_out, budget))
        for kind in COMPARED:
            for fewer in budgets(settings):
                of_kind = _curves(inputs, settings, kind, task, fewer)
                losses = _of(inputs["losses"], settings, kind, task, fewer)
                for measure in AT_ENDS:
                    if measure in of_kind:
                        frames, samples = of_kind[measure]
                        estimated = estimate if measure == "loss" else share
                        value = estimated(samples[:, -1], few(losses))
                        episodes = count_episodes(losses)
                        key = (task, kind, f"end of {measure}", frames[-1])
                        rows.append((*key, *value, episodes, fewer))
        if task != ALL:
            # `held_out` and `budget` are those of `alone`, the last kind.
            for row in catching_up(inputs, settings, task):
                rows.append((task, "alone", *row, held_out, budget))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def catching_up(inputs: dict[str, pd.DataFrame], settings: Settings, task: str) -> list[tuple]:
    """Return when training from scratch on all data reaches the last loss of the fine-tuning.

    Returns:
        Rows (measure, frames, value, low, high); none if one of the two losses was not measured.
    """
    tuned = _curves(inputs, settings, "pretrained", task)
    alone = _curves(inputs, settings, "alone", task)
    if "loss" not in tuned or "loss" not in alone or len(alone["loss"][0]) < 2:
        return []

    goal = tuned["loss"][1][:, -1]
    frames, losses = alone["loss"]
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
    """Test whether pretraining helps to learn and to do new tasks, and whether scratch fails."""
    tasks = sorted(runs(settings, "scratch"))
    held_out = inputs["losses"].groupby("task")["episode"].nunique()
    played = inputs["closed_loop_curve"].groupby("task")["episode"].nunique()
    seeds = inputs["losses"]["seed"].nunique()
    tested = []

    for task in whole_and_parts(tasks):
        tuned = _curves(inputs, settings, "pretrained", task)
        fresh = _curves(inputs, settings, "scratch", task)
        for hypothesis, measure, episodes, sign in (
            (HELPS_LEARNING, "loss", held_out, -1),
            (HELPS_DOING, "score", played, 1),
            (SCRATCH_FAILS, "success", played, 1),
        ):
            if measure not in tuned or measure not in fresh:
                where = "" if measure == "loss" else " in closed loop"
                reason = f"no {measure} of both kinds of runs was measured{where}"
                tested.append(hypothesis.untestable(reason, task))
                continue

            number = int(episodes.reindex(tasks).sum() if task == ALL else episodes[task])
            strata = ", tasks as strata" if task == ALL else ""
            unit = f"episode ({number} held-out{strata}, {seeds} training run(s))"
            ends = [curves[measure][1][:, -1] for curves in (tuned, fresh)]
            better = estimate(sign * (ends[0] - ends[1]), number if seeds == 1 else None)
            reason = ""
            if hypothesis is SCRATCH_FAILS and not _succeeds(inputs, settings, task):
                reason = (
                    f"the fine-tuned policies do not surely succeed in more than {FAILS:.0%} of "
                    "the worlds; a longer pretraining would make it so"
                )
            tested.append(hypothesis.test(better, task, unit, number, seeds, reason))
    return tested


def _succeeds(inputs: dict[str, pd.DataFrame], settings: Settings, task: str) -> bool:
    """Return whether the fine-tuned policies succeed at all."""
    along = _of(inputs["closed_loop_curve"], settings, "pretrained", task)
    last = along.groupby(["run", "seed"])["frames"].transform("max")
    final = along[along["frames"] == last]
    return success(final, "success", settings.evaluation.resamples).low > FAILS
