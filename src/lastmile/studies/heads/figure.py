"""The published head and context against ours, after equal frames and after equal operations."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL

COLORS = {"published": "#d55e00", "ours": "#0072b2", "longer": "#56b4e9"}
MARKERS = {"published": "s", "ours": "o", "longer": "^"}
NAMES = {
    "published": "published: bins, all patches",
    "ours": "ours: pointer, one token per screen",
    "longer": "ours, trained longer",
}
SHOWN = {"placement@5": "placement within 5 px", "button": "button right"}
OVER = {"frames": "frames seen", "operations": "operations of training"}


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a column for each task, and a row for each measure over frames and over operations."""
    names = list(dict.fromkeys(table["task"]))
    rows = [(measure, over) for over in OVER for measure in SHOWN]
    figure, axes = plt.subplots(
        len(rows),
        len(names),
        figsize=(style.PAGE, 1.35 * len(rows) + 0.7),
        squeeze=False,
        sharey=True,
        sharex="row",
    )
    for row, (measure, over) in zip(axes, rows):
        part = table[(table["measure"] == measure) & (table[over] > 0)]
        if over == "frames":
            part = part[part["who"] != "longer"]
        for axis, name in zip(row, names):
            for who, color in COLORS.items():
                of_run = part[(part["task"] == name) & (part["who"] == who)].sort_values(over)
                if len(of_run):
                    style.band(axis, of_run[over], of_run, color, marker=MARKERS[who], ms=2.5)
            axis.set_ylim(-0.02, 1.02)
            axis.tick_params(labelsize=6)
            style.frames_axis(axis, part[over].min(), part[over].max())
            if measure == list(SHOWN)[-1]:
                axis.set_xlabel(OVER[over])
        row[0].set_ylabel(SHOWN[measure], fontsize=7)

    for axis, name in zip(axes[0], names):
        axis.set_title(style.title(name))
    handles = [
        style.line_handle(color, NAMES[who], marker=MARKERS[who], ms=3)
        for who, color in COLORS.items()
    ]
    style.legend_below(figure, handles)
    return figure


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    by_task = []
    for name, part in table[table["measure"].isin(SHOWN)].groupby("task", sort=False):
        texts = []
        for measure, words in SHOWN.items():
            ends = {
                who: rows.loc[rows["frames"].idxmax()]
                for who, rows in part[part["measure"] == measure].groupby("who")
            }
            if set(NAMES) <= set(ends):
                texts.append(
                    f"{words} {style.span(ends['published'])} against {style.span(ends['ours'])} "
                    f"(trained longer {style.span(ends['longer'])})"
                )
        if texts:
            by_task.append(f"{style.title(str(name))}: {', '.join(texts)}")

    trained = table[table["frames"] > 0]
    per_frame = (trained["operations"] / trained["frames"]).groupby(trained["who"]).median() / 1e6
    frames = table.groupby("who")["frames"].max()

    def number(values: pd.Series, who: str) -> str:
        return f"{values[who]:,.0f}" if who in values and pd.notna(values[who]) else "unknown"

    alone = table[table["task"] != ALL]
    return (
        "**Heads.** The published click head and context (softmaxes over x and y, all patches of "
        "all screens as tokens) against ours, on the same data. Above: after equal frames (up to "
        f"{number(frames, 'published')}). Below: over the floating-point operations of training "
        f"(published {number(per_frame, 'published')}, ours {number(per_frame, 'ours')} million a "
        f"frame), where ours is also trained on {number(frames, 'longer')} frames. Bands: 95 % "
        f"intervals over {int(alone['episodes'].max())} held-out episodes of each task (unit of "
        f"inference: the episode). At the end, published against ours: {'; '.join(by_task)}."
    )
