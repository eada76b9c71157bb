"""The columns of recordings, and the row of a step."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from lastmile.screen import Screen
from lastmile.simulation.session import Session, Step
from lastmile.tasks.annotator import Intent

STEPS = pa.schema(
    [
        ("episode", pa.int32()),
        ("step", pa.int32()),
        ("x", pa.int16()),
        ("y", pa.int16()),
        ("widget", pa.dictionary(pa.int32(), pa.string())),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("phase", pa.dictionary(pa.int32(), pa.string())),
        ("mistake", pa.dictionary(pa.int32(), pa.string())),
        ("open_mistakes", pa.int16()),
        ("position", pa.float32()),
        ("target_x", pa.float32()),
        ("target_y", pa.float32()),
        ("critical", pa.bool_()),
        ("verdict", pa.dictionary(pa.int32(), pa.string())),
        ("again_x", pa.int16()),
        ("again_y", pa.int16()),
    ]
)
"""Columns of the steps, one row per click.

- `x`, `y`: the click, logical px. `widget`, `kind`: what it hit.
- `phase`, `mistake`, `critical`: the annotator's intent; empty for people.
- `open_mistakes`: mistakes in the annotation before the step.
- `position`: where in the data the view was, 0 to 1.
- `target_x`, `target_y`: the true point of a placement, logical px; -1 for other steps.
- `verdict`: what `Task.judge` says of the annotation that the step made; empty if it made none.
- `again_x`, `again_y`: the click of the same annotator, asked again in the same state with fresh
  randomness; -1 where it was not asked.
"""

EPISODES = pa.schema(
    [
        ("episode", pa.int32()),
        ("steps", pa.int32()),
        ("score", pa.float32()),
        ("success", pa.bool_()),
        ("layout", pa.dictionary(pa.int32(), pa.string())),
        ("theme", pa.dictionary(pa.int32(), pa.string())),
        ("world", pa.string()),
    ]
)
"""Columns of the episodes, one row each; `world` is the digest of the world's ground truth."""
ANSWER = ("answer_x", "answer_y")
"""Further columns of recordings in which a policy learns other clicks than those that were made:
the click to learn, logical px; `NO_ANSWER` where nothing is to be learned."""
NO_ANSWER = (-1, -1)
STEPS_WITH_ANSWERS = pa.schema([*STEPS, *((name, pa.int16()) for name in ANSWER)])


def step_row(
    session: Session[Any, Any],
    episode: int,
    step: Step,
    intent: Intent | None,
    screen: Screen,
    mistakes: int,
    again: tuple[int, int] = NO_ANSWER,
) -> dict[str, Any]:
    """Return the row of STEPS of the last step of a session.

    Args:
        session: The session, after the step.
        episode: Number of the episode.
        step: Its last step.
        intent: What the annotator meant; None if a policy made the step.
        screen: The screen that was clicked.
        mistakes: Mistakes in the annotation before it.
        again: The annotator's second answer, if it was asked again.
    """
    meant = intent or Intent("", phase="")
    target = meant.target
    return {
        "episode": episode,
        "step": len(session.steps) - 1,
        "x": step.click[0],
        "y": step.click[1],
        "widget": step.hit.widget,
        "kind": step.hit.kind,
        "phase": meant.phase,
        "mistake": meant.mistake,
        "open_mistakes": mistakes,
        "position": session.interface.position(step.before),
        "target_x": -1.0 if target is None else target[0] + screen.canvas.x,
        "target_y": -1.0 if target is None else target[1] + screen.canvas.y,
        "critical": meant.critical,
        "verdict": session.verdict(step),
        "again_x": again[0],
        "again_y": again[1],
    }
