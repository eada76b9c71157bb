"""Policies on unseen looks, what their clicks come to there, and what fine-tuning changes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lastmile.studies import style
from lastmile.studies.layouts.arms import (
    BOTH,
    FEW,
    KEPT,
    LAYOUT,
    LEARNED,
    MANY,
    MIXED,
    ONE,
    SEEN,
    TESTED,
    TUNED,
)

COLORS = {ONE: "#d55e00", FEW: "#e69f00", MANY: "#0072b2"}
"""Colors of the arms that learn from scratch."""
STAGES = {ONE: "before", TUNED: "fine-\ntuned", MIXED: "with old\nmixed in"}
"""Arms of the panel of fine-tuning, with their names there."""
LOOKS = {
    SEEN: ("#7a808c", "o", "old layout"),
    LAYOUT: ("#009e73", "D", "new layout"),
}
"""Color, marker and name of the looks of that panel."""
OUTCOMES = {
    "right": ("#b8dfcf", "right"),
    "old place": ("#d55e00", "where it was in the old layout"),
    "nothing": ("#8d99ab", "on nothing"),
    "off": ("#f0d26b", "on the canvas, beside the target"),
    "wrong widget": ("#8e2f6b", "another widget"),
}
"""Color and name of what a click comes to."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw the mean over tasks; with one task, that."""
    whole = style.whole_of(table)
    rows = table[table["task"] == whole]
    figure = plt.figure(figsize=(style.PAGE, 5.0))
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1.15))
    upper = grid[0].subgridspec(1, 3)
    _by_look(figure.add_subplot(upper[0]), rows, "success", "success in closed loop")
    _by_look(figure.add_subplot(upper[1]), rows, "right widget", "clicks on the right widget")
    _tuning(figure.add_subplot(upper[2]), rows)
    lower = grid[1].subgridspec(1, 2)
    for at, (due, words) in enumerate(
        (("buttons", "where a button is due"), ("canvas", "where a placement is due"))
    ):
        axis = figure.add_subplot(lower[at])
        _outcomes(axis, rows, due, labels=at == 0)
        axis.set_xlabel(f"share of the clicks {words}")
    handles = [Patch(color=color, label=name) for color, name in OUTCOMES.values()]
    style.legend_below(figure, handles, handlelength=1.0, columnspacing=1.2)
    return figure


def _by_look(axis: Axes, rows: pd.DataFrame, measure: str, words: str) -> None:
    """Draw a measure of the arms that learn from scratch, over what is unseen."""
    for shift, (arm, color) in zip((-0.12, 0.0, 0.12), COLORS.items()):
        part = _at(rows, arm, measure, tuple(TESTED))
        x = [list(TESTED).index(look) + shift for look in part["look"]]
        axis.plot(x, part["value"], color=color, lw=0.8, alpha=0.6)
        style.points(axis, pd.Series(x, dtype=float), part, color, 4.0)
    axis.set_xticks(range(len(TESTED)), [look.replace(" ", "\n") for look in TESTED], fontsize=6.5)
    axis.set(ylim=(-0.02, 1.02), xlim=(-0.4, len(TESTED) - 0.6), ylabel=words)
    if measure == "success":
        handles = [style.point_handle(color, arm) for arm, color in COLORS.items()]
        _legend_above(axis, handles, 3)


def _tuning(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw what fine-tuning to the new layout does on it and on the old one."""
    for shift, (look, (color, marker, _)) in zip((-0.08, 0.08), LOOKS.items()):
        for at, arm in enumerate(STAGES):
            for measure, filled in (("success", True), ("right widget", False)):
                part = _at(rows, arm, measure, (look,))
                x = pd.Series([at + shift] * len(part), dtype=float)
                face = color if filled else "white"
                axis.vlines(x, part["low"], part["high"], color=color, lw=1)
                axis.plot(x, part["value"], marker, ms=4, color=color, mfc=face)
    axis.set_xticks(range(len(STAGES)), list(STAGES.values()), fontsize=6.5)
    axis.set(ylim=(-0.02, 1.02), xlim=(-0.5, len(STAGES) - 0.5), ylabel="share")
    handles = [style.point_handle(color, name, marker) for color, marker, name in LOOKS.values()]
    handles += [
        style.point_handle(style.INK, "success"),
        style.point_handle(style.INK, "right widget", mfc="white"),
    ]
    _legend_above(axis, handles, 2)


def _legend_above(axis: Axes, handles: list[Line2D], columns: int) -> None:
    """Put a legend above a panel, where it hides nothing."""
    axis.legend(
        handles=handles,
        ncols=columns,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        fontsize=6.5,
        handletextpad=0.1,
        columnspacing=0.8,
    )


def _outcomes(axis: Axes, rows: pd.DataFrame, due: str, labels: bool) -> None:
    """Draw what clicks come to as stacked bars: by arm, and in it by what is unseen."""
    names = []
    for group, arm in enumerate(LEARNED):
        for at, look in enumerate(TESTED):
            y = group * (len(TESTED) + 0.8) + at
            left = 0.0
            for end, (color, _) in OUTCOMES.items():
                part = _at(rows, arm, f"{due}: {end}", (look,))
                width = float(part["value"].sum())
                axis.barh(y, width, 0.82, left=left, color=color, lw=0)
                left += width
            names.append((y, f"{arm}: {look}" if at == 0 else look))
    axis.set_yticks(*zip(*names), fontsize=6)
    axis.tick_params(axis="y", length=0, labelleft=labels)
    axis.invert_yaxis()
    axis.grid(False)
    axis.set_xlim(0, 1)


def _at(rows: pd.DataFrame, arm: str, measure: str, looks: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of a measure of an arm in some looks, in the order of these."""
    part = rows[(rows["arm"] == arm) & (rows["measure"] == measure) & rows["look"].isin(looks)]
    return part.sort_values("look", key=lambda names: names.map(list(TESTED).index))


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    tasks = style.tasks_of(table)
    whole = style.whole_of(table)
    values = table[table["task"] == whole].set_index(["measure", "arm", "look"])

    def told(measure: str, arm: str, look: str) -> str:
        at = (measure, arm, look)
        return style.span(values.loc[at]) if at in values.index else "not measured"

    def answer(measure: str, arm: str) -> str:
        seen, unseen = told(measure, arm, SEEN), told(measure, arm, BOTH)
        return f"{seen} of the worlds on a look that it knows and {unseen} on one that it does not"

    tuned = "; ".join(
        f"{' and '.join(told('success', arm, look) for look in KEPT)} {words}"
        for arm, words in (
            (ONE, "before"),
            (TUNED, "after fine-tuning"),
            (MIXED, "with the old layout mixed in"),
        )
    )
    missed = ", ".join(
        f"{told(f'buttons: {end}', ONE, LAYOUT)} {OUTCOMES[end][1]}"
        for end in ("old place", "nothing", "wrong widget")
    )
    held_out = "layout {} or the theme {}".format(*TESTED[BOTH])
    return (
        "**Does a policy work on another interface?** The same worlds and demonstrations on "
        "screens that look different; arms differ in the looks that their demonstrations are "
        f"drawn in (1, 4 or 8), never with the {held_out}. Having learned on one look, a policy "
        f"succeeds in {answer('success', ONE)}; having learned on many, in "
        f"{answer('success', MANY)}. Top, left and middle: success in closed loop, and clicks on "
        "the right widget, teacher-forced, by what is unseen. Top right: the policy of one look, "
        "fine-tuned to the unseen layout with a quarter of the frames (success on the old and the "
        f"new layout: {tuned}). Bottom: what the most likely clicks come to in the annotator's "
        f"states. Of the buttons on an unseen layout, the policy of one look clicks {missed}; "
        f"{told('within 5 px', ONE, LAYOUT)} of all its clicks are within 5 px there, and "
        f"{told('within 5 px', ONE, SEEN)} on the seen look (published: 0.02 to 0.09, and 0.22). "
        f"Points: {style.title(whole)}, with 95 % intervals (unit of inference: the episode); "
        f"tasks: {', '.join(map(style.title, tasks))}."
    )
