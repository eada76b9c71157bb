"""Against scripts: a row for each task, and a mark for each who plays."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL, ANNOTATOR, JOINT_POLICY, POLICY

SCRIPT = "script"
MARKS: dict[str, tuple[str, str, float]] = {
    "random": ("#b5b9c2", "|", 7.0),
    "trigram": (style.MUTED, "x", 4.2),
    SCRIPT: ("#009e73", "D", 3.8),
    POLICY: (style.WHO_COLORS[POLICY], "o", 3.6),
    JOINT_POLICY: (style.WHO_COLORS[JOINT_POLICY], "o", 3.6),
    ANNOTATOR: (style.WHO_COLORS[ANNOTATOR], "^", 4.0),
    "oracle": (style.INK, "|", 7.0),
}
"""Color, marker and size of each who plays."""
SHIFTS = {
    SCRIPT: -0.27,
    POLICY: -0.09,
    JOINT_POLICY: 0.09,
    ANNOTATOR: 0.27,
}
"""Heights of those with intervals; the others are in the middle of the row."""
PANELS = (
    ("success", "success", 1.0),
    ("score", "score", 1.0),
    ("steps", "steps", None),
    ("mistakes per placement", "mistakes\nper placement", None),
)
"""Measures with their headings and the best possible value."""
SOLVED, UNSOLVED = 0.9, 0.5
"""Success of a script from which it solves a task, and below which it does not."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a row per task and a panel per measure, with whether a script solves the task."""
    rows = [*([ALL] if ALL in set(table["task"]) else []), *style.tasks_of(table)]
    figure, axes = plt.subplots(
        1,
        len(PANELS),
        figsize=(style.PAGE, 0.36 * len(rows) + 1.15),
        sharey=True,
        width_ratios=(1.5, 1.2, 1.0, 1.0),
    )
    for axis, (measure, heading, best) in zip(axes, PANELS):
        part = table[table["measure"] == measure].set_index(["task", "who"])
        for y, task in enumerate(rows):
            for who, (color, marker, size) in MARKS.items():
                if (task, who) not in part.index:
                    continue
                row = part.loc[(task, who)]
                if who in SHIFTS:
                    style.row_point(axis, y + SHIFTS[who], row, color, size, marker)
                else:
                    axis.plot(row["value"], y, marker, color=color, ms=size, mew=1.3)
        axis.set_title(heading, fontsize=7.5, fontweight="normal")
        style.rows_axis(axis, shaded=len(rows))
        axis.tick_params(axis="x", labelsize=6)
        if best is not None:
            axis.set_xlim(-0.04, 1.06)
        if measure == "steps" and (part["value"] > 0).any():
            axis.set_xscale("log")
            axis.minorticks_off()
            _step_ticks(axis, part["value"])
    axes[0].set_yticks(range(len(rows)), [_label(table, name) for name in rows], color=style.INK)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)

    present = set(table["who"])
    handles = [
        style.point_handle(color, who, marker, ms=size)
        for who, (color, marker, size) in MARKS.items()
        if who in present
    ]
    style.legend_below(figure, handles, fontsize=6.5, handletextpad=0.2, columnspacing=1.0)
    return figure


def _step_ticks(axis: Axes, values: pd.Series) -> None:
    """Put ticks at whole numbers of steps that are easy to read."""
    low, high = values[values > 0].min(), values.max()
    ticks = [tick for tick in (5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low < tick < high]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xlim(0.8 * low, 1.25 * high)


def _solved(table: pd.DataFrame, task: str) -> str:
    """Say whether a script solves a task: yes, partly, no, or not measured."""
    rows = table[(table["task"] == task) & (table["who"] == SCRIPT)]
    value = rows.loc[rows["measure"] == "success", "value"]
    if value.empty or not np.isfinite(value.iloc[0]):
        return "not measured"
    if value.iloc[0] >= SOLVED:
        return "yes"
    return "no" if value.iloc[0] < UNSOLVED else "partly"


def _label(table: pd.DataFrame, task: str) -> str:
    """Return the label of a row: the task, and whether a script solves it."""
    if task == ALL:
        return style.title(task)
    return f"{style.title(task)}\nsolved by a script: {_solved(table, task)}"


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    rows = [*([ALL] if ALL in set(table["task"]) else []), *style.tasks_of(table)]
    success = table[table["measure"] == "success"].set_index(["task", "who"])
    by_task = []
    for task in rows:
        texts = [
            f"{who} {success.loc[(task, who), 'value']:.2f}"
            for who in MARKS
            if (task, who) in success.index
        ]
        by_task.append(f"{style.title(task)}: {', '.join(texts)}")
    tasks = style.tasks_of(table)
    answers = {word: [task for task in tasks if _solved(table, task) == word] for word in WORDS}
    too_easy = "; ".join(
        f"{word}: {', '.join(map(style.title, names))}" for word, names in answers.items() if names
    )
    return (
        "**Against scripts.** Success, score, steps (log scale) and mistakes per placement of who "
        "plays on the same new worlds. Random clicks anywhere; the trigram clicks where the "
        "annotator clicked after the same two widgets, without seeing the screen; scripts are "
        "hand-written solvers that see what a policy sees; the oracle is an annotator without "
        "mistakes. Bars: 95 % intervals. Unit of inference: the world, for all tasks the task. "
        f"Success: {'. '.join(by_task)}. "
        f"Is a task solved by a script (success of at least {SOLVED:g}; no: below {UNSOLVED:g})? "
        f"{too_easy}."
    )


WORDS = ("yes", "partly", "no", "not measured")
"""What can be said of a task."""
