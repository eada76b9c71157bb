"""The published head and context against ours, after equal frames and after equal time."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

ALL = "all tasks"
COLORS = {"published": "#d55e00", "ours": "#0072b2", "longer": "#56b4e9"}
NAMES = {
    "published": "published: bins, all patches",
    "ours": "ours: pointer, one token a frame",
    "longer": "ours, trained for longer",
}
SHOWN = {"placement@5": "placement within 5 px", "button": "right button"}


def draw(table: pd.DataFrame, folder: Path):
    names = list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(
        2 * len(SHOWN),
        len(names),
        figsize=(style.PAGE, 1.35 * 2 * len(SHOWN) + 0.7),
        squeeze=False,
        sharey=True,
        sharex="row",
    )
    rows = [(measure, over) for over in ("frames", "seconds") for measure in SHOWN]
    for line, (measure, over) in zip(axes, rows):
        part = table[(table["measure"] == measure) & (table[over] > 0)]
        for axis, name in zip(line, names):
            for who, color in COLORS.items():
                if over == "frames" and who == "longer":
                    continue
                one = part[(part["task"] == name) & (part["who"] == who)].sort_values(over)
                if len(one):
                    style.band(axis, one[over], one, color, marker="o", ms=2.5)
            axis.set_ylim(-0.02, 1.02)
            axis.tick_params(labelsize=6)
            if measure == list(SHOWN)[-1]:
                axis.set_xlabel("frames seen" if over == "frames" else "seconds on one core")
        shown = part if over == "seconds" else part[part["who"] != "longer"]
        low, high = shown[over].min(), shown[over].max()
        for axis in line:
            style.frames(axis, low, high)
        line[0].set_ylabel(SHOWN[measure], fontsize=7)
    for axis, name in zip(axes[0], names):
        axis.set_title(name.capitalize() if name == ALL else style.title(name))
    handles = [
        plt.Line2D([], [], color=color, marker="o", ms=3, label=NAMES[who])
        for who, color in COLORS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def caption(table: pd.DataFrame) -> str:
    parts = []
    rate = {
        who: (part["frames"] / part["seconds"]).median()
        for who, part in table[table["frames"] > 0].groupby("who")
    }
    for name, part in table[table["measure"].isin(SHOWN)].groupby("task", sort=False):
        texts = []
        for measure, words in SHOWN.items():
            ends = {
                who: rows.loc[rows["frames"].idxmax()]
                for who, rows in part[part["measure"] == measure].groupby("who")
            }
            if {"published", "ours", "longer"} <= set(ends):
                texts.append(
                    f"{words} {style.span(ends['published'])} against {style.span(ends['ours'])} (longer {style.span(ends['longer'])})"
                )
        parts.append(f"{style.title(name)}: {', '.join(texts)}")
    frames = {who: int(table.loc[table["who"] == who, "frames"].max()) for who in rate}
    return (
        f"**Heads.** The published click head and context (softmaxes over x and y, all patches of all frames as tokens) against ours, on the same data. Above: after equal frames "
        f"(up to {frames['published']:,}); below: over the time that they take on one core ({rate['published']:.0f} and {rate['ours']:.0f} frames a second, measured), where ours is also trained on "
        f"{frames['longer']:,} frames. Bands are 95 % intervals over {int(table.loc[table['task'] != ALL, 'episodes'].max())} held-out episodes of each task (unit of inference). "
        f"At the end, published against ours: {'; '.join(parts)}."
    )
