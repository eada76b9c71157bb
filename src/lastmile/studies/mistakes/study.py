"""Mistakes: does a policy make fewer than its training data, and does it correct injected ones?

Whether it makes fewer is asked in the annotator's states without a mistake: there both do the same
work. In closed loop mistakes lead to states that the data do not hold, and to further mistakes; how
much so is a question of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import (
    count_episodes,
    estimate,
    few,
    rate,
    rate_over_tasks,
    share,
    success,
)
from lastmile.screen.widgets import KINDS
from lastmile.storage.csv_tables import NUMBER_OR_NONE, TEXT, TEXT_OR_NONE, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import ALL, ANNOTATOR, JOINT_POLICY, POLICY, RECOVERY_STEPS
from lastmile.studies.runs import Need, both_kinds, by_kind, kind_of_policy

if TYPE_CHECKING:
    import pandas as pd

READS = ("evaluation.resamples",)
COLUMNS = {
    "task": TEXT,
    "who": TEXT,
    "measure": TEXT,
    "kind": TEXT_OR_NONE,
    "delay": WHOLE,
    "value": NUMBER_OR_NONE,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
OUTCOMES = ("success", "score", "finished", "coverage", "steps")
RATES = {"mistakes per placement": "mistakes", "undos per placement": "undo"}
"""Rates per placement, and the columns that count them."""
NO_DELAY = -1
"""Takes the place of a delay where all delays are together, and outside of recovery."""

PLACING = 0.5
"""Share of its ceiling that the accuracy of placement must reach for claims about mistakes."""
UNDOING = 0.2
"""Accuracy on first undos below which a policy has not learned to undo."""

FEWER = Hypothesis(
    claim="fewer mistakes than the data",
    statement="The policy makes fewer mistakes than its training data",
    statistic="share of wrong annotations in the annotator's states without a mistake: annotator "
    "asked again, minus most likely click of the policy",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below.",
    effect=Effect(
        "percent",
        above="percentage points fewer wrong annotations than the annotator",
        below="percentage points more wrong annotations than the annotator",
    ),
    smallest=0.02,
)
SNOWBALL = Hypothesis(
    claim="mistakes snowball",
    statement="Mistakes lead to further mistakes in closed loop",
    statistic="mistakes per placement of the policy, in closed loop minus in the annotator's "
    "states without a mistake",
    rule="Shown if the interval of the difference lies above 0, contradicted if below.",
    effect=Effect(
        "difference",
        above="more mistakes per placement in closed loop",
        below="fewer mistakes per placement in closed loop",
    ),
    smallest=0.05,
)
CORRECTS = Hypothesis(
    claim="correction retained",
    statement="The policy corrects injected mistakes",
    statistic="share of injected mistakes that are gone after "
    f"{RECOVERY_STEPS} steps, minus share of right annotations in their place that are",
    rule="Shown if the interval of the paired difference lies above 0, contradicted if below; all "
    "kinds together, and the policy takes over at once.",
    effect=Effect(
        "percent",
        above="percentage points more often gone than a right annotation in its place",
        below="percentage points less often gone than a right annotation in its place",
    ),
    smallest=0.05,
)


def _of_joint(hypothesis: Hypothesis) -> Hypothesis:
    """Return the same hypothesis about the policy for all tasks."""
    return replace(
        hypothesis,
        claim=f"{hypothesis.claim}, joint policy",
        statement=f"{hypothesis.statement} (one policy for all tasks)",
    )


TESTED = {
    POLICY: (FEWER, SNOWBALL, CORRECTS),
    JOINT_POLICY: tuple(_of_joint(hypothesis) for hypothesis in (FEWER, SNOWBALL, CORRECTS)),
}
"""Hypotheses by kind of policy."""
HYPOTHESES = (*TESTED[POLICY], *TESTED[JOINT_POLICY])


def needs(settings: Settings) -> list[Need]:
    """Return skills, closed loop and recovery of the policy of each task, and of that for all."""
    return [
        Need(table, run, task)
        for task in task_list(settings)
        for run in both_kinds(settings, task)
        for table in ("skills", "closed_loop", "recovery")
    ]


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `who` (policy, joint policy or annotator) and
    `measure`:

    - Outcomes of closed loop, `share:KIND` of clicks, mistakes and undos per placement.
    - `wrong annotations`: their share in the annotator's states without a mistake.
    - `gone`: share of injected mistakes that are gone at the end, by delay (the number of right
      steps before the policy takes over) and by kind (empty: all together; `control`: of the right
      annotations in their place). `repaired` counts mistakes that were made right in place too.

    `n` counts episodes, or states for recovery.
    """
    import pandas as pd

    rows: list[tuple] = []
    count = settings.evaluation.resamples
    played = by_kind(inputs["closed_loop"], "who").assign(one=1)
    ratios: dict[str, tuple[str, str]] = {f"share:{kind}": (kind, "steps") for kind in KINDS}
    ratios |= {name: (column, "placements") for name, column in RATES.items()}

    for (task, who), part in played.groupby(["task", "who"], sort=True):
        for name in OUTCOMES:
            if part[name].dtype == bool:
                outcome = success(part, name, count)
            else:
                samples = rate(part, name, "one", count)
                outcome = (estimate if name == "steps" else share)(samples, few(part))
            rows.append((task, who, name, "", NO_DELAY, *outcome, len(part)))
        for name, columns in ratios.items():
            samples = rate(part, *columns, count)
            value = (estimate if name in RATES else share)(samples, few(part))
            rows.append((task, who, name, "", NO_DELAY, *value, len(part)))

    if len(task_list(settings)) > 1:
        pooled = {"success": ("success", "one"), "score": ("score", "one")}
        pooled |= {name: (column, "placements") for name, column in RATES.items()}
        for who in (POLICY, JOINT_POLICY, ANNOTATOR):
            part = played[played["who"] == who]
            for name, columns in pooled.items() if len(part) else ():
                samples = rate_over_tasks(part, *columns, count, joint=who == JOINT_POLICY)
                mean = (estimate if name in RATES else share)(samples, few(part))
                rows.append((ALL, who, name, "", NO_DELAY, *mean, len(part)))

    annotations = _annotations(inputs["skills"])
    for task in whole_and_parts(sorted(annotations["task"].unique())):
        for who, part in annotations.groupby("who", sort=True):
            if task != ALL:
                part = part[part["task"] == task]
            if part["total"].sum():
                joint = who == JOINT_POLICY
                samples = rate_over_tasks(part, "wrong", "total", count, joint)
                wrong = share(samples, few(part))
                rows.append((task, who, "wrong annotations", "", NO_DELAY, *wrong, len(part)))
    recovery = inputs["recovery"].assign(who=kind_of_policy(inputs["recovery"]), one=1)
    for who, of_kind in recovery.groupby("who", sort=True):
        rows += _recovery_rows(str(who), of_kind, count)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _annotations(skills: pd.DataFrame) -> pd.DataFrame:
    """Return counts of `wrong` annotations by episode and `who`, of the trained policies."""
    rows = skills[skills["skill"] == "annotation"]
    trained = rows["frames"] == rows.groupby(["run", "seed"])["frames"].transform("max")
    who = rows["predictor"].map({"policy": POLICY, "ceiling": ANNOTATOR})
    rows = rows.assign(who=who, wrong=rows["total"] - rows["hits"])
    return by_kind(rows[(who == ANNOTATOR) | ((who == POLICY) & trained)], "who")


def _recovery_rows(who: str, recovery: pd.DataFrame, count: int) -> list[tuple]:
    """Return the rows `gone` and `repaired` of one kind of policies."""
    rows: list[tuple] = []

    def add(task: str, measure: str, kind: str, delay: int, part: pd.DataFrame) -> None:
        if part.empty:
            return
        # Several states per episode: the episode is the unit, so the bootstrap draws episodes.
        samples = rate_over_tasks(part, measure, "one", count, joint=who == JOINT_POLICY)
        gone = share(samples, few(part))
        rows.append((task, who, measure, kind, delay, *gone, len(part)))

    for task in whole_and_parts(sorted(recovery["task"].unique())):
        of_task = recovery if task == ALL else recovery[recovery["task"] == task]
        for delay in sorted(recovery["delay"].unique()):
            delayed = of_task[of_task["delay"] == delay]
            wrong = delayed[delayed["condition"] == "mistake"]
            control = delayed[delayed["condition"] == "control"]
            for measure in ("gone", "repaired"):
                add(task, measure, "", delay, wrong)
            add(task, "gone", "control", delay, control)
            for kind, of_kind in wrong.groupby("kind", sort=True):
                add(task, "gone", str(kind), delay, of_kind)
    return rows


def unable(skills: pd.DataFrame, undoing: bool) -> dict[str, str]:
    """Return why claims about mistakes are not testable, by task, where they are not.

    Args:
        skills: Skills of policies of one kind along their training.
        undoing: Whether a claim demands that the policy has learned to undo.
    """
    reasons: dict[str, str] = {}
    for task, part in skills.groupby("task", sort=True):
        policy = part[part["predictor"] == POLICY]
        ends = {
            "policy": policy[policy["frames"] == policy["frames"].max()],
            "ceiling": part[part["predictor"] == "ceiling"],
        }
        share: dict[tuple[str, str], float] = {}
        for who, rows in ends.items():
            sums = rows.groupby("skill")[["hits", "total"]].sum()
            for skill in ("placement@5", "undo"):
                if skill in sums.index and sums.loc[skill, "total"]:
                    hits, total = sums.loc[skill, ["hits", "total"]]
                    share[who, skill] = hits / total

        placed, goal = (share.get((who, "placement@5"), np.nan) for who in ("policy", "ceiling"))
        undone = share.get(("policy", "undo"), np.nan)
        if placed < PLACING * goal:
            reasons[str(task)] = (
                f"placement is at {placed:.2f}, below half of its ceiling ({goal:.2f}); a better "
                "policy would make it so"
            )
        elif undoing and not undone >= UNDOING:
            reasons[str(task)] = (
                f"first undos are at {0 if np.isnan(undone) else undone:.2f}, below {UNDOING:g}: "
                "the policy has not learned to undo"
            )
    return reasons


def _difference(
    left: pd.DataFrame,
    right: pd.DataFrame,
    columns: tuple[str, str],
    count: int,
    joint: bool,
) -> dict[str, np.ndarray]:
    """Return the paired difference of two ratios by task, (1 + resamples,) each.

    Args:
        left: Rows with the columns task, seed and episode, and those below.
        right: The same.
        columns: What is summed above and below the line.
        count: Number of resamples.
        joint: Whether the noise between seeds is common to all tasks.
    """
    differences = {}
    for stratum, task in enumerate(sorted({*left["task"]} & {*right["task"]})):
        sides = [rows[rows["task"] == task] for rows in (left, right)]
        episodes = {*sides[0]["episode"]} & {*sides[1]["episode"]}
        sides = [rows[rows["episode"].isin(episodes)] for rows in sides]
        if all(len(rows) and rows[columns[1]].sum() for rows in sides):
            # The same episodes in both: their order makes the draws the same.
            training = 0 if joint else stratum
            first, second = (rate(rows, *columns, count, stratum, training) for rows in sides)
            differences[task] = first - second
    return differences


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test whether policies err less than their data, and correct injected mistakes."""
    count = settings.evaluation.resamples
    tasks = list(task_list(settings))
    annotations, played = _annotations(inputs["skills"]), by_kind(inputs["closed_loop"], "who")
    played = played.assign(wrong=played["mistakes"], total=played["placements"])
    at_once = inputs["recovery"][inputs["recovery"]["delay"] == 0].assign(one=1)
    skills_kind, recovery_kind = kind_of_policy(inputs["skills"]), kind_of_policy(at_once)
    annotator = annotations[annotations["who"] == ANNOTATOR]

    tested: list[Claim] = []
    for who, (fewer, snowball, corrects) in TESTED.items():
        skills = inputs["skills"][skills_kind == who]
        policy, rollouts = (rows[rows["who"] == who] for rows in (annotations, played))
        of_kind = at_once[recovery_kind == who]
        mistaken, control = (of_kind[of_kind["condition"] == c] for c in ("mistake", "control"))
        if skills.empty and rollouts.empty and of_kind.empty and who == JOINT_POLICY:
            none = "there is no policy for all tasks"
            task = whole_and_parts(tasks)[0]
            tested += [one.untestable(none, task) for one in (fewer, snowball, corrects)]
            continue

        joint = who == JOINT_POLICY
        columns = ("wrong", "total")
        unable_to_undo, unable_to_place = unable(skills, True), unable(skills, False)
        missing = "no annotations of both were measured"
        gaps = _difference(annotator, policy, columns, count, joint)
        tested += _tested(fewer, gaps, unable_to_undo, policy, tasks, missing)
        gaps = _difference(rollouts, policy, columns, count, joint)
        tested += _tested(snowball, gaps, unable_to_place, rollouts, tasks, missing)
        gaps = _difference(mistaken, control, ("gone", "one"), count, joint)
        missing = "no mistakes were injected"
        tested += _tested(corrects, gaps, unable_to_undo, mistaken, tasks, missing)
    return tested


def _tested(
    hypothesis: Hypothesis,
    differences: dict[str, np.ndarray],
    unable: dict[str, str],
    rows: pd.DataFrame,
    tasks: list[str],
    missing: str,
) -> Iterator[Claim]:
    """Test a hypothesis on each task, and on all tasks that it can be tested on."""
    able = [task for task in differences if task not in unable]
    for task in whole_and_parts(tasks):
        if task == ALL and not able:
            reason = missing
            if unable:
                reason = (
                    f"on none of {len(tasks)} tasks has the policy learned enough; longer "
                    "training would make it so"
                )
            yield hypothesis.untestable(reason, task)
        elif task == ALL:
            of_able = rows[rows["task"].isin(able)]
            units = count_episodes(of_able)
            mean = np.mean([differences[name] for name in able], axis=0)
            unit = f"episode ({units} of {len(able)} of {len(tasks)} tasks as strata)"
            yield hypothesis.test(estimate(mean, few(of_able)), task, unit, units)
        elif task in differences:
            of_task = rows[rows["task"] == task]
            units = count_episodes(of_task)
            gap = estimate(differences[task], few(of_task))
            reason = unable.get(task, "")
            yield hypothesis.test(gap, task, f"episode ({units})", units, reason=reason)
        else:
            yield hypothesis.untestable(missing, task)
