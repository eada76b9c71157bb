"""Composition: what demonstrations must hold so that a policy works well.

The virtual annotator has dials: how often it errs, whether and when it corrects its mistakes,
whether it looks around first and checks at the end. Each arm is one policy, trained on
demonstrations that differ in one dial from those of the arm it is compared with. All arms see the
same worlds, learn for as long, and are measured on the same worlds and the same states of the same
annotator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lastmile.config import Settings, task_list
from lastmile.evaluation.statistics import count_episodes, estimate, few, rate, share
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.composition.arms import ARMS, USUAL
from lastmile.studies.labels import ALL, POLICY
from lastmile.studies.runs import Need, Run, training_run

if TYPE_CHECKING:
    import pandas as pd

READS = (
    "policy",
    "training.frames",
    "episodes.train",
    "composition",
    "evaluation.resamples",
)
COLUMNS = {
    "task": TEXT,
    "arm": TEXT,
    "measure": TEXT,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
KEEPS = {
    "skills": {"predictor": (POLICY,), "skill": ("annotation",)},
    "closed_loop": {"who": (POLICY,)},
    "recovery": {"delay": (0,)},
}

LEFT_OUT = "it has no tasks; name some, such as --config 'composition.tasks=[colored_dots]'"

EPISODES = 500
"""Demonstrations of each arm, at most."""

WRONG, GONE, KEPT = "wrong annotations", "gone", "kept"
PLAYED = {
    "success": ("success", "one"),
    "mistakes per placement": ("mistakes", "placements"),
    "undos per placement": ("undo", "placements"),
    "share:look": ("look", "steps"),
    "share:navigate": ("navigate", "steps"),
    "steps": ("steps", "one"),
}
"""Measures in closed loop: what is summed above and below the line."""
SHARES = (WRONG, GONE, KEPT, "success", "share:look", "share:navigate")
"""Measures whose intervals end at 0 and at 1."""


class Contrast(NamedTuple):
    """What one claim compares.

    Attributes:
        hypothesis: What is claimed.
        measure: The measure.
        more: The arm in which it is claimed to be larger.
        less: The arm in which it is claimed to be smaller.
    """

    hypothesis: Hypothesis
    measure: str
    more: str
    less: str


def _contrast(
    claim: str,
    statement: str,
    measure: str,
    arms: tuple[str, str],
    words: tuple[str, str],
    smallest: float = 0.05,
) -> Contrast:
    """Return a contrast of two arms, of a measure that is a share."""
    more, less = arms
    hypothesis = Hypothesis(
        claim=claim,
        statement=statement,
        statistic=f"{measure} of the policy: demonstrations '{more}' minus '{less}'",
        rule="Shown if the interval of the paired difference lies above 0, contradicted if below.",
        effect=Effect("percent", *(f"percentage points {word}" for word in words)),
        smallest=smallest,
    )
    return Contrast(hypothesis, measure, more, less)


CONTRASTS = (
    _contrast(
        "mistakes in, mistakes out",
        "The more mistakes its demonstrations hold, the more mistakes a policy makes",
        WRONG,
        ("30 % mistakes", "0 % mistakes"),
        ("more wrong annotations", "fewer wrong annotations"),
        0.02,
    ),
    _contrast(
        "mistakes in the data cost success",
        "A policy succeeds more often if its demonstrations hold no mistakes",
        "success",
        ("0 % mistakes", "30 % mistakes"),
        ("more successes", "fewer successes"),
    ),
    _contrast(
        "correcting is learned from corrections",
        "A policy corrects mistakes only if its demonstrations show corrections",
        GONE,
        (USUAL, "never corrected"),
        ("more mistakes corrected", "fewer mistakes corrected"),
    ),
    _contrast(
        "corrections bring success",
        "A policy succeeds more often if its demonstrations show corrections",
        "success",
        (USUAL, "never corrected"),
        ("more successes", "fewer successes"),
    ),
    _contrast(
        "noticing at once is learned",
        "A policy corrects a fresh mistake more often if its demonstrations do so at once",
        GONE,
        ("noticed at once", "noticed late"),
        ("more mistakes corrected", "fewer mistakes corrected"),
    ),
    _contrast(
        "exploration brings success",
        "A policy succeeds more often if its demonstrations look around before they annotate",
        "success",
        (USUAL, "no exploration"),
        ("more successes", "fewer successes"),
    ),
    _contrast(
        "verification brings success",
        "A policy succeeds more often if its demonstrations are checked at the end",
        "success",
        (USUAL, "no verification"),
        ("more successes", "fewer successes"),
    ),
    _contrast(
        "careful annotators are better teachers",
        "A policy succeeds more often if careful annotators demonstrate than if hasty ones do",
        "success",
        ("careful", "hasty"),
        ("more successes", "fewer successes"),
    ),
    _contrast(
        "a mixture is worse than its best",
        "A policy succeeds more often if careful annotators demonstrate than if all kinds do",
        "success",
        ("careful", "mixed"),
        ("more successes", "fewer successes"),
    ),
)
HYPOTHESES = tuple(contrast.hypothesis for contrast in CONTRASTS)


def tasks(settings: Settings) -> tuple[str, ...]:
    """Return the tasks of the comparison that are studied."""
    return tuple(task for task in settings.composition.tasks if task in task_list(settings))


def runs(settings: Settings, task: str) -> dict[str, Run]:
    """Return the training run of each arm on one task."""
    policy = {"size": settings.composition.size}
    return {
        arm: training_run(
            settings, (task,), settings.composition.frames, EPISODES, policy=policy, style=style
        )
        for arm, style in ARMS.items()
    }


def needs(settings: Settings) -> list[Need]:
    """Return skills, closed loop and recovery at the end of the training of each arm."""
    return [
        Need(table, run, task, "last")
        for task in tasks(settings)
        for run in runs(settings, task).values()
        for table in ("skills", "closed_loop", "recovery")
    ]


def _measured(inputs: dict[str, pd.DataFrame], settings: Settings) -> dict[str, pd.DataFrame]:
    """Return what is summed for each measure, with the columns task, arm, seed, episode.

    `above` and `below` the line are columns, too.
    """
    import pandas as pd

    arms = pd.DataFrame(
        [
            (run.name, task, arm)
            for task in tasks(settings)
            for arm, run in runs(settings, task).items()
        ],
        columns=["run", "task", "arm"],
    )
    # Two arms are one run where the study's own annotator is one of them.
    skills, played, states = (
        arms.merge(inputs[name], on=["run", "task"]).assign(one=1)
        for name in ("skills", "closed_loop", "recovery")
    )
    last = skills.groupby(["run", "seed"])["frames"].transform("max")
    skills = skills[skills["frames"] == last]

    def of(rows: pd.DataFrame, above: str, below: str) -> pd.DataFrame:
        columns = ["task", "arm", "seed", "episode"]
        return rows[columns].assign(
            above=rows[above].astype(float), below=rows[below].astype(float)
        )

    measured = {WRONG: of(skills.assign(wrong=skills["total"] - skills["hits"]), "wrong", "total")}
    for measure, condition in ((GONE, "mistake"), (KEPT, "control")):
        of_condition = states[states["condition"] == condition]
        value = of_condition["gone"].astype(float)
        value = 1 - value if measure == KEPT else value
        measured[measure] = of(of_condition.assign(value=value), "value", "one")
    return measured | {name: of(played, *columns) for name, columns in PLAYED.items()}


def _samples(rows: pd.DataFrame, arm: str, task: str, settings: Settings) -> np.ndarray | None:
    """Return a measure of an arm on a task, or the mean over tasks; None if not measured.

    Episodes are drawn alike in all arms. The noise between trainings is independent: of each arm,
    and of each task.

    Returns:
        (1 + resamples,), the estimate first.
    """
    values = []
    names = tasks(settings)
    for stratum, name in enumerate(names):
        part = rows[(rows["task"] == name) & (rows["arm"] == arm)]
        if task in (name, ALL) and len(part) and part["below"].sum():
            training = 1 + stratum + len(names) * list(ARMS).index(arm)
            count = settings.evaluation.resamples
            values.append(rate(part, "above", "below", count, stratum, training))
    return np.mean(values, axis=0) if values else None


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `arm` and `measure`:

    - `wrong annotations`: their share in the annotator's states without a mistake.
    - `gone`: share of injected mistakes that are gone at the end; `kept`: share of right
      annotations in their place that are not.
    - In closed loop: success, steps, mistakes and undos per placement, and the shares of clicks
      that look and navigate.

    `n` counts episodes, or states for `gone` and `kept`.
    """
    import pandas as pd

    rows: list[tuple] = []
    for measure, part in _measured(inputs, settings).items():
        for task in whole_and_parts(list(tasks(settings))):
            for arm in ARMS:
                samples = _samples(part, arm, task, settings)
                if samples is None:
                    continue
                of_arm = part[(part["arm"] == arm) & ((part["task"] == task) | (task == ALL))]
                estimated = share if measure in SHARES else estimate
                rows.append((task, arm, measure, *estimated(samples, few(of_arm)), len(of_arm)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test each contrast on each task, and on all tasks together."""
    measured = _measured(inputs, settings)
    tested: list[Claim] = []
    for hypothesis, measure, more, less in CONTRASTS:
        rows = measured[measure]
        for task in whole_and_parts(list(tasks(settings))):
            sides = [_samples(rows, arm, task, settings) for arm in (more, less)]
            if sides[0] is None or sides[1] is None:
                tested.append(hypothesis.untestable("not measured in both arms", task))
                continue
            part = rows[rows["arm"].isin([more, less]) & ((rows["task"] == task) | (task == ALL))]
            units, seeds = count_episodes(part), rows["seed"].nunique()
            strata = f" of {len(tasks(settings))} tasks as strata" if task == ALL else ""
            unit = f"episode ({units}{strata}, {seeds} training run(s) of each arm)"
            gap = estimate(sides[0] - sides[1], few(part))
            tested.append(hypothesis.test(gap, task, unit, units, seeds))
    return tested
