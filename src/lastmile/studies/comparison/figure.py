"""People beside virtual annotators and policies: a row for each task and each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL, JOINT_POLICY, POLICY

PEOPLE = "people"
PUBLISHED = "people, published"
ORDER = (PEOPLE, PUBLISHED, "careful", "typical", "hasty", POLICY, JOINT_POLICY)
PEOPLE_COLOR = "#c2185b"
PUBLISHED_COLOR = "#e8a0bc"
VIRTUAL_COLOR = style.WHO_COLORS["annotator"]
COLORS = {
    PEOPLE: PEOPLE_COLOR,
    PUBLISHED: PUBLISHED_COLOR,
    POLICY: style.WHO_COLORS[POLICY],
    JOINT_POLICY: style.WHO_COLORS[JOINT_POLICY],
}
"""Colors of who works; the styles have the color of the annotator."""
POINTS = (
    ("steps\nper world", "steps"),
    ("seconds\nper world", "seconds"),
    ("wrong of all\nannotations", "mistakes per placement"),
    ("undos per\nannotation", "undos per placement"),
    ("steps to\na repair", "steps to repair"),
    ("px from\nthe target", "distance"),
    ("told from\npeople, AUC", "AUC"),
)
"""Columns of points: heading and measure."""
FEATURES = 8
"""Features that are shown, those that give people away most."""
ASKED = {"people": "o", "annotator": "s"}
"""Markers of whose clicks a policy was asked for."""
MARKERS = {"careful": "^", "typical": "o", "hasty": "v"}
"""Markers of the styles."""
TITLE: dict[str, Any] = {"fontsize": 6.5, "fontweight": "normal"}
BAR, HEAD, AFTER = 0.125, 0.16, 0.09
"""Height of a row, of a task's name, and of the space between tasks, inches."""
TOP, BETWEEN, BELOW, BOTTOM = 0.4, 0.55, 1.6, 0.75
"""Heights of the headings, of the space above the panels below, of these panels, and of the space
with the legend, inches."""

Rows = dict[tuple[str, str], float]
"""Height of each row by task and who, inches from the top."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw everybody by task; below, what gives people away, and how well they are predicted."""
    table = table.assign(person=style.texts(table["person"]))
    rows, heads, height = _layout(table)
    # Placed by hand: two rows of panels that are laid out for themselves.
    figure = plt.figure(figsize=(style.PAGE, TOP + height + BETWEEN + BELOW + BOTTOM))
    figure.set_layout_engine("none")
    total = float(figure.get_figheight())
    above = figure.add_gridspec(
        1,
        1 + len(POINTS),
        left=0.95 / style.PAGE,
        right=0.99,
        top=1 - TOP / total,
        bottom=(BETWEEN + BELOW + BOTTOM) / total,
        width_ratios=(2.3, *(0.8 for _ in POINTS)),
        wspace=0.2,
    )
    axes = above.subplots(sharey=True, squeeze=False)[0]
    whole = table[table["person"] == ""].set_index(["task", "who", "measure"])
    values = whole[["value", "low", "high"]].sort_index()
    shares = table[table["measure"].str.startswith("share:") & (table["value"] > 0)]
    kinds = [kind for kind in style.KIND_COLORS if f"share:{kind}" in set(shares["measure"])]
    _bars(axes[0], values, rows, kinds)
    for name, y in heads.items():
        axes[0].text(0, y, style.title(name), fontsize=7.5, fontweight="bold", va="center")
    axes[0].set(ylim=(height + 0.03, 0), xlim=(0, 1))
    axes[0].set_xticks((0, 0.5, 1), ("0", "50", "100"))
    axes[0].set_yticks(list(rows.values()), [who for _, who in rows], color=style.INK)
    axes[0].set_title("clicks by kind of action, %", **TITLE)
    for axis, (heading, measure) in zip(axes[1:], POINTS):
        axis.set_title(heading, **TITLE)
        axis.grid(axis="x")
        _points(axis, table, values, rows, measure)
        for y in heads.values():
            axis.axhline(y, color=style.GRID, lw=0.6, zorder=0)
    for axis in axes:
        axis.grid(False, axis="y")
        axis.tick_params(length=2, labelsize=5.5)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].tick_params(axis="y", labelsize=6)

    below = figure.add_gridspec(
        1,
        2,
        left=1.2 / style.PAGE,
        right=0.99,
        top=(BELOW + BOTTOM) / total,
        bottom=BOTTOM / total,
        wspace=0.42,
    )
    left, right = below.subplots(squeeze=False)[0]
    _features(left, whole)
    _predictions(right, whole)
    _legend(figure, kinds)
    return figure


def _layout(table: pd.DataFrame) -> tuple[Rows, dict[str, float], float]:
    """Return the heights of rows and of headings, and of everything, inches from the top."""
    groups = {}
    for name in style.tasks_of(table):
        present = set(table.loc[table["task"] == name, "who"])
        groups[name] = [who for who in ORDER if who in present]
    return style.grouped_rows(groups, BAR, HEAD, AFTER)


def _bars(axis: Axes, values: pd.DataFrame, rows: Rows, kinds: Sequence[str]) -> None:
    """Draw the shares of clicks by kind; those of the published people pale."""
    for (name, who), y in rows.items():
        left = 0.0
        for kind in kinds:
            if (name, who, f"share:{kind}") in values.index:
                share = values.loc[(name, who, f"share:{kind}"), "value"]
                alpha = 0.45 if who == PUBLISHED else 1
                color = style.KIND_COLORS[kind]
                axis.barh(y, share, BAR * 0.82, left, color=color, alpha=alpha, lw=0)
                left += share


def _points(
    axis: Axes, table: pd.DataFrame, values: pd.DataFrame, rows: Rows, measure: str
) -> None:
    """Draw one column: estimates with intervals, and each person as a tick."""
    shown = table[(table["measure"] == measure) & table["task"].isin([name for name, _ in rows])]
    persons = shown[(shown["person"] != "") & (shown["who"] == PEOPLE)]
    for (name, who), y in rows.items():
        color = COLORS.get(who, VIRTUAL_COLOR)
        if (name, who, measure) not in values.index:
            continue
        row = values.loc[(name, who, measure)]
        if who == PUBLISHED:
            axis.plot([row["low"], row["high"]], [y, y], color=color, lw=3.5, alpha=0.6)
            continue
        if who == PEOPLE:
            each = persons.loc[persons["task"] == name, "value"]
            axis.vlines(each, y - BAR * 0.4, y + BAR * 0.4, color=color, lw=0.7)
        axis.plot([row["low"], row["high"]], [y, y], color=color, lw=0.9)
        axis.plot(row["value"], y, MARKERS.get(who, "o"), color=color, ms=2.8)

    if measure == "AUC":
        axis.axvspan(0.4, 0.6, color="#f0f2f5", lw=0, zorder=0)
        axis.set(xlim=(0.25, 1.03), xticks=(0.5, 1))
        return
    if measure == "seconds":
        at = (table["who"] == PUBLISHED) & (table["measure"] == measure)
        for seconds in table.loc[at, "value"]:
            axis.axvline(seconds, color=PUBLISHED_COLOR, lw=0.8, zorder=0)
    # Intervals of few people are wide: the axis shows the estimates.
    ends = [*shown["value"], *shown.loc[shown["who"] == PUBLISHED, "high"].dropna()]
    if measure == "seconds":
        ends += [*table.loc[at, "value"]]
    top = float(np.nanmax(ends)) if ends else 1.0
    axis.set_xlim(-0.05 * top, 1.25 * top if top else 1)


def _features(axis: Axes, whole: pd.DataFrame) -> None:
    """Draw the features that tell people best from the annotators, the mean over tasks."""
    table = whole.reset_index()
    name = style.whole_of(table)
    rows = table[
        (table["task"] == name)
        & table["measure"].str.startswith("AUC:")
        & table["who"].isin(list(MARKERS))
    ]
    order = rows.assign(away=(rows["value"] - 0.5).abs()).groupby("measure")["away"].max()
    best = order.sort_values(ascending=False, kind="stable").index[:FEATURES]
    for y, measure in enumerate(best):
        for who, shift in zip(MARKERS, (-0.22, 0.0, 0.22)):
            one = rows[(rows["measure"] == measure) & (rows["who"] == who)]
            for _, row in one.iterrows():
                axis.plot([row["low"], row["high"]], [y + shift] * 2, color=VIRTUAL_COLOR, lw=0.7)
                axis.plot(row["value"], y + shift, MARKERS[who], color=VIRTUAL_COLOR, ms=3)
    axis.axvspan(0.4, 0.6, color="#f0f2f5", lw=0, zorder=0)
    axis.set(xlim=(-0.02, 1.02), ylim=(max(len(best), 1) - 0.5, -0.5))
    axis.set_yticks(range(len(best)), [one.removeprefix("AUC:") for one in best], fontsize=6)
    axis.set_xticks((0, 0.5, 1), ("0\nless of it in people", "0.5", "1\nmore of it in people"))
    axis.tick_params(axis="x", labelsize=6)
    axis.set_title("single features that tell people from annotators, AUC", **TITLE)
    style.rows_axis(axis)


def _predictions(axis: Axes, whole: pd.DataFrame) -> None:
    """Draw how often policies predict the widget that people, and annotators, click."""
    table = whole.reset_index()
    names = style.tasks_of(table)
    for of, shift in ((POLICY, -0.3), (JOINT_POLICY, 0.1)):
        for below, (on, marker) in enumerate(ASKED.items()):
            rows = table[(table["who"] == f"{of} on {on}") & (table["measure"] == "same widget")]
            for _, row in rows.iterrows():
                y = names.index(row["task"]) + shift + 0.18 * below
                hollow = on != "people"
                style.row_point(axis, y, row, COLORS[of], 3.4, marker, hollow)
    axis.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), [style.title(name) for name in names], fontsize=6)
    axis.tick_params(axis="x", labelsize=6)
    axis.set_title("clicks whose widget a policy predicts", **TITLE)
    style.rows_axis(axis, len(names))


def _legend(figure: Figure, kinds: Sequence[str]) -> None:
    handles: list[Artist] = [
        plt.Rectangle((0, 0), 1, 1, color=style.KIND_COLORS[kind], label=kind) for kind in kinds
    ]
    handles += [
        style.point_handle(PEOPLE_COLOR, "people (ticks: each)", ms=3),
        style.line_handle(PUBLISHED_COLOR, "published people", lw=3),
        *(style.point_handle(VIRTUAL_COLOR, who, mark, ms=3) for who, mark in MARKERS.items()),
        style.point_handle(COLORS[POLICY], "policy", ms=3),
        style.point_handle(COLORS[JOINT_POLICY], "joint policy", ms=3),
        style.point_handle(style.MUTED, "clicks of people", "o", ms=3.4),
        style.point_handle(style.MUTED, "clicks of the annotator", "s", ms=3.4, mfc="white"),
    ]
    style.legend_below(
        figure,
        handles,
        loc="lower center",
        fontsize=6,
        ncols=-(-len(handles) // 2),
        handlelength=1,
        columnspacing=1.1,
        handletextpad=0.4,
    )


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    table = table.assign(person=style.texts(table["person"]))
    people = table[(table["who"] == PEOPLE)]
    persons = sorted(set(people["person"]) - {""})
    parts = []
    for name in style.tasks_of(table):
        rows = people[people["task"] == name]
        whole = rows[rows["person"] == ""].set_index("measure")
        text = style.title(name)
        if "steps" in whole.index:
            text += (
                f" {whole.loc['steps', 'n']} episodes of {rows['person'].nunique() - 1}, "
                f"{whole.loc['steps', 'value']:.0f} steps"
            )
            if "seconds" in whole.index:
                text += f", {whole.loc['seconds', 'value']:.0f} s"
        left = whole[whole.index.str.startswith("left out:")]
        for measure, row in left.iterrows():
            text += f", {row['value']:.0f} left out ({str(measure).removeprefix('left out:')})"
        parts.append(text)
    published = table[(table["who"] == PUBLISHED) & (table["measure"] == "seconds")]["value"]
    times = ", ".join(f"{seconds:.0f}" for seconds in published)
    return (
        "**People, virtual annotators and policies.** Everybody on the same worlds, those of "
        f"{len(persons)} {'people' if len(persons) != 1 else 'person'}: {'; '.join(parts)}. "
        f"{_told(table)}"
        "Above: shares of clicks, and estimates with 95 % intervals, cut where they are wider than "
        "their column; ticks are single people; of seconds, pauses of more than 30 s count as "
        "30 s. AUC: of a classifier of windows of 20 clicks on held-out worlds; 0.5 is chance, and "
        "in the shaded range two groups count as alike. Below left: AUC of single features against "
        "each style, mean over tasks. Below right: the policies were asked for each click, given "
        "all that came before it. "
        f"Pale: the people of the published study; lines: their mean times ({times} s), over five "
        "tasks. Unit of inference: the person; worlds are resampled."
    )


def _told(table: pd.DataFrame) -> str:
    """Say how well people are told from the others."""
    rows = table[table["measure"] == "AUC"]
    if ALL in set(rows["task"]):
        rows = rows[rows["task"] == ALL]
    parts = [f"{row['who']} {style.span(row)}" for _, row in rows.iterrows()]
    name = "All tasks" if ALL in set(rows["task"]) else "AUC"
    return f"{name}, people told from: {', '.join(parts)}. " if parts else ""
