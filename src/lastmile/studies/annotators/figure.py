"""How the virtual annotators spend their clicks, err and repair, by task and style, with people beside them where they are known."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

PEOPLE = "people"
POINTS = (
    (
        "mistakes, undos\nper placement",
        (("mistakes per placement", "#d55e00"), ("undos per placement", style.KIND_COLORS["undo"])),
        None,
    ),
    ("mistakes\nrepaired", (("repaired", style.INK),), 1),
    ("worlds\nsolved", (("success", style.INK),), 1),
    ("steps\na world", (("steps", style.INK),), None),
)
"""Columns of points: title, measures with their colors, and the value that is best."""
TITLE = {"fontsize": 7.5, "fontweight": "normal"}
BAR, HEAD, AFTER = 0.125, 0.16, 0.09
"""Inches: of a row, of a task's name, between tasks."""


def draw(table: pd.DataFrame, folder: Path):
    names = list(dict.fromkeys(table["task"]))
    rows, heads, at = {}, {}, 0.0
    for name in names:
        heads[name] = at + HEAD / 2
        at += HEAD
        for who in dict.fromkeys(table.loc[table["task"] == name, "style"]):
            rows[name, who] = at + BAR / 2
            at += BAR
        at += AFTER
    at -= AFTER
    figure, axes = plt.subplots(
        1,
        1 + len(POINTS),
        figsize=(style.PAGE, at + 0.85),
        sharey=True,
        width_ratios=(3.1, 1.35, 0.9, 0.9, 1.0),
    )
    values = table.set_index(["task", "style", "measure"])[["value", "low", "high"]]
    kinds = [kind for kind in style.KIND_COLORS if f"share:{kind}" in set(table["measure"])]
    _bars(axes[0], values, rows, kinds)
    for name, y in heads.items():
        axes[0].text(0, y, style.title(name), fontsize=7.5, fontweight="bold", va="center")
    axes[0].set(ylim=(at + 0.03, 0), xlim=(0, 1))
    axes[0].set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100 %"))
    axes[0].set_yticks(list(rows.values()), [who for _, who in rows], fontsize=6, color=style.INK)
    axes[0].set_title("clicks by kind of action", **TITLE)
    for axis, (heading, measures, best) in zip(axes[1:], POINTS):
        for (name, who), y in rows.items():
            for shift, (measure, color) in zip(
                (-0.16, 0.16) if len(measures) > 1 else (0,), measures
            ):
                if (name, who, measure) in values.index:
                    _point(
                        axis, values.loc[name, who, measure], y + shift * BAR, color, who == PEOPLE
                    )
        if best is not None:
            axis.axvline(best, color=style.GRID, lw=0.8, zorder=0)
            low = min(
                values.loc[values.index.get_level_values("measure") == measures[0][0], "low"].min(),
                0.9,
            )
            axis.set_xlim(low - 0.03, 1.03)
        else:
            axis.set_xlim(left=-0.04 * axis.get_xlim()[1])
        axis.set_title(heading, **TITLE)
        axis.grid(axis="x")
        for y in heads.values():
            axis.axhline(y, color=style.GRID, lw=0.6, zorder=0)
    for axis in axes:
        axis.grid(False, axis="y")
        axis.tick_params(length=2, labelsize=6)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=style.KIND_COLORS[kind], label=kind) for kind in kinds
    ]
    handles += [
        plt.Line2D([], [], marker="o", ls="", ms=3.5, color=color, label=measure)
        for measure, color in POINTS[0][1]
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        fontsize=6,
        handlelength=1,
        columnspacing=1.1,
        handletextpad=0.4,
    )
    return figure


def _bars(axis, values: pd.DataFrame, rows: dict, kinds: list[str]) -> None:
    for (name, who), y in rows.items():
        left = 0.0
        for kind in kinds:
            if (name, who, f"share:{kind}") not in values.index:
                continue
            share, low, high = values.loc[name, who, f"share:{kind}"]
            axis.barh(
                y,
                share,
                BAR * 0.82,
                left,
                color=style.KIND_COLORS[kind],
                alpha=0.45 if who == PEOPLE else 1,
                lw=0,
            )
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


def _point(axis, row: pd.Series, y: float, color: str, people: bool) -> None:
    if people:
        axis.plot(
            [row["low"], row["high"]],
            [y, y],
            color=color,
            lw=3.5,
            alpha=0.45,
            solid_capstyle="butt",
        )
        return
    axis.plot([row["low"], row["high"]], [y, y], color=color, lw=0.9, solid_capstyle="round")
    axis.plot(row["value"], y, "o", color=color, ms=2.8)


def caption(table: pd.DataFrame) -> str:
    parts = []
    for name, part in table[table["style"] != PEOPLE].groupby("task", sort=False):
        value = part.pivot(index="style", columns="measure", values="value")
        wrong = ", ".join(
            f"{value.loc[who, 'mistakes per placement']:.2f}"
            for who in ("careful", "typical", "hasty")
        )
        parts.append(
            f"{style.title(name)} {wrong} ({value.loc['typical', 'steps']:.0f} steps, {value.loc['typical', 'success']:.0%} solved)"
        )
    people = table[table["style"] == PEOPLE]
    beside = ""
    if len(people):
        ranges = people.set_index(["task", "measure"])[["low", "high"]]
        name = people["task"].iloc[0]
        low, high = ranges.loc[name, "share:navigate"]
        first, last = ranges.loc[name, "undos per placement"]
        beside = (
            f" Pale, beside {style.title(name)}: the ranges of the {people['n'].iloc[0]} people of the published study, on its longer worlds "
            f"(navigation {low:.1%} to {high:.1%}, undos per placement {first:.1%} to {last:.1%})."
        )
    worlds = table.loc[table["style"] != PEOPLE, "n"].iloc[0]
    return (
        f"**The annotators.** How the virtual annotators of each style spend their clicks, err and repair, over {worlds} worlds (`{table['difficulty'].iloc[0]}`) "
        f"a row; lines are 95 % intervals. Mistakes per placement of careful, typical and hasty, and the typical one's work: {'; '.join(parts)}.{beside}"
    )
