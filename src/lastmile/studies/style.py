"""One visual language for all figures: palettes, sizes, axes, and labels at the lines."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lastmile.studies.labels import ALL

COLUMN = 3.5
"""Width of a column, inches."""
PAGE = 7.2
"""Width of a page, inches."""
INK = "#22262e"
MUTED = "#7a808c"
GRID = "#e3e6eb"

SKILL_COLORS = {
    "valid": "#9aa3b2",
    "action": "#5b6577",
    "button": "#0072b2",
    "placement@2": "#7fd1ae",
    "placement@5": "#009e73",
    "placement@10": "#00563f",
    "decision": "#f0a878",
    "decision by sight": "#d55e00",
    "undo": "#8e2f6b",
    "done": "#e69f00",
    "look": "#56b4e9",
    "decide": "#a0522d",
    "annotation": "#3d7a66",
}
"""Colors of skills, after Okabe and Ito. Those drawn together differ under deuteranopia, too."""
SKILL_NAMES = {
    "valid": "valid click",
    "button": "button",
    "placement@5": "placement",
    "decision": "decision",
    "decision by sight": "decision by sight",
    "undo": "undo",
}
"""Skills as figures name them; placement is within 5 px."""
WHO_COLORS = {"policy": "#0072b2", "joint policy": "#56b4e9", "annotator": "#e69f00"}
KIND_COLORS = {
    "navigate": "#b8c0cc",
    "look": "#56b4e9",
    "mode": "#f0e442",
    "place": "#009e73",
    "decide": "#a0522d",
    "undo": "#8e2f6b",
    "done": "#22262e",
    "invalid": "#d55e00",
}
"""Colors of kinds of actions."""
OF_COLORS = {
    "policy": "#0072b2",
    "random network": "#b8c0cc",
    "screen": "#8d99ab",
    "metadata": "#5b6577",
}
"""Colors of what probes read: the policy, and its baselines."""
SIZE_COLORS = {"xs": "#9ecae1", "s": "#4292c6", "m": "#08519c", "l": "#041f4a", "paper": "#22262e"}
"""Colors of sizes, light to dark."""
TASK_COLORS = {
    "colored_dots": "#2d5a96",
    "neuron_tracing": "#f0b400",
    "cell_lineage": "#4ba569",
    "channel_alignment": "#f096c3",
    "limb_tracking": "#c35a00",
    "behavior_tracking": "#00b4ff",
    "object_exploration": "#000f1e",
    "plume_finding": "#783c1e",
    "road_mapping": "#5a6969",
}
"""Colors of the tasks of the published study; any two differ under deuteranopia and protanopia."""
SPARE_COLORS = ("#0000ff", "#ddcc77", "#001199", "#eebbaa", "#0077ff", "#441155")
"""Colors of other tasks, chosen by their name; they differ from those above in the same way."""
MISTAKE_COLORS = {"slip": "#009e73", "confusion": "#d55e00", "lapse": "#8e2f6b"}
"""Colors of kinds of mistakes."""
MISTAKE_MARKERS = {"slip": "o", "confusion": "s", "lapse": "^"}

CEILING = (0, (1, 1.5))
"""Dotted: the ceiling, annotator self-agreement."""
FLOOR = (0, (4, 2))
"""Dashed: a floor, or chance."""

SAVE: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
}
"""Options of saving, by format: nothing that changes from run to run goes into a file."""


@contextmanager
def applied() -> Iterator[None]:
    """Apply the style within a block."""
    settings = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "axes.axisbelow": True,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "lines.linewidth": 1.5,
        "svg.hashsalt": "lastmile",
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
    with plt.rc_context(settings):
        yield


def close(figure: Figure) -> None:
    """Free the memory of a figure."""
    plt.close(figure)


def blank(words: str) -> Figure:
    """Return a figure that holds nothing but a few words."""
    figure = plt.figure(figsize=(PAGE, 1.2))
    figure.text(0.5, 0.5, words, ha="center", va="center", color=MUTED, fontsize=10)
    return figure


def title(task: str) -> str:
    """Return a task's name as a heading."""
    return task.replace("_", " ").capitalize()


def task_color(task: str) -> str:
    """Return a task's color; a task that is new here gets a spare one by its name."""
    return TASK_COLORS.get(task) or SPARE_COLORS[zlib.crc32(task.encode()) % len(SPARE_COLORS)]


def tasks_of(table: pd.DataFrame, column: str = "task") -> list[str]:
    """Return the tasks of a table in their order, without `ALL`."""
    return [str(name) for name in dict.fromkeys(table[column]) if name != ALL]


def whole_of(table: pd.DataFrame) -> str:
    """Return what a table is about as a whole: `ALL`, or the only task if there is just one."""
    tasks = tasks_of(table)
    return ALL if ALL in set(table["task"]) or not tasks else tasks[0]


def texts(column: pd.Series) -> pd.Series:
    """Return a column of words, with `""` for what is missing. Without words, it is of floats."""
    return column.astype(object).where(column.notna(), "")


def line_handle(color: str, label: str, **options: Any) -> Line2D:
    """Return an entry of a legend: a line."""
    return Line2D([], [], color=color, label=label, **options)


def point_handle(color: str, label: str, marker: str = "o", **options: Any) -> Line2D:
    """Return an entry of a legend: a point."""
    return line_handle(color, label, **{"marker": marker, "ls": "", "ms": 4, **options})


def legend_below(figure: Figure, handles: Sequence[Artist], **options: Any) -> None:
    """Put a legend below all panels."""
    defaults: dict[str, Any] = {"loc": "outside lower center", "ncols": len(handles), "fontsize": 7}
    figure.legend(handles=list(handles), **{**defaults, **options})


def label_ends(axis: Axes, ends: Iterable[tuple[float, str, str]], gap: float = 0.062) -> None:
    """Label lines at their right ends, moving labels apart where they would touch.

    The limits of y stay as they are from here on.

    Args:
        axis: Where the lines are drawn.
        ends: (height in data units, text, color) of each line.
        gap: Distance between two labels, as a share of the axis.
    """
    ends = sorted(ends)
    # Automatic limits are computed when they are asked for, not by the transform.
    axis.set_ylim(axis.get_ylim())
    to_axis = axis.get_yaxis_transform() + axis.transAxes.inverted()
    places = [float(to_axis.transform((1.0, height))[1]) for height, _, _ in ends]

    for _ in range(200):  # push apart whatever is too near, within the axis
        for i in range(len(places) - 1):
            overlap = gap - (places[i + 1] - places[i])
            if overlap > 1e-9:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
        places = [
            min(max(place, gap * i), 1.0 - gap * (len(places) - 1 - i))
            for i, place in enumerate(places)
        ]
    for (_, text, color), place in zip(ends, places):
        axis.text(1.02, place, text, transform=axis.transAxes, color=color, fontsize=7, va="center")


def rows_axis(axis: Axes, shaded: int = 0) -> None:
    """Prepare an axis with a row for each task: vertical grid, no ticks at the names.

    Args:
        axis: The axis.
        shaded: Number of rows of which every other one gets a light background.
    """
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    for i in range(0, shaded, 2):
        axis.axhspan(i - 0.5, i + 0.5, color="#f5f6f8", lw=0, zorder=0)


def grouped_rows(
    groups: Mapping[str, Sequence[str]], row: float, head: float, after: float
) -> tuple[dict[tuple[str, str], float], dict[str, float], float]:
    """Lay out rows in groups, each below a heading.

    Args:
        groups: Rows by the name of their group.
        row: Height of a row.
        head: Height of a heading.
        after: Space after a group.

    Returns:
        The middles of rows, by group and row, and of headings, by group, from the top; and the
        height of all. Units are those of the arguments.
    """
    rows: dict[tuple[str, str], float] = {}
    heads: dict[str, float] = {}
    at = 0.0
    for name, of_group in groups.items():
        heads[name] = at + head / 2
        at += head
        for one in of_group:
            rows[name, one] = at + row / 2
            at += row
        at += after
    return rows, heads, at - after


def points(
    axis: Axes, x: Sequence[float] | pd.Series, rows: pd.DataFrame, color: str, size: float = 4.0
) -> None:
    """Draw estimates as points with their intervals as bars.

    Args:
        axis: Where to draw.
        x: (n,) places.
        rows: n rows with the columns value, low and high.
        color: Of points and bars.
        size: Of the points.
    """
    axis.vlines(x, rows["low"], rows["high"], color=color, lw=1.3)
    axis.plot(x, rows["value"], "o", color=color, ms=size)


def row_point(
    axis: Axes,
    y: float,
    row: pd.Series,
    color: str,
    size: float = 3.4,
    marker: str = "o",
    hollow: bool = False,
) -> None:
    """Draw an estimate with its interval as a point with a horizontal bar at height y."""
    width, face = (0.7, "white") if hollow else (1.1, color)
    axis.plot([row["low"], row["high"]], [y, y], color=color, lw=width, solid_capstyle="round")
    axis.plot(row["value"], y, marker, color=color, mfc=face, ms=size)


def arm_rows(
    axis: Axes, part: pd.DataFrame, arms: Iterable[str], reference: str, **dots: Any
) -> None:
    """Draw a measure of each arm in a row: tasks as dots, the whole as a diamond with its interval.

    Args:
        axis: Where to draw.
        part: Rows of one measure, with the columns task, arm, value, low and high.
        arms: Arms, from the top.
        reference: The arm whose value a dashed line marks.
        dots: Options of the dots.
    """
    whole = whole_of(part)
    tasks = tasks_of(part)
    for at, arm in enumerate(arms):
        rows = part[part["arm"] == arm]
        for _, row in rows[rows["task"].isin(tasks)].iterrows():
            axis.plot(row["value"], at, "o", color=task_color(row["task"]), **dots)
        for _, row in rows[rows["task"] == whole].iterrows():
            axis.plot([row["low"], row["high"]], [at, at], color=INK, lw=1)
            axis.plot(row["value"], at, "D", ms=4, color=INK)
            if arm == reference:
                axis.axvline(row["value"], color=MUTED, ls=FLOOR, lw=0.7, zorder=0)


def band(
    axis: Axes, x: Sequence[float] | pd.Series, rows: pd.DataFrame, color: str, **line: Any
) -> None:
    """Draw estimates along x as a line, and their intervals as a band."""
    axis.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.16, lw=0)
    axis.plot(x, rows["value"], color=color, **line)


def frames_axis(axis: Axes, low: float, high: float, zero: float | None = None) -> None:
    """Make x a logarithmic axis of frames, or of seconds, with few ticks.

    Args:
        axis: The axis.
        low: Lowest value shown.
        high: Highest value shown.
        zero: Where the point before training is drawn, if it is.
    """
    if not (np.isfinite([low, high]).all() and 0 < low <= high):
        return
    axis.set_xscale("log")
    steps: tuple[int, ...] = (1,)
    if high / low < 12:
        steps = (1, 2, 5)
    elif high / low < 300:
        steps = (1, 3)

    ticks = [m * 10.0**e for e in range(0, 10) for m in steps]
    ticks = [tick for tick in ticks if low * 0.9 <= tick <= high * 1.1]
    names = [short(tick) for tick in ticks]
    if zero:
        ticks = [zero, *ticks]
        names = ["0", *names]
    axis.set_xticks(ticks, names)
    axis.minorticks_off()
    axis.set_xlim((zero or low) / 1.25, high * 1.12)


def short(number: float) -> str:
    """Return a number with a unit, such as 30 k or 1.5 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def span(row: pd.Series) -> str:
    """Return an estimate with its interval, for captions."""
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
