"""Fine-tuning to tasks that were not seen in pretraining, against training from scratch."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL

KINDS = {"pretrained": "after pretraining", "scratch": "from scratch"}
COLORS = {"pretrained": "#0072b2", "scratch": "#d55e00"}
MARKERS = {"pretrained": "o", "scratch": "s"}
COLUMNS = {
    "loss": "loss (nats per click)",
    "placement@5": "placement right",
    "decision": "decision right",
    "score": "score",
    "success": "success",
}
"""Measures, one column each, with their headings."""
PLAYED = ("score", "success")
"""Measures of closed loop; the others are teacher-forced."""
AT_END = "end of success"
"""The measure of the last column, over the number of distinct episodes."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a row for each task and a column for each measure."""
    names = list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(
        len(names),
        len(COLUMNS) + 1,
        figsize=(style.PAGE, 1.2 * len(names) + 0.95),
        squeeze=False,
    )
    shown = table[table["kind"].isin(KINDS) & table["measure"].isin(COLUMNS)]
    first = shown.loc[shown["frames"] > 0, "frames"].min()
    last = shown["frames"].max()
    for row, name in zip(axes, names):
        part = shown[shown["task"] == name]
        for i, (axis, measure) in enumerate(zip(row, COLUMNS)):
            for kind in KINDS:
                rows = part[(part["kind"] == kind) & (part["measure"] == measure)]
                rows = rows.sort_values("frames")
                if len(rows):
                    x = rows["frames"].where(rows["frames"] > 0, first / 2)
                    style.band(axis, x, rows, COLORS[kind], marker=MARKERS[kind], ms=2.2, lw=1.2)
            _axis(axis, first, last)
            if measure != "loss":
                axis.set_ylim(-0.03, 1.03)
                axis.set_yticks((0, 0.5, 1), ("0", "0.5", "1") if i == 1 else ("", "", ""))
            if name != names[-1]:
                axis.tick_params(labelbottom=False)
        _over_episodes(row[-1], table[table["task"] == name], name == names[-1])
        row[0].set_ylabel(style.title(name), fontweight="bold")

    for axis, (measure, heading) in zip(axes[0], COLUMNS.items()):
        where = "closed loop" if measure in PLAYED else "teacher-forced"
        axis.set_title(f"{heading}\n({where})", fontsize=7, fontweight="normal")
    axes[0, -1].set_title("success\n(at the end)", fontsize=7, fontweight="normal")
    for axis in axes[-1, :-1]:
        axis.set_xlabel("frames of\nthe new task", fontsize=7)
    axes[-1, -1].set_xlabel("distinct\nepisodes", fontsize=7)
    handles = [
        style.line_handle(COLORS[kind], words, marker=MARKERS[kind], ms=3)
        for kind, words in KINDS.items()
    ]
    style.legend_below(figure, handles)
    return figure


def _over_episodes(axis: Axes, part: pd.DataFrame, lowest: bool) -> None:
    """Draw the success at the end over the number of distinct episodes of the new task."""
    part = part[part["measure"] == AT_END]
    for kind in KINDS:
        rows = part[part["kind"] == kind].sort_values("budget")
        if len(rows):
            axis.plot(rows["budget"], rows["value"], color=COLORS[kind], lw=1.2)
            style.points(axis, rows["budget"], rows, COLORS[kind], 2.6)
    budgets = sorted(set(part["budget"]))
    if budgets:
        axis.set_xscale("log")
        axis.set_xticks(budgets, [style.short(n) for n in budgets] if lowest else [])
        axis.minorticks_off()
        axis.margins(x=0.25)
    axis.set_ylim(-0.03, 1.03)
    axis.set_yticks((0, 0.5, 1), ("", "", ""))
    axis.tick_params(labelsize=6)


def _axis(axis: Axes, first: float, last: float) -> None:
    """Prepare the axis of frames of a narrow panel."""
    style.frames_axis(axis, first, last, zero=first / 2)
    axis.tick_params(labelsize=6)


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    by_task = []
    for name, part in table.groupby("task", sort=False):
        ends = {}
        for kind in KINDS:
            of_kind = part[part["kind"] == kind]
            last = of_kind[of_kind["frames"] == of_kind["frames"].max()]
            ends[kind] = last.set_index("measure")
        compared = [
            f"{words} {style.span(ends['pretrained'].loc[measure])} against "
            f"{style.span(ends['scratch'].loc[measure])}"
            for measure, words in (("loss", "nats"), ("score", "score"), ("success", "success"))
            if all(measure in of_kind.index for of_kind in ends.values())
        ]
        by_task.append(f"{style.title(str(name))}: {'; '.join([*compared, *_catching_up(part)])}")

    fresh = table[table["kind"] == "scratch"]
    if fresh.empty:
        fresh = table
    held_out = fresh.loc[fresh["task"] != ALL, "episodes"].max()
    return (
        "**Transfer.** Tasks that the pretraining never saw, learned after it and from scratch, "
        f"with the same {fresh['frames'].max():,.0f} frames of the same "
        f"{fresh['budget'].max():.0f} episodes. Loss and skills are teacher-forced on "
        f"{held_out:.0f} held-out episodes of each task, score and success are in closed loop on "
        "some of them. Right: success at the end of trainings on fewer episodes, too. "
        "Bands: 95 % intervals (unit of inference: the episode, for all tasks with tasks as "
        f"strata). After pretraining against from scratch, at the end: {'. '.join(by_task)}."
    )


def _catching_up(part: pd.DataFrame) -> list[str]:
    """Say when training from scratch on everything catches up."""
    alone = part[part["kind"] == "alone"].set_index("measure")
    if "episodes to catch up" not in alone.index:
        return []
    frames = alone.loc["frames to catch up", "value"]
    episodes = alone.loc["episodes to catch up"]
    more = "" if alone.loc["catches up", "value"] else "more than "
    return [
        f"from scratch on all data the loss is as low after {more}{frames:,.0f} frames of "
        f"{more}{episodes['value']:,.0f} distinct episodes "
        f"[{episodes['low']:,.0f}, {episodes['high']:,.0f}]"
    ]
