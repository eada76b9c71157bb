"""Recorded episodes in another look of the interface: the same states, on other screens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from lastmile.screen import Look
from lastmile.simulation.trajectory import STEPS, Trajectories, TrajectoryError, record


def redraw(trajectories: Trajectories, look: Look) -> Trajectories:
    """Let the virtual annotator record the same episodes again, in another look.

    Its decisions do not depend on where widgets are, nor do its random numbers, so that every step
    hits what it hit before.

    Args:
        trajectories: Episodes of a virtual annotator.
        look: Layout and theme of the new screens.

    Returns:
        The recording in that look, in memory alone and without second answers: its `path` is that
        of the original.

    Raises:
        UnknownNameError: There is no such layout or theme.
        TrajectoryError: The episodes are others now, or were made by a person.
    """
    look.check()
    source = replace(trajectories.source, layouts=(look.layout,), themes=(look.theme,))
    episodes = [record(source, int(number)) for number in trajectories.episodes["episode"]]
    columns = {name: [v for one in episodes for v in one.columns[name]] for name in STEPS.names}
    steps = pa.Table.from_pydict(columns, schema=STEPS).to_pandas()
    before = trajectories.steps[["episode", "widget", "phase"]]
    if not np.array_equal(steps[["episode", "widget", "phase"]].to_numpy(), before.to_numpy()):
        raise TrajectoryError(
            f"{trajectories.path}: the annotator now takes other steps than those recorded; "
            "record the trajectories again"
        )
    rows = trajectories.episodes.assign(layout=look.layout, theme=look.theme)
    return Trajectories(trajectories.path, source, steps, rows)
