"""What linear probes read: from each layer, the mean over tasks; from the last layer, task by task; beside all baselines."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

ALL = "all tasks"
TITLES = {
    "phase": "Phase (accuracy)",
    "position": "Data position (R²)",
    "mistake": "Open mistake (accuracy)",
}
ROW = 0.22
"""Inches."""
FLOOR = -0.3
"""R2 below it is drawn there."""


def draw(table: pd.DataFrame, folder: Path):
    names = [name for name in dict.fromkeys(table["task"]) if name != ALL]
    where = ALL if ALL in set(table["task"]) else names[0]
    figure, axes = plt.subplots(
        2,
        3,
        figsize=(style.PAGE, 2.6 + ROW * len(names)),
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
    marks = {"policy": "o", "random network": "s", "screen": "D", "metadata": "^"}
    handles = [
        plt.Line2D([], [], color=style.OF_COLORS[of], marker=mark, ms=4, lw=1.2, label=of)
        for of, mark in marks.items()
    ]
    handles.append(
        plt.Line2D([], [], color=style.MUTED, marker="x", ls="", ms=4, label="control task")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7)
    return figure


def _layers(axis, part: pd.DataFrame) -> None:
    real, control = (part[part["labels"] == labels] for labels in ("real", "control"))
    layers = list(dict.fromkeys(real.loc[real["of"] == "policy", "feature"]))
    at = {layer: x for x, layer in enumerate(layers)}
    for of, prefix in (("random network", "random:"), ("policy", "")):
        rows = real[real["of"] == of]
        x = [at[feature.removeprefix(prefix)] for feature in rows["feature"]]
        style.band(
            axis,
            x,
            rows.assign(**rows[["value", "low", "high"]].clip(lower=FLOOR)),
            style.OF_COLORS[of],
            marker="s" if prefix else "o",
            ms=3,
        )
    rows = control[control["of"] == "policy"]
    axis.plot(
        [at[feature] for feature in rows["feature"]], rows["value"], "x", color=style.MUTED, ms=4
    )
    for of, dash in (("screen", (0, (4, 2))), ("metadata", (0, (1, 1.5)))):
        axis.axhline(
            max(FLOOR, real.loc[real["of"] == of, "value"].mean()),
            color=style.OF_COLORS[of],
            ls=dash,
            lw=1.1,
        )
    axis.set_ylim(FLOOR - 0.04 if real["value"].min() < 0 else 0, 1.03)
    axis.set_xlim(-0.3, len(layers) - 0.7)
    axis.set_xticks(range(len(layers)), layers, rotation=30, ha="right")


def _tasks(axis, part: pd.DataFrame, names: list[str]) -> None:
    for y, name in enumerate(names):
        rows = part[part["task"] == name]
        real = rows[rows["labels"] == "real"]
        if real.empty:
            continue
        last = real.loc[real["of"] == "policy", "feature"].iloc[-1]
        chosen = {
            "random network": f"random:{last}",
            "screen": "screen",
            "metadata": "metadata",
            "policy": last,
        }
        for (of, feature), mark, shift in zip(chosen.items(), "sD^o", (0.12, 0.0, -0.12, 0.0)):
            row = real[real["feature"] == feature].iloc[0].copy()
            row[["value", "low", "high"]] = (
                row[["value", "low", "high"]].astype(float).clip(lower=FLOOR)
            )
            axis.plot([row["low"], row["high"]], [y + shift] * 2, color=style.OF_COLORS[of], lw=1.0)
            axis.plot(
                row["value"],
                y + shift,
                mark,
                color=style.OF_COLORS[of],
                ms=4.2 if of == "policy" else 3,
            )
        control = rows[(rows["labels"] == "control") & (rows["feature"] == last)]
        axis.plot(control["value"], [y] * len(control), "x", color=style.MUTED, ms=4)
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("last layer, by task")
    axis.set_xlim(right=1.03)


def caption(table: pd.DataFrame) -> str:
    real = table[table["labels"] == "real"]
    parts = []
    for (name, target), part in real.groupby(["task", "target"], sort=False):
        policy, other = part[part["of"] == "policy"], part[part["of"] != "policy"]
        best = other.loc[other["value"].idxmax()]
        parts.append(
            f"{style.title(name)}, {target} {policy['value'].iloc[-1]:.2f} ({best['value']:.2f}, {best['feature']})"
        )
    tested = int(table.loc[table["task"] != ALL, "episodes"].max())
    last = real.loc[real["of"] == "policy", "feature"].iloc[-1]
    return (
        "**Linear probes.** What a linear map reads from each layer of the policy for all tasks (blue), from a network with random weights, from the raw screen and from "
        "step number and last action. Fitted on some episodes, tested on others; intervals are 95 % (unit of inference: the test episode, up to "
        f"{tested} a task; tasks as strata). Open mistakes are matched with steps of the same last action and a near step number without one: chance is 0.5. Crosses: the control task, a "
        f"random label for each third of an episode. Last layer ({last}), in brackets the best baseline: {'; '.join(parts)}."
    )
