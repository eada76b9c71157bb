"""GeoJSON: a collection of features per episode (RFC 7946).

The standard has longitudes and latitudes; ours are pixels, as in GeoJSON from microscopes (QuPath),
and y points down. The header of the file, the member `lastmile`, says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lastmile.exports.format import CANVAS, Details, Episode, Format, one_by_one

COORDINATES = {
    "road_mapping": "[x, y]: logical px on the whole map, from its upper left corner: x right, "
    "y down. A line is a link between two nodes; `nodes` are their numbers.",
    "plume_finding": f"[x, y]: {CANVAS}. `bands` are those in which the vertices were placed, "
    "`closed_in` is that of the closing, counted from 0. A polygon that was not closed is a line.",
}

Position = list[float]
Feature = dict[str, Any]


def _feature(kind: str, coordinates: Any, **properties: Any) -> Feature:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _roads(episode: Episode) -> list[Feature]:
    """Return a line for each link; a first node without a link is a point."""
    nodes: list[Position] = []
    links: list[tuple[int, int]] = []
    for edit in episode.edits:
        if not hasattr(edit, "parent"):
            links.append((edit.a, edit.b))
            continue
        if edit.parent >= 0:
            links.append((edit.parent, len(nodes)))
        nodes.append([float(edit.x), float(edit.y)])

    linked = {node for link in links for node in link}
    points = [
        _feature("Point", node, nodes=[number])
        for number, node in enumerate(nodes)
        if number not in linked
    ]
    return points + [_feature("LineString", [nodes[a], nodes[b]], nodes=[a, b]) for a, b in links]


def _plume(episode: Episode) -> list[Feature]:
    """Return the polygon; what was not closed is a line, or a point."""
    vertices = [edit for edit in episode.edits if hasattr(edit, "u")]
    positions: list[Position] = [[float(vertex.u), float(vertex.v)] for vertex in vertices]
    bands = [vertex.band for vertex in vertices]
    closing = [edit for edit in episode.edits if not hasattr(edit, "u")]
    if closing:
        # The standard wants rings counterclockwise, by their coordinates as numbers.
        if _area(positions) < 0:
            positions.reverse()
            bands.reverse()
        ring = [*positions, positions[0]]
        return [_feature("Polygon", [ring], bands=bands, closed_in=closing[-1].band)]
    if len(positions) > 1:
        return [_feature("LineString", positions, bands=bands)]
    return [_feature("Point", position, bands=bands) for position in positions]


def _area(ring: list[Position]) -> float:
    """Return twice the area of a polygon, negative if it is clockwise with y up."""
    return sum(
        x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True)
    )


def _write(folder: Path, episode: Episode) -> Details:
    task = episode.session.task.name
    collection = {
        "type": "FeatureCollection",
        "lastmile": {**episode.about(), "coordinates": COORDINATES[task]},
        "features": _roads(episode) if task == "road_mapping" else _plume(episode),
    }
    path = folder / f"{episode.name}.geojson"
    path.write_text(json.dumps(collection) + "\n", encoding="utf-8")
    return {"files": [path.name]}


FORMAT = Format("GeoJSON, a collection of features per episode", COORDINATES, one_by_one(_write))
