"""How the virtual annotators spend their clicks, err and repair, beside people where known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style

PEOPLE = "people"
STYLES = ("careful", "typical", "hasty")
MISTAKES_COLOR = "#d55e00"
POINTS: tuple[tuple[str, tuple[tuple[str, str, str], ...], float | None], ...] = (
    (
        "mistakes, undos\nper placement",
        (
            ("mistakes per placement", MISTAKES_COLOR, "o"),
            ("undos per placement", style.KIND_COLORS["undo"], "^"),
        ),
        None,
    ),
    ("mistakes\nrepaired", (("repaired", style.INK, "o"),), 1),
    ("success", (("success", style.INK, "o"),), 1),
    ("steps\nper world", (("steps", style.INK, "o"),), None),
)
"""Columns of points: heading, measures with colors and markers, and the best possible value."""
TITLE: dict[str, Any] = {"fontsize": 7.5, "fontweight": "normal"}
BAR = 0.125
"""Height of a row, inches."""
HEAD = 0.16
"""Height of a task's name, inches."""
AFTER = 0.09
"""Space between tasks, inches."""

Rows = dict[tuple[str, str], float]
"""Height of each row by task and style, inches from the top."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a row for each task and style: clicks by kind as bars, other measures as points."""
    rows, heads, height = _layout(table)
    figure, axes = plt.subplots(
        1,
        1 + len(POINTS),
        figsize=(style.PAGE, height + 0.85),
        sharey=True,
        width_ratios=(3.1, 1.35, 0.9, 0.9, 1.0),
    )
    values = table.set_index(["task", "style", "measure"])[["value", "low", "high"]]
    kinds = [kind for kind in style.KIND_COLORS if f"share:{kind}" in set(table["measure"])]
    _bars(axes[0], values, rows, kinds)
    for name, y in heads.items():
        axes[0].text(0, y, style.title(name), fontsize=7.5, fontweight="bold", va="center")
    axes[0].set(ylim=(height + 0.03, 0), xlim=(0, 1))
    axes[0].set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100 %"))
    axes[0].set_yticks(list(rows.values()), [who for _, who in rows], fontsize=6, color=style.INK)
    axes[0].set_title("clicks by kind of action", **TITLE)

    for axis, (heading, measures, best) in zip(axes[1:], POINTS):
        _points(axis, values, rows, measures, best)
        axis.set_title(heading, **TITLE)
        axis.grid(axis="x")
        for y in heads.values():
            axis.axhline(y, color=style.GRID, lw=0.6, zorder=0)
    for axis in axes:
        axis.grid(False, axis="y")
        axis.tick_params(length=2, labelsize=6)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)

    handles: list[Artist] = [
        plt.Rectangle((0, 0), 1, 1, color=style.KIND_COLORS[kind], label=kind) for kind in kinds
    ]
    handles += [
        style.point_handle(color, measure, marker, ms=3.5)
        for measure, color, marker in POINTS[0][1]
    ]
    style.legend_below(
        figure, handles, fontsize=6, handlelength=1, columnspacing=1.1, handletextpad=0.4
    )
    return figure


def _layout(table: pd.DataFrame) -> tuple[Rows, dict[str, float], float]:
    """Return the heights of rows and of headings, and of everything, inches from the top."""
    groups = {
        str(name): [*dict.fromkeys(part["style"])]
        for name, part in table.groupby("task", sort=False)
    }
    return style.grouped_rows(groups, BAR, HEAD, AFTER)


def _bars(axis: Axes, values: pd.DataFrame, rows: Rows, kinds: list[str]) -> None:
    """Draw the shares of clicks by kind; those of people pale, with their ranges in percent."""
    for (name, who), y in rows.items():
        left = 0.0
        for kind in kinds:
            if (name, who, f"share:{kind}") not in values.index:
                continue
            share, low, high = values.loc[(name, who, f"share:{kind}")]
            color = style.KIND_COLORS[kind]
            pale = 0.45 if who == PEOPLE else 1
            axis.barh(y, share, BAR * 0.82, left, color=color, alpha=pale, lw=0)
            if who == PEOPLE and share > 0.05:
                axis.text(
                    left + share / 2,
                    y,
                    f"{int(100 * low + 0.5)}–{int(100 * high + 0.5)}",
                    fontsize=5,
                    ha="center",
                    va="center_baseline",
                )
            left += share


def _points(
    axis: Axes,
    values: pd.DataFrame,
    rows: Rows,
    measures: tuple[tuple[str, str, str], ...],
    best: float | None,
) -> None:
    """Draw one column of points."""
    shifts = (-0.16, 0.16) if len(measures) > 1 else (0.0,)
    for (name, who), y in rows.items():
        for shift, (measure, color, marker) in zip(shifts, measures):
            if (name, who, measure) in values.index:
                row = values.loc[(name, who, measure)]
                _point(axis, row, y + shift * BAR, color, marker, who == PEOPLE)

    if best is None:
        axis.set_xlim(left=-0.04 * axis.get_xlim()[1])
        return
    axis.axvline(best, color=style.GRID, lw=0.8, zorder=0)
    lows = values.loc[values.index.get_level_values("measure") == measures[0][0], "low"]
    axis.set_xlim(min(lows.min(), 0.9) - 0.03, 1.03)


def _point(axis: Axes, row: pd.Series, y: float, color: str, marker: str, people: bool) -> None:
    """Draw an estimate with its interval; of people only the range, pale."""
    ends = [row["low"], row["high"]]
    if people:
        axis.plot(ends, [y, y], color=color, lw=3.5, alpha=0.45, solid_capstyle="butt")
        return
    axis.plot(ends, [y, y], color=color, lw=0.9, solid_capstyle="round")
    axis.plot(row["value"], y, marker, color=color, ms=2.8)


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    by_task = []
    virtual = table[table["style"] != PEOPLE]
    for name, part in virtual.groupby("task", sort=False):
        value = part.pivot(index="style", columns="measure", values="value")
        wrong = ", ".join(f"{value.loc[who, 'mistakes per placement']:.2f}" for who in STYLES)
        typical = value.loc["typical"]
        by_task.append(
            f"{style.title(str(name))} {wrong} ({typical['steps']:.0f} steps, "
            f"success {typical['success']:.0%})"
        )
    return (
        "**The annotators.** How the virtual annotators of each style spend their clicks, err and "
        f"repair, over {virtual['n'].iloc[0]} worlds per row ({_difficulties(virtual)}). "
        "Lines: 95 % intervals. Mistakes per placement of careful, typical and hasty, and steps "
        f"and success of typical: {'; '.join(by_task)}.{_people(table)}"
    )


def _difficulties(table: pd.DataFrame) -> str:
    """Say how long the worlds are; those of people's tasks are always `full`."""
    tasks = table.drop_duplicates("task")
    parts = [
        f"`{difficulty}`: {', '.join(style.title(name) for name in part['task'])}"
        for difficulty, part in tasks.groupby("difficulty", sort=False)
    ]
    return "; ".join(parts)


def _people(table: pd.DataFrame) -> str:
    """Say what the people of the published study did."""
    people = table[table["style"] == PEOPLE]
    if people.empty:
        return ""
    ranges = people.set_index(["task", "measure"])[["low", "high"]]
    name = people["task"].iloc[0]
    low, high = ranges.loc[(name, "share:navigate")]
    first, last = ranges.loc[(name, "undos per placement")]
    return (
        f" Pale, below {style.title(name)}: the ranges of the {people['n'].iloc[0]} people of the "
        f"published study, on its longer worlds (navigation {low:.1%} to {high:.1%} of the clicks, "
        f"undos per placement {first:.1%} to {last:.1%})."
    )
