"""Policies for all tasks, by size and amount of distinct data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lastmile.policy.sizes import TRAINING_PASSES
from lastmile.studies import style
from lastmile.studies.labels import ALL

SKILLS = ("button", "placement@5", "decision")
FRAMES_TO = "frames to "
"""Measures that begin with this end with the loss that is reached."""
END_OF = "end of "
"""Measures that begin with this are taken at the end of a training."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw loss, frames needed, decisions, distinct data (where amounts differ) and skills."""
    table = table.assign(size=style.texts(table["size"]))
    whole = table[table["task"] == ALL]
    full = whole[whole["distinct"] == whole["distinct"].max()]
    sizes = [size for size in style.SIZE_COLORS if size in set(full["size"])]
    first = full.loc[full["frames"] > 0, "frames"].min()
    last = full["frames"].max()

    figure, axes = plt.subplots(2, 3, figsize=(style.PAGE, 4.6))
    _loss(axes[0, 0], axes[0, 1], full, sizes, (first, last))
    _needed(axes[0, 2], full, sizes)
    _decisions(axes[1, 0], full, sizes)
    if _amounts_differ(whole):
        _data(axes[1, 1], whole)
        skills = axes[1, 2]
    else:
        grid = axes[1, 1].get_gridspec()
        for axis in axes[1, 1:]:
            axis.remove()
        skills = figure.add_subplot(grid[1, 1:])
    _skills(skills, full, sizes, (first, last))
    skills.set_title(f"{'f' if _amounts_differ(whole) else 'e'}  Skills over frames")
    handles = [
        style.line_handle(style.SIZE_COLORS[size], f"size {size}", marker="o", ms=3)
        for size in sizes
    ]
    style.legend_below(figure, handles)
    return figure


def _loss(
    over_frames: Axes,
    over_compute: Axes,
    full: pd.DataFrame,
    sizes: list[str],
    limits: tuple[float, float],
) -> None:
    """Draw the loss over frames and over compute."""
    ends = []
    for size in sizes:
        color = style.SIZE_COLORS[size]
        of_size = full[full["size"] == size]
        loss = of_size[(of_size["measure"] == "loss") & (of_size["frames"] > 0)]
        loss = loss[loss["low"] > 0]  # what a logarithmic axis can show
        if loss.empty:
            continue
        style.band(over_frames, loss["frames"], loss, color, marker="o", ms=2.5)
        ends.append((float(loss["value"].iloc[-1]), size, color))

        flops = of_size.loc[of_size["measure"] == "flops per frame", "value"]
        if len(flops):
            operations = TRAINING_PASSES * flops.mean() * loss["frames"]
            style.band(over_compute, operations, loss, color, marker="o", ms=2.5)

    if not ends:
        over_frames.set(title="a  Loss over frames")
        over_compute.set(title="b  Loss over compute")
        return
    over_frames.set(
        yscale="log", title="a  Loss over frames", xlabel="frames seen", ylabel="nats per click"
    )
    over_compute.set(
        xscale="log", yscale="log", title="b  Loss over compute", xlabel="training operations"
    )
    for axis in (over_frames, over_compute):
        low, high = axis.get_ylim()
        ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
        axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axis.tick_params(which="minor", left=False, labelleft=False)
    style.frames_axis(over_frames, *limits)
    style.label_ends(over_frames, ends, 0.085)


def _needed(axis: Axes, full: pd.DataFrame, sizes: list[str]) -> None:
    """Draw the frames after which a loss is first reached, by size."""
    rows = full[full["measure"].str.startswith(FRAMES_TO) & (full["low"] > 0)]
    rows = rows.assign(goal=rows["measure"].str.removeprefix(FRAMES_TO))
    axis.set(title="c  Frames to reach a loss", ylabel="frames", xlabel="size")
    axis.set_xticks(range(len(sizes)), sizes)
    if rows.empty:
        return

    goals = sorted(set(rows["goal"]), key=float, reverse=True)
    for goal, shade in zip(goals, ("#b8c0cc", style.MUTED, style.INK)):
        of_goal = rows[rows["goal"] == goal].set_index("size")
        compared = [size for size in sizes if size in of_goal.index]
        of_goal = of_goal.loc[compared]
        x = [float(sizes.index(size)) for size in compared]
        axis.plot(x, of_goal["value"], color=shade, lw=1)
        style.points(axis, x, of_goal, shade, 3.5)
        axis.annotate(
            f"{goal} nats",
            (x[-1], of_goal["value"].iloc[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
            color=style.MUTED if shade == "#b8c0cc" else shade,
        )
    axis.set(yscale="log", xlim=(-0.4, len(sizes) + 0.1))
    low, high = rows["low"].min(), rows["high"].max()
    ticks = [m * 10.0**e for e in range(2, 9) for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]
    axis.set_yticks(ticks, [style.short(tick) for tick in ticks])
    axis.minorticks_off()


def _decisions(axis: Axes, full: pd.DataFrame, sizes: list[str]) -> None:
    """Draw decision accuracy by placement accuracy, along training and at the ends of trainings."""
    for size in sizes:
        color = style.SIZE_COLORS[size]
        placement, decision = _both(full, size)
        axis.plot(placement["value"], decision["value"], "-", color=color, lw=1)
        placement, decision = _both(full, size, END_OF)
        for frames in placement.index.intersection(decision.index):
            x, y = placement.loc[frames], decision.loc[frames]
            axis.errorbar(
                x["value"], y["value"], xerr=_error(x), yerr=_error(y), color=color, lw=1, fmt="o"
            )
    axis.set(title="d  Decisions", xlabel="placement right", ylabel="decisions right")
    axis.margins(0.12)


def _both(full: pd.DataFrame, size: str, prefix: str = "") -> list[pd.DataFrame]:
    """Return the rows of placement and of decisions, by frames."""
    of_size = full[full["size"] == size]
    return [
        of_size[of_size["measure"] == prefix + skill].set_index("frames")
        for skill in ("placement@5", "decision")
    ]


def _error(row: pd.Series) -> list[list[float]]:
    """Return the distances from a value to the ends of its interval."""
    return [[row["value"] - row["low"]], [row["high"] - row["value"]]]


def _amounts_differ(whole: pd.DataFrame) -> bool:
    """Return whether there are policies that learned from different numbers of episodes."""
    return whole.loc[whole["measure"] == "loss", "distinct"].nunique() > 1


def _data(axis: Axes, whole: pd.DataFrame) -> None:
    """Draw the last loss by the number of distinct episodes."""
    rows = whole[whole["measure"] == "loss"]
    axis.set(title="e  Distinct data", xlabel="episodes of each task", ylabel="last nats per click")
    size = str(rows.groupby("size")["distinct"].nunique().idxmax())
    rows = rows[rows["size"] == size]
    rows = rows[rows["frames"] == rows.groupby("distinct")["frames"].transform("max")]
    rows = rows.sort_values("distinct")
    axis.plot(rows["distinct"], rows["value"], color=style.SIZE_COLORS[size], lw=1)
    style.points(axis, rows["distinct"], rows, style.SIZE_COLORS[size])
    axis.set(xscale="log")
    axis.set_xticks(rows["distinct"], [f"{n}" for n in rows["distinct"]])
    axis.minorticks_off()
    axis.margins(0.15)


def _skills(axis: Axes, full: pd.DataFrame, sizes: list[str], limits: tuple[float, float]) -> None:
    """Draw the skills over frames; the dash tells the size."""
    first, last = limits
    dashes = _dashes(sizes)
    ends = []
    for skill in SKILLS:
        of_skill = full[full["measure"] == skill]
        for size, dash in dashes.items():
            rows = of_skill[of_skill["size"] == size]
            x = rows["frames"].where(rows["frames"] > 0, first / 2)
            axis.plot(x, rows["value"], color=style.SKILL_COLORS[skill], ls=dash, lw=1.2)
        values = of_skill.loc[of_skill["size"].isin(sizes[-1:]), "value"]
        if len(values):
            color = style.SKILL_COLORS[skill]
            ends.append((float(values.iloc[-1]), style.SKILL_NAMES[skill], color))

    style.frames_axis(axis, first, last, zero=first / 2)
    axis.set(xlabel="frames seen", ylabel="share right")
    axis.set_ylim(-0.02, 1.02)
    style.label_ends(axis, ends, 0.09)
    axis.legend(
        handles=[
            style.line_handle(style.INK, size, ls=dash, lw=1.2) for size, dash in dashes.items()
        ],
        fontsize=6,
        loc="upper left",
        handlelength=2.4,
        borderaxespad=0.1,
        labelspacing=0.2,
        frameon=True,
        facecolor="white",
        edgecolor="none",
        framealpha=0.85,
    )


def _dashes(sizes: list[str]) -> dict[str, Any]:
    """Return a dash for each size; the largest of up to three is solid."""
    dashes: list[Any] = [(0, (1, 1.2)), (0, (4, 1.5)), "-", (0, (6, 1, 1, 1))]
    if len(sizes) < 3:
        dashes = [dashes[0], "-"][-len(sizes) :]
    return dict(zip(sizes, dashes))


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    table = table.assign(size=style.texts(table["size"])).dropna(subset="value")
    whole = table[table["task"] == ALL]
    full = whole[whole["distinct"] == whole["distinct"].max()]

    loss = full[full["measure"] == "loss"]
    ends = loss[loss["frames"] == loss["frames"].max()]
    losses = ", ".join(f"{row['size']} {style.span(row)}" for _, row in ends.iterrows())
    slopes = full[full["measure"] == "exponent of frames"]
    over_frames = ", ".join(f"{row['size']} {style.span(row)}" for _, row in slopes.iterrows())
    exponents = [f"in the frames seen {over_frames}"] if over_frames else []
    for measure, words in (
        ("exponent of parameters", "in the number of parameters"),
        ("exponent of episodes", "in the number of distinct episodes"),
    ):
        rows = whole[whole["measure"] == measure]
        if len(rows):
            exponents.append(f"{words} {style.span(rows.iloc[0])}")

    parameters = full[full["measure"] == "parameters"]
    sizes = ", ".join(
        f"{row['size']} ({style.short(row['value'])} parameters)"
        for _, row in parameters.iterrows()
    )
    tasks = ", ".join(style.title(task) for task in style.tasks_of(table))
    by_episodes = whole[whole["measure"] == "loss"].groupby("size")["distinct"].nunique()
    skills = "skills along training; the dash tells the size"
    if _amounts_differ(whole):
        fewer = f"last loss of policies of size {by_episodes.idxmax()} with fewer distinct episodes"
        skills = f"{fewer}. f: {skills}"
    return (
        f"**Scaling.** One policy for all tasks ({tasks}), of several sizes: {sizes}. Values are "
        f"means over tasks with 95 % intervals over {whole['episodes'].max()} held-out episodes "
        "(unit of inference: the episode, tasks as strata; one policy per size and seed). a, b: "
        f"loss over frames and over training operations. Nats per click at the end: {losses}. "
        f"Exponents b of the fits loss = a x^-b: {'; '.join(exponents)}. c: frames after which a "
        "loss was first reached. d: share of decisions right over share of placements within 5 px, "
        f"along training, with intervals at the ends of trainings of all lengths. e: {skills}."
    )
