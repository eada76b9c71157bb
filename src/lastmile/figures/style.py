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
    "valid": "#9aa3b2", "action": "#5b6577", "button": "#0072b2", "placement@2": "#7fd1ae", "placement@5": "#009e73", "placement@10": "#00563f",
    "decision": "#d55e00", "undo": "#cc79a7", "done": "#e69f00", "look": "#56b4e9", "decide": "#a0522d",
}  # fmt: skip
"""Colors of skills (Okabe and Ito's palette, safe for color-blind readers)."""
WHO_COLORS = {"policy": "#0072b2", "annotator": "#e69f00"}
KIND_COLORS = {
    "navigate": "#b8c0cc", "look": "#56b4e9", "mode": "#f0e442", "place": "#009e73", "decide": "#a0522d", "undo": "#cc79a7", "done": "#22262e",
    "invalid": "#d55e00",
}  # fmt: skip
"""Colors of kinds of actions, from the same palette."""
OF_COLORS = {"policy": "#0072b2", "random network": "#b8c0cc", "screen": "#8d99ab", "metadata": "#5b6577"}
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
        **sns.axes_style("ticks"), **sns.plotting_context("paper"),
        "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
        "axes.edgecolor": MUTED, "axes.labelcolor": INK, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "axes.spines.top": False,
        "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": GRID, "axes.axisbelow": True, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "lines.linewidth": 1.5, "svg.hashsalt": "lastmile", "svg.fonttype": "none", "pdf.fonttype": 42,
        "legend.frameon": False, "figure.constrained_layout.use": True,
    }  # fmt: skip
    with plt.rc_context(settings):
        yield


def close(figure) -> None:
    plt.close(figure)


def title(task: str) -> str:
    """A task's name as a heading."""
    return task.replace("_", " ").capitalize()


def label_ends(axis, ends: Iterable[tuple[float, str, str]], gap: float = 0.062) -> None:
    """Direct labels at the right end of lines: (height, text, color) each, in axis units of y from 0 to 1, moved apart where they would touch."""
    placed: list[float] = []
    for height, text, color in sorted(ends):
        at = max(height, placed[-1] + gap) if placed else height
        placed.append(at)
        axis.annotate(
            text, (1.0, height), xycoords=("axes fraction", "data"), xytext=(1.02, at), textcoords=("axes fraction", "data"), color=color,
            fontsize=7, va="center", annotation_clip=False,
        )  # fmt: skip
