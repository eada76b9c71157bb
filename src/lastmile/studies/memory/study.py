"""Memory: how many past screens does a policy need, and which decisions need the past?

Each arm is one policy that sees the last `memory.windows` screens: the current one alone, or with
some before it. All arms learn from the same episodes, and each of their updates holds the very same
frames: stretches as long as the longest window are drawn, and each arm cuts them into windows of
its own (`Run.stretch`). So arms take equally many updates, encode each frame once in an update, and
differ in nothing but how far back a frame sees. All are measured on the same worlds and the same
recorded steps.

Memory here is of screens. With a window of one screen, too, a policy gets the previous click: where
it was, and what is there now (`lastmile.policy.tokens.PreviousClick`). It also sees whatever the
interface keeps on the screen, such as placed markers, the chosen class and counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lastmile.config import Settings
from lastmile.evaluation.statistics import estimate, few, share
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.arms import (
    PAIRED,
    SIZE,
    at_the_end,
    gap_claim,
    of_task,
    samples,
    studied,
    summed,
    with_arms,
)
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.labels import POLICY
from lastmile.studies.memory.kinds import CEILING, FINISHED, KINDS, NATS, SUCCESS
from lastmile.studies.runs import Need, Run, training_run

if TYPE_CHECKING:
    import pandas as pd

READS = (
    "policy",
    "training.frames",
    "episodes.train",
    "memory",
    "evaluation.resamples",
)
COLUMNS = {
    "task": TEXT,
    "who": TEXT,
    "window": WHOLE,
    "measure": TEXT,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}
KEEPS = {
    "skills": {"predictor": (POLICY, CEILING), "skill": tuple(KINDS)},
    "closed_loop": {"who": (POLICY,)},
}

LEFT_OUT = "it has no tasks; name some, such as --config 'memory.tasks=[colored_dots]'"

LEARNED = 0.1
"""Share that one of two arms must reach: where both are lower, nothing is learned that the past
could help, and equal arms mean nothing."""

PLAYED = {
    SUCCESS: ("success", "one"),
    FINISHED: ("finished", "one"),
    "mistakes per placement": ("mistakes", "placements"),
    "undos per placement": ("undo", "placements"),
    "steps": ("steps", "one"),
}
"""Measures in closed loop: what is summed above and below the line."""
SHARES = (*KINDS, SUCCESS, FINISHED)
"""Measures whose intervals end at 0 and at 1."""
LESS_IS_BETTER = (NATS,)

ALONE, USUAL, MOST = 0, -2, -1
"""Places in `memory.windows`: the fewest screens (the current one alone), the last but one (the
usual window), and the most."""


class Contrast(NamedTuple):
    """What one claim compares: two windows in one measure, or in the difference of two.

    Attributes:
        hypothesis: What is claimed.
        measure: The measure.
        more: Place in `memory.windows` of the arm that is claimed to be better.
        less: Place of the other arm.
        minus: A measure whose gain is subtracted; none if empty.
    """

    hypothesis: Hypothesis
    measure: str
    more: int
    less: int
    minus: str = ""


_NULL = " No difference is expected: an interval within {size} on both sides of 0 is a null."


def _hypothesis(
    claim: str, statement: str, what: str, effect: Effect, smallest: float, null: str = ""
) -> Hypothesis:
    return Hypothesis(
        claim=claim,
        statement=statement,
        statistic=f"{what}: windows of {{more}} screens minus windows of {{less}}",
        rule=PAIRED + (_NULL.format(size=null) if null else ""),
        effect=effect,
        smallest=smallest,
    )


def _points(right: str) -> Effect:
    """Return the effect on a share, in percentage points."""
    return Effect("percent", *(f"percentage points {word} {right}" for word in ("more", "fewer")))


_NATS = Effect("difference", "nats per click less to guess", "nats per click more to guess")
_RIGHT = {
    "button": "buttons right",
    "placement@5": "placements within 5 px",
    "decision": "critical decisions right",
    "decision by sight": "decisions by sight right",
    "undo": "first undos right",
    "look": "looks in time",
    "decide": "annotations by button in time",
    "done": "ends in time",
    "annotation": "annotations right",
}

CONTRASTS = (
    Contrast(
        _hypothesis(
            "past screens bring success",
            "A policy succeeds more often if it sees past screens",
            "success in closed loop",
            _points("successes"),
            0.05,
        ),
        SUCCESS,
        USUAL,
        ALONE,
    ),
    Contrast(
        _hypothesis(
            "past screens bring the work to an end",
            "A policy finishes more often if it sees past screens",
            "share of finished episodes in closed loop",
            _points("episodes finished"),
            0.05,
        ),
        FINISHED,
        USUAL,
        ALONE,
    ),
    Contrast(
        _hypothesis(
            "past screens make clicks predictable",
            "The annotator's next click is easier to predict with past screens",
            "nats per click, with the sign turned",
            _NATS,
            0.05,
        ),
        NATS,
        USUAL,
        ALONE,
    ),
    *(
        Contrast(
            _hypothesis(
                f"the past helps: {kind}",
                f"Past screens help to {words}",
                f"teacher-forced accuracy, {kind}",
                _points(_RIGHT[kind]),
                0.02,
            ),
            kind,
            USUAL,
            ALONE,
        )
        for kind, words in KINDS.items()
    ),
    Contrast(
        _hypothesis(
            "deciding needs the past more than placing",
            "Past screens help critical decisions more than placements",
            "gain in decisions less gain in placements within 5 px",
            Effect(
                "percent",
                "percentage points more gain in decisions than in placements",
                "percentage points less gain in decisions than in placements",
            ),
            0.05,
        ),
        "decision",
        USUAL,
        ALONE,
        "placement@5",
    ),
    Contrast(
        _hypothesis(
            "still more screens bring success",
            "A policy succeeds more often if it sees still more past screens",
            "success in closed loop",
            _points("successes"),
            0.05,
            "5 percentage points",
        ),
        SUCCESS,
        MOST,
        USUAL,
    ),
    Contrast(
        _hypothesis(
            "still more screens make clicks predictable",
            "The annotator's next click is easier to predict with still more past screens",
            "nats per click, with the sign turned",
            _NATS,
            0.05,
            "0.05 nats",
        ),
        NATS,
        MOST,
        USUAL,
    ),
    Contrast(
        _hypothesis(
            "still more screens help to decide",
            "Still more past screens help critical decisions",
            "teacher-forced accuracy, decision",
            _points(_RIGHT["decision"]),
            0.02,
            "2 percentage points",
        ),
        "decision",
        MOST,
        USUAL,
    ),
)
HYPOTHESES = tuple(contrast.hypothesis for contrast in CONTRASTS)


def tasks(settings: Settings) -> tuple[str, ...]:
    """Return the tasks of the comparison that are studied."""
    return studied(settings.memory.tasks, settings)


def runs(settings: Settings, task: str) -> dict[int, Run]:
    """Return the training run of each window on one task."""
    windows = settings.memory.windows
    return {
        window: training_run(
            settings,
            (task,),
            settings.memory.frames,
            policy={"size": SIZE, "window": window},
            stretch=max(windows),
        )
        for window in windows
    }


def needs(settings: Settings) -> list[Need]:
    """Return skills, losses and closed loop at the end of the training of each arm."""
    return [
        Need(table, run, task, "last")
        for task in tasks(settings)
        for run in runs(settings, task).values()
        for table in ("skills", "losses", "closed_loop")
    ]


def _measured(inputs: dict[str, pd.DataFrame], settings: Settings) -> dict[str, pd.DataFrame]:
    """Return what is summed for each measure, by task, window, seed and episode."""
    by_task = {task: runs(settings, task) for task in tasks(settings)}
    tables = (inputs[name] for name in ("skills", "losses", "closed_loop"))
    skills, losses, played = with_arms(tables, by_task, "window")
    skills = at_the_end(skills[skills["predictor"] == POLICY])

    def of(rows: pd.DataFrame, above: str, below: str) -> pd.DataFrame:
        return summed(rows, above, below, ("window",))

    measured = {kind: of(skills[skills["skill"] == kind], "hits", "total") for kind in KINDS}
    measured[NATS] = of(at_the_end(losses), "nats", "steps")
    return measured | {name: of(played, *columns) for name, columns in PLAYED.items()}


def _samples(rows: pd.DataFrame, window: int, settings: Settings) -> dict[str, np.ndarray]:
    """Return a measure of an arm by task, as `arms.samples` does."""
    number = settings.memory.windows.index(window)
    return samples(rows[rows["window"] == window], number, tasks(settings), settings)


def _counted(rows: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the rows of a task, or of all, with anything to count on these tasks."""
    counts = rows.groupby("task")["below"].transform("sum") > 0
    return of_task(rows[counts], task)


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks that have the measure), `window` and `measure`:

    - Teacher-forced: the accuracy of each kind of decision (`KINDS`), and nats per click.
    - In closed loop: success, finished episodes, steps, mistakes and undos per placement.

    `who` is the policy, or the ceiling (annotator self-agreement) with a window of 0. `n` counts
    episodes, once for each training.
    """
    import pandas as pd

    rows: list[tuple] = []
    names = whole_and_parts(list(tasks(settings)))
    windows = settings.memory.windows
    for measure, part in _measured(inputs, settings).items():
        estimated = share if measure in SHARES else estimate
        values = {window: _samples(part, window, settings) for window in windows}
        for task in names:
            for window in windows:
                if task in values[window]:
                    of_arm = _counted(part[part["window"] == window], task)
                    numbers = estimated(values[window][task], few(of_arm))
                    rows.append((task, POLICY, window, measure, *numbers, len(of_arm)))
    return pd.DataFrame([*rows, *_ceilings(inputs["skills"], settings)], columns=list(COLUMNS))


def _ceilings(skills: pd.DataFrame, settings: Settings) -> list[tuple]:
    """Return the rows of annotator self-agreement, which is measured beside each policy."""
    first = {
        task: run.name for task in tasks(settings) for run in [*runs(settings, task).values()][:1]
    }
    beside = (skills["task"].map(first) == skills["run"]) & (skills["predictor"] == CEILING)
    agreed = skills[beside]
    agreed = agreed[agreed["seed"] == agreed["seed"].min()]
    rows = []
    for kind in KINDS:
        of_kind = agreed[agreed["skill"] == kind].rename(columns={"total": "below"})
        for task in whole_and_parts(list(tasks(settings))):
            part = _counted(of_kind, task)
            if len(part):
                sums = part.groupby("task")[["hits", "below"]].sum()
                value = float((sums["hits"] / sums["below"]).mean())
                rows.append((task, CEILING, 0, kind, value, np.nan, np.nan, len(part)))
    return rows


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test each contrast on each task, and on all tasks together."""
    measured = _measured(inputs, settings)
    return [claim for contrast in CONTRASTS for claim in _tested(contrast, measured, settings)]


def _tested(
    contrast: Contrast, measured: dict[str, pd.DataFrame], settings: Settings
) -> list[Claim]:
    """Test a contrast on all tasks and on each; no claim where a task has no such steps."""
    hypothesis = contrast.hypothesis
    more, less = (settings.memory.windows[place] for place in (contrast.more, contrast.less))
    told = {"more": str(more), "less": str(less)}
    measures = [contrast.measure, *([contrast.minus] if contrast.minus else [])]
    sides = {
        measure: [_samples(measured[measure], window, settings) for window in (more, less)]
        for measure in measures
    }
    rows = measured[contrast.measure]
    rows = rows[rows["window"].isin([more, less])]

    tested: list[Claim] = []
    for task in whole_and_parts(list(tasks(settings))):
        missing = [
            measure for measure in measures if any(task not in side for side in sides[measure])
        ]
        if missing:
            # A task without placements, for instance, has no claim about them.
            if measured[missing[0]].empty:
                tested.append(hypothesis.untestable("it was not measured", task, **told))
            continue
        reason = ""
        gains: list[np.ndarray] = []
        for measure in measures:
            better, worse = (side[task] for side in sides[measure])
            if measure in SHARES and max(better[0], worse[0]) < LEARNED:
                reason = (
                    f"neither arm reaches {100 * LEARNED:.0f} % ({measure}), so nothing is learned "
                    "that the past could help; a longer `memory.frames` would make it so"
                )
            gains.append((better - worse) * (-1 if measure in LESS_IS_BETTER else 1))
        gap = gains[0] - gains[1] if contrast.minus else gains[0]
        part = _counted(rows, task)
        strata = part["task"].nunique()
        tested.append(gap_claim(hypothesis, gap, part, task, strata, reason, **told))
    return tested
