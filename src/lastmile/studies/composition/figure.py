"""What demonstrations hold, against what the policy does that learned from them."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.composition.arms import DIALS, DOSES, USUAL, WHOLE_STYLES

ROWS = (USUAL, *DIALS, *WHOLE_STYLES)
"""Arms of the right panels, from the top."""
RATES = {
    "wrong annotations": ("teacher-forced", "o", "#0072b2"),
    "mistakes per placement": ("in closed loop", "s", "#d55e00"),
}
PANELS = {
    "success": "success",
    "gone": "injected mistakes\ngone",
    "kept": "right annotations\nkept",
}


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw the mistakes of the policy over those in its data, and what the other dials change."""
    tasks = style.tasks_of(table)
    whole = style.whole_of(table)
    figure = plt.figure(figsize=(style.PAGE, 3.1))
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 2.2), wspace=0.42)
    _dose(figure.add_subplot(grid[0]), table, whole, tasks)
    inner = grid[1].subgridspec(1, len(PANELS), wspace=0.12)
    axes = [figure.add_subplot(inner[0, at]) for at in range(len(PANELS))]
    for axis, (measure, words) in zip(axes, PANELS.items()):
        _arms(axis, table[table["measure"] == measure], words)
        axis.set_yticks(range(len(ROWS)), ROWS if axis is axes[0] else [""] * len(ROWS))
        axis.invert_yaxis()
    handles = [style.point_handle(color, name, marker) for name, marker, color in RATES.values()]
    handles += [style.point_handle(style.task_color(task), style.title(task)) for task in tasks]
    style.legend_below(figure, handles)
    return figure


def _dose(axis: Axes, table: pd.DataFrame, whole: str, tasks: list[str]) -> None:
    """Draw mistakes of the policy over mistakes in its data."""
    axis.plot([0, 0.3], [0, 0.3], color=style.MUTED, ls=style.FLOOR, lw=0.8)
    axis.text(0.29, 0.3, "as many", ha="right", fontsize=6)
    for measure, (_, marker, color) in RATES.items():
        part = table[(table["measure"] == measure) & table["arm"].isin(list(DOSES))]
        for task in [*tasks, whole]:
            rows = part[part["task"] == task]
            rows = rows.assign(dose=rows["arm"].map(DOSES).astype(float)).sort_values("dose")
            if task == whole:
                style.band(axis, rows["dose"], rows, color, marker=marker, ms=3.5)
            else:
                axis.plot(rows["dose"], rows["value"], color=color, lw=0.5, alpha=0.45)
    axis.set_xlabel("mistakes put into the data")
    axis.set_ylabel("mistakes of the policy")
    axis.set_ylim(bottom=0)
    axis.set_xticks([0, 0.1, 0.2, 0.3], ["0 %", "10 %", "20 %", "30 %"])


def _arms(axis: Axes, part: pd.DataFrame, words: str) -> None:
    """Draw one measure of all arms, a row each."""
    style.arm_rows(axis, part, ROWS, USUAL, ms=2, alpha=0.6)
    axis.axhline(0.5, color=style.GRID, lw=0.7)
    axis.axhline(len(DIALS) + 0.5, color=style.GRID, lw=0.7)
    axis.set_xlim(-0.03, 1.03)
    axis.set_xticks([0, 0.5, 1])
    axis.set_xlabel(words, fontsize=7)
    axis.tick_params(labelsize=6.5)


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    tasks = style.tasks_of(table)
    whole = style.whole_of(table)
    of_whole = table[table["task"] == whole].set_index(["measure", "arm"])

    def told(measure: str, arm: str) -> str:
        at = (measure, arm)
        return style.span(of_whole.loc[at]) if at in of_whole.index else "not measured"

    doses = ", ".join(f"{told('wrong annotations', arm)} at {arm}" for arm in DOSES)
    success = ", ".join(f"{told('success', arm)} {arm}" for arm in ROWS)
    gone = ", ".join(f"{told('gone', arm)} {arm}" for arm in (USUAL, *[*DIALS][:3]))
    return (
        "**What demonstrations hold.** Policies that learned from demonstrations which differ in "
        "one dial of the virtual annotator. Left: mistakes of the policy over mistakes put into "
        "its data, in the annotator's states without a mistake (share of wrong annotations: "
        f"{doses}) and in closed loop (mistakes per placement); thin lines are tasks. Right: what "
        "the other dials change, at 20 % mistakes, and other styles of annotators. Success: "
        f"{success}. "
        f"Share of injected mistakes that are gone: {gone}. Diamonds: {style.title(whole)}, with "
        "95 % intervals (unit of inference: the episode); dots: "
        f"{', '.join(map(style.title, tasks))}."
    )
