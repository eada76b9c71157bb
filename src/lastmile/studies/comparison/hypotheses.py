"""What the comparison tests: fixed before any recording of a person was looked at."""

from __future__ import annotations

import numpy as np

from lastmile.studies.claims import Effect, Hypothesis
from lastmile.studies.labels import ANNOTATOR, JOINT_POLICY, POLICY

LEAST_PEOPLE = 2
"""People below which nothing is known about how people differ."""
ALIKE = 0.1
"""AUC from one half up to which two groups count as alike: a window is told right 6 times of 10."""
_UNPAIRED = "Shown if the interval of the difference lies above 0, contradicted if below"
_TOLD = Effect(
    "difference",
    above="above the AUC of chance (0.5)",
    below="below the AUC of chance (0.5)",
)


def _told_from(claim: str, statement: str) -> Hypothesis:
    return Hypothesis(
        claim=claim,
        statement=statement,
        statistic="AUC of a classifier of windows of 20 clicks, on worlds that it was not fitted "
        "on, minus one half",
        rule="Shown if the interval lies above 0. No effect, which here means alike, if it lies "
        f"between -{ALIKE:g} and {ALIKE:g}.",
        effect=_TOLD,
        smallest=ALIKE,
    )


TOLD = {
    ANNOTATOR: _told_from(
        "people told from annotators", "People are told from the virtual annotators by their clicks"
    ),
    POLICY: _told_from(
        "people told from the policy", "People are told from the policy by their clicks"
    ),
    JOINT_POLICY: _told_from(
        "people told from the policy, joint policy",
        "People are told from the policy by their clicks (one policy for all tasks)",
    ),
}
"""Hypotheses about whether people are told from others, by whom."""
ERRS = Hypothesis(
    claim="people make more mistakes",
    statement="People make more mistakes than the virtual annotators",
    statistic="wrong annotations as a share of all, people minus virtual annotators",
    rule=f"{_UNPAIRED}.",
    effect=Effect(
        "percent",
        above="percentage points more wrong annotations by people",
        below="percentage points fewer wrong annotations by people",
    ),
    smallest=0.02,
)
REPAIRS = Hypothesis(
    claim="people repair later",
    statement="People repair their mistakes later than the virtual annotators",
    statistic="steps from a mistake to its repair, people minus virtual annotators",
    rule=f"{_UNPAIRED}; mistakes that stay are left out.",
    effect=Effect(
        "difference",
        above="more steps from a mistake to its repair by people",
        below="fewer steps from a mistake to its repair by people",
    ),
    smallest=2.0,
)
FARTHER = Hypothesis(
    claim="people place farther off",
    statement="People place farther from the target than the virtual annotators",
    statistic="mean distance of placements from their target in logical px, people minus virtual "
    "annotators",
    rule=f"{_UNPAIRED}.",
    effect=Effect(
        "difference",
        above="px farther from the target by people",
        below="px nearer to the target by people",
    ),
    smallest=0.5,
)
LONGER = Hypothesis(
    claim="people take more steps",
    statement="People take more steps than the virtual annotators",
    statistic="log2 of the ratio of steps per episode, people to virtual annotators",
    rule=f"{_UNPAIRED}.",
    effect=Effect("factor", above="times as many steps by people", below="times fewer by people"),
    smallest=float(np.log2(1.1)),
)


def _predicts(claim: str, suffix: str = "") -> Hypothesis:
    return Hypothesis(
        claim=claim,
        statement=f"The policy predicts virtual annotators better than people{suffix}",
        statistic="share of clicks that hit the widget of the policy's most likely click, given "
        "all that came before: those of virtual annotators minus those of people",
        rule=f"{_UNPAIRED}.",
        effect=Effect(
            "percent",
            above="percentage points more clicks predicted of virtual annotators",
            below="percentage points fewer clicks predicted of virtual annotators",
        ),
        smallest=0.05,
    )


PREDICTS = {
    POLICY: _predicts("annotators predicted better"),
    JOINT_POLICY: _predicts(
        "annotators predicted better, joint policy", " (one policy for all tasks)"
    ),
}
"""Hypotheses about predicted clicks, by kind of policy."""
COMPARED = {
    "mistakes per placement": ERRS,
    "steps to repair": REPAIRS,
    "distance": FARTHER,
    "steps": LONGER,
}
"""Hypotheses about the difference of a measure between people and annotators."""
HYPOTHESES = (*TOLD.values(), *COMPARED.values(), *PREDICTS.values())
