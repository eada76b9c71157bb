"""Fine-tuning to tasks that were not seen in pretraining, against training from scratch: a row for each task."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

ALL = "all tasks"
KINDS = {"pretrained": "#0072b2", "scratch": "#d55e00"}
SKILLS = {"placement@5": "-", "decision": (0, (4, 1.5)), "button": (0, (1, 1.3))}
COLUMNS = ("Loss (nats a click)", "Skills", "Score in closed loop")


def draw(table: pd.DataFrame, folder: Path):
    names = list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(
        len(names), 3, figsize=(style.PAGE, 1.5 * len(names) + 0.65), squeeze=False, sharex=True
    )
    shown = table[table["kind"].isin(KINDS) & (table["measure"] != "frames to catch up")]
    first, last = shown.loc[shown["frames"] > 0, "frames"].min(), shown["frames"].max()
    for row, name in zip(axes, names):
        part = table[table["task"] == name]
        for axis, measures in zip(row, (("loss",), tuple(SKILLS), ("score",))):
            for kind, color in KINDS.items():
                for measure in measures:
                    rows = part[(part["kind"] == kind) & (part["measure"] == measure)].sort_values(
                        "frames"
                    )
                    if rows.empty:
                        continue
                    x = rows["frames"].where(rows["frames"] > 0, first / 2)
                    if measure in SKILLS:
                        axis.plot(x, rows["value"], color=color, ls=SKILLS[measure], lw=1.3)
                    else:
                        style.band(axis, x, rows, color, marker="o", ms=2.5)
            style.frames(axis, first, last, zero=first / 2)
        for axis in row[1:]:
            axis.set_ylim(-0.02, 1.02)
        row[0].set_ylabel(
            name.capitalize() if name == ALL else style.title(name), fontweight="bold"
        )
        _ahead(row[0], part)
    for axis, heading in zip(axes[0], COLUMNS):
        axis.set_title(heading)
    for axis in axes[-1]:
        axis.set_xlabel("frames of the new task")
    handles = [
        plt.Line2D(
            [],
            [],
            color=color,
            label="after pretraining" if kind == "pretrained" else "from scratch",
        )
        for kind, color in KINDS.items()
    ]
    handles += [
        plt.Line2D([], [], color=style.INK, ls=dash, lw=1.3, label=skill)
        for skill, dash in SKILLS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7)
    return figure


def _ahead(axis, part: pd.DataFrame) -> None:
    """When training from scratch on everything catches up, in words."""
    alone = part[part["kind"] == "alone"].set_index("measure")
    if "episodes to catch up" in alone.index:
        at_least = "" if alone.loc["catches up", "value"] else "more than "
        text = f"scratch needs {at_least}{alone.loc['frames to catch up', 'value']:,.0f} frames\nof {alone.loc['episodes to catch up', 'value']:,.0f} episodes"
        axis.text(
            0.98,
            0.97,
            text,
            transform=axis.transAxes,
            ha="right",
            va="top",
            fontsize=6,
            color=style.MUTED,
        )


def caption(table: pd.DataFrame) -> str:
    parts = []
    for name, part in table.groupby("task", sort=False):
        ends = {
            kind: part[
                (part["kind"] == kind)
                & (part["frames"] == part.loc[part["kind"] == kind, "frames"].max())
            ].set_index("measure")
            for kind in KINDS
        }
        text = f"{style.title(name)}: " + "; ".join(
            f"{words} {style.span(ends['pretrained'].loc[measure])} against {style.span(ends['scratch'].loc[measure])}"
            for measure, words in (("loss", "nats"), ("score", "score"))
            if measure in ends["pretrained"].index
        )
        alone = part[part["kind"] == "alone"].set_index("measure")
        if "episodes to catch up" in alone.index:
            episodes = alone.loc["episodes to catch up"]
            more = "" if alone.loc["catches up", "value"] else "more than "
            text += f"; from scratch on everything the loss is as low after {more}{episodes['value']:,.0f} distinct episodes [{episodes['low']:,.0f}, {episodes['high']:,.0f}]"
        parts.append(text)
    budget = int(table.loc[table["kind"] == "scratch", "budget"].iloc[0])
    frames = table.loc[table["kind"] == "scratch", "frames"].max()
    held = table[(table["task"] != ALL) & (table["kind"] == "scratch")]["episodes"].max()
    return (
        f"**Transfer.** Tasks that the pretraining never saw, learned after it and from scratch, with the same {frames:,.0f} frames of the same {budget} episodes. Loss and skills "
        f"teacher-forced on {held} held-out episodes of each task, score in closed loop on some of them; bands are 95 % intervals (unit of inference: the episode, for all tasks "
        f"with tasks as strata). After pretraining against from scratch, at the end: {'. '.join(parts)}."
    )
