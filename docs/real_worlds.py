"""Draw the picture of real worlds, `docs/real_worlds.jpg`; needs the data of `lastmile fetch real`.

.venv/bin/python docs/real_worlds.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lastmile.screen import draw
from lastmile.simulation.session import Session
from lastmile.simulation.source import Source
from lastmile.simulation.trajectory import record
from lastmile.tasks import get_task

SHOWN = {
    "cell_lineage": (0, 0.75),
    "colored_dots": (1, 0.5),
    "channel_alignment": (1, 0.75),
    "plume_finding": (0, 0.75),
    "road_mapping": (3, 0.6),
    "neuron_tracing": (0, 0.8),
}
"""Number of the world, and how much of the annotator's episode is done."""
COLUMNS = 3


def screen(task: str, number: int, share: float) -> np.ndarray:
    """Return the screen of a world of the training split at a share of its episode."""
    source = Source(task, "train", 0, worlds="real")
    columns = record(source, number).columns
    session = Session(get_task(task), source.world(number))
    clicks = list(zip(columns["x"], columns["y"]))
    for x, y in clicks[: int(share * len(clicks))]:
        session.click(x, y)
    return draw(session.screen())


def main() -> None:
    screens = [screen(task, *which) for task, which in SHOWN.items()]
    rows = [np.hstack(screens[at : at + COLUMNS]) for at in range(0, len(screens), COLUMNS)]
    path = Path(__file__).with_name("real_worlds.jpg")
    picture = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(path)


if __name__ == "__main__":
    main()
