"""SWC: a neuron as a tree of nodes (Cannon et al., Journal of Neuroscience Methods 1998).

A line is `number type x y z radius parent`, and lines that begin with `#` are comments. Type 0 is
undefined; the parent of a root is -1.
"""

from __future__ import annotations

import json
from pathlib import Path

from lastmile.exports.format import CANVAS, Details, Episode, Format, one_by_one

COORDINATES = {
    "neuron_tracing": f"x, y: {CANVAS}; z: number of the slice, from 0 (slices have no thickness). "
    "The radius is unknown and written as 1."
}
UNDEFINED = 0
"""Type of a node of which nothing is known."""


def _write(folder: Path, episode: Episode) -> Details:
    # The last node of a slice replaces earlier ones.
    nodes = {node.z: node for node in episode.edits}
    lines = [
        "# Skeleton of one cell, exported by lastmile",
        f"# {json.dumps(episode.about())}",
        f"# Coordinates: {COORDINATES[episode.session.task.name]}",
        "# number type x y z radius parent",
    ]
    for number, z in enumerate(sorted(nodes), 1):
        parent = number - 1 or -1  # the node of the nearest earlier slice that has one
        u, v = float(nodes[z].u), float(nodes[z].v)
        lines.append(f"{number} {UNDEFINED} {u!r} {v!r} {float(z)!r} 1.0 {parent}")

    path = folder / f"{episode.name}.swc"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"files": [path.name]}


FORMAT = Format("SWC, a skeleton per episode", COORDINATES, one_by_one(_write))
