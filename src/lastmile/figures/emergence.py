"""Skills over the frames seen in training, by task."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.figures import style

SHOWN = ("valid", "button", "placement@5", "decision", "undo")


def draw(table: pd.DataFrame, folder: Path):
    names = list(dict.fromkeys(table["task"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 2.5 * rows), squeeze=False, sharey=True)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names):
        part = table[table["task"] == name]
        policy = part[part["predictor"] == "policy"]
        first = policy.loc[policy["frames"] > 0, "frames"].min()
        ends = []
        for skill in SHOWN:
            line = policy[policy["skill"] == skill].groupby("frames")[["value", "low", "high"]].mean()
            if line.empty:
                continue
            x = line.index.to_numpy(float)
            x[x == 0] = first / 2
            color = style.SKILL_COLORS[skill]
            axis.plot(x, line["value"], color=color, marker="o", ms=2.5)
            axis.fill_between(x, line["low"], line["high"], color=color, alpha=0.15, lw=0)
            ends.append((float(line["value"].iloc[-1]), skill, color))
            for predictor, dash in (("ceiling", (0, (1, 1.5))), ("floor", (0, (4, 2)))):
                level = part[(part["predictor"] == predictor) & (part["skill"] == skill)]["value"]
                if len(level) and (predictor == "ceiling" or skill == "button"):
                    axis.axhline(level.mean(), color=color, lw=0.7, ls=dash, alpha=0.8)
        axis.set(xscale="log", ylim=(-0.02, 1.02), title=style.title(name))
        ticks = [t for t in (m * 10.0**e for e in range(2, 9) for m in (1, 3)) if first <= t <= policy["frames"].max()]
        axis.set_xlim(first / 2.3, policy["frames"].max() * 1.08)
        axis.set_xticks([first / 2, *ticks], ["0", *(_short(t) for t in ticks)])
        axis.minorticks_off()
        style.label_ends(axis, ends)
        axis.set_xlabel("frames seen in training")
    for row in axes:
        row[0].set_ylabel("share of steps right")
    return figure


def _short(frames: float) -> str:
    return f"{frames / 1e6:g} M" if frames >= 1e6 else f"{frames / 1e3:g} k"


def caption(table: pd.DataFrame) -> str:
    policy = table[(table["predictor"] == "policy")]
    last = policy[policy["frames"] == policy.groupby("task")["frames"].transform("max")]
    parts = []
    for name, part in last.groupby("task", sort=False):
        values = part.groupby("skill")["value"].mean()
        parts.append(f"{style.title(name)}: " + ", ".join(f"{s} {values[s]:.2f}" for s in SHOWN if s in values))
    episodes = int(policy["episodes"].max())
    return (
        "**Skills over training.** Share of held-out steps on which the policy's most likely click is right, teacher-forced, against the frames seen "
        f"(log scale, 0: before training); bands are 95 % intervals over {episodes} episodes. Dotted: ceiling (the annotator asked again); dashed: floor "
        f"for the button (always the commonest click). At the end of training: {'; '.join(parts)}."
    )
