"""The screens along one episode of each task, with the click that follows each."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import matplotlib.pyplot as plt
import pandas as pd

from lastmile.figures import style

_W, _H = 448, 336


def draw(table: pd.DataFrame, folder: Path):
    sheet = matplotlib.image.imread(folder / "tasks_screens.png")
    names = list(dict.fromkeys(table["task"]))
    columns = int(table["column"].max()) + 1
    figure, axes = plt.subplots(len(names), columns, figsize=(style.PAGE * 1.5, 1.82 * len(names) + 0.1), squeeze=False)
    for i, name in enumerate(names):
        for _, row in table[table["task"] == name].iterrows():
            j = int(row["column"])
            axis = axes[i, j]
            axis.imshow(sheet[i * _H : (i + 1) * _H, j * _W : (j + 1) * _W], interpolation="antialiased")
            axis.plot(row["x"], row["y"], "o", ms=9, mfc="none", mec="#ff3b6b", mew=1.6)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            for spine in axis.spines.values():
                spine.set_visible(False)
            axis.set_title(f"step {row['step'] + 1} of {row['steps']}  ·  {row['phase']}: {row['kind']}", fontsize=6.5, fontweight="normal", color=style.MUTED, pad=3)
        axes[i, 0].set_ylabel(style.title(name), fontsize=8, fontweight="bold")
    return figure


def caption(table: pd.DataFrame) -> str:
    names = [style.title(n) for n in dict.fromkeys(table["task"])]
    return (
        f"**The tasks.** Screens along one episode of the virtual annotator in each of {len(names)} tasks ({', '.join(names)}), a row each. "
        "The red ring is the click that follows; above each screen its step, the phase of the work and the kind of action."
    )
