"""Composition: what demonstrations must hold so that a policy works well.

The virtual annotator has dials: how often it errs, whether and when it corrects its mistakes,
whether it looks around first and checks at the end. Each arm is one policy, trained on
demonstrations that differ in one dial from those of the arm it is compared with. All arms see the
same worlds, learn for as long, and are measured on the same worlds and the same states of the same
annotator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmile.config import Settings
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.arms import (
    PAIRED,
    SIZE,
    Contrast,
    at_the_end,
    contrast_claims,
    rows_by_arm,
    studied,
    summed,
    with_arms,
)
from lastmile.studies.claims import Claim, Effect, Hypothesis
from lastmile.studies.composition.arms import ARMS, USUAL
from lastmile.studies.labels import POLICY
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
        rule=PAIRED,
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
    return studied(settings.composition.tasks, settings)


def runs(settings: Settings, task: str) -> dict[str, Run]:
    """Return the training run of each arm on one task."""
    policy = {"size": SIZE}
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
    """Return what is summed for each measure, by task, arm, seed and episode."""
    by_task = {task: runs(settings, task) for task in tasks(settings)}
    tables = (inputs[name] for name in ("skills", "closed_loop", "recovery"))
    skills, played, states = with_arms(tables, by_task)
    skills = at_the_end(skills)

    wrong = skills.assign(wrong=skills["total"] - skills["hits"])
    measured = {WRONG: summed(wrong, "wrong", "total")}
    for measure, condition in ((GONE, "mistake"), (KEPT, "control")):
        of_condition = states[states["condition"] == condition]
        value = of_condition["gone"].astype(float)
        value = 1 - value if measure == KEPT else value
        measured[measure] = summed(of_condition.assign(value=value), "value", "one")
    return measured | {name: summed(played, *columns) for name, columns in PLAYED.items()}


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

    measured = _measured(inputs, settings)
    rows = rows_by_arm(measured, list(ARMS), SHARES, tasks(settings), settings)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test each contrast on each task, and on all tasks together."""
    measured = _measured(inputs, settings)
    return contrast_claims(CONTRASTS, measured, list(ARMS), tasks(settings), settings)
