"""The screens along one episode of each task, with the click that follows each."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import matplotlib.patheffects
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style

SCREEN_WIDTH = 448
"""Pixels."""
SCREEN_HEIGHT = 336
"""Pixels."""
TASKS_ACROSS = 3
SCREENS_ACROSS = 2
"""Screens side by side within one task."""

# Inches.
WIDTH = 10.8
MARGIN = 0.1
BETWEEN_TASKS = 0.26
BETWEEN_SCREENS = 0.06
HEAD = 0.23
LABEL = 0.17

CLICK = "#ff3b6b"
"""Color of the ring around a click."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a block of screens for each task, from the picture beside the table."""
    sheet = matplotlib.image.imread(folder / "tasks_screens.png")
    names = list(dict.fromkeys(table["task"]))
    columns = min(TASKS_ACROSS, len(names))
    rows = -(-len(names) // columns)
    down = -(-(int(table["column"].max()) + 1) // SCREENS_ACROSS)

    gaps = (columns - 1) * BETWEEN_TASKS + columns * (SCREENS_ACROSS - 1) * BETWEEN_SCREENS
    wide = (WIDTH - 2 * MARGIN - gaps) / (columns * SCREENS_ACROSS)
    high = wide * SCREEN_HEIGHT / SCREEN_WIDTH
    block_wide = SCREENS_ACROSS * (wide + BETWEEN_SCREENS) - BETWEEN_SCREENS + BETWEEN_TASKS
    block_high = HEAD + down * (LABEL + high + BETWEEN_SCREENS) - BETWEEN_SCREENS + BETWEEN_TASKS
    height = 2 * MARGIN + rows * block_high - BETWEEN_TASKS

    figure = plt.figure(figsize=(WIDTH, height))
    figure.set_layout_engine("none")
    for i, name in enumerate(names):
        left = MARGIN + i % columns * block_wide
        top = height - MARGIN - i // columns * block_high
        figure.text(
            left / WIDTH,
            (top - 0.02) / height,
            style.title(name),
            fontsize=11,
            fontweight="bold",
            va="top",
        )
        for _, row in table[table["task"] == name].iterrows():
            j = int(row["column"])
            x = left + j % SCREENS_ACROSS * (wide + BETWEEN_SCREENS)
            y = top - HEAD - (j // SCREENS_ACROSS) * (LABEL + high + BETWEEN_SCREENS) - LABEL
            axis = figure.add_axes((x / WIDTH, (y - high) / height, wide / WIDTH, high / height))
            lines = slice(i * SCREEN_HEIGHT, (i + 1) * SCREEN_HEIGHT)
            _screen(axis, sheet[lines, j * SCREEN_WIDTH : (j + 1) * SCREEN_WIDTH], row)

            label = (y + 0.04) / height
            figure.text(x / WIDTH, label, f"{row['phase']}: {row['kind']}", fontsize=7)
            figure.text(
                (x + wide) / WIDTH,
                label,
                f"{row['step'] + 1} / {row['steps']}",
                fontsize=7,
                color=style.MUTED,
                ha="right",
            )
    return figure


def _screen(axis: Axes, pixels: np.ndarray, row: pd.Series) -> None:
    """Draw a screen, with a ring at the click that follows."""
    axis.imshow(pixels, interpolation="antialiased")
    halo = [matplotlib.patheffects.withStroke(linewidth=2.6, foreground="white")]
    axis.plot(row["x"], row["y"], "o", ms=11, mfc="none", mec=CLICK, mew=1.5, path_effects=halo)
    axis.set_axis_off()


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the names of the tasks."""
    names = [style.title(name) for name in dict.fromkeys(table["task"])]
    steps = table.groupby("task")["steps"].first()
    return (
        f"**The tasks.** Screens along one episode ({steps.min()} to {steps.max()} steps) of the "
        f"virtual annotator in each of {len(names)} tasks ({', '.join(names)}). The red ring is "
        "the click that follows; above each screen the phase of the work, the kind of action, and "
        "the step."
    )
