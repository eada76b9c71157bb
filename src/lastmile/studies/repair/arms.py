"""The arms of the study: how their demonstrations are made."""

from __future__ import annotations

BEFORE = "before"
"""The policy that all arms start from."""
PLAIN = "plain"
"""The arm that the others are compared with."""
ARMS = {
    PLAIN: "plain",
    "relabelled": "relabelled",
    "handed over": "handed-over",
    "noise": "noise",
}
"""Ways of `lastmile.simulation.ways` by arm."""
SUCCESS, SCORE, FINISHED = "success", "score", "finished"
MISTAKES, UNDOS, LOOP = "mistakes per placement", "undos", "longest loop"
MEASURES = {
    SUCCESS: ("success", "one"),
    SCORE: ("score", "one"),
    MISTAKES: ("mistakes", "placements"),
    UNDOS: ("undo", "one"),
    FINISHED: ("finished", "one"),
    LOOP: ("loop", "one"),
}
"""Measures in closed loop: what is summed above and below the line."""
SHARES = (SUCCESS, SCORE, FINISHED)
"""Measures whose intervals end at 0 and at 1."""
