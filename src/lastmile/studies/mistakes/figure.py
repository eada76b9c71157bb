"""Policy against annotator in closed loop, and recovery after injected mistakes by kind and delay: a row for each task."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.studies import style

ALL = "all tasks"
PLAYED = (
    ("success", "success"),
    ("score", "score"),
    ("mistakes per placement", "mistakes\nper placement"),
    ("undos per placement", "undos\nper placement"),
)
ROW = 0.3
"""Inches."""


def draw(table: pd.DataFrame, folder: Path):
    table = table.assign(kind=table["kind"].fillna(""))
    names = [name for name in dict.fromkeys(table["task"]) if name != ALL]
    rows = [*([ALL] if ALL in set(table["task"]) else []), *names]
    delays = sorted(
        delay for delay in table.loc[table["measure"] == "repaired", "delay"].unique() if delay >= 0
    )
    figure, axes = plt.subplots(
        1, len(PLAYED) + len(delays), figsize=(style.PAGE, ROW * len(rows) + 1.25), sharey=True
    )
    y = {name: i for i, name in enumerate(rows)}
    for axis, (measure, heading) in zip(axes, PLAYED):
        for shift, who in ((-0.16, "annotator"), (0.16, "policy")):
            part = table[(table["who"] == who) & (table["measure"] == measure)].set_index("task")
            _points(
                axis,
                [(y[name] + shift, part.loc[name]) for name in rows if name in part.index],
                style.WHO_COLORS[who],
            )
        axis.set_title(heading, fontsize=7, fontweight="normal")
        axis.set_xlim(-0.04, 1.06) if measure in ("success", "score") else axis.set_xlim(left=-0.01)
    repaired = table[(table["measure"] == "repaired") & (table["kind"] != "")]
    control = table[(table["measure"] == "undone") & (table["kind"] == "control")]
    kinds = [kind for kind in style.MISTAKE_COLORS if kind in set(repaired["kind"])]
    for axis, delay in zip(axes[len(PLAYED) :], delays):
        for shift, kind in zip((-0.27, -0.09, 0.09), kinds):
            part = repaired[(repaired["kind"] == kind) & (repaired["delay"] == delay)].set_index(
                "task"
            )
            _points(
                axis,
                [(y[name] + shift, part.loc[name]) for name in rows if name in part.index],
                style.MISTAKE_COLORS[kind],
                2.6,
            )
        part = control[control["delay"] == delay].set_index("task")
        _points(
            axis,
            [(y[name] + 0.27, part.loc[name]) for name in rows if name in part.index],
            style.MUTED,
            2.6,
        )
        axis.set_title(
            "repaired\nat once" if delay == 0 else f"repaired after\n{delay} more steps",
            fontsize=7,
            fontweight="normal",
        )
        axis.set_xlim(-0.04, 1.06)
    for axis in axes:
        axis.grid(True, axis="x")
        axis.grid(False, axis="y")
        axis.tick_params(axis="y", length=0)
        axis.tick_params(axis="x", labelsize=6)
        for i in range(0, len(rows), 2):
            axis.axhspan(i - 0.5, i + 0.5, color="#f5f6f8", lw=0, zorder=0)
    axes[0].set_yticks(
        list(y.values()),
        [name.capitalize() if name == ALL else style.title(name) for name in rows],
        color=style.INK,
    )
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [
        plt.Line2D([], [], marker="o", ls="", ms=4, color=color, label=who)
        for who, color in style.WHO_COLORS.items()
    ]
    handles += [
        plt.Line2D(
            [],
            [],
            marker="o",
            ls="",
            ms=4,
            color=style.MISTAKE_COLORS[kind],
            label=f"after a {kind}",
        )
        for kind in kinds
    ]
    handles.append(
        plt.Line2D(
            [],
            [],
            marker="o",
            ls="",
            ms=4,
            color=style.MUTED,
            label="undone where nothing is wrong",
        )
    )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        fontsize=6.5,
        handletextpad=0.2,
        columnspacing=1.0,
    )
    return figure


def _points(axis, rows, color: str, size: float = 3.4) -> None:
    for y, row in rows:
        axis.plot([row["low"], row["high"]], [y, y], color=color, lw=1.1, solid_capstyle="round")
        axis.plot(row["value"], y, "o", color=color, ms=size)


def caption(table: pd.DataFrame) -> str:
    table = table.assign(kind=table["kind"].fillna(""))
    names = [name for name in dict.fromkeys(table["task"]) if name != ALL]
    parts = []
    for name in ([ALL] if ALL in set(table["task"]) else []) + names:
        part = (
            table[table["task"] == name].set_index(["who", "measure", "kind", "delay"]).sort_index()
        )
        mistakes = {
            who: part.loc[(who, "mistakes per placement", "", -1), "value"].mean()
            for who in ("policy", "annotator")
        }
        text = f"{style.title(name)}: score {part.loc[('policy', 'score', '', -1), 'value'].mean():.2f}, mistakes per placement {mistakes['policy']:.3f} ({mistakes['annotator']:.3f})"
        if ("policy", "repaired", "", -1) in part.index:
            repaired, undone = (
                part.loc[("policy", *key, -1), "value"].mean()
                for key in (("repaired", ""), ("undone", "control"))
            )
            text += f", repaired {repaired:.2f} against {undone:.2f}"
        parts.append(text)
    episodes = int(table.loc[(table["measure"] == "score") & (table["task"] != ALL), "n"].max())
    states = int(
        table.loc[
            (table["measure"] == "repaired") & (table["delay"] == -1) & (table["task"] != ALL), "n"
        ].max()
    )
    return (
        f"**Mistakes.** Policies and annotator in closed loop on the same {episodes} held-out worlds of each task; then, for up to {states} injected mistakes of each task, "
        "the share that the policy repairs, by kind and by the number of right steps between mistake and policy, beside the share of undos where nothing is wrong (gray). "
        "Bars are 95 % intervals; unit of inference: the episode, for all tasks with tasks as strata. In brackets the annotator's mistakes; repaired against "
        f"undone without a mistake: {'; '.join(parts)}."
    )
