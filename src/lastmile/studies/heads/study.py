"""Heads: the published click head and context against ours, on the same data.

Published: softmaxes over x and y, all patches of all screens as tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings
from lastmile.evaluation.statistics import curve, curve_over_tasks, estimate
from lastmile.policy.sizes import TRAINING_PASSES
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.arms import PAIRED, studied
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL
from lastmile.studies.runs import Need, Run, training_run

if TYPE_CHECKING:
    import pandas as pd

READS = ("policy", "training.frames", "episodes.train", "heads", "evaluation.resamples")
COLUMNS = {
    "task": TEXT,
    "who": TEXT,
    "measure": TEXT,
    "frames": NUMBER,
    "operations": NUMBER_OR_NONE,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "episodes": WHOLE,
}
LEFT_OUT = "it has no tasks; name some, such as --config 'heads.tasks=[colored_dots]'"
SKILLS = ("button", "placement@5", "decision")
KEEPS = {"skills": {"predictor": ("policy",), "skill": SKILLS}}
PUBLISHED = {"head": "bins", "context": "patch"}
OURS = {"head": "pointer", "context": "frame"}
LONGER = 6
"""How many times the frames ours also sees, to compare after equal operations.

A frame of the published one takes 4 to 5.4 times the operations of ours, depending on the size.
"""

_BETTER = Effect(
    "percent",
    above="percentage points more placements within 5 px with ours",
    below="percentage points fewer placements within 5 px with ours",
)
EQUAL_FRAMES = Hypothesis(
    claim="ours places better, equal frames",
    statement="Our head and context place better than the published ones after equal frames",
    statistic="placement within 5 px after {frames} frames, ours minus published",
    rule=PAIRED,
    effect=_BETTER,
)
EQUAL_OPERATIONS = Hypothesis(
    claim="ours places better, equal operations",
    statement="Our head and context place better than the published ones after equal operations",
    statistic="placement within 5 px after {operations} operations, ours minus published",
    rule=PAIRED,
    effect=_BETTER,
)
HYPOTHESES = (EQUAL_FRAMES, EQUAL_OPERATIONS)

Curves = dict[str, tuple[np.ndarray, np.ndarray]]
"""By measure: frames (P,) and samples (1 + resamples, P), the estimate first."""


def tasks(settings: Settings) -> tuple[str, ...]:
    """Return the tasks of the comparison that are studied."""
    return studied(settings.heads.tasks, settings)


def runs(settings: Settings, task: str) -> dict[str, Run]:
    """Return the runs compared on one task: published, ours, and ours with more frames (longer)."""
    frames = settings.heads.frames
    published = {"size": settings.heads.size, **PUBLISHED}
    ours = {"size": settings.heads.size, **OURS}
    return {
        "published": training_run(settings, (task,), frames, policy=published),
        "ours": training_run(settings, (task,), frames, policy=ours),
        "longer": training_run(settings, (task,), frames * LONGER, policy=ours),
    }


def needs(settings: Settings) -> list[Need]:
    """Return skills and losses of all runs, and the training speed of both on the first task."""
    measured = [
        Need(table, run, task)
        for task in tasks(settings)
        for run in runs(settings, task).values()
        for table in ("skills", "losses")
    ]
    return measured + [
        Need("speed", runs(settings, task)[who], task)
        for task in tasks(settings)[:1]
        for who in ("published", "ours")
    ]


def operations_per_frame(inputs: dict[str, pd.DataFrame], settings: Settings) -> dict[str, float]:
    """Return floating-point operations of training per frame; nan if not measured."""
    speed = inputs["speed"]
    of_first = runs(settings, tasks(settings)[0])
    forward = {
        who: float(speed.loc[speed["run"] == of_first[who].name, "flops_per_frame"].mean())
        for who in ("published", "ours")
    }
    training = {who: TRAINING_PASSES * operations for who, operations in forward.items()}
    return {**training, "longer": training["ours"]}


def shared_episodes(inputs: dict[str, pd.DataFrame]) -> int:
    """Return the number of held-out episodes on which all policies were measured."""
    counts = inputs["losses"].groupby("run")["episode"].nunique()
    return int(counts.min()) if len(counts) else 0


def _curves(inputs: dict[str, pd.DataFrame], settings: Settings, who: str, task: str) -> Curves:
    """Return curves along training for a task or the mean over tasks, as far as measured."""
    names = {
        compared: runs(settings, compared)[who].name
        for compared in tasks(settings)
        if task in (compared, ALL)
    }
    losses, skills = (
        rows[(rows["task"].map(names) == rows["run"]) & (rows["episode"] < shared_episodes(inputs))]
        for rows in (inputs["losses"], inputs["skills"])
    )
    skills = skills[skills["predictor"] == "policy"]
    parts = {"loss": (losses, "nats", "steps")}
    parts |= {skill: (skills[skills["skill"] == skill], "hits", "total") for skill in SKILLS}

    along = curve_over_tasks if task == ALL else curve
    return {
        name: along(rows, hits, totals, settings.evaluation.resamples)
        for name, (rows, hits, totals) in parts.items()
        if rows[totals].sum()
    }


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (or `ALL`), `who` (published, ours, longer), `measure` (loss in nats per click, and
    skills) and `frames`, with the floating-point `operations` they take. `episodes` counts held-out
    episodes. The losses of the two heads must not be compared: their bins differ in size.
    """
    import pandas as pd

    rows: list[tuple] = []
    per_frame = operations_per_frame(inputs, settings) if tasks(settings) else {}
    for task in whole_and_parts(list(tasks(settings))):
        for who in per_frame:
            for measure, (frames, samples) in _curves(inputs, settings, who, task).items():
                for i, at in enumerate(frames):
                    value = estimate(samples[:, i])
                    rows.append((task, who, measure, at, at * per_frame[who], *value))

    columns = [column for column in COLUMNS if column != "episodes"]
    made = pd.DataFrame(rows, columns=columns)
    tasks_counted = np.where(made["task"] == ALL, len(tasks(settings)), 1)
    return made.assign(episodes=shared_episodes(inputs) * tasks_counted)


def at_frames(curves: tuple[np.ndarray, np.ndarray], frames: float) -> np.ndarray:
    """Return what was reached after some frames of training.

    Between snapshots it is linear in log(1 + frames).

    Args:
        curves: Frames (P,) and samples (1 + resamples, P).
        frames: Frames since the start of training, no more than those of the last snapshot.

    Returns:
        (1 + resamples,) samples.
    """
    measured, samples = curves
    scale = np.log1p(measured)
    at = np.log1p(frames)
    right = int(np.clip(np.searchsorted(scale, at), 1, len(scale) - 1))
    share = (at - scale[right - 1]) / (scale[right] - scale[right - 1])
    return samples[:, right - 1] + share * (samples[:, right] - samples[:, right - 1])


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Compare placement after equal frames and after equal operations."""
    if not tasks(settings):
        return []

    per_frame = operations_per_frame(inputs, settings)
    frames = str(settings.heads.frames)
    # As many frames of ours take the operations of all frames of the published one.
    equal = settings.heads.frames * per_frame["published"] / per_frame["ours"]
    operations = f"{settings.heads.frames * per_frame['published']:.2e}"
    tested = []
    for task in whole_and_parts(list(tasks(settings))):
        curves = {who: _curves(inputs, settings, who, task) for who in per_frame}
        if not shared_episodes(inputs):
            reason = "no losses and skills were measured"
            tested.append(EQUAL_FRAMES.untestable(reason, task, frames=frames))
            tested.append(EQUAL_OPERATIONS.untestable(reason, task, operations="equal"))
            continue
        if any("placement@5" not in of_run for of_run in curves.values()):
            continue  # a task without placements

        published, ours, longer = (
            curves[who]["placement@5"] for who in ("published", "ours", "longer")
        )
        number = shared_episodes(inputs) * (len(tasks(settings)) if task == ALL else 1)
        strata = ", tasks as strata" if task == ALL else ""
        seeds = inputs["losses"]["seed"].nunique()
        unit = f"episode ({number} held-out{strata}, {seeds} training(s) each)"
        units = number if seeds == 1 else None

        better = estimate(ours[1][:, -1] - published[1][:, -1], units)
        tested.append(EQUAL_FRAMES.test(better, task, unit, number, seeds, frames=frames))
        if equal > longer[0][-1]:
            reason = f"ours was trained on {longer[0][-1]:,.0f} of {equal:,.0f} frames"
            tested.append(EQUAL_OPERATIONS.untestable(reason, task, operations=operations))
            continue
        better = estimate(at_frames(longer, equal) - published[1][:, -1], units)
        tested.append(
            EQUAL_OPERATIONS.test(better, task, unit, number, seeds, operations=operations)
        )
    return tested
