"""Let a virtual annotator work in a session."""

from __future__ import annotations

from typing import Any

import numpy as np

from lastmile.simulation.session import Session
from lastmile.simulation.trajectory import LONGEST
from lastmile.tasks.annotator import click, make_annotator


def work_on(
    session: Session[Any, Any], style: str, rng: np.random.Generator, longest: int = LONGEST
) -> None:
    """Let a virtual annotator work on, from the current state to the end of the episode.

    Args:
        session: The session; it may have had steps before.
        style: Style of the annotator.
        rng: The source of its randomness.
        longest: Steps of the session after which it stops, finished or not.

    Raises:
        UnknownNameError: No style has this name.
    """
    annotator = make_annotator(session.task, session.world, session.interface, style, rng)
    while not session.done and len(session.steps) < longest:
        session.click(*click(annotator.next(session.state), session.screen(), rng))
