"""Mistake probes across tasks: accuracies, cosines of directions, and what moving along them does."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from lastmile.studies import style

ALL, OTHERS = "all tasks", "others"
SHORT = 10
"""Letters of a task's name on an axis."""


def draw(table: pd.DataFrame, folder: Path):
    accuracy = table[table["measure"] == "accuracy"]
    names = sorted(accuracy["target"].unique())
    figure = plt.figure(figsize=(style.PAGE, 5.9))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1), height_ratios=(1.35, 1))
    _matrix(figure, figure.add_subplot(grid[0, 0]), accuracy, names)
    _cosines(figure, figure.add_subplot(grid[0, 1]), table[table["measure"] == "cosine"], names)
    _moved(figure.add_subplot(grid[1, 0]), table[table["measure"].str.startswith("undo:")], names)
    _others(
        figure.add_subplot(grid[1, 1]),
        accuracy[accuracy["source"] == OTHERS].set_index("target"),
        names,
    )
    return figure


def _name(task: str) -> str:
    return style.title(task) if task not in (OTHERS,) else "All others"


def _matrix(figure, axis, accuracy: pd.DataFrame, names: list[str]) -> None:
    wide = accuracy.set_index(["source", "target"])
    sources = [*names, OTHERS]
    values = np.array(
        [[wide["value"].get((source, target), np.nan) for target in names] for source in sources]
    )
    image = axis.imshow(values, vmin=0.2, vmax=0.8, cmap="RdBu_r", aspect="auto")
    for i, source in enumerate(sources):
        for j, target in enumerate(names):
            if (source, target) in wide.index:
                row = wide.loc[(source, target)]
                sure = row["low"] > 0.5 or row["high"] < 0.5
                dark = abs(row["value"] - 0.5) > 0.22
                axis.text(
                    j,
                    i,
                    f"{100 * row['value']:.0f}",
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if dark else style.INK,
                    fontweight="bold" if sure else "normal",
                )
    axis.axhline(len(names) - 0.5, color="white", lw=2)
    _ticks(axis, names, sources)
    axis.set(title="a  Accuracy of mistake probes (%)", xlabel="tested on", ylabel="fitted on")
    axis.grid(False)
    _bar(figure, image, axis, (0.2, 0.5, 0.8))


def _bar(figure, image, axis, ticks: tuple) -> None:
    bar = figure.colorbar(image, ax=axis, ticks=ticks, shrink=0.7, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6, length=0)


def _ticks(axis, columns: list[str], rows: list[str]) -> None:
    axis.set_xticks(
        range(len(columns)),
        [_name(name) for name in columns],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=6,
    )
    axis.set_yticks(range(len(rows)), [_name(name) for name in rows], fontsize=6)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _cosines(figure, axis, cosines: pd.DataFrame, names: list[str]) -> None:
    values = np.full((len(names), len(names)), np.nan)
    for _, row in cosines.iterrows():
        if row["source"] in names and row["target"] in names:
            i, j = sorted((names.index(row["source"]), names.index(row["target"])))
            values[j, i] = row["value"]
            beyond = not row["low"] <= row["value"] <= row["high"]
            dark = abs(row["value"]) > 0.6
            axis.text(
                i,
                j,
                f"{row['value']:.2f}",
                ha="center",
                va="center",
                fontsize=5.5,
                color="white" if dark else style.INK,
                fontweight="bold" if beyond else "normal",
            )
    image = axis.imshow(
        values[1:, :-1],
        vmin=-0.8,
        vmax=0.8,
        cmap="RdBu_r",
        aspect="auto",
        extent=(-0.5, len(names) - 1.5, len(names) - 0.5, 0.5),
    )
    axis.set_xticks(
        range(len(names) - 1),
        [_name(name) for name in names[:-1]],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=6,
    )
    axis.set_yticks(range(1, len(names)), [_name(name) for name in names[1:]], fontsize=6)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title("b  Cosines of directions")
    axis.grid(False)
    _bar(figure, image, axis, (-0.8, 0, 0.8))


def _moved(axis, moved: pd.DataFrame, names: list[str]) -> None:
    for name in names:
        rows = moved[(moved["measure"] == "undo:shared") & (moved["target"] == name)].sort_values(
            "strength"
        )
        axis.plot(rows["strength"], rows["value"], color=style.task_color(name), lw=0.8, alpha=0.75)
    for kind, color, words in (
        ("random", style.MUTED, "random directions"),
        ("shared", style.INK, "direction of the other tasks"),
    ):
        rows = moved[(moved["measure"] == f"undo:{kind}") & (moved["target"] == ALL)].sort_values(
            "strength"
        )
        style.band(axis, rows["strength"], rows, color, marker="o", ms=3, lw=1.8, label=words)
    axis.set(
        title="c  Chance of Undo after a shift",
        xlabel="shift (1: as far as a mistake moves it)",
        ylabel="chance of Undo",
    )
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=6.5, loc="upper left")


def _others(axis, rows: pd.DataFrame, names: list[str]) -> None:
    for y, name in enumerate(names):
        row, color = rows.loc[name], style.task_color(name)
        axis.plot([row["low"], row["high"]], [y, y], color=color, lw=1.4)
        axis.plot(row["value"], y, "o", color=color, ms=4)
    axis.axvline(0.5, color=style.MUTED, lw=0.8, ls=(0, (4, 2)))
    axis.set_yticks(range(len(names)), [style.title(name) for name in names], fontsize=6)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set(title="d  Probe of all other tasks", xlabel="accuracy (dashed: chance)")


def caption(table: pd.DataFrame) -> str:
    accuracy = table[table["measure"] == "accuracy"]
    own = accuracy[accuracy["source"] == accuracy["target"]]
    across = accuracy[(accuracy["source"] != accuracy["target"]) & (accuracy["source"] != OTHERS)]
    sure = (across["low"] > 0.5).sum()
    others = "; ".join(
        f"{style.title(row['target'])} {style.span(row)}"
        for _, row in accuracy[accuracy["source"] == OTHERS].iterrows()
    )
    mean = table[(table["measure"] == "cosine") & (table["source"] == OTHERS)].iloc[0]
    moved = table[(table["target"] == ALL) & (table["strength"] == 1)].set_index("measure")
    still = table[
        (table["target"] == ALL) & (table["strength"] == 0) & (table["measure"] == "undo:shared")
    ].iloc[0]
    return (
        f"**Mistakes across tasks.** Probes of an open mistake in the last layer of the policy for all tasks; steps with and without one are matched, so chance is 50 %. a: fitted on one task, tested on "
        f"another (bold: the 95 % interval over test episodes leaves out 50 %): {own['value'].mean():.0%} on the own task, {across['value'].mean():.0%} across tasks, {sure} of {len(across)} pairs above chance. "
        f"d: fitted on all other tasks: {others}. b: cosines of the directions of two tasks (bold: beyond 95 % of those with shuffled labels); their mean is {mean['value']:.2f}, with shuffled labels within "
        f"[{mean['low']:.2f}, {mean['high']:.2f}]. c: chance of Undo where nothing is wrong, mean over tasks (thin: by task), after moving the activation: {still['value']:.3f} unmoved, at a shift of 1 "
        f"{moved.loc['undo:shared', 'value']:.3f} [{moved.loc['undo:shared', 'low']:.3f}, {moved.loc['undo:shared', 'high']:.3f}] along the direction of the other tasks, "
        f"{moved.loc['undo:random', 'value']:.3f} along random ones. Unit of inference: the test episode."
    )
