"""Repair: what ends the mistakes that cloning makes in closed loop?

A policy that only saw demonstrations gets into states that no annotator shows it the way out of.
Each arm goes on with the training of the same policy, on the same worlds and for as many frames,
with demonstrations that differ in how they are made: by the annotator alone (`plain`); by the
policy, with the annotator's next click at every state that it visits (`relabelled`, DAgger; Ross,
Gordon and Bagnell, 2011); by the policy and then by the annotator, from there to the end (`handed
over`); or by the annotator with mistakes put into its way (`noise`, DART; Laskey et al., 2017). The
annotator is the same in all of them. Steps that are seen but not learned count as frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lastmile.config import Settings
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.arms import (
    PAIRED,
    Contrast,
    contrast_claims,
    rows_by_arm,
    studied,
    summed,
    with_arms,
)
from lastmile.studies.claims import Claim, Effect, Hypothesis
from lastmile.studies.labels import POLICY
from lastmile.studies.repair.arms import (
    ARMS,
    BEFORE,
    FINISHED,
    MEASURES,
    MISTAKES,
    PLAIN,
    SHARES,
    SUCCESS,
)
from lastmile.studies.runs import Need, Run, repaired, single

if TYPE_CHECKING:
    import pandas as pd

    from lastmile.simulation.ways import Way

READS = (
    "policy",
    "training.frames",
    "episodes.train",
    "repair",
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
KEEPS = {"closed_loop": {"who": (POLICY,)}}
LEFT_OUT = "it has no tasks; name some, such as --config 'repair.tasks=[colored_dots]'"


TAUGHT = {
    "relabelled": "the annotator's next click in the states that it gets into",
    "handed over": "how the annotator goes on to the end from where it got to",
    "noise": "how the annotator goes on from mistakes put into its way",
}
"""What a policy learns, by arm."""


def _contrasts(arm: str) -> tuple[Contrast, ...]:
    """Return what is claimed of an arm, against plain demonstrations."""
    taught = TAUGHT[arm]
    return (
        Contrast(
            Hypothesis(
                claim=f"{arm}: more success",
                statement=f"A policy succeeds more often if it is taught {taught}",
                statistic=f"success in closed loop: '{arm}' minus '{PLAIN}'",
                rule=PAIRED,
                effect=Effect(
                    "percent",
                    "percentage points more successes than with plain demonstrations",
                    "percentage points fewer successes than with plain demonstrations",
                ),
                smallest=0.05,
            ),
            SUCCESS,
            arm,
            PLAIN,
        ),
        Contrast(
            Hypothesis(
                claim=f"{arm}: fewer mistakes",
                statement=f"A policy makes fewer mistakes if it is taught {taught}",
                statistic=f"mistakes per placement in closed loop: '{PLAIN}' minus '{arm}'",
                rule=PAIRED,
                effect=Effect(
                    "difference",
                    "fewer mistakes per placement than with plain demonstrations",
                    "more mistakes per placement than with plain demonstrations",
                ),
                smallest=0.02,
            ),
            MISTAKES,
            PLAIN,
            arm,
        ),
        Contrast(
            Hypothesis(
                claim=f"{arm}: finishes",
                statement=f"A policy finishes more often if it is taught {taught}",
                statistic="share of the rollouts that end with Done within the limit of steps: "
                f"'{arm}' minus '{PLAIN}'",
                rule=PAIRED,
                effect=Effect(
                    "percent",
                    "percentage points more rollouts finished than with plain demonstrations",
                    "percentage points fewer rollouts finished than with plain demonstrations",
                ),
                smallest=0.05,
            ),
            FINISHED,
            arm,
            PLAIN,
        ),
    )


CONTRASTS = tuple(contrast for arm in TAUGHT for contrast in _contrasts(arm))
HYPOTHESES = tuple(contrast.hypothesis for contrast in CONTRASTS)


def tasks(settings: Settings) -> tuple[str, ...]:
    """Return the tasks of the comparison that are studied."""
    return studied(settings.repair.tasks, settings)


def runs(settings: Settings, task: str) -> dict[str, Run]:
    """Return the training run of each arm on one task, and first that of the policy before."""
    tuned = {arm: repaired(settings, task, cast("Way", way)) for arm, way in ARMS.items()}
    return {BEFORE: single(settings, task), **tuned}


def needs(settings: Settings) -> list[Need]:
    """Return closed loop of each arm, and of the policy that all start from."""
    return [
        Need("closed_loop", run, task, "last")
        for task in tasks(settings)
        for run in runs(settings, task).values()
    ]


def _measured(inputs: dict[str, pd.DataFrame], settings: Settings) -> dict[str, pd.DataFrame]:
    """Return what is summed for each measure, by task, arm, seed and episode."""
    by_task = {task: runs(settings, task) for task in tasks(settings)}
    (played,) = with_arms([inputs["closed_loop"]], by_task)
    return {name: summed(played, *columns) for name, columns in MEASURES.items()}


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `arm` and `measure`, all in closed loop on held-out
    worlds: success, score, mistakes per placement, undos per episode, the share of rollouts that
    finish, and `longest loop`: how many times in a row the same annotation is made and taken back,
    the mean over episodes of the longest such loop. `n` counts episodes.
    """
    import pandas as pd

    measured = _measured(inputs, settings)
    rows = rows_by_arm(measured, [BEFORE, *ARMS], SHARES, tasks(settings), settings)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test each contrast on each task, and on all tasks together."""
    measured = _measured(inputs, settings)
    return contrast_claims(CONTRASTS, measured, [BEFORE, *ARMS], tasks(settings), settings)
