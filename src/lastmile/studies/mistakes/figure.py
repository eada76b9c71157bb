"""Policy and annotator in closed loop, and recovery from injected mistakes: a row for each task."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL, ANNOTATOR, JOINT_POLICY, POLICY

PLAYED = (
    ("success", "success"),
    ("score", "score"),
    ("wrong annotations", "wrong in\nright states"),
    ("mistakes per placement", "mistakes per\nplacement"),
    ("undos per placement", "undos per\nplacement"),
)
"""Measures of closed loop, and of the annotator's states without a mistake, with their headings."""
SHIFTS = {ANNOTATOR: -0.24, POLICY: 0.0, JOINT_POLICY: 0.24}
KIND_SHIFTS = {"slip": -0.27, "confusion": -0.09, "lapse": 0.09}
CONTROL_SHIFT = 0.27
ROW = 0.3
"""Height of a row, inches."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a column for each measure of closed loop, and one for each delay of recovery."""
    table = table.assign(kind=style.texts(table["kind"]))
    names = style.tasks_of(table)
    rows = [*([ALL] if ALL in set(table["task"]) else []), *names]
    gone = table[(table["measure"] == "gone") & (table["who"] == POLICY)]
    repaired = gone[gone["kind"].isin(list(style.MISTAKE_COLORS))]
    control = gone[gone["kind"] == "control"]
    delays = sorted(delay for delay in repaired["delay"].unique() if delay >= 0)
    kinds = [kind for kind in style.MISTAKE_COLORS if kind in set(repaired["kind"])]

    figure, axes = plt.subplots(
        1, len(PLAYED) + len(delays), figsize=(style.PAGE, ROW * len(rows) + 1.25), sharey=True
    )
    for axis, (measure, heading) in zip(axes, PLAYED):
        of_measure = table[table["measure"] == measure]
        for who, shift in SHIFTS.items():
            part = of_measure[of_measure["who"] == who]
            _column(axis, part, rows, shift, style.WHO_COLORS[who])
        axis.set_title(heading, fontsize=7, fontweight="normal")
        if measure in ("success", "score"):
            axis.set_xlim(-0.04, 1.06)
        else:
            axis.set_xlim(left=-0.01)

    for axis, delay in zip(axes[len(PLAYED) :], delays):
        for kind in kinds:
            part = repaired[(repaired["kind"] == kind) & (repaired["delay"] == delay)]
            color = style.MISTAKE_COLORS[kind]
            _column(axis, part, rows, KIND_SHIFTS[kind], color, 2.6, style.MISTAKE_MARKERS[kind])
        part = control[control["delay"] == delay]
        _column(axis, part, rows, CONTROL_SHIFT, style.INK, 3.2, "x")
        heading = "gone, policy\nat once" if delay == 0 else f"gone, after\n{delay} steps"
        axis.set_title(heading, fontsize=7, fontweight="normal")
        axis.set_xlim(-0.04, 1.06)

    for axis in axes:
        style.rows_axis(axis, shaded=len(rows))
        axis.tick_params(axis="x", labelsize=6)
    axes[0].set_yticks(range(len(rows)), [style.title(name) for name in rows], color=style.INK)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)

    present = set(table["who"])
    handles = [
        style.point_handle(color, who) for who, color in style.WHO_COLORS.items() if who in present
    ]
    handles += [
        style.point_handle(
            style.MISTAKE_COLORS[kind], f"after a {kind}", style.MISTAKE_MARKERS[kind]
        )
        for kind in kinds
    ]
    if len(control):
        handles.append(style.point_handle(style.INK, "right annotation in its place", "x"))
    style.legend_below(figure, handles, fontsize=6.5, handletextpad=0.2, columnspacing=1.0)
    return figure


def _column(
    axis: Axes,
    part: pd.DataFrame,
    rows: list[str],
    shift: float,
    color: str,
    size: float = 3.4,
    marker: str = "o",
) -> None:
    """Draw the estimates of one measure, one per task."""
    by_task = part.set_index("task")
    for y, name in enumerate(rows):
        if name in by_task.index:
            style.row_point(axis, y + shift, by_task.loc[name], color, size, marker)


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    table = table.assign(kind=style.texts(table["kind"]))
    by_task = []
    for name in [*([ALL] if ALL in set(table["task"]) else []), *style.tasks_of(table)]:
        part = table[table["task"] == name]
        text = _closed_loop(
            part[part["delay"] == -1].set_index(["who", "measure", "kind"])["value"]
        )
        text += [_gone(part, POLICY)] if _gone(part, POLICY) else []
        if name == ALL and _gone(part, JOINT_POLICY):
            text.append(f"with one policy for all tasks {_gone(part, JOINT_POLICY)}")
        by_task.append(f"{style.title(name)}: {', '.join(text)}")

    alone = table[table["task"] != ALL]
    episodes = alone.loc[alone["measure"] == "score", "n"].max()
    at_once = (alone["measure"] == "gone") & (alone["delay"] == 0) & (alone["kind"] == "")
    at_once &= alone["who"] == POLICY
    states = alone.loc[at_once, "n"].max()
    parts = ["**Mistakes.**"]
    if pd.notna(episodes):
        parts.append(
            "Left: policies for one task, a policy for all, and the annotator in closed loop on "
            "the same "
            f"{episodes:.0f} held-out worlds of each task; the third column is about the "
            "annotator's own states without a mistake, where the policy's most likely annotation "
            "is held against that of the annotator asked again."
        )
    if pd.notna(states):
        parts.append(
            "Right, policies for one task: share of injected mistakes (up to "
            f"{states:.0f} of each task) that are gone at the end, by kind and by the number of "
            "right steps between the mistake and the policy's turn; crosses: the same of right "
            "annotations in their place."
        )
    return (
        f"{' '.join(parts)} Bars: 95 % intervals; unit of inference: the episode, for all tasks "
        "with tasks as strata. Mistakes per placement of the policy (in brackets of the "
        "annotator), and at once mistakes gone against right annotations gone: "
        f"{'; '.join(by_task)}."
    )


def _gone(part: pd.DataFrame, who: str) -> str:
    """Say how often mistakes and right annotations are gone, for the rows of a task."""
    of_kind = part[(part["delay"] == 0) & (part["measure"] == "gone") & (part["who"] == who)]
    values = of_kind.set_index("kind")["value"]
    if "" not in values.index:
        return ""
    against = f" against {values['control']:.2f}" if "control" in values.index else ""
    return f"gone {values['']:.2f}{against}"


def _closed_loop(values: pd.Series) -> list[str]:
    """Say what happened in closed loop, from values by who, measure and kind."""
    parts = []
    if (POLICY, "score", "") in values.index:
        parts.append(f"score {values[POLICY, 'score', '']:.2f}")
    rates = [values.get((who, "mistakes per placement", "")) for who in (POLICY, ANNOTATOR)]
    policy, annotator = ("not measured" if pd.isna(rate) else f"{rate:.3f}" for rate in rates)
    if (POLICY, "mistakes per placement", "") in values.index:
        parts.append(f"mistakes per placement {policy} ({annotator})")
    if (POLICY, "wrong annotations", "") in values.index:
        parts.append(f"wrong in right states {values[POLICY, 'wrong annotations', '']:.3f}")
    return parts
