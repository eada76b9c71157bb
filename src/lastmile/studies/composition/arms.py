"""The arms of the study: what tells the demonstrations of each from the others'."""

from __future__ import annotations

DOSES = {f"{100 * rate:.0f} % mistakes": rate for rate in (0.0, 0.1, 0.2, 0.3)}
"""Arms that differ in the mistake rate of the annotator; the published data have 10 to 30 %."""
USUAL = "20 % mistakes"
"""The arm that those of `DIALS` are compared with."""
DIALS = {
    "never corrected": "uncorrected",
    "noticed at once": "noticed_at_once",
    "noticed late": "noticed_late",
    "no exploration": "unexplored",
    "no verification": "unverified",
}
"""Arms that differ from `USUAL` in one thing, and the change of the style that makes it."""
WHOLE_STYLES = ("careful", "hasty", "mixed")
"""Arms of another style."""
ARMS = {
    **{arm: f"typical+mistakes={rate:g}" for arm, rate in DOSES.items()},
    **{arm: f"typical+mistakes={DOSES[USUAL]:g}+{change}" for arm, change in DIALS.items()},
    **{style: style for style in WHOLE_STYLES},
}
"""Styles of the annotator (see `lastmile.tasks.styles.get_style`) by arm."""
