"""What policies do that see one screen, or more and more of those before it."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.memory.kinds import CEILING, FINISHED, KINDS, NATS, SUCCESS

LIGHT, DARK = (0.72, 0.86, 0.95), (0.02, 0.19, 0.38)
"""Colors of the fewest and of the most screens."""
CURVES = {SUCCESS: "success", NATS: "nats per click"}
"""Measures drawn over the number of screens, and their axes."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw success and nats over the number of screens, and each kind of decision."""
    tasks = style.tasks_of(table)
    whole = style.whole_of(table)
    policies = table[table["who"] != CEILING]
    windows = sorted(policies["window"].unique())
    figure = plt.figure(figsize=(style.PAGE, 3.3))
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 1.5), wspace=0.05)
    curves = grid[0].subgridspec(len(CURVES), 1, hspace=0.12)
    for at, (measure, words) in enumerate(CURVES.items()):
        axis = figure.add_subplot(curves[at])
        _curve(axis, policies[policies["measure"] == measure], whole, tasks, windows)
        axis.set_ylabel(words)
        if measure == SUCCESS:
            axis.set_ylim(bottom=0)
        if at < len(CURVES) - 1:
            axis.tick_params(labelbottom=False)
    axis.set_xlabel("screens that the policy sees")
    _kinds(figure.add_subplot(grid[1]), table[table["task"] == whole], windows)
    handles = [style.line_handle(style.INK, style.title(whole), marker="D", ms=4)]
    if len(tasks) > 1:
        handles += [style.line_handle(style.task_color(task), style.title(task)) for task in tasks]
    handles += [
        style.point_handle(color, f"{window} screen{'s' if window > 1 else ''}")
        for window, color in _colors(windows).items()
    ]
    handles.append(style.point_handle(style.MUTED, "annotator asked again", "|", ms=8))
    style.legend_below(figure, handles, ncols=4)
    return figure


def _colors(windows: list[int]) -> dict[int, str]:
    """Return a color for each number of screens, from light to dark."""
    shares = np.linspace(0, 1, len(windows))[:, None]
    mixed = (1 - shares) * np.array(LIGHT) + shares * np.array(DARK)
    return {window: to_hex(color) for window, color in zip(windows, mixed.tolist())}


def _curve(
    axis: Axes, part: pd.DataFrame, whole: str, tasks: list[str], windows: list[int]
) -> None:
    """Draw a measure over the number of screens: tasks thin, their mean with its interval."""
    for task in tasks if len(tasks) > 1 else []:
        rows = part[part["task"] == task].sort_values("window")
        axis.plot(rows["window"], rows["value"], color=style.task_color(task), lw=0.9)
    rows = part[part["task"] == whole].sort_values("window")
    style.band(axis, rows["window"], rows, style.INK, marker="D", ms=3.5)
    if windows:
        axis.set_xscale("log")
        axis.set_xticks(windows, [str(window) for window in windows])
        axis.minorticks_off()


def _kinds(axis: Axes, rows: pd.DataFrame, windows: list[int]) -> None:
    """Draw a row for each kind of decision, those that gain most from past screens on top."""
    values = rows.set_index(["measure", "who", "window"])["value"]
    policy = values.drop(CEILING, level="who", errors="ignore").droplevel("who")
    kinds = [kind for kind in KINDS if kind in policy.index.get_level_values("measure")]
    if kinds:
        usual, fewest = windows[-2:][0], windows[0]
        gain = {kind: policy[kind].get(usual, 0) - policy[kind].get(fewest, 0) for kind in kinds}
        kinds.sort(key=lambda kind: -gain[kind])
    style.rows_axis(axis, len(kinds))
    shift = 0.56 / max(1, len(windows) - 1)
    for at, kind in enumerate(kinds):
        for number, (window, color) in enumerate(_colors(windows).items()):
            of_arm = rows[
                (rows["measure"] == kind) & (rows["window"] == window) & (rows["who"] != CEILING)
            ]
            for _, row in of_arm.iterrows():
                style.row_point(axis, at - 0.28 + shift * number, row, color, 3)
        if (kind, CEILING, 0) in values.index:
            axis.plot([values[kind, CEILING, 0]] * 2, [at - 0.38, at + 0.38], color=style.MUTED)
    axis.set_yticks(range(len(kinds)), [KINDS[kind] for kind in kinds])
    axis.set_ylim(max(len(kinds), 1) - 0.5, -0.5)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("share right in the annotator's place (teacher-forced)")


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    whole = style.whole_of(table)
    policies = table[(table["who"] != CEILING) & (table["task"] == whole)]
    of_whole = policies.set_index(["measure", "window"])
    windows = sorted(policies["window"].unique())

    def told(measure: str, of: list[int]) -> str:
        spans = [
            f"{style.span(of_whole.loc[(measure, window)])} with {window}"
            for window in of
            if (measure, window) in of_whole.index
        ]
        return ", ".join(spans) or "not measured"

    kinds = [kind for kind in KINDS if kind in set(policies["measure"])]
    ends = [windows[0], windows[-2]] if len(windows) > 1 else windows
    by_kind = "; ".join(f"{KINDS[kind]} {told(kind, ends)}" for kind in kinds)
    return (
        "**Memory.** Policies that see the last screens, more or fewer of them. All learn from the "
        "same screens in the same order; each also gets the previous click. Left, above: share of "
        f"episodes that the policy completes on its own ({told(SUCCESS, windows)} screens; "
        f"finished: {told(FINISHED, windows)}). Left, below: how hard the annotator's next click "
        f"is to guess ({told(NATS, windows)}; less is better). Right: how often the policy does "
        "what the annotator did, by what there was to do, those that gain most from the past on "
        "top; bars in gray: the annotator asked again in the same place. In numbers: "
        f"{by_kind or 'not measured'}. "
        f"{style.title(whole)} with 95 % intervals (unit of inference: the episode)"
        f"{_thin_lines(table)}."
    )


def _thin_lines(table: pd.DataFrame) -> str:
    """Say what thin lines are, where there are any."""
    tasks = style.tasks_of(table)
    if len(tasks) < 2:
        return ""
    return f"; thin lines: {', '.join(map(style.title, tasks))}"
