"""What linear probes read: by layer as the mean over tasks, and from the last layer by task."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lastmile.studies import style
from lastmile.studies.labels import ALL

TITLES = {
    "phase": "Phase (accuracy)",
    "position": "Data position (R²)",
    "mistake": "Mistake made (accuracy)",
}
MARKERS = {"policy": "o", "random network": "s", "screen": "D", "metadata": "^"}
SHIFTS = {"random network": 0.12, "screen": 0.0, "metadata": -0.12, "policy": 0.0}
"""Offsets of the points within the row of a task; the policy is drawn last."""
DASHES = {"screen": style.FLOOR, "metadata": style.CEILING}
ROW = 0.22
"""Height of a row, inches."""
FLOOR = -0.3
"""Values of R² below this are drawn here."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw a column for each target: above layer by layer, below a row for each task."""
    names = style.tasks_of(table)
    where = style.whole_of(table)
    figure, axes = plt.subplots(
        2,
        len(TITLES),
        figsize=(style.PAGE, 2.7 + ROW * len(names)),
        height_ratios=(1.75, 0.5 + ROW * len(names)),
        sharey="row",
    )
    for (top, bottom), target in zip(axes.T, TITLES):
        part = table[table["target"] == target]
        _layers(top, part[part["task"] == where])
        top.set_title(TITLES[target])
        _tasks(bottom, part, names)
    axes[0, 0].set_ylabel("mean over tasks" if where == ALL else style.title(where))
    axes[1, 0].set_yticks(range(len(names)), [style.title(name) for name in names], color=style.INK)
    axes[1, 0].set_ylim(len(names) - 0.5, -0.5)

    handles = [
        style.line_handle(
            style.OF_COLORS[of], of, marker=marker, ms=4, lw=1.2, ls=DASHES.get(of, "-")
        )
        for of, marker in MARKERS.items()
    ]
    handles.append(style.point_handle(style.MUTED, "control task (random labels)", "x"))
    style.legend_below(figure, handles, handlelength=3.2)
    return figure


def _clipped(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with estimates no lower than `FLOOR`."""
    return rows.assign(**rows[["value", "low", "high"]].astype(float).clip(lower=FLOOR))


def _layers(axis: Axes, part: pd.DataFrame) -> None:
    """Draw estimates layer by layer, and the baselines that have no layers as lines."""
    part = _clipped(part)
    real = part[part["labels"] == "real"]
    control = part[(part["labels"] == "control") & (part["of"] == "policy")]
    layers = list(dict.fromkeys(real.loc[real["of"] == "policy", "feature"]))
    places = {layer: float(x) for x, layer in enumerate(layers)}
    for of in ("random network", "policy"):
        rows = real[real["of"] == of]
        rows = rows[rows["feature"].str.removeprefix("random:").isin(layers)]
        x = [places[feature.removeprefix("random:")] for feature in rows["feature"]]
        style.band(axis, x, rows, style.OF_COLORS[of], marker=MARKERS[of], ms=3)

    control = control[control["feature"].isin(layers)]
    x = [places[feature] for feature in control["feature"]]
    axis.plot(x, control["value"], "x", color=style.MUTED, ms=4)
    for of, dash in DASHES.items():
        level = real.loc[real["of"] == of, "value"]
        if len(level):
            axis.axhline(level.mean(), color=style.OF_COLORS[of], ls=dash, lw=1.1)
    if len(layers):
        axis.set_ylim(FLOOR - 0.04 if real["value"].min() < 0 else 0, 1.03)
        axis.set_xlim(-0.3, len(layers) - 0.7)
    axis.set_xticks(range(len(layers)), layers, rotation=30, ha="right")


def _tasks(axis: Axes, part: pd.DataFrame, names: list[str]) -> None:
    """Draw the last layer and the baselines, a row for each task."""
    part = _clipped(part)
    for y, name in enumerate(names):
        rows = part[part["task"] == name]
        real = rows[rows["labels"] == "real"]
        layers = real.loc[real["of"] == "policy", "feature"]
        last = str(layers.iloc[-1]) if len(layers) else ""
        features = {"random network": f"random:{last}", "policy": last}
        for of, shift in SHIFTS.items():
            estimates = real[real["feature"] == features.get(of, of)]
            if len(estimates):
                size = 4.2 if of == "policy" else 3.0
                color = style.OF_COLORS[of]
                style.row_point(axis, y + shift, estimates.iloc[0], color, size, MARKERS[of])
        control = rows[(rows["labels"] == "control") & (rows["feature"] == last)]
        axis.plot(control["value"], [y] * len(control), "x", color=style.MUTED, ms=4)
    style.rows_axis(axis)
    axis.set_xlabel("last layer, by task")
    axis.set_xlim(right=1.03)


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    real = table[table["labels"] == "real"].dropna(subset="value")
    by_task = []
    for (name, target), part in real.groupby(["task", "target"], sort=False):
        policy = part[part["of"] == "policy"]
        if policy.empty:
            continue
        untrained = part[part["feature"] == f"random:{policy['feature'].iloc[-1]}"]
        random = f" ({untrained['value'].iloc[0]:.2f})" if len(untrained) else ""
        by_task.append(f"{style.title(str(name))}, {target} {policy['value'].iloc[-1]:.2f}{random}")
    episodes = int(table.loc[table["task"] != ALL, "episodes"].max())
    layers = real.loc[real["of"] == "policy", "feature"]
    last = f" ({layers.iloc[-1]})" if len(layers) else ""
    return (
        "**Linear probes.** What a linear map reads from each layer of the policy for all tasks "
        "(blue), from a network with random weights, from the raw screen (dashed) and from step "
        "number and last action (metadata, dotted). Probes are fitted on some episodes and tested "
        "on others; intervals are 95 % (unit of inference: the test episode, up to "
        f"{episodes} per task; tasks as strata). Whether the annotation just made is wrong is read "
        "from pairs of the same world and moment, with a wrong and with a right annotation, so "
        "chance is 0.5; seen: the newest screen shows it; AUC: share of the pairs in which the "
        "wrong half has the higher score. Crosses: the control task, a random label for each third "
        f"of an episode (for mistakes, of an episode). Last layer{last}, in brackets the same "
        f"layer of a network with random weights: {'; '.join(by_task)}."
    )
