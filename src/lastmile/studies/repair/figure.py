"""How policies work in closed loop that learned from different demonstrations of repair."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.repair.arms import (
    ARMS,
    BEFORE,
    FINISHED,
    LOOP,
    MISTAKES,
    PLAIN,
    SHARES,
    SUCCESS,
    UNDOS,
)

ROWS = {
    BEFORE: "before",
    PLAIN: "plain",
    "relabelled": "relabelled\n(DAgger)",
    "handed over": "handed over",
    "noise": "noise\n(DART)",
}
"""Words of the arms, from the top."""
PANELS = {
    SUCCESS: "success",
    MISTAKES: "mistakes\nper placement",
    FINISHED: "rollouts\nfinished",
    UNDOS: "undos\nper episode",
    LOOP: "longest loop of\nplacing and undoing",
}


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw each measure in a panel, a row for each arm."""
    tasks = style.tasks_of(table)
    figure, axes = plt.subplots(1, len(PANELS), figsize=(style.PAGE, 2.3), sharey=True)
    for axis, (measure, words) in zip(axes, PANELS.items()):
        of_measure = table[table["measure"] == measure]
        style.arm_rows(axis, of_measure, ROWS, PLAIN, ms=2.5, alpha=0.7)
        axis.axhline(0.5, color=style.GRID, lw=0.7)
        if measure in SHARES:
            axis.set_xlim(-0.04, 1.04)
            axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        else:
            axis.set_xlim(0, 1.05 * axis.get_xlim()[1])
        axis.set_xlabel(words, fontsize=7)
        axis.tick_params(labelsize=6.5)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(ROWS)), ROWS.values())
    axes[0].set_ylim(len(ROWS) - 0.5, -0.5)
    handles = [style.point_handle(style.task_color(task), style.title(task)) for task in tasks]
    style.legend_below(figure, handles)
    return figure


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    tasks = style.tasks_of(table)
    whole = style.whole_of(table)
    of_whole = table[table["task"] == whole].set_index(["measure", "arm"])

    def told(measure: str) -> str:
        return ", ".join(
            f"{style.span(of_whole.loc[(measure, arm)])} {arm}"
            if (measure, arm) in of_whole.index
            else f"not measured {arm}"
            for arm in (BEFORE, *ARMS)
        )

    return (
        "**What ends mistakes.** Policies in closed loop on held-out worlds, before and after they "
        "were fine-tuned for as many frames to demonstrations that were made in four ways. Plain: "
        "by the annotator. Relabelled (DAgger): by the policy, with the annotator's next click at "
        "every state that it visits. Handed over: by the policy, then by the annotator to the end, "
        "whose steps alone are learned. "
        "Noise (DART): by the annotator, with mistakes put into its way. Half of the relabelled "
        "and of the handed-over ones are plain. "
        f"Success: {told(SUCCESS)}. Mistakes per placement: {told(MISTAKES)}. Finished: "
        f"{told(FINISHED)}. Longest loop: how many times in a row the same annotation was made and "
        f"taken back, the mean over rollouts: {told(LOOP)}. Diamonds: {style.title(whole)}, with "
        "95 % intervals (unit of inference: the episode); dots: "
        f"{', '.join(map(style.title, tasks))}; dashed: plain."
    )
