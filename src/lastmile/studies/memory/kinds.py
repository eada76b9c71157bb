"""The kinds of decisions that the study tells apart, and the measures of its table."""

from __future__ import annotations

KINDS = {
    "button": "click the right button",
    "placement@5": "place within 5 px",
    "decision": "take a critical decision",
    "decision by sight": "decide by sight",
    "undo": "begin to undo",
    "look": "take a look",
    "decide": "annotate by a button",
    "done": "finish",
    "annotation": "annotate rightly",
}
"""Teacher-forced accuracies (see `lastmile.evaluation.skills`) in words: what is to be done."""
NATS = "nats per click"
SUCCESS, FINISHED = "success", "finished"
CEILING = "ceiling"
"""Annotator self-agreement, beside the policies."""
