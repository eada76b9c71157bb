"""Recordings in the formats of other tools: what was seen and clicked, and what was annotated.

    >>> from lastmile import record
    >>> from lastmile.exports import export
    >>> recording = record("road_mapping", style="careful")
    >>> export(recording, "geojson", "roads")
    1

Every export is a folder. Beside the files of its format it holds `lastmile.json`: the task and its
version, where the worlds come from, what coordinates mean, and a line for each episode. Coordinates
are logical pixels of the canvas unless it says otherwise.

An export reads the clicks alone. Whoever made them (the virtual annotator, a person or a policy),
they are replayed, and what counts is the state at the end. Each format has a module of its own.
"""

from __future__ import annotations

from lastmile.exports.exporting import FORMATS, export

__all__ = ["FORMATS", "export"]
