"""Mistake probes across tasks: accuracies, cosines of directions, and shifts along them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from lastmile.studies import style
from lastmile.studies.labels import ALL, OTHERS

CHANCE = 0.5
MOVED = {"random": "random directions", "shared": "direction of the other tasks"}


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw four panels: accuracies, cosines, chance of Undo after a shift, probes of all others."""
    accuracy = table[table["measure"] == "accuracy"]
    cosines = table[table["measure"] == "cosine"]
    moved = table[table["measure"].str.startswith("undo:")]
    targets = {*accuracy["target"], *cosines["target"], *moved["target"]}
    names = sorted(targets - {ALL, OTHERS})

    figure = plt.figure(figsize=(style.PAGE, 5.9))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1), height_ratios=(1.35, 1))
    _accuracies(figure, figure.add_subplot(grid[0, 0]), accuracy, names)
    _cosines(figure, figure.add_subplot(grid[0, 1]), cosines, names)
    _moved(figure.add_subplot(grid[1, 0]), moved, names)
    untrained = table[table["measure"] == "accuracy:random"]
    _others(
        figure.add_subplot(grid[1, 1]), accuracy[accuracy["source"] == OTHERS], untrained, names
    )
    return figure


def _name(task: str) -> str:
    return "All others" if task == OTHERS else style.title(task)


def _accuracies(figure: Figure, axis: Axes, accuracy: pd.DataFrame, names: list[str]) -> None:
    """Draw the matrix of accuracies: a row for each source, a column for each target."""
    by_pair = accuracy.set_index(["source", "target"])
    sources = [*names, OTHERS]
    values = np.full((len(sources), len(names)), np.nan)
    for i, source in enumerate(sources):
        for j, target in enumerate(names):
            if (source, target) not in by_pair.index:
                continue
            row = by_pair.loc[(source, target)]
            values[i, j] = row["value"]
            sure = row["low"] > CHANCE or row["high"] < CHANCE
            dark = abs(row["value"] - CHANCE) > 0.22
            _write(axis, j, i, f"{100 * row['value']:.0f}", sure, dark)

    image = axis.imshow(values, vmin=0.2, vmax=0.8, cmap="RdBu_r", aspect="auto")
    axis.axhline(len(names) - 0.5, color="white", lw=2)
    _matrix_axis(axis, names, range(len(names)), sources, range(len(sources)))
    axis.set(title="a  Accuracy of mistake probes (%)", xlabel="tested on", ylabel="fitted on")
    _color_bar(figure, image, axis, (0.2, 0.5, 0.8), ("20", "50", "80"))


def _cosines(figure: Figure, axis: Axes, cosines: pd.DataFrame, names: list[str]) -> None:
    """Draw the lower triangle of the matrix of cosines."""
    axis.set_title("b  Cosines of directions")
    if len(names) < 2 or cosines.empty:
        axis.set_axis_off()
        return
    values = np.full((len(names), len(names)), np.nan)
    for _, row in cosines.iterrows():
        if row["source"] in names and row["target"] in names:
            column, line = sorted((names.index(row["source"]), names.index(row["target"])))
            values[line, column] = row["value"]
            beyond = not row["low"] <= row["value"] <= row["high"]
            dark = abs(row["value"]) > 0.6
            _write(axis, column, line, f"{row['value']:.2f}", beyond, dark, 5.5)

    # The first row and the last column of a triangle are empty.
    image = axis.imshow(
        values[1:, :-1],
        vmin=-0.8,
        vmax=0.8,
        cmap="RdBu_r",
        aspect="auto",
        extent=(-0.5, len(names) - 1.5, len(names) - 0.5, 0.5),
    )
    _matrix_axis(axis, names[:-1], range(len(names) - 1), names[1:], range(1, len(names)))
    _color_bar(figure, image, axis, (-0.8, 0, 0.8), ("-0.8", "0", "0.8"))


def _write(
    axis: Axes, x: int, y: int, text: str, bold: bool, dark: bool, size: float = 6.0
) -> None:
    """Write a value into a cell; dark cells get white letters."""
    axis.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        fontsize=size,
        color="white" if dark else style.INK,
        fontweight="bold" if bold else "normal",
    )


def _matrix_axis(
    axis: Axes,
    columns: list[str],
    x: Sequence[int],
    rows: list[str],
    y: Sequence[int],
) -> None:
    """Name the columns and rows of a matrix."""
    axis.set_xticks(
        x,
        [_name(name) for name in columns],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=6,
    )
    axis.set_yticks(y, [_name(name) for name in rows], fontsize=6)
    axis.tick_params(length=0)
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _color_bar(
    figure: Figure,
    image: AxesImage,
    axis: Axes,
    ticks: tuple[float, ...],
    names: tuple[str, ...],
) -> None:
    """Add a color bar beside a matrix."""
    bar = figure.colorbar(image, ax=axis, ticks=ticks, shrink=0.7, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.set_yticklabels(names)
    bar.ax.tick_params(labelsize=6, length=0)


def _moved(axis: Axes, moved: pd.DataFrame, names: list[str]) -> None:
    """Draw the chance of Undo after a shift: thin by task, thick the mean over tasks."""
    for name in names:
        rows = moved[(moved["measure"] == "undo:shared") & (moved["target"] == name)]
        rows = rows.sort_values("strength")
        axis.plot(rows["strength"], rows["value"], color=style.task_color(name), lw=0.8, alpha=0.9)
    for (kind, words), color in zip(MOVED.items(), (style.MUTED, style.INK)):
        rows = moved[(moved["measure"] == f"undo:{kind}") & (moved["target"] == ALL)]
        rows = rows.sort_values("strength")
        style.band(axis, rows["strength"], rows, color, marker="o", ms=3, lw=1.8, label=words)
    axis.set(
        title="c  Chance of Undo after a shift",
        xlabel="shift (1: as far as a mistake moves it)",
        ylabel="chance of Undo",
    )
    axis.set_ylim(0, 1.35 * axis.get_ylim()[1])  # room for the legend
    handles, _ = axis.get_legend_handles_labels()
    handles.append(style.line_handle(style.MUTED, "the same by task, colors as in d", lw=0.8))
    axis.legend(handles=handles, fontsize=6, loc="upper left")


def _others(axis: Axes, rows: pd.DataFrame, untrained: pd.DataFrame, names: list[str]) -> None:
    """Draw the accuracy of the probe of all other tasks, a row for each task."""
    by_target = rows.set_index("target")
    random = untrained.set_index("target")["value"]
    for y, name in enumerate(names):
        if name in random.index:
            axis.plot(random[name], y, "x", color=style.MUTED, ms=4)
        if name in by_target.index:
            style.row_point(axis, y, by_target.loc[name], style.task_color(name), 4.0)
    axis.axvline(CHANCE, color=style.MUTED, lw=0.8, ls=style.FLOOR)
    axis.set_yticks(range(len(names)), [style.title(name) for name in names], fontsize=6)
    axis.set_ylim(len(names) - 0.5, -0.5)
    style.rows_axis(axis)
    axis.set(title="d  Probe of all other tasks", xlabel="accuracy (x: random weights)")


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    table = table.dropna(subset="value")
    accuracy = table[table["measure"] == "accuracy"]
    own = accuracy[accuracy["source"] == accuracy["target"]]
    across = accuracy[(accuracy["source"] != accuracy["target"]) & (accuracy["source"] != OTHERS)]
    others = "; ".join(
        f"{style.title(row['target'])} {style.span(row)}"
        for _, row in accuracy[accuracy["source"] == OTHERS].iterrows()
    )
    parts = [
        "**Mistakes across tasks.** Probes in the last layer of the policy for all tasks that say "
        "whether the annotation just made is wrong. They are tested on pairs of the same world and "
        "moment, with a wrong and with a right annotation, so chance is 50 %. a: fitted on "
        "one task, tested on another (bold: the 95 % interval over test episodes excludes 50 %)"
    ]
    if len(own) and len(across):
        parts[-1] += (
            f": {own['value'].mean():.0%} on the same task, {across['value'].mean():.0%} across "
            f"tasks, {(across['low'] > CHANCE).sum()} of {len(across)} pairs above chance"
        )
    if others:
        untrained = table.loc[table["measure"] == "accuracy:random", "value"]
        random = f" (a network with random weights: {untrained.mean():.2f} on average)"
        parts.append(f"d: fitted on all other tasks{random if len(untrained) else ''}: {others}")
    parts += [*_cosine_words(table), *_moved_words(table)]
    return ". ".join(parts) + ". Unit of inference: the test episode."


def _cosine_words(table: pd.DataFrame) -> list[str]:
    """Say how alike the directions are."""
    mean = table[(table["measure"] == "cosine") & (table["source"] == OTHERS)]
    if mean.empty:
        return []
    row = mean.iloc[0]
    return [
        "b: cosines of the directions of two tasks (bold: outside of 95 % of the values with "
        f"shuffled labels); their mean is {row['value']:.2f}, with shuffled labels within "
        f"[{row['low']:.2f}, {row['high']:.2f}]"
    ]


def _moved_words(table: pd.DataFrame) -> list[str]:
    """Say what moving the activation does."""
    mean = table[table["target"] == ALL].set_index(["measure", "strength"])
    if (arms := _arms(mean, "undo")) is None:
        return []
    still, shared, random = arms
    return [
        "c: chance of Undo after right annotations, mean over tasks (thin: by task), after moving "
        f"the activation: {still['value']:.3f} unmoved; at a shift of 1 {shared['value']:.3f} "
        f"[{shared['low']:.3f}, {shared['high']:.3f}] along the direction of the other tasks, "
        f"{random['value']:.3f} along random ones",
        *_worked_on_words(mean),
    ]


def _arms(mean: pd.DataFrame, what: str) -> list[pd.Series] | None:
    """Return the rows of a measure unmoved, and moved by 1 along both kinds of directions."""
    keys = [(f"{what}:shared", 0.0), (f"{what}:shared", 1.0), (f"{what}:random", 1.0)]
    return [mean.loc[key] for key in keys] if all(key in mean.index for key in keys) else None


def _worked_on_words(mean: pd.DataFrame) -> list[str]:
    """Say what happens if the policy works on, moved at every step."""
    if (arms := _arms(mean, "gone")) is None:
        return []
    still, shared, random = arms
    return [
        "If the policy works on, moved at every step, right annotations are gone in the end in "
        f"{still['value']:.3f} unmoved, {shared['value']:.3f} [{shared['low']:.3f}, "
        f"{shared['high']:.3f}] along the direction of the other tasks, {random['value']:.3f} "
        "along random ones"
    ]
