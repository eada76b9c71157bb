"""The screens along one episode of each task, with the click that follows each."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import matplotlib.patheffects
import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

_W, _H = 448, 336
BLOCKS, ACROSS = 3, 2
"""Tasks side by side, and screens side by side within one."""
WIDTH, MARGIN, BETWEEN, GAP, HEAD, LABEL = 10.8, 0.1, 0.26, 0.06, 0.23, 0.17
"""Inches: of the figure, around it, between tasks, between screens, of a task's title, of a screen's label."""


def draw(table: pd.DataFrame, folder: Path):
    sheet = matplotlib.image.imread(folder / "tasks_screens.png")
    names = list(dict.fromkeys(table["task"]))
    columns, down = min(BLOCKS, len(names)), -(-(int(table["column"].max()) + 1) // ACROSS)
    rows = -(-len(names) // columns)
    wide = (WIDTH - 2 * MARGIN - (columns - 1) * BETWEEN - columns * (ACROSS - 1) * GAP) / (
        columns * ACROSS
    )
    high = wide * _H / _W
    block_wide, block_high = (
        ACROSS * (wide + GAP) - GAP + BETWEEN,
        HEAD + down * (LABEL + high + GAP) - GAP + BETWEEN,
    )
    height = 2 * MARGIN + rows * block_high - BETWEEN
    figure = plt.figure(figsize=(WIDTH, height))
    figure.set_layout_engine("none")
    halo = [matplotlib.patheffects.withStroke(linewidth=2.6, foreground="white")]
    for i, name in enumerate(names):
        left, top = MARGIN + i % columns * block_wide, height - MARGIN - i // columns * block_high
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
            x, y = (
                left + j % ACROSS * (wide + GAP),
                top - HEAD - (j // ACROSS) * (LABEL + high + GAP) - LABEL,
            )
            axis = figure.add_axes((x / WIDTH, (y - high) / height, wide / WIDTH, high / height))
            axis.imshow(
                sheet[i * _H : (i + 1) * _H, j * _W : (j + 1) * _W], interpolation="antialiased"
            )
            axis.plot(
                row["x"],
                row["y"],
                "o",
                ms=11,
                mfc="none",
                mec="#ff3b6b",
                mew=1.5,
                path_effects=halo,
            )
            axis.set_axis_off()
            figure.text(
                x / WIDTH, (y + 0.04) / height, f"{row['phase']}: {row['kind']}", fontsize=7
            )
            figure.text(
                (x + wide) / WIDTH,
                (y + 0.04) / height,
                f"{row['step'] + 1} / {row['steps']}",
                fontsize=7,
                color=style.MUTED,
                ha="right",
            )
    return figure


def caption(table: pd.DataFrame) -> str:
    names = [style.title(n) for n in dict.fromkeys(table["task"])]
    steps = table.groupby("task")["steps"].first()
    return (
        f"**The tasks.** Screens along one episode ({steps.min()} to {steps.max()} steps) of the virtual annotator in each of {len(names)} tasks "
        f"({', '.join(names)}). The red ring is the click that follows; above each screen the phase of the work, the kind of action and the step."
    )
