"""One visual language: one palette for tasks, one for skills, one for who; sizes for a column or a page; direct labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import seaborn as sns  # noqa: E402

COLUMN, PAGE = 3.5, 7.2
"""Width of a column and of a page, inches."""
INK, MUTED, GRID = "#22262e", "#7a808c", "#e3e6eb"
SKILL_COLORS = {
    "valid": "#9aa3b2",
    "action": "#5b6577",
    "button": "#0072b2",
    "placement@2": "#7fd1ae",
    "placement@5": "#009e73",
    "placement@10": "#00563f",
    "decision": "#d55e00",
    "undo": "#cc79a7",
    "done": "#e69f00",
    "look": "#56b4e9",
    "decide": "#a0522d",
}
"""Colors of skills (Okabe and Ito's palette, safe for color-blind readers)."""
WHO_COLORS = {"policy": "#0072b2", "annotator": "#e69f00"}
KIND_COLORS = {
    "navigate": "#b8c0cc",
    "look": "#56b4e9",
    "mode": "#f0e442",
    "place": "#009e73",
    "decide": "#a0522d",
    "undo": "#cc79a7",
    "done": "#22262e",
    "invalid": "#d55e00",
}
"""Colors of kinds of actions, from the same palette."""
OF_COLORS = {
    "policy": "#0072b2",
    "random network": "#b8c0cc",
    "screen": "#8d99ab",
    "metadata": "#5b6577",
}
SIZE_COLORS = {"xs": "#9ecae1", "s": "#4292c6", "m": "#08519c", "l": "#041f4a", "paper": "#22262e"}
"""Colors of sizes, light to dark."""
TASK_COLORS = {
    "colored_dots": "#0072b2",
    "neuron_tracing": "#e69f00",
    "cell_lineage": "#009e73",
    "channel_alignment": "#cc79a7",
    "limb_tracking": "#d55e00",
    "behavior_tracking": "#56b4e9",
    "object_exploration": "#22262e",
    "plume_finding": "#a0522d",
    "road_mapping": "#7a808c",
}
"""Colors of tasks; others get OTHER."""
MISTAKE_COLORS = {"slip": "#009e73", "confusion": "#d55e00", "lapse": "#cc79a7"}
"""Colors of kinds of mistakes."""
OTHER = "#b8c0cc"
SAVE = {
    "png": {"dpi": 200, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
}
"""Nothing that changes from run to run goes into a file."""


@contextmanager
def applied() -> Iterator[None]:
    """The style, for the time of a block."""
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


def close(figure) -> None:
    plt.close(figure)


def title(task: str) -> str:
    """A task's name as a heading."""
    return task.replace("_", " ").capitalize()


def task_color(task: str) -> str:
    return TASK_COLORS.get(task, OTHER)


def label_ends(axis, ends: Iterable[tuple[float, str, str]], gap: float = 0.062) -> None:
    """Direct labels at the right end of lines: (height, text, color) each, the height in data units, moved apart where they would touch: the limits of y
    stay as they are from here on. gap: between two labels, as a share of the axis."""
    ends = sorted(ends)
    axis.set_ylim(
        axis.get_ylim()
    )  # automatic limits are reckoned when they are asked for, and not by the transform
    to_axis = axis.get_yaxis_transform() + axis.transAxes.inverted()
    places = [to_axis.transform((1.0, height))[1] for height, _, _ in ends]
    for _ in range(200):  # push apart whatever is too near, within the axis
        for i in range(len(places) - 1):
            close = gap - (places[i + 1] - places[i])
            if close > 1e-9:
                places[i], places[i + 1] = places[i] - close / 2, places[i + 1] + close / 2
        places = [
            min(max(at, gap * i), 1.0 - gap * (len(places) - 1 - i)) for i, at in enumerate(places)
        ]
    for (_, text, color), at in zip(ends, places):
        axis.text(1.02, at, text, transform=axis.transAxes, color=color, fontsize=7, va="center")


def points(axis, x, rows, color: str, size: float = 4.0, **line) -> None:
    """Estimates with their intervals as points with bars: x (n,) and a table with the columns value, low, high."""
    axis.vlines(x, rows["low"], rows["high"], color=color, lw=1.3)
    axis.plot(x, rows["value"], "o", color=color, ms=size, **line)


def band(axis, x, rows, color: str, **line) -> None:
    """Estimates along x as a line, their intervals as a band."""
    axis.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.16, lw=0)
    axis.plot(x, rows["value"], color=color, **line)


def frames(axis, low: float, high: float, zero: float | None = None) -> None:
    """A logarithmic axis of frames, or of seconds, from `low` to `high`, with few ticks; `zero` is where the point before training is drawn."""
    axis.set_xscale("log")
    steps = (1, 2, 5) if high / low < 12 else (1, 3) if high / low < 300 else (1,)
    ticks = [
        t
        for t in (m * 10.0**e for e in range(0, 10) for m in steps)
        if low * 0.9 <= t <= high * 1.1
    ]
    at, names = (
        ([zero, *ticks], ["0", *map(short, ticks)]) if zero else (ticks, [short(t) for t in ticks])
    )
    axis.set_xticks(at, names)
    axis.minorticks_off()
    axis.set_xlim((zero or low) / 1.25, high * 1.12)


def short(number: float) -> str:
    """30 k, 1.5 M"""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def span(row) -> str:
    """An estimate with its interval, for captions."""
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
