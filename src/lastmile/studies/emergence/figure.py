"""Skills over the frames seen in training, by task, and the frames to half of each skill's gain."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

ALL = "all tasks"
SHOWN = ("valid", "button", "placement@5", "decision", "undo")
ACROSS = 3


def draw(table: pd.DataFrame, folder: Path):
    names = [name for name in dict.fromkeys(table["task"]) if name != ALL]
    shares = table[table["measure"] == "share"]
    columns = min(ACROSS, len(names))
    rows = -(-len(names) // columns)
    figure = plt.figure(figsize=(style.PAGE, 1.65 * rows + 1.9))
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1] * rows + [1.05])
    left = None
    for i, name in enumerate(names):
        axis = figure.add_subplot(grid[i // columns, i % columns], sharey=left)
        left = left or axis
        ends = _task(axis, shares[shares["task"] == name])
        axis.set_title(style.title(name))
        if i % columns == columns - 1 or i == len(names) - 1:
            style.label_ends(axis, ends, 0.11)
        if i % columns:
            axis.tick_params(labelleft=False)
        else:
            axis.set_ylabel("share right")
        if i + columns >= len(names):
            axis.set_xlabel("frames seen in training")
    _halves(figure.add_subplot(grid[rows, :]), table[table["measure"] == "half"], names)
    return figure


def _task(axis, part: pd.DataFrame) -> list:
    policy = part[part["predictor"] == "policy"]
    first, last = policy.loc[policy["frames"] > 0, "frames"].min(), policy["frames"].max()
    ends = []
    for skill in SHOWN:
        line = policy[policy["skill"] == skill].sort_values("frames")
        if line.empty:
            continue
        color = style.SKILL_COLORS[skill]
        style.band(
            axis,
            line["frames"].where(line["frames"] > 0, first / 2),
            line,
            color,
            marker="o",
            ms=2,
            lw=1.3,
        )
        ends.append((float(line["value"].iloc[-1]), skill, color))
        for predictor, dash in (("ceiling", (0, (1, 1.5))), ("floor", (0, (4, 2)))):
            level = part[(part["predictor"] == predictor) & (part["skill"] == skill)]["value"]
            if len(level) and (predictor == "ceiling" or skill == "button"):
                axis.axhline(level.mean(), color=color, lw=0.7, ls=dash, alpha=0.8)
    axis.set_ylim(-0.02, 1.02)
    style.frames(axis, first, last, zero=first / 2)
    return ends


def _halves(axis, half: pd.DataFrame, names: list[str]) -> None:
    shown = [skill for skill in SHOWN if skill in set(half["skill"])]
    wide = half.set_index(["skill", "task"])
    shifts = {name: (i - (len(names) - 1) / 2) * 0.055 for i, name in enumerate(names)}
    for i, skill in enumerate(shown):
        for name in names:
            if (skill, name) in wide.index:
                row = wide.loc[(skill, name)]
                axis.plot(
                    [row["low"], row["high"]],
                    [i + shifts[name]] * 2,
                    color=style.task_color(name),
                    lw=0.8,
                    alpha=0.8,
                )
                axis.plot(row["value"], i + shifts[name], "o", color=style.task_color(name), ms=2.6)
        if (skill, ALL) in wide.index:
            row = wide.loc[(skill, ALL)]
            axis.plot(
                [row["low"], row["high"]],
                [i, i],
                color=style.SKILL_COLORS[skill],
                lw=5,
                alpha=0.35,
                solid_capstyle="butt",
            )
            axis.plot(
                [row["value"]] * 2, [i - 0.34, i + 0.34], color=style.SKILL_COLORS[skill], lw=2.2
            )
    axis.set_yticks(range(len(shown)), shown)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    values = half[half["skill"].isin(shown)]
    style.frames(axis, max(1.0, values["low"].min()), values["high"].max())
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set(title="Frames to half of the final gain", xlabel="frames seen in training")
    handles = [
        plt.Line2D(
            [],
            [],
            marker="o",
            ls="-",
            lw=0.8,
            ms=3,
            color=style.task_color(name),
            label=style.title(name),
        )
        for name in names
    ]
    axis.legend(
        handles=handles,
        fontsize=6,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        handlelength=1.2,
        labelspacing=0.25,
    )


def caption(table: pd.DataFrame) -> str:
    policy = table[(table["measure"] == "share") & (table["predictor"] == "policy")]
    last = policy[policy["frames"] == policy.groupby("task")["frames"].transform("max")]
    parts = []
    for name, part in last.groupby("task", sort=False):
        values = part.set_index("skill")["value"]
        parts.append(
            f"{style.title(name)} "
            + ", ".join(f"{s} {values[s]:.2f}" for s in SHOWN if s in values)
        )
    half = table[table["measure"] == "half"].set_index(["task", "skill"])
    order = table[table["measure"] == "order"].set_index(["task", "skill"])["value"]
    where = ALL if ALL in set(table["task"]) else str(table["task"].iloc[0])
    stages = [s for s in ("mechanics", "placement", "decisions") if (where, s) in half.index]
    halves = ", ".join(
        f"{s} {half.loc[(where, s), 'value']:,.0f} [{half.loc[(where, s), 'low']:,.0f}, {half.loc[(where, s), 'high']:,.0f}]"
        for s in stages
    )
    whole = " < ".join(stages)
    sure = (
        f"; in this order in {order[(where, whole)]:.0%} of the bootstrap samples"
        if (where, whole) in order.index
        else ""
    )
    return (
        "**Skills over training.** Share of held-out steps on which the policy's most likely click is right, teacher-forced, against the frames seen "
        f"(log scale, 0: before training); bands are 95 % intervals over {int(policy['episodes'].max())} episodes of each task (unit of inference: the episode). Dotted: ceiling "
        "(the annotator asked again); dashed: floor for the button (always the commonest click). Below: frames to half of the final gain, by task and (bars) the geometric "
        f"mean over tasks. {style.title(where)}: {halves}{sure}. At the end of training: {'; '.join(parts)}."
    )
