"""Skills over the frames seen in training, by task, and the frames to half of their ceilings."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL, JOINT_POLICY, POLICY

SHOWN = ("valid", "button", "placement@5", "decision by sight", "undo")
STAGES = ("mechanics", "placement", "decisions")
MARKERS = dict(zip(SHOWN, "osD^v"))
ACROSS = 3
"""Panels side by side."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a panel for each task, and below them the frames to half of the ceiling."""
    shares = table[table["measure"] == "share"]
    halves = table[table["measure"].isin(["half", "not reached"])]
    names = style.tasks_of(shares)
    columns = min(ACROSS, len(names))
    rows = -(-len(names) // columns)
    height_below = 0.19 * (len(names) + 1) + 0.75 if len(halves) else 0.0
    figure = plt.figure(figsize=(style.PAGE, 1.65 * rows + height_below + 0.3))
    ratios = [1.65] * rows + ([height_below] if len(halves) else [])
    grid = figure.add_gridspec(len(ratios), columns, height_ratios=ratios)

    first_axis = None
    for i, name in enumerate(names):
        axis = figure.add_subplot(grid[i // columns, i % columns], sharey=first_axis)
        first_axis = first_axis or axis
        ends = _skills(axis, shares[shares["task"] == name])
        axis.set_title(style.title(name))
        if i % columns == columns - 1 or i == len(names) - 1:
            style.label_ends(axis, ends, 0.11)
        if i % columns:
            axis.tick_params(labelleft=False)
        else:
            axis.set_ylabel("share right")
        if i + columns >= len(names):
            axis.set_xlabel("frames seen in training")

    if len(halves):
        _halves(figure.add_subplot(grid[rows, :]), halves, names)
    handles = [
        style.line_handle(
            style.SKILL_COLORS[skill], style.SKILL_NAMES[skill], marker=MARKERS[skill], ms=3
        )
        for skill in SHOWN
        if skill in set(shares["skill"])
    ]
    handles += [
        style.line_handle(style.INK, "ceiling (self-agreement)", ls=style.CEILING, lw=1),
        style.line_handle(style.INK, "floor of button", ls=style.FLOOR, lw=1),
    ]
    if (halves["predictor"] == JOINT_POLICY).any():
        handles.append(
            style.point_handle(style.INK, "hollow: one policy for all tasks", mfc="white")
        )
    if (halves["measure"] == "not reached").any():
        handles.append(style.point_handle(style.INK, "not reached", "$\\rightarrow$"))
    style.legend_below(
        figure,
        handles,
        ncols=-(-len(handles) // 2),
        fontsize=6.5,
        columnspacing=1.0,
        handlelength=1.8,
    )
    return figure


def _skills(axis: Axes, part: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Draw the skills of a task; return the ends of the lines, to label them."""
    policy = part[part["predictor"] == POLICY]
    first = policy.loc[policy["frames"] > 0, "frames"].min()
    last = policy["frames"].max()
    ends = []
    for skill in SHOWN:
        line = policy[policy["skill"] == skill].sort_values("frames")
        if line.empty:
            continue
        color = style.SKILL_COLORS[skill]
        x = line["frames"].where(line["frames"] > 0, first / 2)
        style.band(axis, x, line, color, marker=MARKERS[skill], ms=2.2, lw=1.3)
        ends.append((float(line["value"].iloc[-1]), style.SKILL_NAMES[skill], color))

        for predictor, dash in (("ceiling", style.CEILING), ("floor", style.FLOOR)):
            level = part[(part["predictor"] == predictor) & (part["skill"] == skill)]["value"]
            if len(level) and (predictor == "ceiling" or skill == "button"):
                axis.axhline(level.mean(), color=color, lw=0.8, ls=dash, alpha=0.9)
    axis.set_ylim(-0.02, 1.02)
    style.frames_axis(axis, first, last, zero=first / 2)
    return ends


def _halves(axis: Axes, halves: pd.DataFrame, names: list[str]) -> None:
    """Draw the frames to half of the ceiling: a row for each task, a point for each skill.

    Policies for one task are filled, the policy for all tasks is hollow.
    """
    rows = [*([ALL] if ALL in set(halves["task"]) else []), *names]
    shown = [skill for skill in SHOWN if skill in set(halves["skill"])]
    for joint in (True, False):
        of_kind = halves[(halves["predictor"] == JOINT_POLICY) == joint]
        by_row = of_kind[of_kind["measure"] == "half"].set_index(["task", "skill"])
        late = set(zip(of_kind["task"], of_kind["skill"])) - set(by_row.index)
        for y, name in enumerate(rows):
            for i, skill in enumerate(shown):
                shift = (i - (len(shown) - 1) / 2) * 0.15
                color = style.SKILL_COLORS[skill]
                if (name, skill) in by_row.index:
                    row = by_row.loc[(name, skill)]
                    size = 4.4 if name == ALL else 3.0
                    style.row_point(axis, y + shift, row, color, size, MARKERS[skill], joint)
                elif (name, skill) in late and not joint:
                    at = of_kind.loc[of_kind["task"] == name, "value"].max()
                    axis.plot(at, y + shift, marker="$\\rightarrow$", color=color, ms=6)

    style.rows_axis(axis, shaded=len(rows))
    axis.set_yticks(range(len(rows)), [style.title(name) for name in rows], color=style.INK)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    values = halves[halves["skill"].isin(shown)]
    first, last = values["low"].min(), values[["high", "value"]].max().max()
    style.frames_axis(axis, max(1.0, first) if first > 0 else 1.0, last)
    axis.set(title="Frames to half of the ceiling", xlabel="frames seen in training")


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    policy = table[(table["measure"] == "share") & (table["predictor"] == POLICY)]
    last = policy[policy["frames"] == policy.groupby("task")["frames"].transform("max")]
    trigram = table[(table["predictor"] == "trigram") & (table["skill"] == "decision")]
    procedure = trigram.set_index("task")["value"]
    ends = []
    for name, part in last.groupby("task", sort=False):
        values = part.set_index("skill")["value"]
        skills = [
            f"{style.SKILL_NAMES[skill]} {values[skill]:.2f}" for skill in SHOWN if skill in values
        ]
        if "decision" in values and name in procedure:
            skills.append(f"all decisions {values['decision']:.2f} ({procedure[name]:.2f})")
        ends.append(f"{style.title(str(name))} {', '.join(skills)}")
    episodes = int(policy["episodes"].max())
    return (
        "**Skills over training.** Above: share of held-out steps on which the policy's most "
        "likely click is right, teacher-forced, over the frames seen in training (logarithmic; 0: "
        f"before training). Bands: 95 % intervals over {episodes} episodes of each task (unit of "
        "inference: the episode). Dotted: ceiling (annotator self-agreement, the same annotator "
        "asked twice). Dashed: floor of the button (always the commonest click). Decisions by "
        "sight are those that do not follow from the last three widgets; undo counts the first of "
        "each run of undos. Below: frames to half way from the untrained policy to the ceiling, by "
        "task, and the geometric mean over the tasks that got there (arrows: not reached). Hollow: "
        "one policy for all tasks, over the frames of all of them."
        f"{_order(table)} At the end of training, all decisions in brackets as a trigram of "
        f"widgets makes them: {'; '.join(ends)}."
    )


def _order(table: pd.DataFrame) -> str:
    """Say when the stages come, and how surely in this order."""
    where = style.whole_of(table)
    table = table[(table["task"] == where) & (table["predictor"] == POLICY)]
    half, order = (
        table[table["measure"] == measure].set_index("skill") for measure in ("half", "order")
    )
    stages = [stage for stage in STAGES if stage in half.index]
    if not stages:
        return ""
    halves = ", ".join(
        f"{stage} {half.loc[stage, 'value']:,.0f} "
        f"[{half.loc[stage, 'low']:,.0f}, {half.loc[stage, 'high']:,.0f}]"
        for stage in stages
    )
    whole = " < ".join(stages)
    sure = ""
    if whole in order.index:
        sure = f" (in this order in {order.loc[whole, 'value']:.0%} of the bootstrap samples)"
    return f" {style.title(where)}: {halves} frames{sure}."
