"""Success against the share of the steps handed over; small: reliability, and temperature."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lastmile.studies import style
from lastmile.studies.labels import ALL

ARMS = {
    "oracle": ("#009e73", "when unsure,\nan oracle"),
    "unsure": ("#0072b2", "when unsure,\nthe annotator"),
    "random": ("#7a808c", "at random,\nthe annotator"),
}
"""Colors and names of the arms, from the top."""
TEMPERATURES = {
    "success": ("#0072b2", "success"),
    "mistakes per placement": ("#d55e00", "mistakes per placement"),
}
CLOSE = 0.2
"""The share handed over that the caption tells about."""


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    """Draw the mean over tasks; with one task, that."""
    name = style.whole_of(table)
    rows = table[table["task"] == name]
    figure = plt.figure(figsize=(style.PAGE, 3.1))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1))
    _handed_over(figure.add_subplot(grid[:, 0]), rows)
    _reliability(figure.add_subplot(grid[0, 1]), rows[rows["arm"] == "calibration"])
    _temperature(figure.add_subplot(grid[1, 1]), rows[rows["arm"] == "temperature"])
    return figure


def _handed_over(axis: Axes, rows: pd.DataFrame) -> None:
    ends = []
    for arm, (color, label) in ARMS.items():
        part = rows[(rows["arm"] == arm) & (rows["measure"] == "success")].sort_values("x")
        if part.empty:
            continue
        if arm != "oracle":  # its band would hide the two that are compared
            axis.fill_between(part["x"], part["low"], part["high"], color=color, alpha=0.14, lw=0)
        line = style.FLOOR if arm == "random" else "-"
        axis.plot(part["x"], part["value"], "o", ls=line, color=color, ms=3.2, clip_on=False)
        ends.append((float(part["value"].iloc[-1]), label, color))
    axis.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="share of the steps made by the annotator",
        ylabel="success",
    )
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    style.label_ends(axis, ends, gap=0.14)
    axis.set_title("Asking when unsure", fontsize=8)


def _reliability(axis: Axes, rows: pd.DataFrame) -> None:
    bins = rows[rows["measure"] == "right"].sort_values("x")
    axis.plot([0, 1], [0, 1], ls=style.CEILING, color=style.MUTED, lw=1)
    style.points(axis, bins["x"], bins, style.INK, 3.0)
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="confidence", ylabel="share right")
    axis.set_title("Reliability", fontsize=8)
    values = rows.set_index("measure")["value"]
    known = [
        f"{words} {values[measure]:.2f}"
        for measure, words in (("auc", "AUC"), ("calibration error", "calibration error"))
        if measure in values.index
    ]
    axis.text(0.97, 0.06, "\n".join(known), fontsize=6.5, ha="right", transform=axis.transAxes)


def _temperature(axis: Axes, rows: pd.DataFrame) -> None:
    heats = sorted(rows["x"].unique())
    ends = []
    for measure, (color, label) in TEMPERATURES.items():
        part = rows[rows["measure"] == measure].dropna(subset=["value"]).sort_values("x")
        if part.empty:
            continue
        style.points(axis, part["x"], part, color, 3.0)
        axis.plot(part["x"], part["value"], color=color, lw=1)
        ends.append((float(part["value"].iloc[-1]), label.replace(" per ", "\nper "), color))
    axis.set_ylim(bottom=0)
    axis.set_xticks(heats, [f"{heat:g}" for heat in heats], fontsize=6)
    axis.set_xlabel("temperature")
    style.label_ends(axis, ends, gap=0.24)
    axis.set_title("Temperature", fontsize=8)


def caption(table: pd.DataFrame) -> str:
    """Return the caption with the numbers of the table."""
    name = style.whole_of(table)
    rows = table[table["task"] == name]
    worlds = rows.loc[rows["measure"] == "success", "n"].max()
    parts = ["**Confidence.**"]
    if pd.notna(worlds):
        what = "Mean over tasks" if name == ALL else style.title(name)
        parts.append(
            f"{what}, {worlds:.0f} held-out worlds; bands and bars: 95 % intervals, unit of "
            "inference: the episode. Left: success against the share of the steps that the "
            "annotator makes. It takes over where the policy is least certain (thresholds fixed on "
            "validation worlds), or as often at random, until it has changed the annotation; "
            "green: an annotator without mistakes takes over where the policy is least certain."
        )
    parts += _told(rows)
    by_task = [
        f"{style.title(task)} {text}"
        for task in (ALL, *style.tasks_of(table))
        if name == ALL and (text := _of_task(table[table["task"] == task]))
    ]
    if by_task:
        parts.append(
            f"By task, success alone, and with about {CLOSE:.0%} of the steps handed over, where "
            f"least certain against at random (shares in brackets): {'; '.join(by_task)}."
        )
    return " ".join(parts)


def _closest(rows: pd.DataFrame, measure: str = "success") -> dict[str, pd.Series]:
    """Return the row of the policy alone, and of each arm that with a share closest to `CLOSE`."""
    of_measure = rows[rows["measure"] == measure]
    found = {}
    for arm in ("unsure", "random"):
        part = of_measure[of_measure["arm"] == arm]
        some = part[(part["level"] > 0) & (part["level"] < 1)]
        if some.empty or 0 not in set(part["level"]):
            return {}
        found["alone"] = part[part["level"] == 0].iloc[0]
        found[arm] = some.loc[(some["x"] - CLOSE).abs().idxmin()]
    return found


def _told(rows: pd.DataFrame) -> list[str]:
    """Say in sentences what a laboratory wants to know."""
    told = []
    success, effort = _closest(rows), _closest(rows, "effort")
    if success:
        told.append(
            f"Alone, the policy succeeds in {success['alone']['value']:.0%} of the worlds; with "
            f"{success['unsure']['x']:.0%} of the steps handed over where it is least certain, in "
            f"{success['unsure']['value']:.0%}; with {success['random']['x']:.0%} at random, in "
            f"{success['random']['value']:.0%}."
        )
    if effort and pd.notna(effort["unsure"]["value"]):
        told.append(
            f"The person then makes {effort['unsure']['value']:.0%} of the clicks that the work "
            "takes without the policy."
        )
    values = rows[rows["arm"] == "calibration"].set_index("measure")
    if "auc" in values.index:
        row = values.loc["auc"]
        told.append(
            "Of a wrong and a right annotation, the policy was less certain of the wrong one in "
            f"{row['value']:.0%} of the pairs ({row['low']:.0%} to {row['high']:.0%})."
        )
    if "calibration error" in values.index:
        told.append(
            "Upper right: share of right annotations by confidence; expected calibration error "
            f"{style.span(values.loc['calibration error'])}."
        )
    heats = rows[(rows["arm"] == "temperature") & (rows["measure"] == "mistakes per placement")]
    heats = heats.dropna(subset=["value"]).sort_values("x")
    if len(heats) > 1:
        first, last = heats.iloc[0], heats.iloc[-1]
        told.append(
            f"Lower right: mistakes per placement {first['value']:.3f} at temperature "
            f"{first['x']:g}, {last['value']:.3f} at {last['x']:g}."
        )
    return told


def _of_task(rows: pd.DataFrame) -> str:
    success = _closest(rows)
    if not success:
        return ""
    unsure, chance = (
        f"{row['value']:.2f} ({row['x']:.0%})" for row in (success["unsure"], success["random"])
    )
    return f"{success['alone']['value']:.2f}, {unsure} against {chance}"
