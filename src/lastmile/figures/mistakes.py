"""Policy against annotator in closed loop, and recovery after injected mistakes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from lastmile.figures import style

SHARED = (("success", "success"), ("score", "score"), ("finished", "finished"), ("mistakes per placement", "mistakes per\nplacement"), ("correction rate", "undos per\nplacement"))
ALONE = (
    ("repaired", "repaired"), ("repaired:slip", "slip"), ("repaired:confusion", "confusion"), ("repaired:lapse", "lapse"),
    ("undone:control", "undone where\nnothing is wrong"),
)  # fmt: skip


def draw(table: pd.DataFrame, folder: Path):
    names = list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(len(names), 2, figsize=(style.PAGE, 1.9 * len(names) + 0.2), squeeze=False, sharey="row")
    for (left, right), name in zip(axes, names):
        part = table[table["task"] == name].groupby(["who", "measure"])[["value", "low", "high"]].mean()
        for shift, who in ((-0.14, "annotator"), (0.14, "policy")):
            _points(left, [(i + shift, part.loc[(who, m)]) for i, (m, _) in enumerate(SHARED) if (who, m) in part.index], style.WHO_COLORS[who])
        left.set_xticks(range(len(SHARED)), [text for _, text in SHARED])
        left.set(title=style.title(name), ylim=(-0.03, 1.03), xlim=(-0.5, len(SHARED) - 0.5), ylabel="share")
        rows = [(i, part.loc[("policy", m)]) for i, (m, _) in enumerate(ALONE) if ("policy", m) in part.index]
        _points(right, rows[:-1], style.WHO_COLORS["policy"])
        _points(right, rows[-1:], style.MUTED)
        right.set_xticks(range(len(ALONE)), [text for _, text in ALONE])
        right.set(title="After an injected mistake", xlim=(-0.5, len(ALONE) - 0.5))
    axes[0, 0].annotate("annotator", (0.0, 1.0), xycoords="axes fraction", xytext=(0.56, 1.05), color=style.WHO_COLORS["annotator"], fontsize=7.5)
    axes[0, 0].annotate("policy", (0.0, 1.0), xycoords="axes fraction", xytext=(0.8, 1.05), color=style.WHO_COLORS["policy"], fontsize=7.5)
    return figure


def _points(axis, rows, color: str) -> None:
    for x, row in rows:
        axis.plot([x, x], [row["low"], row["high"]], color=color, lw=1.4, solid_capstyle="round")
        axis.plot(x, row["value"], "o", color=color, ms=4.5)


def caption(table: pd.DataFrame) -> str:
    parts = []
    for name, part in table.groupby("task", sort=False):
        value = part.groupby(["who", "measure"])["value"].mean()
        parts.append(
            f"{style.title(name)}: score {value[('policy', 'score')]:.2f} (annotator {value[('annotator', 'score')]:.2f}), mistakes per placement "
            f"{value[('policy', 'mistakes per placement')]:.3f} ({value[('annotator', 'mistakes per placement')]:.3f}), "
            f"repaired {value.get(('policy', 'repaired'), float('nan')):.2f} against {value.get(('policy', 'undone:control'), float('nan')):.2f} undone in controls"
        )
    episodes = int(table.loc[table["measure"] == "score", "n"].max())
    return (
        f"**Mistakes.** Left: policy and annotator in closed loop on the same {episodes} held-out worlds. Right: share of injected mistakes that the policy "
        "repairs, by kind, and how often it undoes where nothing is wrong (gray). Bars are 95 % intervals over episodes (left) and states (right). "
        f"{'; '.join(parts)}."
    )
