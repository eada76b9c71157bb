"""What linear probes read from each layer, against their baselines."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.figures import style

TITLES = {"phase": "Phase (accuracy)", "position": "Data position (R²)", "mistake": "Open mistake (accuracy)"}


def draw(table: pd.DataFrame, folder: Path):
    names = list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(len(names), 3, figsize=(style.PAGE, 2.0 * len(names) + 0.2), squeeze=False)
    for i, name in enumerate(names):
        for axis, target in zip(axes[i], TITLES):
            part = table[(table["task"] == name) & (table["target"] == target) & (table["labels"] == "real")]
            if part.empty:
                axis.set_visible(False)
                continue
            layers = [f for f in dict.fromkeys(part["feature"]) if part.loc[part["feature"] == f, "of"].iloc[0] == "policy"]
            at = {layer: x for x, layer in enumerate(layers)}
            for of, prefix in (("random network", "random:"), ("policy", "")):
                rows = part[part["of"] == of].groupby("feature", sort=False)[["value", "low", "high"]].mean()
                x = [at[f.removeprefix(prefix)] for f in rows.index]
                axis.fill_between(x, rows["low"], rows["high"], color=style.OF_COLORS[of], alpha=0.2, lw=0)
                axis.plot(x, rows["value"], "-o", ms=3.5, color=style.OF_COLORS[of])
            for of, dash in (("screen", (0, (4, 2))), ("metadata", (0, (1, 1.5)))):
                level = part.loc[part["of"] == of, "value"].mean()
                axis.axhline(level, color=style.OF_COLORS[of], ls=dash, lw=1.1)
            shown = part[part["of"].isin(["policy", "random network"])]
            low = min(part["value"].min(), shown["low"].min())
            bottom = max(-0.2, low - 0.08)
            axis.set_ylim(bottom, 1.02)
            axis.set_xlim(-0.3, len(layers) - 0.7)
            axis.set_xticks(range(len(layers)), layers, rotation=30, ha="right")
            if i == 0:
                axis.set_title(TITLES[target])
        axes[i, 0].set_ylabel(style.title(name), fontweight="bold")
    handles = [plt.Line2D([], [], color=c, ls={"screen": (0, (4, 2)), "metadata": (0, (1, 1.5))}.get(of, "-"), label=of) for of, c in style.OF_COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=7)
    return figure


def caption(table: pd.DataFrame) -> str:
    parts = []
    real = table[table["labels"] == "real"]
    for (name, target), part in real.groupby(["task", "target"], sort=False):
        policy = part[part["of"] == "policy"].groupby("feature", sort=False)["value"].mean()
        other = part[part["of"] != "policy"].groupby("feature", sort=False)["value"].mean()
        parts.append(f"{style.title(name)}, {target}: {policy.iloc[-1]:.2f} in {policy.index[-1]}, best baseline {other.max():.2f} ({other.idxmax()})")
    return (
        "**Linear probes.** What a linear map reads from each layer of the policy (blue), from a network with random weights, from the raw screen and from "
        "step number and last action. Fitted on some episodes, tested on others; bands are 95 % intervals over test episodes. Open mistakes are matched "
        f"with steps of the same last action and step number without one. {'; '.join(parts)}."
    )
