"""Write the page: template, style, script and data in one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lastmile.screen import HEIGHT, WIDTH, draw
from lastmile.storage import files
from lastmile.tasks.annotator import PHASES
from lastmile.viewer import template
from lastmile.viewer.episodes import Episode, Track
from lastmile.viewer.pictures import TILE, Pictures

if TYPE_CHECKING:
    from lastmile.viewer.predictions import Outlook, Prediction

UNIT = 100_000
"""Probabilities of a map are whole numbers of this fraction."""
_FINE = UNIT // 100  # probability from which on the inside of a cell is kept


def write(
    path: str | Path,
    episodes: Sequence[Episode],
    title: str,
    predictor: str = "",
    note: str = "",
) -> None:
    """Write the page whole or not at all.

    Args:
        path: The HTML file.
        episodes: What to show, at least one.
        title: Title of the page.
        predictor: Name of the policy that predicts every step; empty without one.
        note: What to say below the title, such as how the episodes were chosen.
    """
    files.write_text(path, page(episodes, title, predictor, note))


def page(episodes: Sequence[Episode], title: str, predictor: str = "", note: str = "") -> str:
    """Return the page as HTML; arguments as those of `write`."""
    style = template.text("page.css")
    script = "".join(map(template.text, template.SCRIPTS))
    parts = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "data": embedded(data(episodes, title, predictor, note)),
        # Nothing is loaded, and no script runs but this one, whatever a recording holds.
        "policy": f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'",
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template.text("page.html"))


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def embedded(value: Any) -> str:
    """Return JSON that no browser takes for markup, whatever its strings hold."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data(
    episodes: Sequence[Episode], title: str, predictor: str = "", note: str = ""
) -> dict[str, Any]:
    """Return what the page shows, as JSON values; arguments as those of `write`."""
    return {
        "title": title,
        "predictor": predictor,
        "note": note,
        "size": [WIDTH, HEIGHT],
        "tile": TILE,
        "unit": UNIT,
        "phases": PHASES,
        "episodes": [
            _episode(episode, key) for episode, key in zip(episodes, keys(episodes), strict=True)
        ],
    }


def keys(episodes: Sequence[Episode]) -> list[str]:
    """Return the name of each episode in links: its number, with more where that is not unique."""
    names = [
        [
            str(episode.number),
            f"{episode.source.task}.{episode.number}",
            f"{episode.source.task}.{episode.number}.{position}",
        ]
        for position, episode in enumerate(episodes)
    ]
    counts = Counter(name for candidates in names for name in candidates[:2])
    return [
        next((name for name in candidates[:2] if counts[name] == 1), candidates[2])
        for candidates in names
    ]


def _episode(episode: Episode, key: str) -> dict[str, Any]:
    pictures = Pictures()
    tracks = [_track(track, pictures) for track in episode.tracks]
    session = episode.tracks[0].session
    return {
        "key": key,
        "task": episode.source.task,
        "title": session.interface.title,
        "number": episode.number,
        "split": episode.source.split,
        "seed": episode.source.seed,
        "difficulty": episode.source.difficulty,
        "layout": session.look.layout,
        "theme": session.look.theme,
        "tracks": tracks,
        "picture": pictures.picture(),
        "columns": pictures.columns,
        "screens": pictures.screens,
    }


def _track(track: Track, pictures: Pictures) -> dict[str, Any]:
    session, columns = track.session, track.columns
    screens = [session.interface.screen(state, session.look) for state in session.states]
    again = [
        session.interface.hit(step.before, int(x), int(y), session.look) if x >= 0 else None
        for step, x, y in zip(session.steps, columns["again_x"], columns["again_y"])
    ]
    return {
        "player": track.player,
        "success": bool(session.score.success),
        "finished": session.done,
        "steps": {name: [_plain(v) for v in values] for name, values in columns.items()},
        "again_widget": ["" if hit is None else hit.widget for hit in again],
        "again_kind": ["" if hit is None else hit.kind for hit in again],
        # One more than there are steps: the last ones are those of the end.
        "screen": [pictures.add(draw(screen)) for screen in screens],
        "status": [list(screen.status()) for screen in screens],
        "open": [int(count) for count in track.open_mistakes],
        "score": [
            round(float(session.task.score(session.world, state).score), 4)
            for state in session.states
        ],
        "labels": {button.id: button.label for button, _ in screens[0].widgets},
        "events": track.events(),
        "mistakes": sorted({kind for kind in track.made if kind}),
        "predictions": _predictions(track) if track.predictions else None,
    }


def _plain(value: Any) -> Any:
    """Return a value of a column as JSON has it; single precision keeps its own digits."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), 4)
    return int(value) if isinstance(value, (int, np.integer)) else str(value)


def _predictions(track: Track) -> dict[str, Any]:
    session = track.session
    height, width = track.predictions[0].chances.shape
    clicks = []
    for prediction, step in zip(track.predictions, session.steps, strict=True):
        hits = [session.interface.hit(step.before, c.x, c.y, session.look) for c in prediction.top]
        clicks.append(
            [
                [click.x, click.y, round(click.chance, 4), hit.widget, hit.kind]
                for click, hit in zip(prediction.top, hits)
            ]
        )
    return {
        "width": width,
        "height": height,
        "block": track.predictions[0].block,
        "nats": [round(prediction.nats, 4) for prediction in track.predictions],
        "top": clicks,
        "maps": [sparse(prediction) for prediction in track.predictions],
    }


def sparse(prediction: Prediction | Outlook) -> list[list[Any]]:
    """Return the map of a prediction as a list of cells.

    Returns:
        For each cell with any probability to speak of: its number, row by row; its probability in
        units of 1 / `UNIT`; and, for the likely ones, what its squares have of it, row by row, in
        shares of the largest, one byte each in base64.
    """
    block = prediction.block
    height, width = prediction.chances.shape
    rows, columns = height // block, width // block
    cut = prediction.chances.reshape(rows, block, columns, block).swapaxes(1, 2)
    squares = cut.reshape(rows * columns, block * block)
    masses = np.round(squares.sum(1, dtype=np.float64) * UNIT).astype(int)
    cells: list[list[Any]] = []
    for cell in masses.nonzero()[0].tolist():
        entry: list[Any] = [cell, int(masses[cell])]
        if masses[cell] >= _FINE:
            shares = np.round(squares[cell] / squares[cell].max() * 255).astype(np.uint8)
            entry.append(base64.b64encode(shares.tobytes()).decode())
        cells.append(entry)
    return cells
