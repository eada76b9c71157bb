"""Layouts: does a policy that learned on one interface work on another?

The same worlds and the same demonstrations are drawn in different looks. Policies learn on one
look, on a few or on many, for as long. They are tested on a look that all have seen, and on a
layout, a theme and both that none has seen. The policy of one look is then fine-tuned to the unseen
layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lastmile.config import Settings
from lastmile.evaluation.statistics import estimate, few, share
from lastmile.screen import Look
from lastmile.storage.csv_tables import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE
from lastmile.studies.arms import PAIRED, SIZE, gap_claim, of_task, samples, studied, summed
from lastmile.studies.claims import Claim, Effect, Hypothesis, whole_and_parts
from lastmile.studies.layouts.arms import (
    ARMS,
    BOTH,
    EPISODES,
    FINE_TUNED,
    LAYOUT,
    MANY,
    MIXED,
    ONE,
    SEEN,
    SHARE,
    TESTED,
    THEME,
    TUNED,
    tested,
)
from lastmile.studies.runs import Looks, Need, Run, training_run

if TYPE_CHECKING:
    import pandas as pd

READS = ("policy", "training.frames", "episodes.train", "layouts", "evaluation.resamples")
COLUMNS = {
    "task": TEXT,
    "arm": TEXT,
    "look": TEXT,
    "measure": TEXT,
    "value": NUMBER,
    "low": NUMBER_OR_NONE,
    "high": NUMBER_OR_NONE,
    "n": WHOLE,
}

LEFT_OUT = "it has no tasks; name some, such as --config 'layouts.tasks=[colored_dots]'"

SUCCESS, WIDGET, WITHIN = "success", "right widget", "within 5 px"
CLICKED = {
    WIDGET: ("widget", "judged"),
    WITHIN: ("within", "clicks"),
}
"""Teacher-forced measures of all clicks: what is summed above and below the line."""
DUE = {"button": "buttons", "canvas": "canvas"}
"""What the annotator clicks, and how measures of these clicks begin."""
OUTCOMES = {
    "right": "right",
    "old_place": "old place",
    "off": "off",
    "wrong_widget": "wrong widget",
    "nothing": "nothing",
}
"""What a click comes to (`lastmile.evaluation.other_looks`), and how measures of it end."""
PLAYED = {
    SUCCESS: ("success", "one"),
    "finished": ("finished", "one"),
    "clicks on nothing": ("invalid", "steps"),
    "mistakes per placement": ("mistakes", "placements"),
}
"""Measures in closed loop."""
MISSED, CONFUSED = "buttons: missed", "buttons: wrong widget"

Side = tuple[int, str, str, str]
"""A sign, a measure, an arm and a look."""


class Contrast(NamedTuple):
    """What one claim compares: the sum of its sides is claimed to be above 0."""

    hypothesis: Hypothesis
    sides: tuple[Side, ...]


def _contrast(
    claim: str,
    statement: str,
    sides: tuple[Side, ...],
    words: tuple[str, str],
    smallest: float = 0.05,
) -> Contrast:
    """Return a contrast of measures that are shares."""
    told = " ".join(
        f"{'+' if sign > 0 else '-'} {measure} of '{arm}' ({look})"
        for sign, measure, arm, look in sides
    ).removeprefix("+ ")
    hypothesis = Hypothesis(
        claim=claim,
        statement=statement,
        statistic=told,
        rule=PAIRED,
        effect=Effect("percent", *(f"percentage points {word}" for word in words)),
        smallest=smallest,
    )
    return Contrast(hypothesis, sides)


def _both_ways() -> Iterator[Contrast]:
    """Yield the main contrasts, each in closed loop and teacher-forced."""
    for measure, end, noun in (
        (SUCCESS, "", "successes"),
        (WIDGET, ", teacher-forced", "clicks on the right widget"),
    ):
        more, fewer = f"more {noun}", f"fewer {noun}"
        yield _contrast(
            f"an unseen look costs{end}",
            f"A policy of one look does worse on a layout and theme that it has not seen{end}",
            ((1, measure, ONE, SEEN), (-1, measure, ONE, BOTH)),
            (f"{fewer} on the unseen look", f"{more} on the unseen look"),
        )
        yield _contrast(
            f"many looks cost less than one{end}",
            f"An unseen look costs a policy less that has learned on many looks{end}",
            (
                (1, measure, ONE, SEEN),
                (-1, measure, ONE, BOTH),
                (-1, measure, MANY, SEEN),
                (1, measure, MANY, BOTH),
            ),
            (f"of {noun} less lost after many looks", f"of {noun} more lost after many looks"),
        )
        yield _contrast(
            f"fine-tuning restores{end}",
            f"A little fine-tuning to an unseen layout makes a policy better there{end}",
            ((1, measure, TUNED, LAYOUT), (-1, measure, ONE, LAYOUT)),
            (f"{more} after fine-tuning", f"{fewer} after fine-tuning"),
        )
        yield _contrast(
            f"fine-tuning forgets{end}",
            f"A policy that is fine-tuned to a new layout does worse on the old one{end}",
            ((1, measure, ONE, SEEN), (-1, measure, TUNED, SEEN)),
            (f"{fewer} on the old layout", f"{more} on the old layout"),
        )
        yield _contrast(
            f"mixing avoids forgetting{end}",
            f"Mixing the old layout into fine-tuning keeps what is known of it{end}",
            ((1, measure, MIXED, SEEN), (-1, measure, TUNED, SEEN)),
            (f"{more} on the old layout", f"{fewer} on the old layout"),
        )


CONTRASTS = (
    *_both_ways(),
    _contrast(
        "a layout costs more than a theme",
        "An unseen layout costs a policy of one look more than an unseen theme",
        ((1, WIDGET, ONE, THEME), (-1, WIDGET, ONE, LAYOUT)),
        ("fewer clicks on the right widget", "more clicks on the right widget"),
    ),
    _contrast(
        "buttons are missed, not confused",
        "On an unseen layout, a policy of one look misses buttons more often than it presses a "
        "wrong one",
        ((1, MISSED, ONE, LAYOUT), (-1, CONFUSED, ONE, LAYOUT)),
        ("more buttons missed than confused", "fewer buttons missed than confused"),
    ),
    _contrast(
        "many looks have a price",
        "On the look that both know, a policy of many looks does worse than that of one",
        ((1, SUCCESS, ONE, SEEN), (-1, SUCCESS, MANY, SEEN)),
        ("fewer successes after many looks", "more successes after many looks"),
    ),
)
HYPOTHESES = tuple(contrast.hypothesis for contrast in CONTRASTS)


def tasks(settings: Settings) -> tuple[str, ...]:
    """Return the tasks of the comparison that are studied."""
    return studied(settings.layouts.tasks, settings)


def runs(settings: Settings, task: str) -> dict[str, Run]:
    """Return the training run of each arm on one task."""
    policy = {"size": SIZE}
    frames = settings.layouts.frames
    by_arm: dict[str, Run] = {}
    for arm, looks in ARMS.items():
        start = by_arm[ONE] if arm in FINE_TUNED else None
        by_arm[arm] = training_run(
            settings,
            (task,),
            frames if start is None else frames // SHARE,
            EPISODES,
            start,
            policy,
            looks=Looks(*looks),
        )
    return by_arm


def needs(settings: Settings) -> list[Need]:
    """Return what each arm does, teacher-forced and in closed loop, in the looks of its test."""
    return [
        Need(table, run, task, "last", tuple(Look(*TESTED[look]) for look in tested(arm)))
        for task in tasks(settings)
        for arm, run in runs(settings, task).items()
        for table in ("other_looks", "other_looks_played")
    ]


def _measured(inputs: dict[str, pd.DataFrame], settings: Settings) -> dict[str, pd.DataFrame]:
    """Return what is summed for each measure.

    Measures are shares: what is `above` the line, divided by what is `below`. Further columns are
    task, arm, seed, episode, and `tested`, the look by what of it is unseen (`look` is a kind of
    clicks in closed loop).
    """
    import pandas as pd

    named = pd.DataFrame(
        [
            (run.name, task, arm, look, *TESTED[look])
            for task in tasks(settings)
            for arm, run in runs(settings, task).items()
            for look in tested(arm)
        ],
        columns=["run", "task", "arm", "tested", "layout", "theme"],
    )
    clicks, played = (
        named.merge(inputs[name], on=["run", "task", "layout", "theme"]).assign(one=1)
        for name in ("other_looks", "other_looks_played")
    )

    def of(rows: pd.DataFrame, above: str, below: str) -> pd.DataFrame:
        return summed(rows, above, below, ("arm", "tested"))

    measured = {name: of(played, *columns) for name, columns in PLAYED.items()}
    measured |= {name: of(clicks, *columns) for name, columns in CLICKED.items()}
    for due, begin in DUE.items():
        part = clicks[clicks["due"] == due]
        for outcome, end in OUTCOMES.items():
            if (due, outcome) != ("button", "off"):
                measured[f"{begin}: {end}"] = of(part, outcome, "judged")
    buttons = clicks[clicks["due"] == "button"]
    missed = buttons.assign(missed=buttons["old_place"] + buttons["nothing"])
    return measured | {MISSED: of(missed, "missed", "judged")}


def _samples(rows: pd.DataFrame, arm: str, look: str, settings: Settings) -> dict[str, np.ndarray]:
    """Return a measure of an arm in a look by task, as `arms.samples` does."""
    of_arm = rows[(rows["arm"] == arm) & (rows["tested"] == look)]
    return samples(of_arm, list(ARMS).index(arm), tasks(settings), settings)


def table(inputs: dict[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Return the table of the study.

    Rows by task (`ALL`: the mean over tasks), `arm`, `look` (what of it is unseen) and `measure`:

    - Teacher-forced, of all clicks: `right widget`, and `within 5 px` of what is to be learned.
    - Teacher-forced, what clicks come to where a button is due (`buttons: OUTCOME`) and where a
      placement is (`canvas: OUTCOME`), see `lastmile.evaluation.other_looks`. `buttons: missed` is
      the sum of `old place` and `nothing`.
    - In closed loop: success, finished episodes, clicks on nothing, and mistakes per placement.

    `n` counts episodes, one for each training run.
    """
    import pandas as pd

    rows: list[tuple] = []
    for measure, part in _measured(inputs, settings).items():
        estimated = estimate if measure == "mistakes per placement" else share
        for arm in ARMS:
            for look in tested(arm):
                of_arm = part[(part["arm"] == arm) & (part["tested"] == look)]
                for task, values in _samples(part, arm, look, settings).items():
                    counted = of_task(of_arm, task)
                    count = len(counted[["task", "seed", "episode"]].drop_duplicates())
                    value = estimated(values, few(counted))
                    rows.append((task, arm, look, measure, *value, count))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def claims(inputs: dict[str, pd.DataFrame], settings: Settings) -> list[Claim]:
    """Test each contrast on each task, and on all tasks together."""
    measured = _measured(inputs, settings)
    names = tasks(settings)
    tested_claims: list[Claim] = []
    for hypothesis, sides in CONTRASTS:
        values = [
            (sign, _samples(measured[measure], arm, look, settings))
            for sign, measure, arm, look in sides
        ]
        for task in whole_and_parts(list(names)):
            known = [sign * of_side[task] for sign, of_side in values if task in of_side]
            if len(known) < len(sides):
                reason = "not measured in all that is compared"
                tested_claims.append(hypothesis.untestable(reason, task))
                continue
            rows = measured[sides[0][1]]
            part = of_task(rows[rows["arm"].isin([arm for _, _, arm, _ in sides])], task)
            gap = np.sum(known, axis=0)
            tested_claims.append(gap_claim(hypothesis, gap, part, task, len(names)))
    return tested_claims
