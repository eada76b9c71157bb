"""Claims in words, and grouped by hypothesis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lastmile.studies import get_study, study_names
from lastmile.studies.claims import Claim, Effect
from lastmile.studies.labels import ALL

NOT_MEASURED = "not measured"


class Line(NamedTuple):
    """A hypothesis on the page: its claim on all tasks (or the only one), then task by task."""

    whole: Claim
    by_task: list[Claim]


def ledger(claims: list[Claim]) -> list[Line]:
    """Group claims by hypothesis, in their order."""
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.claim, []).append(claim)

    lines = []
    for group in groups.values():
        whole = next((claim for claim in group if claim.task == ALL), group[0])
        lines.append(Line(whole, [claim for claim in group if claim is not whole]))
    return lines


def effects() -> dict[str, Effect]:
    """Return how to put the values of claims into words, by claim."""
    return {
        hypothesis.claim: hypothesis.effect
        for name in study_names()
        for hypothesis in get_study(name).HYPOTHESES
    }


def in_words(claim: Claim, effect: Effect | None) -> str:
    """Put a claim's value and interval into words: `placement comes 2.8 times later (2.1 to 3.6)`.

    Args:
        claim: The claim.
        effect: How to say it; None for bare numbers.
    """
    if not np.isfinite(claim.value):
        return f"{NOT_MEASURED}: {claim.reason}" if claim.reason else NOT_MEASURED
    measured = _measured(claim, effect)
    if claim.verdict == "undecided" and np.isfinite(claim.detectable) and claim.detectable > 0:
        unit = " percentage points" if effect is not None and effect.kind == "percent" else ""
        size = number(claim.detectable) if effect is None else _size(claim.detectable, effect)
        return f"{measured} [detectable: {size}{unit}]"
    return f"{measured}: {claim.reason}" if claim.reason else measured


def _measured(claim: Claim, effect: Effect | None) -> str:
    """Put a claim's value and interval into words."""
    if effect is None:
        return estimate(claim.value, claim.low, claim.high)

    direction = 1.0 if claim.value > 0 else -1.0
    words = effect.above if claim.value > 0 else effect.below
    text = f"{effect.lead} {_size(direction * claim.value, effect)} {words}".strip()
    if abs(claim.value) < 1e-9:
        text = "no difference"

    if not np.isfinite([claim.low, claim.high]).all():
        return f"{text} (no interval)"
    if claim.low == claim.high:
        return f"{text} (the same in every resample)"
    # The interval is that of the size just told, so it is turned around with it.
    low, high = sorted(direction * end for end in (claim.low, claim.high))
    return f"{text} ({_size(low, effect)} to {_size(high, effect)})"


def _size(value: float, effect: Effect) -> str:
    """Return the size of an effect; below 0 (or a factor below 1) it goes the other way."""
    if effect.kind == "factor":
        ratio = 2.0**value
        return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"
    if effect.kind == "percent":
        return f"{100 * value:.1f}".replace("-0.0", "0.0")
    return number(value)


def number(value: float) -> str:
    """Return a number with three digits."""
    return f"{0.0 if abs(value) < 1e-9 else value:.3g}"


def estimate(value: float, low: float, high: float) -> str:
    """Return a number with its interval."""
    if not np.isfinite(value):
        return NOT_MEASURED
    if not np.isfinite([low, high]).all():
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"
