"""Policies for all tasks, by size and amount of distinct data: loss, skills, frames needed, decisions at equal placement."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from lastmile.studies import style

ALL = "all tasks"
SKILLS = ("button", "placement@5", "decision")


def draw(table: pd.DataFrame, folder: Path):
    table = table.assign(size=table["size"].fillna(""))
    whole = table[table["task"] == ALL]
    everything = whole["distinct"].max()
    full = whole[whole["distinct"] == everything]
    sizes = [size for size in style.SIZE_COLORS if size in set(full["size"])]
    figure, axes = plt.subplots(2, 3, figsize=(style.PAGE, 4.3))
    (over_frames, over_compute, needed), (against, data, skills) = axes
    first = full.loc[full["frames"] > 0, "frames"].min()
    last = full["frames"].max()
    ends = []
    for size in sizes:
        color = style.SIZE_COLORS[size]
        loss = full[(full["measure"] == "loss") & (full["size"] == size) & (full["frames"] > 0)]
        style.band(over_frames, loss["frames"], loss, color, marker="o", ms=2.5)
        flops = full.loc[
            (full["measure"] == "flops per frame") & (full["size"] == size), "value"
        ].mean()
        style.band(over_compute, 3 * flops * loss["frames"], loss, color, marker="o", ms=2.5)
        ends.append((loss["value"].iloc[-1], size, color))
    for axis, label in (
        (over_frames, "frames seen"),
        (over_compute, "training compute (operations)"),
    ):
        axis.set(yscale="log", xlabel=label)
        _loss_ticks(axis)
    over_frames.set(title="a  Loss over frames", ylabel="nats a click")
    style.frames(over_frames, first, last)
    over_compute.set(xscale="log", title="b  Loss over compute")
    style.label_ends(over_frames, ends, 0.085)
    _needed(needed, full, sizes)
    _skills(skills, full, sizes, first, last)
    _against(against, full, sizes)
    _data(data, whole)
    return figure


def _loss_ticks(axis) -> None:
    low, high = axis.get_ylim()
    ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()


def _needed(axis, full: pd.DataFrame, sizes: list[str]) -> None:
    rows = full[full["measure"].str.startswith("frames to ")]
    goals = sorted({float(measure.split()[-1]) for measure in rows["measure"]}, reverse=True)
    for goal, shade in zip(goals, ("#b8c0cc", style.MUTED, style.INK)):
        one = (
            rows[rows["measure"].map(lambda m, goal=goal: float(m.split()[-1]) == goal)]
            .set_index("size")
            .loc[sizes]
        )
        axis.plot(range(len(sizes)), one["value"], color=shade, lw=1)
        style.points(axis, range(len(sizes)), one, shade, 3.5)
        axis.annotate(
            f"{goal:.3g}",
            (len(sizes) - 1, one["value"].iloc[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
            color=shade,
        )
    axis.set(
        yscale="log", title="c  Frames to a loss of", ylabel="frames", xlim=(-0.4, len(sizes) - 0.4)
    )
    axis.set_xticks(range(len(sizes)), sizes)
    axis.set_xlabel("size")
    low, high = rows["low"].min(), rows["high"].max()
    ticks = [
        t
        for t in (m * 10.0**e for e in range(2, 9) for m in (1, 2, 5))
        if low / 1.3 <= t <= high * 1.3
    ]
    axis.set_yticks(ticks, [style.short(t) for t in ticks])
    axis.minorticks_off()


def _skills(axis, full: pd.DataFrame, sizes: list[str], first: float, last: float) -> None:
    ends = []
    for skill in SKILLS:
        for size, dash in zip(sizes, _dashes(sizes)):
            rows = full[(full["measure"] == skill) & (full["size"] == size)]
            x = rows["frames"].where(rows["frames"] > 0, first / 2)
            axis.plot(x, rows["value"], color=style.SKILL_COLORS[skill], ls=dash, lw=1.2)
        ends.append((rows["value"].iloc[-1], skill, style.SKILL_COLORS[skill]))
    style.frames(axis, first, last, zero=first / 2)
    axis.set(
        title="f  Skills over frames",
        xlabel="frames seen",
        ylabel="share of steps right",
        ylim=(-0.02, 1.02),
    )
    style.label_ends(axis, ends, 0.09)
    handles = [
        plt.Line2D([], [], color=style.INK, ls=dash, lw=1.2, label=size)
        for size, dash in zip(sizes, _dashes(sizes))
    ]
    axis.legend(
        handles=handles,
        fontsize=6,
        loc="upper left",
        handlelength=2,
        borderaxespad=0.1,
        labelspacing=0.2,
        frameon=True,
        facecolor="white",
        edgecolor="none",
        framealpha=0.85,
    )


def _dashes(sizes: list[str]) -> list:
    return (
        [(0, (1, 1.2)), (0, (4, 1.5)), "-", (0, (6, 1, 1, 1))][: len(sizes)]
        if len(sizes) > 2
        else [(0, (1, 1.2)), "-"][-len(sizes) :]
    )


def _against(axis, full: pd.DataFrame, sizes: list[str]) -> None:
    for size in sizes:
        rows = full[full["size"] == size].set_index(["measure", "frames"])
        placement, decision = rows.loc["placement@5"], rows.loc["decision"]
        color = style.SIZE_COLORS[size]
        axis.plot(placement["value"], decision["value"], "-o", color=color, ms=2.5)
        axis.errorbar(
            placement["value"].iloc[-1],
            decision["value"].iloc[-1],
            xerr=_error(placement.iloc[-1]),
            yerr=_error(decision.iloc[-1]),
            color=color,
            lw=1,
        )
        axis.annotate(
            size,
            (placement["value"].iloc[-1], decision["value"].iloc[-1]),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7,
            color=color,
        )
    axis.set(
        title="d  Decisions by placement", xlabel="placement within 5 px", ylabel="decisions right"
    )
    axis.margins(0.12)


def _error(row: pd.Series) -> list:
    return [[row["value"] - row["low"]], [row["high"] - row["value"]]]


def _data(axis, whole: pd.DataFrame) -> None:
    rows = whole[whole["measure"] == "loss"]
    several = rows.groupby("size")["distinct"].nunique()
    size = several.idxmax()
    rows = rows[rows["size"] == size]
    rows = rows[rows["frames"] == rows.groupby("distinct")["frames"].transform("max")].sort_values(
        "distinct"
    )
    axis.plot(rows["distinct"], rows["value"], color=style.SIZE_COLORS[size], lw=1)
    style.points(axis, rows["distinct"], rows, style.SIZE_COLORS[size])
    axis.set(
        xscale="log",
        title=f"e  Distinct data, size {size}",
        xlabel="episodes of each task",
        ylabel="nats a click, at the end",
    )
    axis.set_xticks(rows["distinct"], [f"{n}" for n in rows["distinct"]])
    axis.minorticks_off()
    axis.margins(0.15)


def caption(table: pd.DataFrame) -> str:
    table = table.assign(size=table["size"].fillna(""))
    whole = table[(table["task"] == ALL)]
    everything = whole["distinct"].max()
    full = whole[whole["distinct"] == everything]
    ends = full[
        (full["measure"] == "loss")
        & (full["frames"] == full.loc[full["measure"] == "loss", "frames"].max())
    ]
    losses = ", ".join(f"{row['size']} {style.span(row)}" for _, row in ends.iterrows())
    fits = full[full["measure"] == "exponent of frames"]
    over = ", ".join(f"{row['size']} {style.span(row)}" for _, row in fits.iterrows())
    parts = []
    for measure, words in (
        ("exponent of parameters", "in the number of parameters"),
        ("exponent of episodes", "in the number of distinct episodes"),
    ):
        row = whole[whole["measure"] == measure]
        if len(row):
            parts.append(f"{style.span(row.iloc[0])} {words}")
    count = {
        row["size"]: style.short(row["value"])
        for _, row in full[full["measure"] == "parameters"].iterrows()
    }
    tasks = ", ".join(style.title(task) for task in dict.fromkeys(table["task"]) if task != ALL)
    return (
        f"**Scaling.** Policies for all tasks together ({tasks}), sizes {', '.join(f'{s} ({n} parameters)' for s, n in count.items())}: the mean over tasks, "
        f"with 95 % intervals over {whole['episodes'].max()} held-out episodes (unit of inference: the episode, tasks as strata; one policy a size and seed). Nats a click at "
        f"the end: {losses}. Exponents b of the fits loss = a x^-b: in the frames seen {over}"
        + "".join(f"; {part}" for part in parts)
        + ". "
        "c: frames after which a loss was first reached. d: along the training, bars at its end."
    )
